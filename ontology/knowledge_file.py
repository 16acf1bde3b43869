"""knowledge.json: the knowledge book beside a model, so that its texts stay those of its training."""

import json
import os
from pathlib import Path
from typing import Any

from phenolip.exceptions import DataError
from phenolip.ontology.finding_template import TEMPLATE_VERSION
from phenolip.ontology.knowledge_book import SOURCES, KnowledgeBook, KnowledgeEntry
from phenolip.ontology.term import Synonym
from phenolip.provenance import content_hash
from phenolip.whole_files import whole_file

KNOWLEDGE_FILE = "knowledge.json"
_FORMAT = 1


def write_knowledge(book: KnowledgeBook, folder: str | os.PathLike) -> Path:
    """Writes knowledge.json into a model's folder and returns its path.

    It holds for every finding its id, name, explanation, source, parents and EXACT synonyms, and for all of them the
    HPO release and its hash, the version of the template, the longest explanation, and a hash of it all. Definitions
    and comments stay out: no text is made of them.
    """
    path = Path(folder) / KNOWLEDGE_FILE
    body = _body(book)
    stored = {"format": _FORMAT, "sha256": content_hash([_canonical(body)]), **body}
    with whole_file(path, "w") as file:
        file.write(json.dumps(stored, indent=0, ensure_ascii=False) + "\n")
    return path


def read_knowledge(path: str | os.PathLike) -> KnowledgeBook:
    """The book that `write_knowledge` wrote; it makes the same texts.

    Raises:
        DataError: The file cannot be read, was changed by hand, or is of a later version than this package.
    """
    path = Path(path)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} must be readable JSON ({reason}); write it anew or delete it.") from None
    if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
        raise DataError(f"{path} must be a knowledge book of format {_FORMAT}; write it anew or delete it.")
    if stored.get("template_version") != TEMPLATE_VERSION:
        raise DataError(
            f"{path} was written for version {stored.get('template_version')!r} of the template, this package has "
            f"{TEMPLATE_VERSION}: its texts would not be those of the training."
        )
    body = {name: value for name, value in stored.items() if name not in ("format", "sha256")}
    if stored.get("sha256") != content_hash([_canonical(body)]):
        raise DataError(f"{path} was changed after it was written: its hash differs; take the file of the training.")
    return _book(body, path)


def fingerprint(book: KnowledgeBook) -> str:
    """Hash of all that its texts depend on; the `sha256` of its file."""
    return content_hash([_canonical(_body(book))])


def _body(book: KnowledgeBook) -> dict[str, Any]:
    return {
        "template_version": TEMPLATE_VERSION,
        "hpo_release": book.release,
        "hpo_sha256": book.hpo_sha256,
        "max_words": book.max_words,
        "findings": {key: _record(book.entries[key]) for key in sorted(book.entries)},
        "aliases": dict(sorted(book.aliases.items())),
    }


def _record(entry: KnowledgeEntry) -> list[Any]:
    synonyms = [synonym.text for synonym in entry.synonyms if synonym.scope == "EXACT"]
    return [entry.name, entry.explanation, entry.source, list(entry.parents), synonyms]


def _book(body: dict[str, Any], path: Path) -> KnowledgeBook:
    try:
        entries = {key: _entry(key, *record) for key, record in body["findings"].items()}
        return KnowledgeBook(
            entries, body["hpo_release"], body["hpo_sha256"], max_words=body["max_words"], aliases=body["aliases"]
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} must hold whole findings ({error}); write it anew or delete it.") from None


def _entry(
    key: str, name: str, explanation: str | None, source: str, parents: list[str], synonyms: list[str]
) -> KnowledgeEntry:
    texts = [key, name, *parents, *synonyms, *([] if explanation is None else [explanation])]
    if source not in SOURCES or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{key!r} is none")
    return KnowledgeEntry(
        key, name, explanation, source, synonyms=tuple(Synonym(text, "EXACT") for text in synonyms),
        parents=tuple(parents),
    )  # fmt: skip


def _canonical(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
