"""What the runs of an ablation share, made once: the split, and the training images as compound figures and crops."""

import json
from collections.abc import Iterable
from pathlib import Path

from phenolip.datasets_scripts.composites import COMPOUNDS, CROPS, prepare_composites
from phenolip.datasets_scripts.prepare import prepare_split
from phenolip.eval.ablation.plan import AblationData
from phenolip.eval.ablation.rows import AblationRow
from phenolip.exceptions import ConfigurationError
from phenolip.ontology.reader import load_ontology

VALIDATION_FRACTION = 0.2
FOLDERS = {"compounds": COMPOUNDS, "crops": CROPS}


def prepare_data(
    rows: Iterable[AblationRow],
    output: Path,
    *,
    data: str | None,
    split_dir: str | None = None,
    layouts: str | None = None,
    hpo: str | None = None,
    max_bad_fraction: float = 0.01,
) -> AblationData:
    """Split and composites in the output folder; what is there already is kept.

    Args:
        rows: Rows that are trained: composites are made where one of them needs any.
        output: Folder of the ablation.
        data: Pairs to split, a fifth held out; in any form that `load_pairs` takes.
        split_dir: Folder with train/ and validation/ to take instead.
        layouts: Boxes of real figures for the compounds; None draws rows of images.
        hpo: Ontology file, or None for the installed release.
        max_bad_fraction: Share of unusable rows that is tolerated.

    Raises:
        ConfigurationError: Neither data nor split is given, or the output folder was made from another source.
    """
    if (data is None) == (split_dir is None):
        raise ConfigurationError(
            "Either `--data`, to split, or `--split_dir`, with train/ and validation/, must be given."
        )
    reading = {"max_bad_fraction": max_bad_fraction, "ontology": load_ontology(hpo)}
    if split_dir is None:
        folder = output / "data"
        if not _is_made(folder, str(data)):
            bad_rows = output / "data.bad_rows.jsonl"
            prepare_split(data, folder, validation_fraction=VALIDATION_FRACTION, bad_rows_path=bad_rows, **reading)
    else:
        folder = Path(split_dir)
        for name in ("train", "validation"):
            if not (folder / name).is_dir():
                raise ConfigurationError(
                    f"`--split_dir` must hold train/ and validation/, got {folder} without {name}/."
                )
    train = {"originals": str(folder / "train")}
    composites = output / "composites"
    is_made = _is_made(composites, train["originals"])
    if is_made or any(row.data in FOLDERS for row in rows):
        if not is_made:
            bad_rows = output / "composites.bad_rows.jsonl"
            prepare_composites(
                train["originals"], composites, layouts=layouts, crops=True, bad_rows_path=bad_rows, **reading
            )
        train |= {name: str(composites / part) for name, part in FOLDERS.items()}
    return AblationData(train, str(folder / "validation"), hpo)


def _is_made(folder: Path, source: str) -> bool:
    """Whether a prepared folder is there, made from this source."""
    path = folder / "manifest.json"
    if not path.is_file():
        return False
    stated = json.loads(path.read_text(encoding="utf-8")).get("source")
    if stated is None or Path(stated).resolve() != Path(source).resolve():
        raise ConfigurationError(f"{folder} was made from {stated}, not from {source}: choose another `--output`.")
    return True
