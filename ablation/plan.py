"""From rows, seeds and data to the runs that the table needs."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from phenolip.ablation.rows import AblationRow
from phenolip.ablation.runs import ONTOLOGY_TASK, TASK, RunSpec, resolve_settings, run_key
from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.tables import data_revision
from phenolip.eval.tasks.registry import load_task
from phenolip.exceptions import ConfigurationError
from phenolip.ontology.build_knowledge import build_knowledge_book
from phenolip.ontology.knowledge_file import fingerprint
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import content_hash
from phenolip.train.teacher import load_teacher, module_fingerprint

logger = logging.getLogger(__name__)

FEATURE_SETTINGS = ("preset", "vision_path", "image_size", "min_crop_area", "color_jitter")  # of stored views

ROWS_FOLDER = "rows"  # in the folder of the ablation: a folder for each row, in it one for each seed


@dataclass(frozen=True, slots=True)
class AblationData:
    """Folders of pairs.

    Attributes:
        train: Name of a variant (originals, compounds, crops) -> its training pairs.
        validation: Pairs that every run is evaluated on.
        hpo: Ontology file, or None for the installed release.
    """

    train: dict[str, str]
    validation: str
    hpo: str | None


def needs_teacher(rows: Iterable[AblationRow]) -> bool:
    """Whether a row that is trained takes anything from the Stage 1 encoder."""
    return any(_takes_teacher(_settings(row, "a folder")) for row in rows if row.config)


def trained_rows(rows: dict[str, AblationRow], chosen: Sequence[str] | None, *, fine_tuned: bool) -> list[AblationRow]:
    """Rows that must be trained for the chosen ones, quick ones first, each once.

    Raises:
        ConfigurationError: A chosen row does not exist, or is fine-tuned where that is left out.
    """
    for row_id in chosen or ():
        if row_id not in rows:
            raise ConfigurationError(
                f"`rows` must name rows of the table, got '{row_id}'; they are {', '.join(rows)}."
            )
        if rows[row_id].fine_tuned and not fine_tuned:
            raise ConfigurationError(f"`rows` names '{row_id}', which is fine-tuned: leave out `--no_fine_tuned`.")
    wanted = {row.trained_row for row in rows.values() if row.id in (chosen or rows)}
    kept = [row for row in rows.values() if row.id in wanted and (fine_tuned or not row.fine_tuned)]
    return sorted(kept, key=lambda row: row.fine_tuned)


def plan_runs(
    rows: dict[str, AblationRow],
    trained: Sequence[AblationRow],
    seeds: Sequence[int],
    data: AblationData,
    output: Path,
    *,
    knowledge_encoder: str | None,
    keep_models: bool = False,
    max_bad_fraction: float = 0.01,
) -> list[RunSpec]:
    """The runs of the trained rows: all of the first seed, then all of the next.

    Args:
        rows: Every row of the table.
        trained: Those to train.
        seeds: Seeds of each row.
        data: What they are trained and evaluated on.
        output: Folder of the ablation.
        knowledge_encoder: Stage 1 folder; may be None where no row takes anything from it.
        keep_models: Leave the weights of finished runs.
        max_bad_fraction: Share of unusable rows that is tolerated, here, in training and in evaluation.

    Returns:
        In that order; rows that train on findings are left out where their data has none.
    """
    revisions = _Revisions(data, knowledge_encoder, max_bad_fraction)
    scored_by_variants = {row.model for row in rows.values() if row.variant}
    specs = []
    for seed in seeds:
        for row in trained:
            argv = ["--config", str(row.config), "--data", data.train[row.data], "--seed", str(seed)]
            argv += ["--num_threads", "1", "--max_bad_fraction", str(max_bad_fraction)]
            argv += ["--hpo", data.hpo] if data.hpo else []
            argv += ["--knowledge_encoder", knowledge_encoder] if knowledge_encoder else []
            if row.steps_of:
                shown = _settings(rows[row.steps_of], knowledge_encoder)
                steps = num_steps(shown, revisions.pairs(data.train[rows[row.steps_of].data]).number)
                argv += ["--max_steps", str(steps)]
            settings = resolve_settings(argv)
            if settings["text_unit"] == "entity" and not revisions.pairs(data.train[row.data]).have_findings:
                logger.warning("Row '%s' is left out: no pair of %s has findings.", row.id, data.train[row.data])
                continue
            if settings["max_minutes"]:
                raise ConfigurationError(
                    f"`max_minutes` must be 0 in {row.config}, got {settings['max_minutes']}: runs side by side would "
                    "take steps by chance."
                )
            used = revisions.of(row, settings)
            specs.append(
                RunSpec(
                    row_id=row.id,
                    seed=seed,
                    argv=(*argv, "--feature_cache", str(output / "features")),
                    folder=output / ROWS_FOLDER / row.id / f"seed_{seed}",
                    key=run_key(settings, used),
                    validation=data.validation,
                    feature_dir=output / "features",
                    store_images=settings["vision_blocks"] == 0 and not settings["random_vision"],
                    store_texts=settings["freeze_text"],
                    feature_group=_feature_group(settings, used["data"]),
                    with_variants=row.id in scored_by_variants,
                    keep_model=keep_models,
                    hpo=data.hpo,
                )
            )
    return specs


class _Pairs(NamedTuple):
    """What a run needs to know of a table of pairs."""

    revision: str
    number: int
    have_findings: bool


class _Revisions:
    """What a run reads beside its settings, each thing looked up once."""

    def __init__(self, data: AblationData, knowledge_encoder: str | None, max_bad_fraction: float) -> None:
        self._data, self._knowledge_encoder, self._max_bad_fraction = data, knowledge_encoder, max_bad_fraction
        self._ontology = load_ontology(data.hpo)
        tasks = [load_task(name) for name in (TASK, ONTOLOGY_TASK)]
        self._tasks = " ".join(f"{task.name} {task.version}" for task in tasks)
        self._pairs: dict[str, _Pairs] = {}

    def pairs(self, path: str) -> _Pairs:
        """Of the pairs in a folder or file."""
        if path not in self._pairs:
            pairs = load_pairs(path, ontology=self._ontology, max_bad_fraction=self._max_bad_fraction)
            self._pairs[path] = _Pairs(data_revision(pairs), len(pairs), any(pairs["findings"]))
        return self._pairs[path]

    def of(self, row: AblationRow, settings: dict[str, Any]) -> dict[str, str]:
        """All that decides a run's outcome beside its settings."""
        revisions = {
            "data": self.pairs(self._data.train[row.data]).revision,
            "validation": self.pairs(self._data.validation).revision,
            "hpo": self._ontology.sha256,
            "teacher": self._teacher if _takes_teacher(settings) else "",
        }
        if settings["text_unit"] == "entity":
            revisions["knowledge"] = self._knowledge
        return revisions | {"tasks": self._tasks}

    @cached_property
    def _teacher(self) -> str:
        return module_fingerprint(load_teacher(self._knowledge_encoder, 1)[0])

    @cached_property
    def _knowledge(self) -> str:
        return fingerprint(build_knowledge_book(self._ontology))


def seeds_on_disk(output: Path) -> list[int]:
    """Seeds of which a run, done or not, lies in the folder of an ablation; ascending."""
    names = {path.name.removeprefix("seed_") for path in (output / ROWS_FOLDER).glob("*/seed_*")}
    return sorted(int(name) for name in names if name.isdecimal())


def num_steps(settings: dict[str, Any], num_rows: int) -> int:
    """Optimiser steps of a run over all its rows, as the training loop counts them."""
    if settings["max_steps"] > 0:
        return settings["max_steps"]
    batches = num_rows // min(settings["batch_size"], num_rows)
    return max(1, settings["num_epochs"] * batches // settings["gradient_accumulation_steps"])


def _settings(row: AblationRow, knowledge_encoder: str | None) -> dict[str, Any]:
    teacher = ["--knowledge_encoder", knowledge_encoder] if knowledge_encoder else []
    return resolve_settings(["--config", str(row.config), "--data", "unset", *teacher])


def _takes_teacher(settings: dict[str, Any]) -> bool:
    by_likeness = settings["targets"] == "ssm" and not settings["ssm_model"]
    return settings["knowledge_weight"] > 0 or settings["init_from_teacher"] or by_likeness


def _feature_group(settings: dict[str, Any], revision: str) -> str | None:
    if not settings["cached_views"] or settings["random_vision"]:  # random weights differ from seed to seed
        return None
    return content_hash([revision, *(str(settings[name]) for name in FEATURE_SETTINGS)])
