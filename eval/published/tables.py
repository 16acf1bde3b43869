"""The eleven tables of the two papers: one YAML file a table, read into one record."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from phenolip.exceptions import ConfigurationError

FOLDER = Path(__file__).parent
EPSILON = 1e-9
Outcome = tuple[str, bool, list[str]]  # of a check: what was asked, whether all agrees, details


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A table as it is printed.

    Attributes:
        name: Name of its file.
        title: What it is about.
        source: Paper and number or caption of the table.
        columns: In the order of the paper.
        rows: Model -> its values in percent, as printed.
        words: Model -> what the table says of it besides (its encoders).
        n: Stated numbers behind the values.
        checks: What `run_checks` asks of it.
        measured_as: Column -> the metric and tasks by which `phenolip eval` measures it, and what differs.
        decimals: Printed digits after the point.
    """

    name: str
    title: str
    source: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    words: dict[str, dict[str, str]]
    n: dict[str, int]
    checks: tuple[dict[str, Any], ...]
    measured_as: dict[str, dict[str, Any]] = field(default_factory=dict)
    decimals: int = 2

    @property
    def half_unit(self) -> float:
        """The farthest that a printed value may lie from the exact one."""
        return 0.5 * 10**-self.decimals

    def cell(self, row: str, column: str) -> float:
        """One printed value."""
        return self.rows[row][self.columns.index(column)]

    def match(self, patterns: Sequence[str]) -> list[str]:
        """The columns that the patterns (as of a shell) name, in the table's order."""
        return [name for name in self.columns if any(fnmatchcase(name, pattern) for pattern in patterns)]

    def shown(self, value: float) -> str:
        """A value with the digits that are printed."""
        return f"{value:.{self.decimals}f}"


def list_published() -> list[str]:
    """Names of the tables."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def load_published(name: str) -> PublishedTable:
    """One table by its name.

    Raises:
        ConfigurationError: There is no such table.

    Example:
        >>> load_published("phenolip_zero_shot").cell("PhenoLIP", "average")
        36.56
    """
    if name not in list_published():
        close = get_close_matches(name, list_published(), n=2)
        hint = f" Close: {', '.join(map(repr, close))}." if close else ""
        raise ConfigurationError(f"Unknown table {name!r}.{hint} Tables: {', '.join(list_published())}.")
    data = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    rows = data.pop("rows")
    return PublishedTable(
        name=name,
        columns=tuple(data.pop("columns")),
        rows={row["name"]: tuple(map(float, row["values"])) for row in rows},
        words={
            row["name"]: {key: value for key, value in row.items() if key not in ("name", "values")} for row in rows
        },
        checks=tuple(data.pop("checks")),
        **data,
    )
