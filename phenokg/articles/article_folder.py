"""The folder that articles are fetched into: who may write there, under which names, and what counts as complete.

`PMC12345/PMC12345678.2/` holds the files of a version (the outer name counts thousands of ids), and
`PMC12345/PMC12345678.2.json` beside it, written last, says that they are all there. Files come to be under a temporary
name and are renamed, so that what has its final name is whole, whenever the process is killed.
"""

import json
import os
import unicodedata
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.articles.article_ids import parse_article_id
from phenolip.phenokg.disk_errors import disk_errors
from phenolip.phenokg.records import ArticleId, FetchedArticle, from_row, to_row

_MAX_NAME_BYTES = 255


class ArticleFolder:
    """A folder of fetched articles; its methods may be called from several threads, each for its own article."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._partials = self.root / ".partial"
        self._numbers = count()

    @contextmanager
    def own(self) -> Iterator[None]:
        """Holds the folder for this run alone, and clears what a killed one left half written.

        Raises:
            ConfigurationError: If another run holds it.
            DataError: If it cannot be written.
        """
        lock = FileLock(self.root / ".lock", timeout=0)
        with self.errors():
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                raise ConfigurationError(
                    f"`folder` {self.root} is in use by another run: wait for it, or choose another folder."
                ) from None
        try:
            with self.errors():
                self._partials.mkdir(exist_ok=True)
                for path in self._partials.iterdir():
                    path.unlink()
            yield
        finally:
            lock.release()

    def errors(self) -> AbstractContextManager[None]:
        """Says in one sentence what kept the folder from being written."""
        return disk_errors(self.root, kept="what was fetched")

    def partial(self) -> Path:
        """A new temporary name on the same disk."""
        return self._partials / str(next(self._numbers))

    def keep(self, partial: Path, path: Path) -> None:
        """Gives a file that is whole its final name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, path)

    def path(self, article: ArticleId) -> Path:
        """Where the files of a version are."""
        return self._shard(article) / str(article)

    def finish(self, article: FetchedArticle, choices: dict[str, Any]) -> None:
        """Notes that a version is complete; `choices` is what decided which of its files were fetched."""
        row = {"choices": choices, "article": to_row(article)}
        partial = self.partial()
        with partial.open("w", encoding="utf-8") as file:
            json.dump(row, file)
            file.flush()
            os.fsync(file.fileno())
        self.keep(partial, self._note(ArticleId(article.pmcid, article.version)))

    def complete(self, wanted: ArticleId, choices: dict[str, Any]) -> FetchedArticle | None:
        """A version that is complete for the same choices; for an id without one, that which was the highest."""
        if wanted.version is not None:
            return self._noted(wanted, choices)
        for article in self._noted_versions(wanted):
            found = self._noted(article, choices)
            if found and found.version == max(found.versions, default=0):
                return found
        return None

    def _noted_versions(self, wanted: ArticleId) -> list[ArticleId]:
        """Versions of an article with a note, falling."""
        shard = self._shard(wanted)
        start, end = f"{wanted.pmcid}.", ".json"
        names = os.listdir(shard) if shard.is_dir() else []
        notes = (name.removesuffix(end) for name in names if name.startswith(start) and name.endswith(end))
        return sorted(map(parse_article_id, notes), key=lambda article: -article.version)

    def _noted(self, article: ArticleId, choices: dict[str, Any]) -> FetchedArticle | None:
        note = self._note(article)
        try:
            row = json.loads(note.read_bytes())
            if row["choices"] != choices:
                return None
            found = from_row(row["article"], FetchedArticle, str(note))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{note} is no note of this program: delete it to fetch again ({error}).") from None
        files = (found.xml, *found.media, *([found.metadata] if found.metadata else []))
        return found if all(self._has(file.path, file.num_bytes) for file in files) else None

    def _has(self, path: str, num_bytes: int) -> bool:
        try:
            return (self.root / path).stat().st_size == num_bytes
        except FileNotFoundError:
            return False

    def _note(self, article: ArticleId) -> Path:
        return self._shard(article) / f"{article}.json"

    def _shard(self, article: ArticleId) -> Path:
        return self.root / f"PMC{int(article.pmcid[3:]) // 1000}"


def why_unsafe(name: str) -> str | None:
    """What forbids an object's name as that of a file, on any system; None if nothing does.

    Example:
        >>> why_unsafe("../x.jpg"), why_unsafe("gr 1.jpg")
        ("it has '/'", None)
    """
    if sign := next((sign for sign in name if sign in '/\\:<>"|?*' or unicodedata.category(sign)[0] == "C"), None):
        return f"it has {sign!r}"
    if not name or name[0] in ". " or name[-1] in ". ":
        return "it is empty, or begins or ends with a dot or a space"
    if len(name.encode()) > _MAX_NAME_BYTES:
        return f"it is longer than {_MAX_NAME_BYTES} bytes"
    return None


def folded(name: str) -> str:
    """Equal for names that some systems take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
