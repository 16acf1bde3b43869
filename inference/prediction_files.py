"""Predictions as JSON lines, CSV or phenopackets, into files or onto the screen."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from phenolip.datasets_scripts.bench_csv import safe_cell
from phenolip.exceptions import ConfigurationError
from phenolip.whole_files import whole_file

FORMATS = ("table", "jsonl", "csv", "phenopacket")
_SUFFIXES = {".jsonl": "jsonl", ".csv": "csv"}


def output_format(wanted: str | None, output: str | None, as_json: bool) -> str:
    """The format that `--format`, `--output` and `--json` ask for together.

    Raises:
        ConfigurationError: They contradict each other.
    """
    suffix = Path(output).suffix.casefold() if output else None
    by_output = _SUFFIXES.get(suffix) if suffix else None
    chosen = wanted or ("jsonl" if as_json else None) or by_output or "table"
    if as_json and chosen != "jsonl":
        raise ConfigurationError(f"`--json` must be left out where `--format` is {chosen}.")
    if output is None:
        return chosen
    if chosen == "phenopacket":
        if suffix:
            raise ConfigurationError(f"`--output` must be a folder for one phenopacket an image, got '{output}'.")
    elif by_output != chosen or chosen == "table":
        agree = f" and agree with `--format {wanted}`" if wanted else ""
        raise ConfigurationError(f"`--output` must end in .jsonl or .csv{agree}, got '{output}'.")
    return chosen


def harmless_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: texts that begin like one get an apostrophe, numbers stay.

    Example:
        >>> harmless_cell("=1+1"), harmless_cell(-0.5), harmless_cell("Cataract")
        ("'=1+1", -0.5, 'Cataract')
    """
    return safe_cell(value) if isinstance(value, str) else value


@contextmanager
def record_writer(
    output: str | None, kind: str, columns: Sequence[str]
) -> Iterator[Callable[[Mapping[str, Any], Sequence[Sequence[Any]]], None]]:
    """A function that takes each image's record and its rows, and writes the first as JSON or the others as CSV.

    Args:
        output: The file, there only once all is written; None writes onto the screen at once.
        kind: "jsonl" or "csv".
        columns: Head of the CSV.
    """
    with whole_file(output, "w") if output else _screen() as file:
        if kind == "csv":
            table = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            table.writerow(columns)
        yield (
            lambda record, rows: (
                table.writerows([list(map(harmless_cell, row)) for row in rows])
                if kind == "csv"
                else file.write(json.dumps(record, ensure_ascii=False) + "\n")
            )
        )


@contextmanager
def packet_writer(output: str | None) -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
    """A function that takes an image file and its phenopacket: a file `STEM.json` each, or a line each on the screen.

    Stems that come again get a number: `STEM-2.json`.
    """
    seen: dict[str, int] = {}

    def write(image: str, packet: Mapping[str, Any]) -> None:
        if output is None:
            sys.stdout.write(json.dumps(packet, ensure_ascii=False) + "\n")
            return
        stem = Path(image).stem
        seen[stem] = seen.get(stem, 0) + 1
        name = stem if seen[stem] == 1 else f"{stem}-{seen[stem]}"
        with whole_file(Path(output) / f"{name}.json", "w") as file:
            json.dump(packet, file, ensure_ascii=False, indent=2)
            file.write("\n")

    yield write


@contextmanager
def _screen() -> Iterator[IO[str]]:
    yield sys.stdout
