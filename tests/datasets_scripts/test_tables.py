"""The revision of a table names what its rows hold."""

import datasets
import pytest

from phenolip.datasets_scripts.tables import data_revision

COLUMNS = {
    "sha256": ["a", "b", "c"],
    "caption": ["one", "two", "three"],
    "hpo_ids": [["HP:2", "HP:1"], ["HP:1"], ["HP:3"]],
    "group_id": ["p1", "", "p1"],
    "row_id": ["x", "y", "z"],
}


def revision(**changes):
    columns = COLUMNS | changes
    return data_revision(datasets.Dataset.from_dict({name: cells for name, cells in columns.items() if cells}))


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": ["a", "b", "d"]},
        {"caption": ["one", "two", "four"]},
        {"hpo_ids": [["HP:2", "HP:1"], ["HP:1"], []]},
        {"group_id": ["p1", "p2", "p1"]},
        {"group_id": ["p1", "p1", ""]},
        {"group_id": ["", "", ""]},
    ],
)
def test_whatever_a_row_holds_changes_the_revision(changes):
    assert revision(**changes) != revision()


def test_order_and_names_of_rows_do_not():
    assert revision(**{name: cells[::-1] for name, cells in COLUMNS.items()}) == revision()
    assert revision(row_id=["1", "2", "3"], hpo_ids=[["HP:1", "HP:2"], ["HP:1"], ["HP:3"]]) == revision()


def test_rows_without_a_group_are_those_of_a_table_without_the_column():
    assert revision(group_id=["", "", ""]) == revision(group_id=None)
