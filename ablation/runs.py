"""One run of the ablation: a row and a seed, trained, evaluated, and known to be done."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from phenolip.ablation.stored_features import StoredFeatureEncoder
from phenolip.eval.per_query import PER_QUERY
from phenolip.eval.run import evaluate
from phenolip.inference.encoder import Encoder
from phenolip.provenance import content_hash, write_json
from phenolip.train import stage2
from phenolip.train.arguments import RunArguments, parse
from phenolip.train.matching_arguments import without_later_defaults

KINDS = (stage2.ModelArguments, stage2.DataArguments, stage2.LossArguments, RunArguments)
TASK, ONTOLOGY_TASK = "phenobench", "phenobench_ontology"
ONTOLOGY_FOLDER = "ontology"  # in a run's folder: its evaluation with every variant of scoring
STATE = "state.json"
KEPT = ("run.yaml", "run.json", "log.jsonl")  # beside the results, when the model goes
TARGETS = "targets.json"  # likewise, of runs that have it
# Settings that say where a run lies or how it is watched, not what it learns; content stands for data and teacher.
NOT_PART_OF_A_RUN = (
    "output_dir", "data", "feature_cache", "knowledge_encoder", "hpo", "resume", "overwrite", "num_threads",
    "num_workers", "save_steps", "save_total_limit", "log_steps", "report_to", "stop_after_steps", "debug",
    "gradient_checkpointing",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a worker process needs to know of one run.

    Attributes:
        row_id: Row of the table that is trained.
        seed: Seed of the run.
        argv: Arguments of train/stage2.py, without `output_dir` and what resumes it.
        folder: Receives the results; the model lies in its folder `model` meanwhile.
        key: Hash of all that the results depend on: a run with another key is done anew.
        validation: Pairs to evaluate on.
        feature_dir: Where features of frozen towers are kept.
        store_images: The vision tower is frozen, and the same in other runs.
        store_texts: The text tower is frozen.
        feature_group: Runs of one group read the same stored training images; the first of them encodes. None where
            nothing is shared.
        with_variants: Evaluate with every variant of scoring too.
        keep_model: Leave the weights when done.
        hpo: Ontology file, or None for the installed release.
    """

    row_id: str
    seed: int
    argv: tuple[str, ...]
    folder: Path
    key: str
    validation: str
    feature_dir: Path
    store_images: bool
    store_texts: bool
    feature_group: str | None
    with_variants: bool
    keep_model: bool
    hpo: str | None

    @property
    def name(self) -> str:
        """As reports call the run."""
        return f"{self.row_id}, seed {self.seed}"


def resolve_settings(argv: list[str]) -> dict[str, Any]:
    """Every setting of a Stage 2 run, defaults included; `output_dir` may be missing from the arguments."""
    parsed = parse(KINDS, ["--output_dir", "unset", *argv], description="")
    return {name: value for part in parsed for name, value in asdict(part).items()}


def run_key(settings: Mapping[str, Any], revisions: Mapping[str, str]) -> str:
    """Hash of the settings that a run learns by, and of the data, teacher, ontology and tasks it meets.

    Args:
        settings: From `resolve_settings`.
        revisions: Name -> revision or hash of what the settings name by path only.
    """
    named = without_later_defaults(dict(settings))
    learnt_by = {name: value for name, value in named.items() if name not in NOT_PART_OF_A_RUN}
    return content_hash([json.dumps([learnt_by, dict(revisions)], sort_keys=True)])


def is_done(spec: RunSpec) -> bool:
    """Whether results of this very run are there."""
    files = [spec.folder / "results.json", spec.folder / PER_QUERY]
    if spec.with_variants:
        files += [spec.folder / ONTOLOGY_FOLDER / file.name for file in files]
    state = read_state(spec.folder)
    return state.get("key") == spec.key and state.get("done", False) and all(file.is_file() for file in files)


def read_state(folder: Path) -> dict[str, Any]:
    """What the run in a folder last said of itself; empty where there was none, or where it was cut short."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def execute(spec: RunSpec) -> float:
    """Trains, evaluates and tidies up; a run that was interrupted goes on from its checkpoint, if it has one.

    Returns:
        Seconds that it took.
    """
    started = time.monotonic()
    model_dir = spec.folder / "model"
    has_checkpoint = any((model_dir / "checkpoints").glob("step_*"))
    if not has_checkpoint or read_state(spec.folder) != {"key": spec.key, "done": False}:
        shutil.rmtree(spec.folder, ignore_errors=True)
        spec.folder.mkdir(parents=True)
        write_json(spec.folder / STATE, {"key": spec.key, "done": False})
    stage2.main([*spec.argv, "--output_dir", str(model_dir), "--resume", "true"])
    trained = time.monotonic()
    for name in (*KEPT, *([TARGETS] if (model_dir / TARGETS).is_file() else [])):
        shutil.copyfile(model_dir / name, spec.folder / name)
    _evaluate(spec, model_dir)
    if not spec.keep_model:
        shutil.rmtree(model_dir)
    seconds = {"training": round(trained - started, 1), "evaluation": round(time.monotonic() - trained, 1)}
    write_json(spec.folder / STATE, {"key": spec.key, "done": True, "seconds": seconds})
    return time.monotonic() - started


def _evaluate(spec: RunSpec, model_dir: Path) -> None:
    encoder = StoredFeatureEncoder(
        Encoder.from_pretrained(model_dir), spec.feature_dir, images=spec.store_images, texts=spec.store_texts
    )
    tasks = {TASK: spec.folder} | ({ONTOLOGY_TASK: spec.folder / ONTOLOGY_FOLDER} if spec.with_variants else {})
    max_bad_fraction = resolve_settings(list(spec.argv))["max_bad_fraction"]
    for task, folder in tasks.items():
        evaluate(
            encoder,
            task,
            spec.validation,
            folder,
            extra_k=["scaled"],
            hpo=spec.hpo,
            max_bad_fraction=max_bad_fraction,
            report=False,
        )
