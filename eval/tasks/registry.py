"""A task is data: one YAML file, named as the task, beside this module."""

from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from phenolip.eval.tasks.metric_names import is_metric
from phenolip.exceptions import ConfigurationError
from phenolip.plain_yaml import read_yaml

TASKS_DIR = Path(__file__).parent
SCALED = "scaled"  # the cutoff that asks as much of N pairs as 10 asks of the `scaled_k` reference pairs
EVALUATORS = {  # name -> its settings
    "retrieval": {"ks"},
    "zero_shot": {"prompts", "variants"},
    "ranked_retrieval": {"masked"},
    "zero_shot_ontology": {"prompts", "prompt_sets", "ks"},
    "knowledge": {"num_names", "num_definitions", "num_pairs", "seed"},
    "zero_shot_classes": {"layout", "classes", "prompts", "normal", "reading"},
    "linear_probe": {"layout", "classes", "features", "fractions", "num_seeds", "reading"},
    "segmentation": {
        *("layout", "group_separator", "modes", "controls", "fractions", "num_seeds", "image_size", "num_steps"),
        *("batch_size", "learning_rate", "encoder_learning_rate", "decoder_width", "reading"),
    },
    "faces": {"ks", "decision_k", "prompts", "reading"},
    "unseen_terms": {"modes"},
    "finegrained": set(),
    "findings": {"headings", "reading"},
}
CLASS_EVALUATORS = {"zero_shot_classes", "linear_probe"}  # their data are images with class labels, not pairs

EXTRAS = ("clusters", "breakdowns", "checks", "hits")  # what `measure_beside` adds to a task on pairs


@dataclass(frozen=True, slots=True)
class Task:
    """One benchmark.

    Attributes:
        name: As on the command line.
        version: Rises with any change that can move a score.
        description: One line.
        needs_data: Whether image-caption pairs must be given.
        evaluators: Name of an evaluator -> its settings.
        primary_metric: The metric that stands for the task.
        scaled_k: Reference size of the cutoff ``scaled``; None where the task has no such cutoff.
        extras: What is measured beside the metrics, of `EXTRAS`.
    """

    name: str
    version: int
    description: str
    needs_data: bool
    evaluators: dict[str, dict[str, Any]]
    primary_metric: str
    scaled_k: int | None = None
    extras: tuple[str, ...] = ()
    path: Path = field(default=Path(), compare=False)

    @property
    def has_classes(self) -> bool:
        """Whether the data are images with class labels instead of image-caption pairs."""
        return bool(CLASS_EVALUATORS & set(self.evaluators))

    @property
    def prompts(self) -> list[str] | None:
        """The prompts that the task writes around a phenotype's name, if any."""
        prompts = self.evaluators.get("zero_shot", {}).get("prompts")
        return None if prompts is None else list(prompts)


def list_tasks() -> list[str]:
    """Names of the tasks that come with the package."""
    return sorted(path.stem for path in TASKS_DIR.glob("*.yaml"))


def load_task(name: str | Path) -> Task:
    """A task by its name, or by the path of a YAML file of the same form.

    Raises:
        ConfigurationError: The task is unknown, or a field of it is unknown, missing or of another type.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else TASKS_DIR / f"{name}.yaml"
    if not path.is_file():
        close = get_close_matches(str(name), list_tasks(), n=2)
        hint = f" Close: {', '.join(map(repr, close))}." if close else ""
        raise ConfigurationError(f"Unknown task {str(name)!r}.{hint} Tasks: {', '.join(list_tasks())}.")
    try:
        settings = read_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path.name} is not YAML: {' '.join(str(error).split())}.") from error
    return _check(settings, path)


def _check(settings: Any, path: Path) -> Task:
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{path.name} must hold fields and values, got {type(settings).__name__}.")
    known = {entry.name for entry in fields(Task)} - {"path"}
    required = known - {"scaled_k", "extras"}
    for key in settings:
        if key not in known:
            close = get_close_matches(str(key), known, n=1)
            hint = f" Close: '{close[0]}'." if close else ""
            raise ConfigurationError(f"{path.name}: unknown field '{key}'.{hint} Fields: {', '.join(sorted(known))}.")
    missing = sorted(required - set(settings))
    if missing:
        raise ConfigurationError(f"{path.name}: the fields {', '.join(missing)} are missing.")
    types = {"version": int, "needs_data": bool, "name": str, "description": str, "evaluators": dict}
    for key, kind in types.items():
        if not isinstance(settings[key], kind):
            raise ConfigurationError(f"{path.name}: `{key}` must be {kind.__name__}, got {settings[key]!r}.")
    extras = settings.setdefault("extras", [])
    if not isinstance(extras, list) or not set(map(str, extras)) <= set(EXTRAS):
        raise ConfigurationError(f"{path.name}: `extras` must be a list of {', '.join(EXTRAS)}, got {extras!r}.")
    settings["extras"] = tuple(extras)
    for evaluator, options in settings["evaluators"].items():
        if evaluator not in EVALUATORS:
            raise ConfigurationError(f"{path.name}: evaluator '{evaluator}' must be one of {', '.join(EVALUATORS)}.")
        unknown = sorted(set(options or {}) - EVALUATORS[evaluator])
        if unknown:
            allowed = ", ".join(sorted(EVALUATORS[evaluator]))
            raise ConfigurationError(f"{path.name}: `{evaluator}` takes {allowed}, got '{unknown[0]}'.")
        settings["evaluators"][evaluator] = options or {}
        if evaluator == "zero_shot":
            from phenolip.eval.evaluators.zero_shot_variants import check_variants  # here: names of tasks need it not

            check_variants(settings["evaluators"][evaluator].get("variants"))
        if evaluator == "zero_shot_ontology":
            from phenolip.eval.evaluators.zero_shot_ontology import check_prompt_sets

            check_prompt_sets(settings["evaluators"][evaluator].get("prompt_sets"))
        if settings["needs_data"] == (evaluator == "knowledge"):
            raise ConfigurationError(
                f"{path.name}: `needs_data` must be false for knowledge alone, and true for the others."
            )
    primary, evaluators = settings["primary_metric"], settings["evaluators"]
    if not isinstance(primary, str) or not is_metric(primary, evaluators):
        named = ", ".join(evaluators) or "an evaluator"
        raise ConfigurationError(f"{path.name}: `primary_metric` must be a metric of {named}, got {primary!r}.")
    return Task(**settings, path=path)
