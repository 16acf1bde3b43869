"""What one step made of one shard, on disk: there whole under its final name, or not at all.

Beside `part-00007.parquet` lie `part-00007.drops.parquet` and a note, `part-00007.json`, which goes first and comes
last: it says of which input, settings and code the two files are, so that a run can tell what it need not do again.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from phenolip.phenokg.disk_errors import disk_errors
from phenolip.phenokg.records import Drop, from_table, to_table
from phenolip.whole_files import whole_file

Record = TypeVar("Record")

NUM_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Counts:
    """What went in and what came of it.

    Attributes:
        num_in: Records in.
        num_out: Records out.
        dropped: Drops by reason.
        examples: First keys of each reason.
        seconds: Work of the step alone.
        num_bytes: Of the Parquet files.
    """

    num_in: int = 0
    num_out: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    num_bytes: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        reasons = sorted(self.dropped | other.dropped)
        return Counts(
            self.num_in + other.num_in,
            self.num_out + other.num_out,
            {reason: self.dropped.get(reason, 0) + other.dropped.get(reason, 0) for reason in reasons},
            {
                reason: (self.examples.get(reason, ()) + other.examples.get(reason, ()))[:NUM_EXAMPLES]
                for reason in reasons
            },
            self.seconds + other.seconds,
            self.num_bytes + other.num_bytes,
        )


@dataclass(frozen=True, slots=True)
class _Note:
    identity: str
    sizes: tuple[int, int]
    counts: Counts


@dataclass(frozen=True, slots=True)
class Part:
    """A step's part of a shard.

    Attributes:
        folder: Of the step.
        number: Of the shard, from 0.
    """

    folder: Path
    number: int

    @property
    def records_path(self) -> Path:
        """Where the records are."""
        return self.folder / f"part-{self.number:05d}.parquet"

    @property
    def drops_path(self) -> Path:
        """Where the Drops are."""
        return self.folder / f"part-{self.number:05d}.drops.parquet"

    @property
    def _note_path(self) -> Path:
        return self.folder / f"part-{self.number:05d}.json"

    def counts(self, identity: str | None = None) -> Counts | None:
        """Counts of a part that is whole, and of this identity if one is given; else None."""
        try:
            note = msgspec.json.decode(self._note_path.read_bytes(), type=_Note)
            sizes = (self.records_path.stat().st_size, self.drops_path.stat().st_size)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return note.counts if note.sizes == sizes and identity in (None, note.identity) else None

    def read(self, record_type: type[Record]) -> list[Record]:
        """The records."""
        return from_table(pq.read_table(self.records_path), record_type, str(self.records_path))

    def read_drops(self) -> list[Drop]:
        """The Drops."""
        return from_table(pq.read_table(self.drops_path), Drop, str(self.drops_path))

    def write(
        self,
        identity: str,
        records: Sequence[Any],
        record_type: type,
        drops: Sequence[Drop],
        *,
        num_in: int,
        seconds: float,
    ) -> None:
        """Takes the place of what was here before."""
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._note_path.unlink(missing_ok=True)  # a kill from here on leaves no note that fits other files
            sizes = (
                write_whole(self.records_path, parquet_bytes(to_table(records, record_type))),
                write_whole(self.drops_path, parquet_bytes(to_table(drops, Drop))),
            )
            counts = count(num_in, len(records), drops, seconds, sum(sizes))
            write_whole(self._note_path, msgspec.json.encode(_Note(identity, sizes, counts)))

    def shrink(self, records: pa.Table, drops: pa.Table, num_in: int | None) -> None:
        """Takes rows out of a part: its identity stays, its counts are those of what is left.

        Args:
            records: Those that stay.
            drops: Those that stay.
            num_in: Records that it would be made of now; None for a first step, which has a record or Drop of each.
        """
        note = msgspec.json.decode(self._note_path.read_bytes(), type=_Note)
        # a kill from here on leaves a note that fits no files, by which the part can be shrunk again
        write_whole(self._note_path, msgspec.json.encode(_Note(note.identity, (-1, -1), note.counts)))
        sizes = (
            write_whole(self.records_path, parquet_bytes(records)),
            write_whole(self.drops_path, parquet_bytes(drops)),
        )
        left = from_table(drops, Drop, str(self.drops_path))
        num_in = len(records) + len(left) if num_in is None else num_in
        counts = count(num_in, len(records), left, note.counts.seconds, sum(sizes))
        write_whole(self._note_path, msgspec.json.encode(_Note(note.identity, sizes, counts)))

    def can_shrink(self) -> bool:
        """Whether it is whole, or was cut off in `shrink`; what a build was killed in is neither."""
        try:
            note = msgspec.json.decode(self._note_path.read_bytes(), type=_Note)
        except (FileNotFoundError, msgspec.MsgspecError):
            return False
        is_there = self.records_path.is_file() and self.drops_path.is_file()
        return is_there and (note.sizes == (-1, -1) or self.counts() is not None)

    def remove(self) -> None:
        """Deletes it, note first."""
        for path in (self._note_path, self.records_path, self.drops_path):
            path.unlink(missing_ok=True)


def count(num_in: int, num_out: int, drops: Sequence[Drop], seconds: float, num_bytes: int) -> Counts:
    """Counts of one batch of records."""
    dropped = Counter(drop.reason for drop in drops)
    examples: dict[str, tuple[str, ...]] = {}
    for drop in drops:
        examples[drop.reason] = (examples.get(drop.reason, ()) + (drop.key,))[:NUM_EXAMPLES]
    return Counts(num_in, num_out, dict(sorted(dropped.items())), examples, seconds, num_bytes)


def part_numbers(folder: Path) -> Iterator[int]:
    """Numbers of the parts in a step's folder, whole or not."""
    names = {path.name.split(".")[0] for path in folder.glob("part-*")} if folder.is_dir() else set()
    return iter(sorted(int(name.removeprefix("part-")) for name in names))


def parquet_bytes(table: pa.Table) -> pa.Buffer:
    """A Parquet file; the same for the same table and versions."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def write_whole(path: Path, data: bytes | pa.Buffer) -> int:
    """Writes a file, whole or not at all; its size in bytes."""
    with whole_file(path) as file:
        return file.write(data)
