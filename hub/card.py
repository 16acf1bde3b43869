"""The card of a model folder: `model_card.md` filled with what the folder and its results say."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData
from jinja2 import Environment, StrictUndefined

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.hub.card_carbon import GRAMS_PER_KWH, Carbon, estimate_carbon
from phenolip.hub.card_results import FEW, bias_parts, eval_results, plot_results, task_part
from phenolip.hub.push_files import CARD, last_name, without_places
from phenolip.plain_yaml import read_yaml
from phenolip.whole_files import whole_file

TEMPLATE = Path(__file__).resolve().parent.parent / "model_card.md"
OWN_RESULTS = "results.json"  # beside the model, where an ablation leaves it
UNSTATED = "weights-as-towers-and-data"
TAGS = ["medical", "phenotype", "human-phenotype-ontology", "contrastive-learning", "custom_code"]
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SHOWN_SETTINGS = ("preset", "batch_size", "num_epochs", "learning_rate", "image_size", "seed", "mixed_precision")


def write_card(
    folder: str | Path,
    results: Sequence[str | Path] = (),
    *,
    measured_as: str | None = None,
    license: str | None = None,
    title: str | None = None,
    watts: float | None = None,
    grams_per_kwh: float = GRAMS_PER_KWH,
) -> Path:
    """Writes README.md of a model folder, and a plot of each task into `card/`.

    Args:
        folder: Model folder; its run.json, run.yaml, log.jsonl and phenotypes.json are read where they are.
        results: results.json of `phenolip eval`; results.json in the folder comes first where it is.
        measured_as: Name of the model in `results`, if it was not that of the folder then.
        license: SPDX id of the weights, in small letters, as the Hub writes them; by default the card says that they
            carry the terms of towers and data.
        title: By default the name of the folder.
        watts: Power of the machine that trained; None takes stated factors.
        grams_per_kwh: Of CO2-equivalent that its grid emits.

    Returns:
        Path of the card.

    Raises:
        ConfigurationError: A factor is out of range, or results are of another model.
        DataError: The folder or a file of results cannot be read.
    """
    for name, value in (("watts", watts), ("grams_per_kwh", grams_per_kwh)):
        if value is not None and value <= 0:
            raise ConfigurationError(f"`{name}` must be above 0, got {value}.")
    folder = Path(folder)
    config = _read(folder / "config.json")
    if config is None:
        raise DataError(f"{folder} must be a model folder, but has no config.json.")
    record, settings = _read(folder / "run.json") or {}, _read(folder / "run.yaml") or {}
    own = [folder / OWN_RESULTS] if (folder / OWN_RESULTS).exists() else []
    measured = [_results(path) for path in (*own, *map(Path, results))]
    for one in measured[len(own) :]:
        _check_model(one, folder, measured_as)
    tasks = [task_part(one) for one in measured]
    for number, (one, task) in enumerate(zip(measured, tasks, strict=True)):
        plot = f"card/{number}_{re.sub(r'[^a-z0-9_]+', '_', str(one['task']).lower())}.png"
        task["plot"] = plot if plot_results(one, folder / plot) else None
    carbon = estimate_carbon(folder, record, settings, watts=watts, grams_per_kwh=grams_per_kwh)
    is_whole = config.get("model_type") == "phenolip"
    body = (
        _environment()
        .from_string(TEMPLATE.read_text(encoding="utf-8"))
        .render(
            title=title or folder.resolve().name,
            folder=folder.as_posix(),
            is_whole=is_whole,
            run=_run_rows(record, settings),
            data=_data(folder, record),
            hpo_release=record.get("hpo_release"),
            tasks=tasks,
            parts=[part for one in measured for part in bias_parts(one)],
            few=FEW,
            carbon=carbon.sentence()
            if carbon
            else "Not known: the folder holds no times of a training run (`log.jsonl`).",
            license=license or "not stated; the terms of towers and training data hold",
            towers=", ".join(_towers(settings)),
        )
    )
    front = _front(title or folder.resolve().name, is_whole, measured, settings, record, license, carbon)
    card = ModelCard(f"---\n{front.to_yaml()}\n---\n\n{_tidy(body)}", ignore_metadata_errors=False)
    with whole_file(folder / CARD, "w") as file:
        file.write(str(card))
    return folder / CARD


def _front(
    title: str,
    is_whole: bool,
    measured: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    record: Mapping[str, Any],
    license: str | None,
    carbon: Carbon | None,
) -> ModelCardData:
    name = (record.get("data") or {}).get("name") or ""
    emissions = {"emissions": round(carbon.grams, 1), "source": "stated factors, see the card"} if carbon else None
    return ModelCardData(
        model_name=title,
        license=license or "other",
        license_name=None if license else UNSTATED,
        library_name="transformers",
        pipeline_tag="zero-shot-image-classification" if is_whole else "sentence-similarity",
        language="en",
        tags=list(TAGS),
        base_model=_towers(settings) or None,
        datasets=[name] if _HUB_ID.fullmatch(name) and not Path(name).exists() else None,
        co2_eq_emissions=emissions,
        eval_results=[result for one in measured for result in eval_results(one)] or None,
        ignore_metadata_errors=False,
    )


def _run_rows(record: Mapping[str, Any], settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    if not record:
        return []
    machine = record.get("hardware") or {}
    places = ", ".join(machine.get("accelerators") or []) or f"{machine.get('num_cores')} cores, {machine.get('cpu')}"
    rows = [
        ("stage", record.get("stage")),
        ("optimiser steps", record.get("num_steps")),
        *((name.replace("_", " "), settings[name]) for name in _SHOWN_SETTINGS if settings.get(name) is not None),
        ("machine", places),
        ("finished", record.get("finished")),
        ("commit", record.get("git_commit")),
    ]
    return [(name, value) for name, value in rows if value is not None]


def _data(folder: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    data = record.get("data") or {}
    if not data.get("name"):
        return None
    phenotypes = _read(folder / "phenotypes.json")
    return {
        "name": without_places(str(data["name"])),
        "rows": f"{data.get('num_rows', 0):,}",
        "revision": str(data.get("revision") or "not recorded")[:12],
        "phenotypes": f"{len(phenotypes):,}" if phenotypes else "",
    }


def _towers(settings: Mapping[str, Any]) -> list[str]:
    """Hub ids of the towers that training began from."""
    paths = [str(settings.get(name) or "") for name in ("vision_path", "text_path")]
    return [path for path in paths if _HUB_ID.fullmatch(path) and not Path(path).exists()]


def _check_model(results: Mapping[str, Any], folder: Path, measured_as: str | None) -> None:
    """Figures of one model do not get into the card of another."""
    name = str(results.get("model"))
    if name != measured_as and last_name(name) != folder.resolve().name:
        raise ConfigurationError(
            f"`results` must be of {folder.resolve().name}, but task '{results['task']}' measured '{name}'; if "
            "that is this model, say so with `measured_as`."
        )


def _results(path: Path) -> dict[str, Any]:
    path = path / OWN_RESULTS if path.is_dir() else path
    found = _read(path)
    if not isinstance(found, dict) or "metrics" not in found or "task" not in found:
        raise DataError(f"`results` must be results.json of `phenolip eval`, or its folder, got {path}.")
    return found


def _read(path: Path) -> Any:
    """JSON or YAML; None where there is no such file."""
    if not path.exists():
        return None
    try:
        return read_yaml(path) if path.suffix == ".yaml" else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}); write it anew or delete it.") from error


def _environment() -> Environment:
    return Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)


def _tidy(text: str) -> str:
    """At most one empty line in a row: blocks of the template that render to nothing leave more."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
