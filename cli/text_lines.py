"""Files of texts, a JSON object a line, as `phenolip link` and `phenolip extract` read them."""

import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from phenolip.exceptions import DataError


def read_lines(source: str, name: str) -> Iterator[str]:
    """Lines with something in them; bytes that are no UTF-8 become marks, which no wording holds.

    Args:
        source: A file; "-" is standard input.
        name: Of the command, for the bar.

    Raises:
        DataError: The file cannot be read.
    """
    if source == "-":
        yield from (line for line in sys.stdin if line.strip())
        return
    path = Path(source)
    try:
        with (
            path.open(encoding="utf-8", errors="replace") as lines,
            tqdm(total=path.stat().st_size, unit="B", unit_scale=True, desc=name, disable=None) as bar,
        ):
            for line in lines:
                bar.update(len(line))
                if line.strip():
                    yield line
    except OSError as error:
        raise DataError(f"Cannot read `--input` {source}: {error.strerror or error}.") from None


def check_bad_lines(source: str, num_bad: int, num_lines: int, max_bad_fraction: float, first_problem: str) -> None:
    """Raises DataError where more lines are bad than may be."""
    if num_bad > max_bad_fraction * num_lines:
        raise DataError(
            f"{source}: {num_bad} of {num_lines} lines are bad, more than `--max_bad_fraction` {max_bad_fraction} "
            f"allows; the first is {first_problem}."
        )
