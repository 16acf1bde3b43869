"""The oldest versions of libraries that are safe with files from strangers, checked where such a file is opened."""

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from phenolip.exceptions import ConfigurationError

FLOORS = {  # below each, a known hole lies in the reading of files
    "torch": "2.10",
    "transformers": "5.10",
    "datasets": "5.0.1",
    "pyarrow": "23.0.1",
    "pillow": "12.2",
    "lxml": "6.1",
}


@cache
def require_floor(package: str) -> None:
    """Refuses to go on with a library that has a known hole; the library is not imported.

    Args:
        package: One of `FLOORS`, by its name in the package index.

    Raises:
        ConfigurationError: The installed version is older; a missing one is left to its import.
    """
    try:
        found = version(package)
    except PackageNotFoundError:
        return
    if _numbers(found) < _numbers(FLOORS[package]):
        raise ConfigurationError(
            f"`{package}` must be {FLOORS[package]} or newer, since older ones have known holes, got {found}: "
            f'`pip install "{package}>={FLOORS[package]}"`.'
        )


def _numbers(text: str) -> tuple[int, ...]:
    """The release numbers of a version, trailing zeros left out: 12.0+cpu -> (12,)."""
    release = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in release[0].split(".")] if release else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
