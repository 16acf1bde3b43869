"""What keeps a folder from being written, in one sentence."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phenolip.exceptions import DataError

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_errors(folder: Path, kept: str = "what is finished") -> Iterator[None]:
    """Puts a DataError in the place of an OSError.

    Args:
        folder: That is written.
        kept: What a further run finds there.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL_DISK:
            raise DataError(f"The disk of {folder} is full: free some space and run again, {kept} is kept.") from error
        raise DataError(f"Folder {folder} cannot be written: {error.strerror or error}.") from error
