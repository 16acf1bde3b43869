"""Images and reports -> a data set of pairs with findings, split by patient; a run that was stopped goes on.

Reports stay on the machine: findings are made by rules, and no message or list holds a word of a report.
"""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from phenolip.datasets_scripts.features import REPORT_PAIRS
from phenolip.datasets_scripts.report_rows import LAYOUTS, ReportSettings, ShardCounts, report_rows
from phenolip.datasets_scripts.report_sources import ReportSource, Study
from phenolip.datasets_scripts.reports_card import describe, front
from phenolip.datasets_scripts.tables import (
    check_replaceable,
    replaced_folder,
    write_card,
    write_lines,
    write_manifest,
)
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.ontology import load_ontology
from phenolip.phenokg.extract_findings import ExtractConfig, FindingExtractor
from phenolip.phenokg.split_pairs import SPLITS
from phenolip.provenance import content_hash, git_commit, package_versions, write_json
from phenolip.whole_files import whole_file

logger = logging.getLogger(__name__)

VERSION = 1  # rises when the same source gives other rows
_ROWS_PER_GROUP = 128
_COUNTS = ".counts"  # folder of the work in progress: a file for each shard that is done


@dataclass(frozen=True)
class _Shard:
    name: str  # "train/train-00000-of-00002"
    studies: Sequence[Study]


def prepare_reports(
    source: str | Path,
    output: str | Path,
    settings: ReportSettings,
    *,
    reports: str | Path | None = None,
    max_bad_fraction: float = 0.01,
    bad_rows_path: str | Path | None = None,
    images_per_shard: int = 1000,
) -> dict[str, Any]:
    """Write ``output/{train,validation,test}`` as Parquet with embedded images, a card and a manifest.

    Shards are written beside the output, in `.NAME.incomplete`, and are kept when a run is stopped: the same call goes
    on after the last whole one. The output takes its place when all is done.

    Args:
        source: As the layout's reader takes it.
        output: Folder to write.
        settings: What is kept, and how.
        reports: Folder of the reports where they lie elsewhere; not for tables.
        max_bad_fraction: Share of the images that may be left out as damaged: image or report missing or unreadable.
        bad_rows_path: JSON Lines file for those: row_id, reason, detail. Written only if there are any.
        images_per_shard: About as many; what a run that is stopped loses at most.

    Returns:
        The manifest.

    Raises:
        DataError: The source cannot be read, has no image, or more is damaged than allowed.
    """
    if not 0 <= max_bad_fraction <= 1:
        raise DataError(f"`max_bad_fraction` must be between 0 and 1, got {max_bad_fraction}.")
    output = Path(output).expanduser().absolute()
    check_replaceable(output)
    if reports is not None and settings.layout == "table":
        raise ConfigurationError("`reports` must be left out for `layout` table, whose rows name their reports.")
    found = LAYOUTS[settings.layout](source, *([reports] if reports is not None else []))
    studies, left_out = _with_views(found, settings.views)
    if not studies:
        raise DataError(f"{source} has no image to prepare; left out: {dict(left_out) or 'nothing'}.")
    extractor = FindingExtractor(ExtractConfig(hpo=settings.hpo))
    work = output.with_name(f".{output.name}.incomplete")
    identity = _open_work(work, studies, settings, extractor, images_per_shard)
    total = sum(len(study.images) for study in studies)
    bad: list[dict[str, str]] = []
    counts: dict[str, list[ShardCounts]] = {split: [] for split in SPLITS}
    with tqdm(total=total, desc="Preparing images", unit="image", disable=None) as bar:
        for shard in _shards(studies, images_per_shard):
            done = _read_counts(work, shard) or _write_shard(work, shard, extractor, settings)
            counts[shard.name.partition("/")[0]].append(done)
            bad += done.bad
            bar.update(sum(len(study.images) for study in shard.studies))
            if len(bad) > max_bad_fraction * total:
                break
    _handle_bad_rows(bad, total, max_bad_fraction, bad_rows_path)
    facts = _facts(counts, left_out, settings, extractor, total)
    if not any(facts["num_rows"].values()):
        raise DataError(f"No image of {source} can be used; left out: {facts['left_out']}.")
    manifest = write_manifest(work, "reports", source=Path(source).name, identity=identity, **facts)
    write_card(work, front(manifest), describe(manifest))
    shutil.rmtree(work / _COUNTS)
    with replaced_folder(output) as temporary:
        temporary.rmdir()
        work.rename(temporary)
    return manifest


def _with_views(found: ReportSource, views: Sequence[str]) -> tuple[list[Study], Counter[str]]:
    if not views:
        return found.studies, found.left_out
    wanted, left_out, studies = {view.casefold() for view in views}, Counter(found.left_out), []
    for study in found.studies:
        kept = tuple(image for image in study.images if (image.view or "").casefold() in wanted)
        left_out["other view"] += len(study.images) - len(kept)
        if kept:
            studies.append(Study(**{name: getattr(study, name) for name in study.__slots__} | {"images": kept}))
    return studies, left_out


def _shards(studies: Sequence[Study], images_per_shard: int) -> Iterator[_Shard]:
    for split in SPLITS:
        shards: list[list[Study]] = []
        num_images = images_per_shard
        for study in studies:
            if study.split != split:
                continue
            if num_images >= images_per_shard:
                shards.append([])
                num_images = 0
            shards[-1].append(study)
            num_images += len(study.images)
        for number, own in enumerate(shards):
            yield _Shard(f"{split}/{split}-{number:05d}-of-{len(shards):05d}", own)


def _open_work(
    work: Path, studies: Sequence[Study], settings: ReportSettings, extractor: FindingExtractor, images_per_shard: int
) -> str:
    """Keeps what an earlier run of the same call has done, and begins anew where anything differs."""
    rows = [f"{study.split} {study.study_id} {image.row_id}" for study in studies for image in study.images]
    given = [str(VERSION), json.dumps(asdict(settings)), extractor.key(""), str(images_per_shard)]
    identity = content_hash([*given, *rows])
    path = work / _COUNTS / "identity.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) == identity:
        return identity
    shutil.rmtree(work, ignore_errors=True)
    write_json(path, identity)
    return identity


def _read_counts(work: Path, shard: _Shard) -> ShardCounts | None:
    path = work / _COUNTS / f"{shard.name}.json"
    if not path.is_file():
        return None
    counts = ShardCounts(**json.loads(path.read_text(encoding="utf-8")))
    for name in ("left_out", "sections", "assertions"):
        setattr(counts, name, Counter(getattr(counts, name)))
    return counts


def _write_shard(work: Path, shard: _Shard, extractor: FindingExtractor, settings: ReportSettings) -> ShardCounts:
    counts = ShardCounts()
    rows = report_rows(shard.studies, extractor, settings, counts)
    schema = REPORT_PAIRS.arrow_schema
    with whole_file(work / f"{shard.name}.parquet") as file, pq.ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
    write_json(work / _COUNTS / f"{shard.name}.json", vars(counts))
    return counts


def _handle_bad_rows(
    bad: Sequence[dict[str, str]], total: int, max_bad_fraction: float, path: str | Path | None
) -> None:
    if not bad:
        return
    listed = ""
    if path is not None:
        write_lines(Path(path), bad)
        listed = f", listed in {path}"
    reasons = ", ".join(f"{reason}: {n}" for reason, n in Counter(row["reason"] for row in bad).most_common())
    if len(bad) > max_bad_fraction * total:
        raise DataError(
            f"{len(bad)} of {total} images cannot be used ({reasons}){listed}, more than `max_bad_fraction` "
            f"{max_bad_fraction:g} allows; the first is {bad[0]['row_id']}."
        )
    logger.warning("%d of %d images cannot be used and are left out (%s)%s.", len(bad), total, reasons, listed)


def _facts(
    counts: dict[str, list[ShardCounts]],
    left_out: Counter[str],
    settings: ReportSettings,
    extractor: FindingExtractor,
    total: int,
) -> dict[str, Any]:
    every = [shard for shards in counts.values() for shard in shards]
    reasons = Counter(row["reason"] for shard in every for row in shard.bad)
    return {
        "version": VERSION,
        "settings": {name: value for name, value in asdict(settings).items() if name != "hpo"},
        "num_images": total,
        "num_rows": {split: sum(shard.num_rows for shard in shards) for split, shards in counts.items()},
        "num_patients": {
            split: len({patient for shard in shards for patient in shard.patients}) for split, shards in counts.items()
        },
        "num_rows_with_present_findings": sum(shard.num_with_present for shard in every),
        "findings_by_assertion": dict(sum((shard.assertions for shard in every), Counter()).most_common()),
        "texts_from": dict(sum((shard.sections for shard in every), Counter()).most_common()),
        "left_out": dict(sum((shard.left_out for shard in every), left_out)),
        "bad_rows": dict(reasons.most_common()),
        "license": settings.stated.get("license_text"),
        "license_url": settings.stated.get("license_url"),
        "extractor": extractor.name,
        "hpo_release": load_ontology(settings.hpo).release,
        "git_commit": git_commit(),
        "versions": package_versions(),
    }
