"""What the runs of an ablation share, made once: the split, and the training images as compound figures and crops."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from phenolip.ablation.plan import AblationData
from phenolip.ablation.rows import AblationRow
from phenolip.ablation.runs import NOT_PART_OF_A_RUN
from phenolip.datasets_scripts.composites import COMPOUNDS, CROPS, prepare_composites
from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.prepare import prepare_split
from phenolip.datasets_scripts.tables import MANIFEST, data_revision
from phenolip.exceptions import ConfigurationError
from phenolip.ontology.reader import load_ontology
from phenolip.phenokg.subfigures.layouts import read_layouts
from phenolip.provenance import content_hash, write_json
from phenolip.train import stage1
from phenolip.train.arguments import RunArguments, parse

VALIDATION_FRACTION = 0.2
SEED = 0  # of the split and of the composites
MADE_FROM = "made_from.json"  # in a prepared folder: revisions and settings, by which a stale one is known
STAGE1_KINDS = (
    stage1.EncoderArguments,
    stage1.OntologyArguments,
    stage1.ConceptLossArguments,
    stage1.KnowledgeEvaluationArguments,
    RunArguments,
)
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
        ConfigurationError: Neither data nor split is given, or the output folder was made from another source, or
            from this one before it changed.
    """
    if (data is None) == (split_dir is None):
        raise ConfigurationError(
            "Either `--data`, to split, or `--split_dir`, with train/ and validation/, must be given."
        )
    reading = {"max_bad_fraction": max_bad_fraction, "ontology": load_ontology(hpo)}
    if split_dir is None:
        folder = output / "data"
        made_from = _revisions(data, reading) | {"seed": SEED, "fraction": VALIDATION_FRACTION}
        if not _is_made(folder, str(data), made_from):
            bad_rows = output / "data.bad_rows.jsonl"
            prepare_split(
                data,
                folder,
                validation_fraction=VALIDATION_FRACTION,
                seed=SEED,
                bad_rows_path=bad_rows,
                **reading,
            )
            write_json(folder / MADE_FROM, made_from)
    else:
        folder = Path(split_dir)
        for name in ("train", "validation"):
            if not (folder / name).is_dir():
                raise ConfigurationError(
                    f"`--split_dir` must hold train/ and validation/, got {folder} without {name}/."
                )
    train = {"originals": str(folder / "train")}
    is_needed = any(row.data in FOLDERS for row in rows)
    if _has_composites(train["originals"], output / "composites", reading, layouts=layouts, is_needed=is_needed):
        train |= {name: str(output / "composites" / part) for name, part in FOLDERS.items()}
    return AblationData(train, str(folder / "validation"), hpo)


def _has_composites(
    source: str, folder: Path, reading: dict[str, Any], *, layouts: str | None, is_needed: bool
) -> bool:
    """Whether composites of the training pairs are there, once they are made where a row needs them."""
    if not is_needed and not (folder / MANIFEST).is_file():
        return False
    made_from = _revisions(source, reading) | {"seed": SEED}
    if is_needed:  # else they are only shown, and the call need not repeat its layouts
        made_from["layouts"] = layouts and content_hash([repr(read_layouts(layouts)[0])])
    if not _is_made(folder, source, made_from):
        bad_rows = folder.with_name("composites.bad_rows.jsonl")
        prepare_composites(source, folder, layouts=layouts, seed=SEED, crops=True, bad_rows_path=bad_rows, **reading)
        write_json(folder / MADE_FROM, made_from)
    return True


def _revisions(source: str, reading: dict[str, Any]) -> dict[str, Any]:
    """What pairs are read as, and by which ontology."""
    return {"data": data_revision(load_pairs(source, **reading)), "hpo": reading["ontology"].sha256}


def _is_made(folder: Path, source: str, made_from: dict[str, Any]) -> bool:
    """Whether a prepared folder is there, made from this source as it is now; one that does not say is taken."""
    path = folder / MANIFEST
    if not path.is_file():
        return False
    stated = json.loads(path.read_text(encoding="utf-8")).get("source")
    if stated is None or Path(stated).resolve() != Path(source).resolve():
        raise ConfigurationError(f"{folder} was made from {stated}, not from {source}: choose another `--output`.")
    if (folder / MADE_FROM).is_file():
        before = json.loads((folder / MADE_FROM).read_text(encoding="utf-8"))
        if changed := [name for name, value in made_from.items() if before.get(name) != value]:
            raise ConfigurationError(
                f"{folder} was made from {source} with other {' and '.join(changed)} than now: delete the folder, or "
                "choose another `--output`."
            )
    return True


def check_knowledge_encoder(folder: Path, config: Path, hpo: str | None) -> None:
    """Sees that a Stage 1 folder was trained with the settings of a config and the ontology of this call.

    Raises:
        ConfigurationError: It was not.
    """
    parsed = parse(STAGE1_KINDS, ["--config", str(config), "--output_dir", str(folder)], description="")
    learnt_by = [part for part in parsed if not isinstance(part, stage1.KnowledgeEvaluationArguments)]
    wanted = {name: value for part in learnt_by for name, value in asdict(part).items()}
    trained = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))
    names = [name for name in wanted if name not in NOT_PART_OF_A_RUN and name in trained]
    changed = [name for name in names if trained[name] != wanted[name]]
    release = json.loads((folder / "run.json").read_text(encoding="utf-8")).get("hpo_sha256")
    if release != load_ontology(hpo).sha256:
        changed.append("hpo")
    if changed:
        raise ConfigurationError(
            f"{folder} was trained with other {', '.join(changed)} than {config} asks for: delete it to train anew, "
            "or name it with `--knowledge_encoder`."
        )
