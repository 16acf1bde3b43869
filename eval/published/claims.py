"""Checks of what a paper says of its table: means, differences, who is best, and rows that two tables share."""

from typing import Any

import numpy as np

from phenolip.eval.published.tables import EPSILON, Outcome, PublishedTable, load_published


def mean(table: PublishedTable, column: str, of: list[str]) -> Outcome:
    """Is a column the unweighted mean of others?"""
    bad = []
    for row in table.rows:
        exact, printed = np.mean([table.cell(row, name) for name in of]), table.cell(row, column)
        if abs(exact - printed) > 2 * table.half_unit + EPSILON:  # of the mean itself, and of what it is the mean of
            bad.append(f"{row}: printed {table.shown(printed)}, mean {exact:.4f}")
    return f"`{column}` is the unweighted mean of {len(of)} columns", not bad, bad


def difference(table: PublishedTable, text: str, says: float, of: dict[str, Any], less: dict[str, Any]) -> Outcome:
    """Is a difference that the text claims that of the printed values?"""
    columns = table.match(of["columns"])
    ours = np.mean([table.cell(of["row"], name) for name in columns])
    others = {
        row: np.mean([table.cell(row, name) for name in table.match(less["columns"])])
        for row in table.rows
        if row != of["row"]
    }
    named = max(others, key=others.get) if less.get("best_of_others") else less["row"]
    found = ours - others[named]
    tolerance = 3 * table.half_unit + EPSILON
    over = f"{of['row']} {ours:.2f} less {named} {others[named]:.2f} is {found:.2f}, claimed {says:.2f}"
    if abs(found - says) <= tolerance:
        return text, True, [over]
    fits = [row for row, value in others.items() if abs(ours - value - says) <= tolerance]
    return text, False, [over + (f"; it is the difference to {', '.join(fits)}" if fits else "")]


def highest(table: PublishedTable, text: str, row: str, columns: list[str]) -> Outcome:
    """Is a row the best of each column?"""
    bad = []
    for column in table.match(columns):
        best = max(table.rows, key=lambda name: table.cell(name, column))
        if table.cell(best, column) > table.cell(row, column):
            bad.append(f"{column}: {_shown(table, best, column)}, {_shown(table, row, column)}")
    return f"{text}: {row} is highest in each of {len(table.match(columns))} columns", not bad, bad


def beats(
    table: PublishedTable, text: str, row: str, columns: list[str], others: list[str], other_columns: list[str]
) -> Outcome:
    """Is a row, in its columns, above other rows in theirs?"""
    bad = [
        f"{column}: {_shown(table, row, column)}, {against}: {_shown(table, other, against)}"
        for column, against in zip(columns, other_columns, strict=True)
        for other in others
        if table.cell(row, column) <= table.cell(other, against)
    ]
    return text, not bad, bad


def above(table: PublishedTable, text: str, row: str, than: str, columns: list[str]) -> Outcome:
    """Is one row above another in every column?"""
    bad = [
        f"{name}: {table.shown(table.cell(row, name))} after {table.shown(table.cell(than, name))}"
        for name in table.match(columns)
        if table.cell(row, name) <= table.cell(than, name)
    ]
    return f"{text}: {row} is above {than} in every column", not bad, bad


def _shown(table: PublishedTable, row: str, column: str) -> str:
    return f"{row} {table.shown(table.cell(row, column))}"


def at_most(table: PublishedTable, column: str, other: str, other_column: str, because: str) -> Outcome:
    """Is a column nowhere above one of another table?"""
    second = load_published(other)
    bad = [
        f"{row}: {table.shown(table.cell(row, column))} against {second.shown(second.cell(row, other_column))}"
        for row in table.rows
        if table.cell(row, column) > second.cell(row, other_column)
    ]
    return f"`{column}` ≤ `{other_column}` of {other}, since {because}", not bad, bad


def same_row(table: PublishedTable, row: str, other: str, other_row: str, columns: dict[str, str]) -> Outcome:
    """Are a row here and one of another table equal, but for printed digits?"""
    second = load_published(other)
    slack = table.half_unit * (table.decimals != second.decimals) + EPSILON
    bad = [
        f"{name}: {table.cell(row, name)} here, {second.cell(other_row, twin)} there"
        for name, twin in columns.items()
        if abs(table.cell(row, name) - second.cell(other_row, twin)) > slack
    ]
    return f"{row} has the values of {other_row} in {other}", not bad, bad


def same_words(table: PublishedTable, other: str, fields: list[str], because: str) -> Outcome:
    """Does another table say the same of each row?"""
    second = load_published(other)
    bad = [
        f"{row}: {name} {table.words[row][name]} here, {second.words[row][name]} there"
        for row in table.rows
        for name in fields
        if table.words[row][name] != second.words[row][name]
    ]
    return f"{', '.join(fields)} as in {other}, since {because}", not bad, bad
