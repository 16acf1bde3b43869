"""Models trained alike from several seeds, side by side as one: its cosines are the means of theirs.

Source: averaging what independently trained networks say, as in Lakshminarayanan et al. 2017 (arXiv 1612.01474); that
it is done by laying embeddings side by side, so that one model and one index serve as before, is ours.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from phenolip.configuration_phenolip import PhenoLIPConfig
from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.provenance import write_json
from phenolip.train.saved_model import TRAINING_INDEX, load_saved, saved_image_size
from phenolip.train.teacher import module_fingerprint

RECORD, CANDIDATES = "run.json", "phenotypes.json"


def join_models(members: Sequence[PhenoLIPModel]) -> PhenoLIPModel:
    """One model of as many parts as there are members, which agree in all but the weights of images and projections.

    A text is read once, by the text tower that all members share, an image by every member's tower. The inverse
    temperature is the mean of theirs.

    Args:
        members: Two or more, of one part each.

    Returns:
        The model, in eval mode, with copies of the weights. Its embeddings are as many times as wide.

    Raises:
        ConfigurationError: There are fewer, or they differ in architecture or in the text tower.
    """
    if len(members) < 2:
        raise ConfigurationError(f"`members` must be two models or more, got {len(members)}.")
    first = members[0]
    _check_alike(members)
    config = PhenoLIPConfig(
        text_config=_of_parts(first.config.text_config, len(members)),
        vision_config=_of_parts(first.config.vision_config, len(members)),
        projection_dim=len(members) * first.config.projection_dim,
        logit_scale_init_value=first.config.logit_scale_init_value,
        max_logit_scale=first.config.max_logit_scale,
    )
    joined = PhenoLIPModel(config).to(first.device, first.dtype)
    joined.text_model.tower.load_state_dict(first.text_model.tower.state_dict())
    for part, member in enumerate(members):
        joined.vision_model.tower.towers[part].load_state_dict(member.vision_model.tower.state_dict())
        for side in ("text_model", "vision_model"):
            own = getattr(member, side).projection.layers
            getattr(joined, side).projection.layers[part].load_state_dict(own.state_dict())
    with torch.no_grad():
        joined.logit_scale.copy_(torch.stack([member.logit_scale.exp() for member in members]).mean().log())
    return joined.eval()


def join_folders(paths: Sequence[str | Path], output: str | Path, *, overwrite: bool = False) -> None:
    """Joins saved models and writes a model folder, with what the members say of their training.

    Args:
        paths: Model folders.
        output: Folder of the joined model.
        overwrite: Replace the model folder that is there; nothing is removed where the members do not go together.

    Raises:
        ConfigurationError: A member is none, they do not go together, or the output holds something else.
    """
    output, folders = Path(output), [Path(path) for path in paths]
    is_filled = output.exists() and any(output.iterdir())
    if is_filled and not (overwrite and (output / "config.json").is_file()):
        raise ConfigurationError(
            f"`--output` must be a new or empty folder, or with `--overwrite` that of a model, got {output}."
        )
    for folder in folders:
        if not folder.is_dir() or folder.resolve() == output.resolve():
            raise ConfigurationError(f"`members` must be model folders other than `--output`, got {folder}.")
    sizes = [saved_image_size(path) for path in paths]
    loaded = [load_saved(path, image_size=size) for path, size in zip(paths, sizes, strict=True)]
    processors = [processor for _, processor in loaded]
    for path, processor in zip(paths, processors, strict=True):
        if _reads(processor) != _reads(processors[0]):
            raise ConfigurationError(
                f"`members` must read images and texts alike, but the processor of {path} differs from {paths[0]}'s."
            )
    model = join_models([model for model, _ in loaded])
    if is_filled:
        shutil.rmtree(output)
    model.save_pretrained(output)
    processors[0].save_pretrained(output)
    _write_records(folders, output)
    _write_training_index(folders, output)


def _check_alike(members: Sequence[PhenoLIPModel]) -> None:
    first = members[0]
    text_tower = module_fingerprint(first.text_model.tower)
    for number, member in enumerate(members):
        if member.config.text_config.num_parts > 1:
            raise ConfigurationError(f"`members` must have one part each; number {number} is joined of several.")
        for side in ("text_config", "vision_config"):
            if _plain(getattr(member.config, side)) != _plain(getattr(first.config, side)):
                raise ConfigurationError(f"`members` must be alike, but number {number} has another `{side}`.")
        if module_fingerprint(member.text_model.tower) != text_tower:
            raise ConfigurationError(
                f"`members` must share their text tower, but number {number} has other weights there; train them with "
                "`freeze_text`."
            )


def _plain(side: Any) -> dict[str, Any]:
    """Settings without where they were read from, and without dropout, which training alone reads."""
    settings = json.loads(side.to_json_string(use_diff=False))
    return {name: value for name, value in settings.items() if name not in ("_name_or_path", "projection_dropout")}


def _of_parts(side: Any, num_parts: int) -> dict[str, Any]:
    settings = side.to_dict()
    return {**settings, "num_parts": num_parts, "projection_dim": num_parts * side.projection_dim}


def _reads(processor: PhenoLIPProcessor) -> tuple[Any, ...]:
    """What decides how images and texts are read."""
    tokenizer = processor.tokenizer
    return (
        processor.image_processor.to_json_string(),
        processor.prompt_template,
        tokenizer.model_max_length,
        tuple(sorted(tokenizer.get_vocab().items())),
    )


def _write_records(folders: Sequence[Path], output: Path) -> None:
    """run.json with the members' records, and the candidates of all of them."""
    records = [json.loads(file.read_text(encoding="utf-8")) for file in _files(folders, RECORD)]
    if records:
        shared = {name: records[0][name] for name in ("hpo_release", "hpo_sha256", "data") if name in records[0]}
        steps = sum(record.get("num_steps", 0) for record in records)
        write_json(output / RECORD, {"stage": "joined", "num_steps": steps, **shared, "members": records})
    candidates = {}
    for file in _files(folders, CANDIDATES):
        candidates |= {entry["hpo_id"]: entry for entry in json.loads(file.read_text(encoding="utf-8"))}
    if candidates:
        write_json(output / CANDIDATES, [candidates[hpo_id] for hpo_id in sorted(candidates)])


def _write_training_index(folders: Sequence[Path], output: Path) -> None:
    """Rows that any member was trained on, each once."""
    tables = [pq.read_table(file) for file in _files(folders, TRAINING_INDEX)]
    if not tables:
        return
    index = pa.concat_tables(tables, promote_options="permissive")
    keys = list(zip(index["sha256"].to_pylist(), index["row_id"].to_pylist(), strict=True))
    first_places = {key: place for place, key in reversed(list(enumerate(keys)))}
    pq.write_table(index.take(sorted(first_places.values())), output / TRAINING_INDEX)


def _files(folders: Sequence[Path], name: str) -> list[Path]:
    return [folder / name for folder in folders if (folder / name).is_file()]
