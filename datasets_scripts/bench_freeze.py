"""The agreed rows as a numbered version of a benchmark: Parquet, a card, a content hash; never written over."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import datasets
from datasets import Value
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from phenolip.datasets_scripts.bench_facts import ATTRIBUTION
from phenolip.datasets_scripts.bench_folder import AGREEMENT, FROZEN, SPLIT, BenchFolder, read_facts
from phenolip.datasets_scripts.bench_merge import read_verdicts
from phenolip.datasets_scripts.features import PHENOBENCH
from phenolip.datasets_scripts.phenokg_card import HPO_LICENSE_URL
from phenolip.datasets_scripts.tables import (
    MANIFEST,
    data_revision,
    replaced_folder,
    size_category,
    write_card,
    write_parquet,
)
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.provenance import git_commit, package_versions, write_json

#: A row of a frozen benchmark: that of PhenoBench, and under what terms its image may be used.
FROZEN_ROWS = datasets.Features(
    {**PHENOBENCH, **{name: Value("string") for name in ("sha256", "group_id", *ATTRIBUTION)}}
)
TEMPLATE = "bench_card.md.jinja"
_WRITER = "phenolip bench freeze"
_VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})")


def freeze_bench(folder: str | Path, version: str, output: str | Path) -> dict[str, Any]:
    """Write the kept rows as a benchmark that `phenolip eval --data` and `prepare phenobench --source` read.

    Args:
        folder: Working folder whose reviews are merged.
        version: Three numbers, such as "1.0.0".
        output: A new or empty folder.

    Returns:
        The manifest of the benchmark.

    Raises:
        ConfigurationError: The version is none.
        DataError: Nothing is merged, nothing was agreed, the folder is taken, or the version stands for other rows.
    """
    if not _VERSION.fullmatch(version):
        raise ConfigurationError(f"`version` must be three numbers such as 1.0.0, got {version!r}.")
    bench, output = BenchFolder(Path(folder)), Path(output)
    drawn, agreed = bench.drawn(), read_facts(bench.path / AGREEMENT)
    bench.questions()  # the rows are those of the sheet
    if agreed is None or agreed.get("sheet") != drawn["sheet"]:
        raise DataError(f"Folder {folder} holds no merged reviews of its draw; run `phenolip bench merge` first.")
    _check_free(output)
    kept = _kept_rows(bench, read_verdicts(bench, agreed))
    rows = [row for row in kept if row is not None]
    if not rows:
        raise DataError(f"No row of {folder} was agreed right, so there is nothing to freeze.")
    before = read_facts(bench.path / FROZEN) or {}
    with replaced_folder(output) as temporary:
        write_parquet(_with_images(kept, bench), temporary / "data", SPLIT, FROZEN_ROWS)
        revision = _revision(rows)
        if before.get(version, revision) != revision:
            raise DataError(f"`version` {version} of {folder} is frozen with other rows; name a higher one.")
        facts = _facts(rows, version, revision, drawn, agreed)
        write_json(temporary / MANIFEST, facts)
        write_card(temporary, _front(len(rows)), _describe(facts))
    write_json(bench.path / FROZEN, {**before, version: revision})
    return facts


def _check_free(output: Path) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    held = "is in use"
    if output.is_dir() and (facts := read_facts(output / MANIFEST)) and facts.get("written_by") == _WRITER:
        held = f"holds the frozen version {facts.get('version')}"
    raise DataError(f"`output` must be a new or empty folder, {output} {held}; a frozen version is never replaced.")


def _kept_rows(bench: BenchFolder, verdicts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
    """Each row with the phenotypes that were agreed right, without its image; None for one that is not kept."""
    right: dict[int, set[str]] = {}
    for line in verdicts:
        if line["is_row_kept"] and line["outcome"] == "right":
            right.setdefault(line["row"], set()).add(line["hpo_id"])
    return [_frozen(row, right[place]) if place in right else None for place, row in enumerate(bench.rows())]


def _frozen(row: Mapping[str, Any], right: set[str]) -> dict[str, Any]:
    labels = [pair for pair in zip(row["hpo_ids"], row["phenotypes"], strict=True) if pair[0] in right]
    return {
        **{name: row[name] for name in ("caption", "sha256", "group_id", *ATTRIBUTION)},
        "hpo_ids": [hpo_id for hpo_id, _ in labels],
        "phenotypes": [name for _, name in labels],
        "source": row["row_id"],
    }


def _with_images(kept: Sequence[dict[str, Any] | None], bench: BenchFolder) -> Iterator[dict[str, Any]]:
    """The rows that are kept, with the image files that were reviewed."""
    for number, (row, image) in enumerate(zip(kept, bench.images(), strict=True), 1):
        if row is None:
            continue
        if hashlib.sha256(image).hexdigest() != row["sha256"]:
            raise DataError(f"The image of row {number} in {bench.path} is not the one that was reviewed.")
        yield {**row, "image": {"bytes": image, "path": None}}


def _revision(rows: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of the rows as ``load_pairs`` reads them, which is what an evaluation states."""
    columns = {name: [row[name] for row in rows] for name in ("sha256", "hpo_ids", "group_id")}
    captions = [row["caption"].strip() for row in rows]
    return data_revision(datasets.Dataset.from_dict({**columns, "caption": captions}))


def _facts(
    rows: Sequence[Mapping[str, Any]], version: str, revision: str, drawn: Mapping[str, Any], agreed: Mapping[str, Any]
) -> dict[str, Any]:
    """What the manifest and the card state: no path of this machine, no reviewer's name."""
    labels = Counter(hpo_id for row in rows for hpo_id in row["hpo_ids"])
    licenses = Counter(row["license"] or row["license_category"] or "not stated" for row in rows)
    told = (
        *("num_reviewers", "method", "verdicts", "agreement", "agreement_right_or_not", "num_groups", "by_system"),
        *("confusion", "outcomes", "keep_open", "num_rows_left_out"),
    )
    counts = (
        "is_divided",
        "num_candidates",
        "num_excluded_rows",
        "num_rows",
        "num_questions",
        "num_phenotypes",
        "num_groups",
    )
    return {
        "written_by": _WRITER,
        "version": version,
        "data_revision": revision,
        "num_rows": len(rows),
        "num_labels": labels.total(),
        "num_phenotypes": len(labels),
        "licenses": dict(licenses.most_common()),
        "hpo": drawn["hpo"],
        "source": PurePath(drawn["source"]).name,
        "draw": {**{name: drawn[name] for name in counts}, "settings": drawn["draw"]},
        "draw_left_out": drawn["num_rows_left_out"],
        "exclude": [PurePath(table).name for table in drawn["exclude"]],
        "review": {name: agreed[name] for name in told},
        "sheet": drawn["sheet"],
        "git_commit": git_commit(),
        "versions": package_versions(),
    }


def _front(num_rows: int) -> dict[str, Any]:
    return {
        "pretty_name": "PhenoBench",
        "license": "other",
        "license_name": "that-of-each-row",
        "language": ["en"],
        "task_categories": ["zero-shot-image-classification"],
        "tags": ["medical", "phenotype", "hpo"],
        "size_categories": [size_category(num_rows)],
        "configs": [{"config_name": "default", "data_files": [{"split": SPLIT, "path": f"data/{SPLIT}-*.parquet"}]}],
    }


def _describe(facts: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=False, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["commas"] = lambda number: f"{number:,}"
    environment.filters["kappa"] = _kappa
    return environment.get_template(TEMPLATE).render(**facts, license_url=HPO_LICENSE_URL)


def _kappa(found: Mapping[str, Any]) -> str:
    """Kappa with its interval."""
    if found["kappa"] is None:
        return "not defined"
    interval = f" (95 % interval {found['ci95'][0]:.2f} to {found['ci95'][1]:.2f})" if found["ci95"] else ""
    return f"{found['kappa']:.2f}{interval}"
