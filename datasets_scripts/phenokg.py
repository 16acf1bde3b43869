"""PhenoKG as a ``datasets`` builder: the configurations terms, relations and pairs.

`prepare_phenokg` writes the tables as Parquet with a card, ready for a Hub, and then has the builder put the same
tables into the cache, where ``load_dataset("phenokg", "terms")`` finds them.
"""

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from phenolip.datasets_scripts.builder_cache import default_folder, forget_others
from phenolip.datasets_scripts.features import PAIRS, RELATIONS, TERMS
from phenolip.datasets_scripts.kg_tables import KgBuild, pair_row, present_ids, relation_rows, row_id, term_rows
from phenolip.datasets_scripts.kgx import export_kgx
from phenolip.datasets_scripts.phenokg_card import describe, front
from phenolip.datasets_scripts.tables import replaced_folder, write_card, write_lines, write_manifest, write_parquet
from phenolip.exceptions import DataError
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology
from phenolip.phenokg.records import FigurePair
from phenolip.phenokg.split_pairs import SPLITS

logger = logging.getLogger(__name__)

NAME = "phenokg"
TABLES = {"terms": TERMS, "relations": RELATIONS, "pairs": PAIRS}
_VERSION = datasets.Version("1.0.0")  # rises with any change of the rows for the same source
_ONLY_SPLIT = "train"  # what the Hub calls the split of a table that has none


class PhenoKG(datasets.ArrowBasedBuilder):
    """Puts one table of a folder that `prepare_phenokg` wrote into the cache of ``datasets``.

    Args:
        folder: With `terms/`, `relations/` and, where there are pairs, `pairs/`.
        config_name: Which table.
        content_hash: Of all tables of the folder: with the same one for each of them, ``load_dataset("phenokg")``
            says that a configuration must be named.
        cache_dir: Another place than the cache of ``datasets``.
    """

    VERSION = _VERSION
    BUILDER_CONFIGS = [datasets.BuilderConfig(name=name, version=_VERSION) for name in TABLES]

    def __init__(
        self, folder: str | Path, *, config_name: str, content_hash: str, cache_dir: str | Path | None = None
    ) -> None:
        self.folder = Path(folder) / config_name
        # No config arguments: they would enter the folder's name, and `load_dataset` by name would not find it.
        super().__init__(
            dataset_name=NAME,
            config_name=config_name,
            hash=content_hash,
            cache_dir=str(cache_dir) if cache_dir else None,
        )

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=TABLES[self.config.name])

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        files = {split: sorted(self.folder.glob(f"{split}-*.parquet")) for split in SPLITS}
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"files": paths}) for split, paths in files.items() if paths
        ]

    def _generate_tables(self, files: list[Path]) -> Iterator[tuple[str, pa.Table]]:
        for path in files:
            for number, batch in enumerate(pq.ParquetFile(path).iter_batches(batch_size=128)):
                yield f"{path.name} {number}", pa.Table.from_batches([batch])


def prepare_phenokg(
    source: str | Path | None = None,
    *,
    output: str | Path | None = None,
    media: str | Path | None = None,
    ontology: PhenotypeOntology | None = None,
    max_side: int | None = None,
    kgx: bool = False,
    max_bad_fraction: float = 0.01,
    bad_rows_path: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Make ``load_dataset("phenokg", NAME)`` give terms, relations and pairs, in place of what was there before.

    Args:
        source: Output folder of `phenolip kg build`; None gives terms and relations alone.
        output: Folder for the tables as Parquet with a card, ready for a Hub; None keeps it in the cache of
            ``datasets``.
        media: Folder of the articles, if it has been moved since the build.
        ontology: The release that the build linked against; None loads the installed one.
        max_side: Longer side in pixels above which images are scaled down; None keeps every file as it is.
        kgx: Also write `kgx/nodes.tsv` and `kgx/edges.tsv`.
        max_bad_fraction: Share of pairs that may be left out because their image is gone or has changed.
        bad_rows_path: JSON Lines file for those. Written only if there are any.
        cache_dir: Another place than the cache of ``datasets``.

    Returns:
        The folder and what its manifest states.
    """
    ontology = ontology or load_ontology()
    build = KgBuild(source, media=media) if source is not None else None
    if build is not None:
        build.check_release(ontology)
    folder = Path(output) if output is not None else default_folder(NAME, cache_dir)
    with replaced_folder(folder) as temporary:
        facts = _write_ontology(temporary, ontology)
        if build is not None:
            writer = _PairWriter(build, max_side, max_bad_fraction, bad_rows_path)
            facts["pairs"] = {**writer.write(temporary / "pairs"), **_build_facts(build)}
        if kgx:
            facts["kgx"] = export_kgx(ontology, build.pairs() if build else None, temporary / "kgx")
        facts = write_manifest(temporary, NAME, max_side=max_side, **facts)
        write_card(temporary, front(facts), describe(facts))
        _fill_cache(temporary, cache_dir)
    return folder, facts


def _write_ontology(folder: Path, ontology: PhenotypeOntology) -> dict[str, Any]:
    num_rows = {}
    for name, rows in (("terms", term_rows(ontology)), ("relations", relation_rows(ontology))):
        rows = list(rows)
        write_parquet(rows, folder / name, _ONLY_SPLIT, TABLES[name])
        num_rows[name] = len(rows)
    return {
        "hpo": {"release": ontology.release, "sha256": ontology.sha256, "source": ontology.source},
        "num_terms": num_rows["terms"],
        "num_phenotypes": len(ontology.term_ids()),
        "num_relations": num_rows["relations"],
    }


def _build_facts(build: KgBuild) -> dict[str, Any]:
    """What the card says of how the pairs were made; no path of the machine that made them."""
    steps = build.manifest.get("steps", {})
    settings = build.manifest.get("config", {}).get("steps", {}).get("link_phenotypes", {})
    return {
        "made": build.manifest.get("finished"),
        "git_commit": build.manifest.get("git_commit"),
        "versions": build.manifest.get("versions"),
        "linking": {name: value for name, value in settings.items() if name != "hpo"},
        "linking_quality": build.manifest.get("linking_quality"),
        "steps": {name: {key: counts.get(key) for key in ("in", "out", "dropped")} for name, counts in steps.items()},
    }


def _fill_cache(folder: Path, cache_dir: str | Path | None) -> None:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*/*.parquet")):
        with path.open("rb") as file:
            digest.update(f"{path.parent.name}/{path.name}\0".encode() + hashlib.file_digest(file, "sha256").digest())
    builders = [
        PhenoKG(folder, config_name=name, content_hash=digest.hexdigest()[:16], cache_dir=cache_dir)
        for name in TABLES
        if (folder / name).is_dir()
    ]
    for builder in builders:
        builder.download_and_prepare(download_mode=datasets.DownloadMode.FORCE_REDOWNLOAD)
        shutil.copy2(folder / "README.md", builder.cache_dir)
    forget_others(builders)


class _PairWriter:
    """Writes the pairs of a build, a split after the other, and counts them; images are read once."""

    def __init__(
        self, build: KgBuild, max_side: int | None, max_bad_fraction: float, bad_rows_path: str | Path | None
    ) -> None:
        if not 0 <= max_bad_fraction <= 1:
            raise DataError(f"`max_bad_fraction` must be between 0 and 1, got {max_bad_fraction}.")
        self._build, self._max_side = build, max_side
        self._max_bad_fraction, self._bad_rows_path = max_bad_fraction, bad_rows_path
        self._bad: list[dict[str, str]] = []
        self._num_rows: Counter[str] = Counter()
        self._licenses: Counter[str] = Counter()
        self._num_parts = 0
        self._articles: set[str] = set()
        self._hpo_ids: set[str] = set()

    def write(self, folder: Path) -> dict[str, Any]:
        """The shards of each split that has rows, and what the manifest states of them."""
        numbers = Counter(pair.split for pair in self._build.pairs())
        if unknown := sorted(set(numbers) - set(SPLITS)):
            raise DataError(f"The split of a pair must be one of {', '.join(SPLITS)}, got {unknown[0]!r}.")
        if not numbers:
            raise DataError("The build holds no pair; its manifest says why each figure was dropped.")
        with tqdm(total=numbers.total(), desc="Writing pairs", unit="pair", disable=None) as bar:
            for split in SPLITS:
                if numbers[split]:
                    write_parquet(self._rows(split, bar), folder, split, PAIRS)
        self._handle_bad_rows(numbers.total())
        return {
            "num_rows": {split: self._num_rows[split] for split in SPLITS},
            "num_rows_left_out": len(self._bad),
            "num_subfigures": self._num_parts,
            "num_articles": len(self._articles),
            "num_phenotypes": len(self._hpo_ids),
            "licenses": dict(self._licenses.most_common()),
        }

    def _rows(self, split: str, bar: tqdm) -> Iterator[dict[str, Any]]:
        for pair in self._build.pairs():
            if pair.split != split:
                continue
            bar.update()
            try:
                row = pair_row(pair, self._build.media, max_side=self._max_side)
            except DataError as error:
                self._bad.append({"row_id": row_id(pair), "reason": "image cannot be used", "detail": str(error)})
                continue
            self._count(pair)
            yield row

    def _count(self, pair: FigurePair) -> None:
        self._num_rows[pair.split] += 1
        self._licenses[pair.license.spdx or pair.license.category] += 1
        self._num_parts += pair.bbox_xyxy is not None
        self._articles.add(pair.article_id)
        self._hpo_ids.update(present_ids(pair.phenotypes))

    def _handle_bad_rows(self, total: int) -> None:
        if not self._bad:
            return
        listed = ""
        if self._bad_rows_path is not None:
            write_lines(Path(self._bad_rows_path), self._bad)
            listed = f", listed in {self._bad_rows_path}"
        counts = f"{len(self._bad)} of {total} pairs have no usable image{listed}"
        if len(self._bad) > self._max_bad_fraction * total:
            raise DataError(
                f"{counts}, more than `max_bad_fraction` {self._max_bad_fraction:g} allows; the first: "
                f"{self._bad[0]['detail']} If the articles were moved, give their folder as `media`."
            )
        logger.warning("%s; they are left out.", counts)
