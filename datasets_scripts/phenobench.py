"""PhenoBench, and sets of its form, as a ``datasets`` builder: one configuration, one split ``test``.

The builder reads whatever ``load_pairs`` reads: an ImageFolder, or the official CSV (``image_path``, ``caption``,
``full_matches``; the layout of the authors' viewer).
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets

from phenolip.datasets_scripts.builder_cache import default_folder, forget_others
from phenolip.datasets_scripts.features import PHENOBENCH
from phenolip.datasets_scripts.load import load_pairs_with_report
from phenolip.datasets_scripts.tables import (
    data_revision,
    embedded_rows,
    replaced_folder,
    size_category,
    write_card,
    write_manifest,
    write_parquet,
)
from phenolip.ontology.graph import PhenotypeOntology

NAME = "phenobench"
SPLIT = "test"


class PhenoBench(datasets.GeneratorBasedBuilder):
    """Builds PhenoBench rows; after ``download_and_prepare()``, ``load_dataset("phenobench")`` finds them.

    Images are embedded, so the source may go afterwards. The folder in the cache is named by the content: rows, HPO
    release, size limit and the name of the source.

    Args:
        source: What ``load_pairs`` accepts.
        split: Split of the source, where it has several.
        max_side: Longer side in pixels above which images are scaled down; None keeps every file as it is.
        ontology: Release to resolve ids to; None loads the installed one.
        max_bad_fraction: Share of rows that may be left out.
        bad_rows_path: Where those are listed.
        cache_dir: Another place than the cache of ``datasets``.

    Attributes:
        pairs: The rows that passed, images undecoded.
        report: Counts of what was read and left out.
    """

    VERSION = datasets.Version("1.0.0")  # rises with any change of the rows for the same source

    def __init__(
        self,
        source: str | Path,
        *,
        split: str | None = None,
        max_side: int | None = None,
        ontology: PhenotypeOntology | None = None,
        max_bad_fraction: float = 0.01,
        bad_rows_path: str | Path | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        self.pairs, self.report = load_pairs_with_report(
            source, split=split, ontology=ontology, max_bad_fraction=max_bad_fraction, bad_rows_path=bad_rows_path
        )
        self.max_side = max_side
        self.data_revision = data_revision(self.pairs)
        content = json.dumps([self.data_revision, self.report.hpo_release, max_side, self.report.source])
        content_hash = hashlib.sha256(content.encode()).hexdigest()[:16]
        # No config arguments: they would enter the folder's name, and `load_dataset` by name alone would not find it.
        super().__init__(dataset_name=NAME, hash=content_hash, cache_dir=str(cache_dir) if cache_dir else None)

    def facts(self) -> dict[str, Any]:
        """What the card and the manifest state about the rows."""
        hpo_ids = {hpo_id for row in self.pairs["hpo_ids"] for hpo_id in row}
        return {
            "source": self.report.source,
            "num_rows": self.report.num_kept,
            "num_rows_left_out": self.report.bad_rows,
            "num_labels": self.report.num_labels,
            "num_labels_dropped": self.report.num_labels_dropped,
            "num_phenotypes": len(hpo_ids),
            "hpo_release": self.report.hpo_release,
            "max_side": self.max_side,
            "data_revision": self.data_revision,
        }

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(description=_describe(self.facts()), features=PHENOBENCH)

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        return [datasets.SplitGenerator(name=SPLIT, gen_kwargs={})]

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, row in enumerate(embedded_rows(self.pairs, max_side=self.max_side)):
            # No path: `datasets` would drop the bytes if a file of that name lay in the working directory.
            image = {"bytes": row["image"]["bytes"], "path": None}
            texts = {name: row[name] for name in ("caption", "phenotypes", "hpo_ids")}
            yield number, {"image": image, **texts, "source": row["row_id"]}


def prepare_phenobench(
    source: str | Path, *, output: str | Path | None = None, **builder_arguments: Any
) -> tuple[Path, dict[str, Any]]:
    """Make ``load_dataset("phenobench")`` give the rows of ``source``, in place of any that were prepared before.

    Args:
        source: What ``load_pairs`` accepts.
        output: Folder for the same rows as Parquet with a card, ready for ``load_dataset(DIR)`` or a Hub; None
            keeps it in the cache of ``datasets``.
        builder_arguments: Further arguments of ``PhenoBench``.

    Returns:
        The Parquet folder and the facts that its card states.
    """
    builder = PhenoBench(source, **builder_arguments)
    folder = Path(output) if output is not None else default_folder(NAME, builder_arguments.get("cache_dir"))
    with replaced_folder(folder) as temporary:
        builder.download_and_prepare(download_mode=datasets.DownloadMode.FORCE_REDOWNLOAD)
        rows = builder.as_dataset(split=SPLIT).cast_column("image", datasets.Image(decode=False))
        write_parquet(rows, temporary / "data", SPLIT, PHENOBENCH)
        facts = builder.facts()
        write_manifest(temporary, NAME, **facts)
        write_card(temporary, _front(facts["num_rows"]), f"# PhenoBench\n\n{_describe(facts)}")
        shutil.copy2(temporary / "README.md", builder.cache_dir)
    forget_others([builder])
    return folder, facts


def _front(num_rows: int) -> dict[str, Any]:
    return {
        "pretty_name": "PhenoBench",
        "license": "other",
        "language": ["en"],
        "task_categories": ["zero-shot-image-classification"],
        "tags": ["medical", "phenotype", "hpo"],
        "size_categories": [size_category(num_rows)],
        "configs": [{"config_name": "default", "data_files": [{"split": SPLIT, "path": f"data/{SPLIT}-*.parquet"}]}],
    }


def _describe(facts: dict[str, Any]) -> str:
    left_out = ", ".join(f"{count} ({reason})" for reason, count in facts["num_rows_left_out"].items()) or "none"
    size = f"scaled down to at most {facts['max_side']} px" if facts["max_side"] else "as in the source, byte for byte"
    return f"""Image-text pairs with phenotype labels, prepared by `phenolip prepare phenobench`. For research, not for
diagnosis.

- Source: `{facts["source"]}`
- Rows: {facts["num_rows"]}; left out: {left_out}
- Labels: {facts["num_labels"]} of {facts["num_phenotypes"]} phenotypes, ids of HPO release {facts["hpo_release"]}; \
{facts["num_labels_dropped"]} labels that name no term were dropped
- Images: {size}
- SHA-256 of the rows: `{facts["data_revision"]}`

Columns: `image`; `caption`; `phenotypes`, the names of `hpo_ids` in their order; `source`, the row's id in the source.

Licence and terms of use are those of the source. Figures measured on these rows are figures for this source: they are
PhenoBench results only if the source is the whole official test set."""
