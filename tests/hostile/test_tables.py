"""Tables from strangers, and tables for people: what a spreadsheet would work out never stands first in a cell."""

import csv
import io

import pytest

from phenolip.datasets_scripts.bench_answers import _csv_records
from phenolip.datasets_scripts.bench_csv import write_table
from phenolip.datasets_scripts.bench_facts import _read_table
from phenolip.datasets_scripts.image_tables import read_rows
from phenolip.datasets_scripts.kgx import _cell
from phenolip.datasets_scripts.sources import _from_records, _read_csv
from phenolip.eval.metadata import metadata_columns
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.prediction_files import record_writer
from phenolip.phenokg.articles.article_ids import read_article_ids
from phenolip.phenokg.records import Drop

HEAD = b"image,caption,sheet,item,verdict\n"
TABLES = {
    "NUL": HEAD + b"a.png,a\0b,s,i,right\n",
    "rows of one cell and of 10,000": HEAD + b"a.png\n" + b"," * 10_000 + b"\n",
    "a mark of the byte order": b"\xef\xbb\xbf" + HEAD + b"a.png,a,s,i,right\n",
    "two marks of the byte order": b"\xef\xbb\xbf" * 2 + HEAD + b"a.png,a,s,i,right\n",
    "UTF-16": (HEAD + b"a.png,a,s,i,right\n").decode().encode("utf-16"),
    "no UTF-8": HEAD + b"a.png,\xff,s,i,right\n",
    "a cell of 20 MB": HEAD + b"a.png," + b"a" * 20_000_000 + b",s,i,right\n",
    "a quote that never closes": HEAD + b'a.png,"a,s,i,right\n' * 20_000,
    "quotes alone": HEAD + b'"' * 200_001 + b"\n",
    "carriage returns alone": HEAD.replace(b"\n", b"\r") + b"a.png,a,s,i,right\r" * 10,
    "carriage returns in cells": HEAD + b"a.png,a\rb,s,i,right\n",
    "a column twice": b"image,image,caption,caption,sheet,item,verdict\na,b,c,d,s,i,right\n",
    "a column without a name": b"image,,caption,sheet,item,verdict\na,b,c,s,i,right\n",
    "100,000 columns": b",".join(b"c%d" % n for n in range(100_000)) + b"\n" + b"," * 99_999 + b"\n",
    "no columns": b"\n\n\n",
    "nothing": b"",
    "a header alone": HEAD,
    "paths that lead up": HEAD + b"../../etc/passwd,a,s,i,right\n",
    "paths of this machine": HEAD + b"/etc/passwd,a,s,i,right\n",
    "a formula": HEAD + b"a.png,=cmd|' /C calc'!A0,s,i,right\n",
    "no table": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40,
    "a binary of NUL": bytes(100_000),
}


def _pairs(path):
    return [row.problem for row in _from_records(list(_read_csv(path)), path.parent, "a", None).rows]


READERS = {
    "pairs": _pairs,
    "image tables": read_rows,
    "reviews": lambda path: list(_csv_records(path.read_bytes(), path)),
    "facts of rows": lambda path: list(_read_table(path)),
    "metadata": lambda path: metadata_columns(path, ["a.png"]),
    "article ids": lambda path: list(read_article_ids(path)),
}
TRIED = {f"{reader}: {name}": (reader, data) for reader in READERS for name, data in TABLES.items()}
LARGE = {name for name, (_, data) in TRIED.items() if len(data) > 400_000}

CELLS = (
    "=1+1", "+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\u200b=1", "\ufeff=1", "\u202e=1",
    "\0=1",    "＝1", "＋1", "－1", "＠SUM(1)", "=HYPERLINK(\"http://127.0.0.1/?\"&A1)", "=cmd|' /C calc'!A0",
    "\"=1", "'=1", "a\n=1", "%0A=1", ";=1", ",=1",
)  # fmt: skip
FIRST = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def _by_table(folder, text):
    write_table(folder / "a.csv", ["a", "b"], [[text, "c"]])
    return folder / "a.csv"


def _by_predictions(folder, text):
    with record_writer(str(folder / "a.csv"), "csv", ["a", "b"]) as write:
        write({}, [[text, "c"]])
    return folder / "a.csv"


WRITERS = {"the review sheet": _by_table, "predictions": _by_predictions}
WRITTEN = {f"{writer}: {text!r}": (writer, text) for writer in WRITERS for text in CELLS}
#: The tab-separated tables of KGX are for programs, which take an apostrophe as part of the text: breaks alone go.
FOR_PROGRAMS = {f"KGX: {text!r}": text for text in CELLS}


@pytest.mark.parametrize("name", TRIED)
def test_a_hostile_table_is_rows_or_one_sentence(name, tmp_path, bounds):
    reader, data = TRIED[name]
    (tmp_path / "a.csv").write_bytes(data)
    try:
        with bounds():
            found = READERS[reader](tmp_path / "a.csv")
    except (DataError, ConfigurationError) as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 2000
        return
    if "paths" in name and reader == "pairs":
        assert found == ["path leaves the folder"]
    if reader == "article ids":
        assert all(isinstance(drop, Drop) and len(drop.detail) < 400 for drop in found)


@pytest.mark.parametrize("name", WRITTEN)
def test_no_cell_is_a_formula(name, tmp_path):
    writer, text = WRITTEN[name]
    data = WRITERS[writer](tmp_path, text).read_bytes().decode("utf-8-sig")
    header, row = csv.reader(io.StringIO(data, newline=""))
    assert header == ["a", "b"] and row[1] == "c" and row[0].endswith(text)
    shown = row[0].lstrip().lstrip("\u200b\ufeff\u202e\0").lstrip()
    assert row[0].startswith("'") or not shown.startswith(FIRST)


@pytest.mark.parametrize("name", FOR_PROGRAMS)
def test_a_cell_for_programs_holds_no_break(name):
    cell = _cell(FOR_PROGRAMS[name])
    assert not set(cell) & set("\t\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
