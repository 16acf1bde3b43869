"""Articles to the table of pairs: ordered steps over shards of the corpus, resumable, counted.

Each step writes a part for each shard, `OUT/<place>-<step>/part-<shard>.parquet`, with its Drops and a note of what it
was made from. A part that is there for the same articles, settings and code is not made again, so a run that was
killed goes on where it was, and a changed setting costs the steps from there on. At the end the last step looks at all
pairs together, and `OUT/tables/` appears by one rename, then `OUT/manifest.json`, which names its files and counts
what every step took, gave and dropped. Where there is a manifest, the tables are whole and belong to it.

An engine decides where shards are worked on; the function is the same. Memory holds one shard at a time, and at the
end the hashes and ids of all pairs.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from phenolip import __version__
from phenolip.exceptions import ConfigurationError, DataError, PhenoLIPError
from phenolip.phenokg.articles.article_ids import read_article_ids
from phenolip.phenokg.articles.article_xml import find_articles
from phenolip.phenokg.build_config import BuildConfig, Stage, described
from phenolip.phenokg.disk_errors import disk_errors
from phenolip.phenokg.forgotten import MARKER, Forgotten, read_forgotten
from phenolip.phenokg.parts import Counts, Part, count
from phenolip.phenokg.records import ArticleFile, Drop, to_row, to_table
from phenolip.phenokg.shards import SOURCE, Shard, write_shards
from phenolip.phenokg.split_pairs import KEYS, SPLITS, plan
from phenolip.phenokg.table_files import TableFiles, read_manifest, write_manifest
from phenolip.provenance import content_hash, git_commit, package_versions

Engine = Callable[[Callable[[Shard], None], Sequence[Shard]], Iterator[Shard]]

FORMAT_VERSION = 1  # rises when parts of an earlier version must not be used
#: What a record is dropped for without being damaged: a choice of the settings, or a property that articles have.
NO_DAMAGE = frozenset(
    "not_jats link duplicate retracted no_license license_not_wanted no_caption no_phenotype no_graphic not_medical "
    "small_subfigure duplicate_id duplicate_image near_duplicate blank_image".split()
)
_PACKAGES = ("lxml", "ahocorasick-rs", "msgspec", "pyarrow", "ImageHash", "scipy")
_MIN_RECORDS = 1_000  # after which a run over its `max_dropped_fraction` ends early


@dataclass(frozen=True, slots=True)
class ShardWork:
    """What is done with a shard; goes to workers as it is.

    Attributes:
        output: Folder of the build.
        stages: Steps but the last, which needs all shards.
        forgotten: What no step may give.
    """

    output: Path
    stages: tuple[Stage, ...]
    forgotten: Forgotten = Forgotten()

    def part(self, place: int, number: int) -> Part:
        """The part of a shard that the step at a place makes, from 1; 0 are its articles."""
        name = SOURCE if place == 0 else f"{place:02d}-{self.stages[place - 1].step.name}"
        return Part(self.output / name, number)

    def identities(self, shard: Shard) -> list[str]:
        """Of the articles, then of each step's part."""
        identities = [content_hash([f"{FORMAT_VERSION} {__version__}", shard.identity])]
        for stage in self.stages:
            identities.append(content_hash([identities[-1], stage.identity]))
        return identities

    def __call__(self, shard: Shard) -> None:
        """Makes the parts that are not there yet."""
        records: list[Any] | None = None  # of the step before, if it has just made them
        identities = self.identities(shard)
        for place, stage in enumerate(self.stages, 1):
            part = self.part(place, shard.number)
            if part.counts(identities[place]) is not None:
                records = None
                continue
            if records is None:
                records = self.part(place - 1, shard.number).read(stage.step.takes)
            records = _run_step(stage, records, part, identities[place], self.forgotten)


def run_here(work: Callable[[Shard], None], shards: Sequence[Shard]) -> Iterator[Shard]:
    """The engine of one process."""
    for shard in shards:
        work(shard)
        yield shard


def build(config: BuildConfig, engine: Engine = run_here, progress: bool | None = None) -> dict[str, Any]:
    """Builds the tables, or what is missing of them.

    Args:
        config: What is built.
        engine: Calls a function with every shard, in any order, and yields those that are finished.
        progress: Show bars on stderr; None shows them on a terminal only.

    Returns:
        The manifest.

    Raises:
        ConfigurationError: If another run has the output folder, or it is of something else.
        DataError: If the disk is full, or too much is dropped as damaged.
    """
    output = Path(os.path.abspath(config.output))
    with _own(output):
        forgotten = read_forgotten(output)
        shards, found = _find_shards(config, output, forgotten)
        work = ShardWork(output, config.stages[:-1], forgotten)
        finals = [work.identities(shard)[-1] for shard in shards]
        identity = content_hash([*finals, config.stages[-1].identity])
        facts = {"identity": identity, "articles": os.path.abspath(config.articles), "config": described(config)}
        if (manifest := read_manifest(output)) is not None and facts.items() <= manifest.items():
            return manifest
        _run_shards(work, shards, engine, config.max_dropped_fraction, progress)
        totals = found | _totals(work, shards)
        _check_drops(totals, config.max_dropped_fraction, min_records=1)
        return _publish(config, work, shards, totals, facts)


@contextmanager
def _own(output: Path) -> Iterator[None]:
    """Holds the folder for this run alone, and clears what a killed one left half written."""
    with disk_errors(output):
        marker = output / MARKER
        if output.exists() and not output.is_dir():
            raise ConfigurationError(f"`output` must be a folder, and {output} is a file.")
        if output.is_dir() and any(output.iterdir()) and not marker.exists():
            raise ConfigurationError(f"`output` {output} holds other files: name a new folder, or that of a build.")
        output.mkdir(parents=True, exist_ok=True)
        marker.touch()
        lock = FileLock(output / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ConfigurationError(
                f"`output` {output} is in use by another run: wait for it, or choose another folder."
            ) from None
    try:
        _clear(output)
        yield
    finally:
        _clear(output)
        lock.release()


def _clear(output: Path) -> None:
    for partial_file in (*output.glob(".*.partial"), *output.glob("[0-9][0-9]-*/.*.partial")):
        if partial_file.is_dir():
            shutil.rmtree(partial_file)
        else:
            partial_file.unlink()


def _find_shards(config: BuildConfig, output: Path, forgotten: Forgotten) -> tuple[list[Shard], dict[str, Counts]]:
    """The corpus in shards, and what was counted on the way."""
    if config.fetch is None:
        articles, name = find_articles(os.path.abspath(config.articles)), "find_articles"
    else:
        articles, name = _fetch(config, forgotten), config.fetch.step.name
    articles = (article for article in articles if not forgotten.covers(_article_name(article)))
    shards = write_shards(output, articles, config.shard_size, name)
    parts = (Part(output / SOURCE, shard.number) for shard in shards)
    counts = sum((part.counts() for part in parts), Counts())
    if not counts.num_out:
        dropped = ", ".join(f"{number} {reason}" for reason, number in counts.dropped.items()) or "nothing"
        raise DataError(
            f"There is no article in {config.articles}, where .xml and .nxml files count; left out: {dropped}."
        )
    return shards, {name: counts}


def _article_name(article: ArticleFile | Drop) -> str:
    return article.key if isinstance(article, Drop) else article.path


def _fetch(config: BuildConfig, forgotten: Forgotten) -> Iterator[ArticleFile | Drop]:
    root = os.path.abspath(config.articles)
    wanted = (
        asked for asked in read_article_ids(config.ids) if isinstance(asked, Drop) or not forgotten.covers(str(asked))
    )
    for fetched in config.fetch.step.run(wanted, config.fetch.config):
        yield fetched if isinstance(fetched, Drop) else ArticleFile(root, fetched.xml.path)


def _run_step(stage: Stage, records: Sequence[Any], part: Part, identity: str, forgotten: Forgotten) -> list[Any]:
    made: list[Any] = []
    drops: list[Drop] = []
    start = time.perf_counter()
    try:
        for outcome in stage.run()(iter(records)):
            (drops if isinstance(outcome, Drop) else made).append(outcome)
    except PhenoLIPError:
        raise
    except Exception as error:
        raise PhenoLIPError(
            f"Step {stage.step.name} failed on shard {part.number}, which is an error of the step "
            f"({type(error).__name__}: {error})."
        ) from error
    seconds = time.perf_counter() - start
    made, drops = forgotten.without(made), forgotten.without(drops)
    part.write(identity, made, stage.step.gives, drops, num_in=len(records), seconds=seconds)
    return made


def _run_shards(
    work: ShardWork, shards: Sequence[Shard], engine: Engine, max_dropped: float, progress: bool | None
) -> None:
    total = sum(shard.num_articles for shard in shards)
    bar = tqdm(total=total, desc="Building", unit="article", disable=None if progress is None else not progress)
    seen: dict[str, Counts] = {}
    with bar:
        for shard in engine(work, shards):
            bar.update(shard.num_articles)
            for name, counts in _totals(work, [shard]).items():
                seen[name] = seen.get(name, Counts()) + counts
            _check_drops(seen, max_dropped, _MIN_RECORDS)


def _totals(work: ShardWork, shards: Sequence[Shard]) -> dict[str, Counts]:
    """Counts of each step over all shards, in their order."""
    totals = {}
    for place, stage in enumerate(work.stages, 1):
        parts = (work.part(place, shard.number) for shard in shards)
        totals[stage.step.name] = sum((part.counts() for part in parts), Counts())
    return totals


def _check_drops(totals: dict[str, Counts], max_fraction: float, min_records: int) -> None:
    for name, counts in totals.items():
        damaged = {reason: number for reason, number in counts.dropped.items() if reason not in NO_DAMAGE}
        number = sum(damaged.values())
        if counts.num_in < min_records or number <= max_fraction * counts.num_in:
            continue
        commonest = max(damaged, key=damaged.__getitem__)
        raise DataError(
            f"Step {name} dropped {number} of {counts.num_in} records as damaged, more than `max_dropped_fraction` "
            f"{max_fraction:g} allows; the commonest reason is {commonest} ({damaged[commonest]}, such as "
            f"{counts.examples[commonest][0]})."
        )


def _publish(
    config: BuildConfig, work: ShardWork, shards: Sequence[Shard], totals: dict[str, Counts], facts: dict[str, Any]
) -> dict[str, Any]:
    """The last step over all pairs, the tables, the manifest."""
    last, start = config.stages[-1], time.perf_counter()
    paths = [work.part(len(work.stages), shard.number).records_path for shard in shards]
    keys = pa.concat_tables(pq.read_table(path, columns=list(KEYS)) for path in paths)
    planned = plan(keys, last.config)
    numbers = {name: int((planned.splits == place).sum()) for place, name in enumerate(SPLITS)}
    with disk_errors(work.output), TableFiles(work.output) as tables:
        offset = 0
        for path in paths:
            pairs = pq.read_table(path)
            tables.add_pairs(pairs, planned.splits[offset : offset + len(pairs)])
            offset += len(pairs)
        for place in range(len(work.stages) + 1):
            for shard in shards:
                tables.add_drops(pq.read_table(work.part(place, shard.number).drops_path))
        tables.add_drops(to_table(planned.drops, Drop))
        files = tables.publish()
        num_bytes = sum(file["num_bytes"] for file in files.values())
        seconds = time.perf_counter() - start
        totals = totals | {last.step.name: count(len(keys), sum(numbers.values()), planned.drops, seconds, num_bytes)}
        manifest = facts | {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "steps": {name: _described(counts) for name, counts in totals.items()},
            "splits": numbers,
            "tables": files,
            "hpo": next((to_row(stage.hpo) for stage in work.stages if stage.hpo), None),
            "versions": package_versions(*_PACKAGES),
            "git_commit": git_commit(),
        }
        write_manifest(work.output, manifest)
    return manifest


def _described(counts: Counts) -> dict[str, Any]:
    return {
        "in": counts.num_in,
        "out": counts.num_out,
        "dropped": counts.dropped,
        "examples": {reason: list(keys) for reason, keys in counts.examples.items()},
        "seconds": round(counts.seconds, 3),
        "records_per_s": round(counts.num_in / counts.seconds, 1) if counts.seconds else None,
        "num_bytes": counts.num_bytes,
    }
