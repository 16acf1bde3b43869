"""Answers of language models, kept on disk by what was asked: a run that was stopped asks only for what is missing."""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from phenolip.exceptions import DataError
from phenolip.phenokg.backends.chat import Conversation

_WAIT_S = 60.0  # for another process that writes
_KEYS_PER_QUERY = 500
_TABLE = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL, model TEXT NOT NULL)"


def answer_key(
    model_id: str, conversation: Conversation, schema: Mapping[str, Any] | None, max_new_tokens: int
) -> str:
    """SHA-256 of all that an answer depends on: model, prompt and text, schema, length."""
    turns = [[message.role, message.text] for message in conversation]
    asked = json.dumps([model_id, turns, schema, max_new_tokens], sort_keys=True)  # ASCII: lone surrogates too
    return hashlib.sha256(asked.encode("ascii")).hexdigest()


class AnswerCache:
    """Answers by key, in a SQLite file that several processes of a machine may use at the same time.

    Every answer is on the disk when `put` returns. Of two answers to one question the first is kept.

    Args:
        path: Of the file; made if it is not there.

    Raises:
        DataError: If the file is not such a cache, or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = AnswerCache(Path(folder, "answers.sqlite"))
        ...     cache.put("key", "yes", "model")
        ...     cache.get(["key", "other"])
        {'key': 'yes'}
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"`cache` {self._path} cannot be made: {error.strerror or error}.") from None
        self._run(_TABLE)

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """The answers that are known."""
        found: dict[str, str] = {}
        for first in range(0, len(keys), _KEYS_PER_QUERY):
            part = list(keys[first : first + _KEYS_PER_QUERY])
            marks = ",".join("?" * len(part))
            found.update(self._run(f"SELECT key, answer FROM answers WHERE key IN ({marks})", part))
        return found

    def put(self, key: str, answer: str, model_id: str) -> None:
        """Keeps an answer."""
        self._run("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", [key, answer, model_id])

    def forget(self, key: str) -> None:
        """Takes an answer out, such as one that today's checks do not pass."""
        self._run("DELETE FROM answers WHERE key = ?", [key])

    def __len__(self) -> int:
        return self._run("SELECT count(*) FROM answers")[0][0]

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple]:
        """One statement in a connection of its own, so that threads and forked processes share none."""
        try:
            with self._lock, closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as database, database:
                return database.execute(statement, values).fetchall()
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise DataError(f"`cache` {self._path} cannot be used: {error}.") from None
