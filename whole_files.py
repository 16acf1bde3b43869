"""Files that are there whole under their name, or not at all."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """A file to write that takes the place of `path` when the work has ended, and vanishes if it fails.

    Until then it has a name beside it, `.NAME.*.partial`; it is put on the disk before it is renamed. Missing folders
    are made.

    Args:
        path: Where the file comes to be.
        mode: "wb", or "w" for UTF-8.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(f"{folder}/new/a.txt", "w") as file:
        ...         _ = file.write("whole")
        ...     Path(folder, "new", "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with partial.open(mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
