"""Taking out what a survey found. A journal says what goes until all has gone: a run cut off is ended by the next.

The journal is needed since the names and texts that lead to a cache stand in tables, which may be gone by then. It is
readable by its owner alone, lies in the first folder, and is deleted at the end.
"""

import hashlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.forget.findings import Findings
from phenolip.forget.row_files import kept_batches, rewrite
from phenolip.forget.selection import Selection
from phenolip.forget.survey import files_below
from phenolip.inference.embed_dataset import SETTINGS
from phenolip.inference.embedding_index import MANIFEST, MAPPED_FOLDER
from phenolip.phenokg.forgotten import MARKER, add_forgotten
from phenolip.provenance import content_hash, write_json
from phenolip.whole_files import whole_file

JOURNAL = ".forgetting"
_LOCK = re.compile(r"(?:\.[0-9a-f]{16})?\.lock")  # of a folder, and of a part of stored text features
_PART = re.compile(r"part-(\d+)(?:\.drops)?\.parquet")
_JOURNALLED = ("names", "groups", "hashes", "learned", "texts")


@contextmanager
def locked(roots: list[Path]) -> Iterator[None]:
    """Holds every lock of ours that lies below some folders: no build, run or cache writes meanwhile.

    Other files that end in ".lock", such as those of package managers, hold something: opening them as locks may empty
    them.

    Raises:
        ConfigurationError: One is held by another process.
    """
    with ExitStack() as stack:
        for path in [path for path in files_below(roots) if _LOCK.fullmatch(path.name)]:
            try:
                stack.enter_context(FileLock(path).acquire(timeout=0))
            except Timeout:
                raise ConfigurationError(
                    f"`dir` {path.parent} is in use by another run: wait for it, and repeat."
                ) from None
        yield


def take_up(roots: list[Path], selection: Selection) -> set[Path]:
    """Adds to a selection what runs that were cut off still had to remove.

    Returns:
        Folders whose manifests these runs had yet to write.

    Raises:
        ConfigurationError: Such a run had further folders, which are not named now.
        DataError: A journal is damaged.
    """
    folders: set[Path] = set()
    for path in _journals(roots):
        try:
            journal = json.loads(path.read_text(encoding="utf-8"))
            for name in _JOURNALLED:
                getattr(selection, name).update(journal[name])
            folders.update(map(Path, journal["folders"]))
            left = [Path(root) for root in journal["roots"] if Path(root).is_dir()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged; delete it, and name all rows again.") from error
        if absent := [root for root in left if not any(one in (root, *root.parents) for one in roots)]:
            places = ", ".join(map(str, absent))
            raise ConfigurationError(
                f"`dir` must name {places} too: a run that was cut off has yet to take rows from it (see {path})."
            )
    return {folder for folder in folders if folder.is_dir()}


def remove(roots: list[Path], found: Findings, selection: Selection, unfinished: Collection[Path] = ()) -> None:
    """Removes; every file that stays is written whole or not at all.

    Args:
        roots: Folders of the user.
        found: What goes.
        selection: By which it was found.
        unfinished: What `take_up` returned.

    Raises:
        DataError: A file cannot be written; the same call goes on.
    """
    try:
        folders = {folder for path in (*found.rows, *found.figures) for folder in path.parents} | set(unfinished)
        builds = sorted({path.parent for root in roots for path in root.rglob(MARKER)})
        kinds = {folder: kind for folder in sorted(folders) if (kind := _kind(folder)) is not None}
        _write_journal(roots, selection, kinds)
        for folder in builds:
            add_forgotten(folder, sorted(selection.names | selection.learned))
        _remove_derived(found)
        _remove_rows(found, builds)
        for path in (*found.images, *found.articles):
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in found.articles}:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        for folder, recount in kinds.items():
            recount(folder)
        for path in _journals(roots):
            path.unlink()
    except OSError as error:
        raise DataError(
            f"{error.filename or 'A file'} cannot be changed ({error.strerror}); what is done stays done, run again."
        ) from error


def _journals(roots: list[Path]) -> list[Path]:
    return [path for path in files_below(roots) if path.name == JOURNAL]


def _write_journal(roots: list[Path], selection: Selection, folders: Collection[Path]) -> None:
    before = os.umask(0o077)
    try:
        values = {name: sorted(getattr(selection, name)) for name in _JOURNALLED}
        places = {"roots": sorted(map(str, roots)), "folders": sorted(map(str, folders))}
        with whole_file(roots[0] / JOURNAL, "w") as file:
            file.write(json.dumps({**values, **places}))  # as ASCII, since a text may hold half of a sign
    finally:
        os.umask(before)


def _kind(folder: Path) -> Callable[[Path], None] | None:
    """What writes the manifest of a folder anew: of a build, an index or a prepared data set."""
    if (folder / MARKER).is_file():
        return _recount_build
    if (folder / SETTINGS).is_file() and any(folder.glob("embeddings-*.parquet")):
        return _recount_index
    if str(_json(folder / MANIFEST).get("written_by", "")).startswith("phenolip prepare"):
        return _recount_prepared
    return None


def _remove_derived(found: Findings) -> None:
    for path in (*found.gathered, *found.pages, *found.partials, *found.kgx):
        path.unlink(missing_ok=True)
    for folder in found.arrow:
        shutil.rmtree(folder, ignore_errors=True)
        Path(f"{folder}_builder.lock").unlink(missing_ok=True)
    for path, gone in found.text_features.items():
        kept = np.delete(np.load(path, allow_pickle=False), gone)
        if len(kept):
            with whole_file(path) as file:
                np.save(file, kept, allow_pickle=False)
        else:
            path.unlink()
    for path, keys in found.answers.items():
        try:
            _remove_answers(path, keys)
        except sqlite3.Error as error:
            raise DataError(f"{path} cannot be changed ({error}); what is done stays done, run again.") from error


def _remove_answers(path: Path, keys: list[str]) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA secure_delete = ON")
        database.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in keys])
        database.commit()
        database.execute("VACUUM")


def _remove_rows(found: Findings, builds: Collection[Path]) -> None:
    paths = {**found.rows, **found.figures}
    parts: set[tuple[Path, int]] = set()
    for path in sorted(paths):
        is_step = path.parent.name[:2].isdigit() and (path.parent.parent / MARKER).is_file()
        if is_step and (part := _PART.fullmatch(path.name)):
            parts.add((path.parent, int(part[1])))
            continue
        rewrite(path, found.rows.get(path, ()), found.figures.get(path))
    if parts or builds:
        _shrink_parts(parts, builds, found)


def _shrink_parts(parts: set[tuple[Path, int]], builds: Collection[Path], found: Findings) -> None:
    """Parts of steps, those that later steps made of them and that count these, and those that are not whole."""
    from phenolip.phenokg.parts import Part, part_numbers  # needs the extra "phenokg", as a build does

    for step in [step for build in builds for step in build.glob("[0-9][0-9]-*")]:
        parts |= {(step, number) for number in part_numbers(step) if Part(step, number).counts() is None}
    for folder, number in list(parts):
        steps = [step for step in folder.parent.glob("[0-9][0-9]-*") if step.name > folder.name]
        parts |= {(step, number) for step in steps if Part(step, number).records_path.is_file()}
    for folder, number in sorted(parts, reverse=True):
        part = Part(folder, number)
        if not part.can_shrink():  # a build was killed in it, and the next one makes it again
            part.remove()
            continue
        inputs = [
            Part(before, number).records_path for before in folder.parent.glob(f"{int(folder.name[:2]) - 1:02d}-*")
        ]
        num_in = [pq.read_metadata(path).num_rows - len(found.rows.get(path, ())) for path in inputs if path.is_file()]
        part.shrink(_left(part.records_path, found), _left(part.drops_path, found), num_in[0] if num_in else None)


def _left(path: Path, found: Findings) -> pa.Table:
    batches = kept_batches(path, found.rows.get(path, ()), found.figures.get(path, {}))
    return pa.Table.from_batches(batches, pq.read_schema(path))


def _recount_index(folder: Path) -> None:
    """Sizes and hashes of shards, and another fingerprint of the data, so that `phenolip embed` starts anew."""
    for name in (SETTINGS, MANIFEST):
        facts = _json(folder / name)
        if not facts:
            continue
        facts["data_fingerprint"] = content_hash([str(facts.get("data_fingerprint")), "without some rows"])
        if name == MANIFEST:
            for shard in facts["shards"]:
                path = folder / shard["file"]
                with path.open("rb") as file:
                    shard["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
                shard |= {"num_rows": pq.read_metadata(path).num_rows, "num_bytes": path.stat().st_size}
            facts["num_rows"] = sum(shard["num_rows"] for shard in facts["shards"])
        write_json(folder / name, facts)
    shutil.rmtree(folder / MAPPED_FOLDER, ignore_errors=True)


def _recount_prepared(folder: Path) -> None:
    manifest = _json(folder / MANIFEST)
    for facts in (manifest, manifest.get("pairs")):
        if not isinstance(facts, dict) or "num_rows" not in facts:
            continue
        if isinstance(facts["num_rows"], dict):
            facts["num_rows"] = {split: _num_rows(folder, split, old) for split, old in facts["num_rows"].items()}
        else:
            facts["num_rows"] = sum(pq.read_metadata(path).num_rows for path in folder.glob("**/*.parquet"))
    manifest.pop("data_revision", None)  # of the rows as they were
    manifest["rows_were_forgotten"] = True
    for other in manifest.get("also") or ():
        other.pop("row_ids_linked_to_validation", None)
    write_json(folder / MANIFEST, manifest)


def _num_rows(folder: Path, split: str, old: int) -> int:
    tables = [*folder.glob(f"{split}/*.parquet"), *folder.glob(f"pairs/{split}-*.parquet")]
    return sum(pq.read_metadata(path).num_rows for path in tables) if tables else old


def _recount_build(folder: Path) -> None:
    from phenolip.phenokg.shrink_build import recount  # needs the extra "phenokg", as a build does

    if manifest := _json(folder / MANIFEST):
        recount(folder, manifest)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
