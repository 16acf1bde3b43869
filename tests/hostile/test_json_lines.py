"""Hostile lines of JSON at every reader of JSON lines or JSON files: one sentence with the place, or a bad row."""

import json

import pytest

from phenolip.cli.link import _document as link_document
from phenolip.datasets_scripts.bench_answers import _json_records
from phenolip.datasets_scripts.image_tables import read_rows
from phenolip.datasets_scripts.sources import _from_records, _read_jsonl
from phenolip.eval.findings_task import _read as read_findings
from phenolip.eval.metadata import metadata_columns
from phenolip.exceptions import ConfigurationError, DataError, OntologyError
from phenolip.inference.candidates import _entries
from phenolip.inference.finding_thresholds import read_thresholds
from phenolip.ontology.knowledge_file import read_knowledge
from phenolip.ontology.overlays import read_overlay
from phenolip.ontology.reader import load_ontology
from phenolip.phenokg.articles.article_metadata import read_metadata
from phenolip.phenokg.findings.extraction_files import read_document
from phenolip.phenokg.record_files import read_records
from phenolip.phenokg.records import CaptionedFigure

LINES = {  # name -> a line that is a row of no reader
    "nested 100,000 deep": b"[" * 100_000,
    "objects nested 100,000 deep": b'{"caption":' * 100_000,
    "cut off": b'{"caption": "a", "im',
    "a list": b'["a"]',
    "a number of 5,000 digits": b'{"doc_id": ' + b"9" * 5000 + b"}",
    "NaN alone": b"NaN",
    "a byte that is no UTF-8": b'{"caption": "\xff", "doc_id": [',
    "UTF-16": '{"caption": "a"}'.encode("utf-16"),
    "NUL": b'{"caption": "a\0b"}',
    "two objects": b"{}{}",
    "a comment": b"// {}",
    "1 MB of quotes": b'"' * 1_000_001,
}
VALUES = {  # name -> values that no row may have
    "NaN": b"NaN",
    "infinity": b"1e999",
    "an integer of 4,000 digits": b"9" * 4000,
    "half of a surrogate pair": b'"\\ud800"',
    "null": b"null",
    "true": b"true",
    "lists in lists": b"[[[[]]]]",
    "an object": b'{"a": {"b": []}}',
    "a text of 1 MB": b'"' + b"a" * 1_000_000 + b'"',
    "a text of control characters": b'"\\u0000\\u001b[2J\\u202e"',
}


def _pairs(path):
    found = [row.problem for row in _from_records(list(_read_jsonl(path)), path.parent, "a", None).rows]
    if any(found):
        raise DataError(next(problem for problem in found if problem))
    return found


def _raising(read, *errors):
    """A reader of one line, whose errors the command turns into its sentence."""

    def of_file(path):
        try:
            return read(path.read_text(encoding="utf-8", errors="replace"))
        except errors as error:
            raise DataError(f"line 1: {error}") from None

    return of_file


READERS = {  # name -> ending, what reads a file of one line
    "pairs": (".jsonl", _pairs),
    "records": (".jsonl", lambda path: list(read_records(path, CaptionedFigure))),
    "image tables": (".jsonl", read_rows),
    "reviews": (".jsonl", lambda path: list(_json_records(path.read_bytes(), path))),
    "texts to link": (".jsonl", _raising(link_document, ValueError)),
    "reports": (".jsonl", _raising(read_document, ValueError, RecursionError)),
    "findings": (".jsonl", lambda path: read_findings(path, ("findings",))),
    "metadata of an article": (
        ".json",
        lambda path: _raising(lambda text: read_metadata(text.encode()), ValueError)(path),
    ),
    "candidates": (".json", _entries),
    "thresholds": (".json", read_thresholds),
    "knowledge book": (".json", read_knowledge),
    "overlay": (".json", read_overlay),
    "ontology": (".json", lambda path: load_ontology(path, cache_dir=path.parent / "cache")),
}
TAKEN = {("candidates", "a list"), ("reviews", "UTF-16")}  # what is a file like others there
REFUSED = {
    f"{reader}: {name}": (reader, line)
    for reader in READERS
    for name, line in LINES.items()
    if (reader, name) not in TAKEN
}
HARMLESS = (
    {
        f"{reader}: {name}": (
            reader,
            b'{"image": "a.png", "caption": %s, "figure": "f", "doc_id": "a", "text": %s, "findings": []}'
            % (value, value),
        )
        for reader in ("pairs", "records", "image tables", "texts to link", "reports", "findings")
        for name, value in VALUES.items()
    }
    | {f"{reader}: {name}": (reader, LINES[name]) for reader, name in sorted(TAKEN)}
    | {"metadata for tables: nested": ("metadata", LINES["nested 100,000 deep"])}
)
READERS_OF_VALUES = READERS | {"metadata": (".jsonl", lambda path: metadata_columns(path, ["a"]))}


def _read(name, readers, line, folder, bounds):
    ending, read = readers[name]
    (folder / f"a{ending}").write_bytes(line + b"\n")
    with bounds():
        return read(folder / f"a{ending}")


@pytest.mark.parametrize("name", REFUSED)
def test_a_line_that_is_no_row_is_one_sentence(name, tmp_path, bounds):
    reader, line = REFUSED[name]
    with pytest.raises((DataError, ConfigurationError, OntologyError)) as caught:
        _read(reader, READERS, line, tmp_path, bounds)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 600


@pytest.mark.parametrize("name", HARMLESS)
def test_a_value_of_another_type_is_a_bad_row_or_a_text(name, tmp_path, bounds):
    reader, line = HARMLESS[name]
    try:
        found = _read(reader, READERS_OF_VALUES, line, tmp_path, bounds)
    except (DataError, ConfigurationError) as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 600
    else:
        json.dumps(repr(found)).encode()  # no half of a pair that cannot be written
