"""Which phenotypes a model is asked about."""

import difflib
import json
from pathlib import Path

from phenolip.exceptions import ConfigurationError, DataError, UnknownTermError
from phenolip.ontology.graph import PhenotypeOntology

MODEL_PHENOTYPES = "phenotypes.json"  # written beside a Stage-2 model: the phenotypes of its training set


def read_candidates(path: str | Path, ontology: PhenotypeOntology) -> dict[str, str]:
    """Candidate phenotypes of a file, current id -> current name, in the order of the file.

    Args:
        path: Text with an HPO id, a name or an exact synonym a line (blank lines and lines that begin with # are
            skipped), or JSON: a list of such strings or of objects with ``hpo_id``.
        ontology: Resolves ids and finds names.

    Raises:
        DataError: The file cannot be read, an entry is unknown, or nothing is left.
    """
    path = Path(path)
    candidates = {}
    for place, entry in _entries(path):
        hpo_id = ontology.find(entry)
        if hpo_id is None:
            try:
                hpo_id = ontology.resolve(entry)
            except UnknownTermError as error:
                raise DataError(
                    f"{path.name} {place}: {entry!r} is no id, name or exact synonym in HPO release "
                    f"{ontology.release}; correct or remove it.{_close(entry, ontology)}"
                ) from error
        candidates[hpo_id] = ontology[hpo_id].name
    if not candidates:
        raise DataError(f"{path.name} must name at least one phenotype, got none.")
    return candidates


def subtree_candidates(root: str, ontology: PhenotypeOntology) -> dict[str, str]:
    """A term and all below it, id -> name, by id.

    Args:
        root: HPO id, name or exact synonym.
        ontology: The release.

    Raises:
        ConfigurationError: The release does not know the root.
    """
    try:
        hpo_id = ontology.find(root) or ontology.resolve(root)
    except UnknownTermError as error:
        raise ConfigurationError(
            f"`under` must be an id, name or exact synonym in HPO release {ontology.release}, got {root!r}."
            f"{_close(root, ontology)}"
        ) from error
    return {term_id: ontology[term_id].name for term_id in ontology.term_ids(hpo_id)}


def _close(text: str, ontology: PhenotypeOntology) -> str:
    """The end of a message: names that are written alike, if there are any."""
    names = {ontology[hpo_id].name.casefold(): hpo_id for hpo_id in ontology}
    close = difflib.get_close_matches(text.casefold(), names, n=3, cutoff=0.75)
    found = ", ".join(f"'{ontology[names[name]].name}' ({names[name]})" for name in close)
    return f" Close: {found}." if found else ""


def model_candidates(model_dir: str | Path) -> dict[str, str] | None:
    """The phenotypes stored with a model, id -> name; None where the folder has none.

    Raises:
        DataError: The file is damaged.
    """
    path = model_file(model_dir, MODEL_PHENOTYPES)
    if path is None:
        return None
    try:
        stored = {entry["hpo_id"]: entry["name"] for entry in json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} must be a list of {{hpo_id, name}}; write it anew or delete it.") from error
    return stored or None


def model_file(model: str | Path, name: str) -> Path | None:
    """A file of a model folder or Hub repository; None where it has none, or where the model has no name."""
    if not str(model):
        return None
    from transformers.utils import cached_file  # here: candidates of a file need no models

    found = cached_file(
        str(model),
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return None if found is None else Path(found)


def all_candidates(ontology: PhenotypeOntology) -> dict[str, str]:
    """Every term under HP:0000118 with the root, id -> name."""
    return {hpo_id: ontology[hpo_id].name for hpo_id in ontology.term_ids()}


def _entries(path: Path) -> list[tuple[str, str]]:
    """Place in the file and text of each entry."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Candidates {path} must be a readable text or JSON file: {error}.") from error
    if path.suffix != ".json":
        lines = enumerate((line.strip() for line in text.splitlines()), start=1)
        return [(f"line {number}", line) for number, line in lines if line and not line.startswith("#")]
    try:
        rows = [row["hpo_id"] if isinstance(row, dict) else str(row) for row in json.loads(text)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path.name} must be a JSON list of ids, names or objects with `hpo_id`.") from error
    return [(f"entry {number}", row) for number, row in enumerate(rows, start=1)]
