"""The package's few error types; each message is one sentence that names the input, what is allowed and what came."""

import difflib
from collections.abc import Iterable


class PhenoLIPError(Exception):
    """Base of every error that a user's input can cause."""


class ConfigurationError(PhenoLIPError, ValueError):
    """A setting, flag or YAML field is unknown, missing or out of range."""


class DataError(PhenoLIPError, ValueError):
    """Data cannot be read, or too much of it is bad."""


class OntologyError(PhenoLIPError, ValueError):
    """An ontology file cannot be read, or lacks what is asked of it."""


class UnknownTermError(OntologyError, KeyError):
    """An id or name is in no current, alternative or replaced term of the ontology release."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # KeyError would print the message in quotes


def near_matches(name: str, known: Iterable[str]) -> str:
    """The end of an unknown-name message: " Close: 'a', 'b'." where names are alike, else " Known: ..."."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return " Close: " + ", ".join(f"'{match}'" for match in close) + "."
    return " Known: " + ", ".join(known) + "."
