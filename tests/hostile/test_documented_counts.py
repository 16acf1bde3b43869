"""The table of docs/reliability.md counts what is tried here."""

import importlib.util
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "reliability.md"
FILES = {  # kind in the table -> file, names of what it tries
    "XML": ("test_xml_files", ("REFUSED", "HARMLESS")),
    "archives": ("test_archives", ("REFUSED", "HARMLESS")),
    "Parquet": ("test_parquet_files", ("REFUSED", "HARMLESS")),
    "CSV read": ("test_tables", ("TRIED",)),
    "cells written": ("test_tables", ("WRITTEN", "FOR_PROGRAMS")),
    "JSON": ("test_json_lines", ("REFUSED", "HARMLESS")),
    "YAML": ("test_yaml_files", ("REFUSED", "HARMLESS")),
    "captions and reports": ("test_texts", ("TRIED", "SHOWN", "SHOWN")),
    "model answers": ("test_model_answers", ("REFUSED", "HARMLESS")),
}


def _rows():
    section = PAGE.read_text(encoding="utf-8").split("## Bad input")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    return {row[0]: [int(cell) for cell in row[1:5]] for row in cells if re.fullmatch(r"\d+", row[1])}


@pytest.mark.parametrize("kind", FILES)
def test_the_table_counts_what_is_tried(kind):
    name, collections = FILES[kind]
    spec = importlib.util.spec_from_file_location(f"hostile_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tried, refused, harmless, wrong = _rows()[kind]
    assert tried == sum(len(getattr(module, collection)) for collection in collections)
    assert tried == refused + harmless + wrong
    if collections == ("REFUSED", "HARMLESS") and kind != "JSON":  # of JSON's values some are one, some the other
        assert refused == len(module.REFUSED)
