"""Overlay files: what is allowed, and what a hostile one ends with."""

import json

import pytest

from phenolip.exceptions import DataError
from phenolip.ontology.overlays import read_overlay


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_flat_dictionary(tmp_path):
    flat = {"pleural effusion": "fluid in the chest", "HP:0002107": "air\n  in it"}
    assert read_overlay(written(tmp_path, "a.json", json.dumps(flat))) == {
        "pleural effusion": "fluid in the chest",
        "HP:0002107": "air in it",
    }
    yaml = "no: a word\n0012: a number\nHP:0002107: {text: air, sign: line}\n# note\n"
    assert read_overlay(written(tmp_path, "a.yaml", yaml)) == {"no": "a word", "0012": "a number", "HP:0002107": "air"}
    assert read_overlay(written(tmp_path, "bom.JSON", b'\xef\xbb\xbf{"a": "b"}')) == {"a": "b"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "a: b", "must end in .json, .yaml or .yml, got '.txt'"),
        ("a.json", "{", "must be JSON"),
        ("a.json", "[1]", "must be one mapping from ids or names to texts, got a list"),
        ("a.json", "{}", "must map at least one id or name"),
        ("a.json", '{"a": "b", "a": "c"}', "the key 'a' stands twice"),
        ("a.json", '{"a": 1}', "must be a text, got a int"),
        ("a.json", '{"a": null}', "must be a text, got a NoneType"),
        ("a.json", '{"a": {"sign": "x"}}', "must be a text, got a NoneType"),
        ("a.json", '{"a": " "}', "must have 1 to 4,000 characters, got 0"),
        ("a.json", json.dumps({"a": "b" * 4001}), "must have 1 to 4,000 characters, got 4,001"),
        ("a.json", '{"a": "b\\u0000c"}', "must not hold control characters"),
        ("a.json", '{"a": "b\\ud800"}', "must not hold control characters"),
        ("a.json", '{" ": "b"}', "a key must be an id or a name"),
        ("a.json", "[" * 100_000, "must be JSON"),
        ("a.json", b"\xff\xfe", "readable UTF-8 file: it is no UTF-8"),
        ("a.yaml", "", "must map at least one id or name"),
        ("a.yaml", "a: b\na: c\n", "the key 'a' stands twice"),
        ("a.yaml", "- a\n- b\n", "must be one mapping"),
        ("a.yaml", "a: [b]\n", "must be a text, got a list"),
        ("a.yaml", "a: b: c\n", "must be plain YAML: line 1"),
        ("a.yaml", "[a, b]: c\n", "a key must be text"),
        ("a.yaml", "a: !!python/object/apply:os.system [ls]\n", "must be"),
        ("a.yaml", "a: &x [l]\nb: &y [*x, *x]\nc: [*y, *y]\n", "must be a text, got a list"),
        ("a.yaml", "a: *b\n", "must be plain YAML: line 1"),
    ],
)
def test_hostile_files(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message.replace("[", r"\[")):
        read_overlay(written(tmp_path, name, content))


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="readable UTF-8 file"):
        read_overlay(tmp_path / "absent.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(DataError, match="readable UTF-8 file"):
        read_overlay(tmp_path / "folder.json")


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.truncate(33 * 2**20)
    with pytest.raises(DataError, match="at most 33,554,432 bytes"):
        read_overlay(path)
