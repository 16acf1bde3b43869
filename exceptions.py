"""The package's few error types; each message is one sentence that names the input, what is allowed and what came."""


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
