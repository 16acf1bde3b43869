"""`phenolip ontology show` and `stats`, run on the made-up ontology."""

import argparse
import json
from pathlib import Path

import pytest

from phenolip.cli import ontology as command
from phenolip.exceptions import UnknownTermError
from phenolip.ontology import load_ontology

SLICE = str(Path(__file__).parent.parent / "ontology" / "hp_slice.obo")


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Runs the command and returns what it prints."""
    monkeypatch.setenv("PHENOLIP_CACHE", str(tmp_path))

    def run(*arguments):
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        assert command.run(parser.parse_args([*arguments, "--hpo", SLICE])) == 0
        return capsys.readouterr().out

    return run


def test_show(call):
    assert call("show", "HP:9900004") == (
        """HP:9900004  Square shape
Four corners, four equal sides.
Comment: Seen from above.

synonyms     Blocky shape  (related)
             Box-like shape  (exact, layperson)
             SQ  (exact, abbreviation)
             Square form  (exact)
             square shape  (exact, layperson)
parents      HP:9900001  Odd shape
children     HP:9900006  Red square
systems      HP:9900001  Odd shape
elsewhere    TEST:box
             TEST:square
depth        2
information  1.10 nats (2 terms below)
release      2001-02-03 (hp_slice.obo)

HP:0000118  Phenotypic abnormality
└── HP:9900001  Odd shape
    └── HP:9900004  Square shape
"""
    )


def test_every_way_down_is_drawn(call):
    tree = call("show", "HP:9900007").split("\n\n")[-1]
    assert tree == (
        """HP:0000118  Phenotypic abnormality
├── HP:9900001  Odd shape
│   └── HP:9900004  Square shape
│       └── HP:9900006  Red square
│           └── HP:9900007  Small red square
└── HP:9900002  Odd colour
    └── HP:9900005  Red colour
        └── HP:9900006  Red square (as above)
"""
    )


@pytest.mark.parametrize("asked", ["HP:9900006", "hp_9900006", " HP:9900020 ", "red square", "RED  SQUARE"])
def test_ids_old_ids_and_names(call, asked):
    assert call("show", asked).startswith("HP:9900006  Red square\n")


def test_json(call):
    record = json.loads(call("show", "looks red", "--json"))
    assert (record["id"], record["depth"], record["release"]) == ("HP:9900005", 2, "2001-02-03")
    assert record["children"] == [{"id": "HP:9900006", "name": "Red square"}, {"id": "HP:9900008", "name": "Pale red"}]
    record = json.loads(call("show", "HP:9900007", "--json"))
    assert [[term["id"] for term in path] for path in record["paths"]] == [
        ["HP:0000118", "HP:9900001", "HP:9900004", "HP:9900006", "HP:9900007"],
        ["HP:0000118", "HP:9900002", "HP:9900005", "HP:9900006", "HP:9900007"],
    ]


def test_terms_outside_the_phenotypes(call):
    assert "depth" not in call("show", "Manner")
    assert json.loads(call("show", "Manner", "--json"))["paths"] == []


def test_many_children_are_shortened(call, monkeypatch):
    monkeypatch.setattr(command, "_MAX_CHILDREN", 1)
    assert "... and 1 more (--json lists all)" in call("show", "HP:0000118")


def test_unknown_names_are_met_with_near_ones(call):
    with pytest.raises(UnknownTermError, match="is 'red sqare'; terms that read alike: HP:9900006 Red square"):
        call("show", "red sqare")
    with pytest.raises(UnknownTermError, match="HP:9999999 is not in HPO release 2001-02-03"):
        call("show", "HP:9999999")


def test_stats(call):
    counts = json.loads(call("stats", "--json"))
    assert counts == {
        "release": "2001-02-03",
        "source": "hp_slice.obo",
        "sha256": load_ontology(SLICE).sha256,
        "current_terms": 11,
        "obsolete_terms": 6,
        "phenotypes": 9,
        "leaves": 3,
        "with_definition": 2,
        "with_synonyms": 2,
        "synonyms": 7,
        "exact_synonyms": 5,
        "layperson_synonyms": 3,
        "with_several_parents": 1,
        "is_a_relations": 10,
        "greatest_depth": 4,
        "systems": 2,
    }
    assert "current terms         11\n" in call("stats")
