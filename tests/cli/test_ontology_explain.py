"""`phenolip ontology explain` on the made-up ontology, with and without an overlay."""

import json
from pathlib import Path

import pytest

from phenolip.cli import main

SLICE = str(Path(__file__).parent.parent / "ontology" / "hp_slice.obo")


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Runs the command and returns its exit code and what it prints."""
    monkeypatch.setenv("PHENOLIP_CACHE", str(tmp_path))

    def run(*arguments):
        code = main(["ontology", "explain", *arguments, "--hpo", SLICE])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_term(call):
    assert call("square form", "--severity", "mild") == (
        0,
        """HP:9900004  Square shape
four corners, four equal sides

source      hpo_def
prompt      mild Square shape, where Square shape is four corners, four equal sides.
definition  Four corners, four equal sides.
comment     Seen from above.

HPO release 2001-02-03: 9 phenotypes, and 33 findings without a term, are explained by
  user              0    0.00%
  curated          33   78.57%
  hpo_def           2    4.76%
  hpo_comment       0    0.00%
  parent            2    4.76%
  name_only         5   11.90%
""",
        "",
    )


def test_a_finding_of_the_list(call):
    code, out, _ = call("Flattened diaphragm")
    assert code == 0 and out.startswith("flattened diaphragm  flattened diaphragm\ndiaphragm domes that are low")
    assert "source      curated: flat low domes (chest x-ray)" in out


def test_an_overlay_wins(call, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"square shape": "A box. Of four corners.", "apical cap": "a rim"}))
    code, out, _ = call("HP:9900004", "--overlay", str(path), "--json", "--max-words", "3")
    record = json.loads(out)
    assert code == 0 and (record["explanation"], record["source"]) == ("a box", "user")
    assert record["coverage"]["user"] == 2 and record["without_a_term"] == 34


def test_coverage_alone(call):
    code, out, _ = call()
    assert code == 0 and out.startswith("HPO release 2001-02-03: 9 phenotypes")


def test_mistakes_are_one_sentence(call, tmp_path):
    assert call("Squair shape") == (
        1, "", "error: The knowledge book has no finding 'Squair shape'. Close: 'Square shape', 'Round shape'.\n"
    )  # fmt: skip
    code, _, err = call("Square shape", "--overlay", str(tmp_path / "absent.json"))
    assert code == 1 and "must be a readable UTF-8 file" in err
    assert call("Square shape", "--max-words", "0")[0] == 2
