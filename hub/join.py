"""Model folders joined to one, with what they say of their training."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.hub.card import write_card
from phenolip.hub.convert import new_folder
from phenolip.inference.candidates import MODEL_PHENOTYPES, model_candidates
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.provenance import write_json
from phenolip.train.join_models import join_models
from phenolip.train.saved_model import TRAINING_INDEX, load_saved, saved_image_size

RECORD = "run.json"
SHARED = ("hpo_release", "hpo_sha256", "data")  # of a record, where all members agree


def join_folders(members: Sequence[str | Path], output: str | Path, *, overwrite: bool = False) -> None:
    """Writes the joined model with its processor, record, candidates, index of training rows and card.

    Args:
        members: Model folders.
        output: Folder of the joined model.
        overwrite: Replace the model folder that is there; it stays where the members do not go together.

    Raises:
        ConfigurationError: A member is none, they do not go together, or the output holds something else.
        DataError: What a member says of its training cannot be read.
    """
    output, folders = Path(output), [Path(member) for member in members]
    replaces = overwrite and (output / "config.json").is_file()
    for folder in folders:
        if not folder.is_dir() or folder.resolve() == output.resolve():
            raise ConfigurationError(f"`members` must be model folders other than `output`, got {folder}.")
    loaded = [load_saved(folder, image_size=saved_image_size(folder)) for folder in folders]
    processors = [processor for _, processor in loaded]
    for folder, processor in zip(folders, processors, strict=True):
        if _reads(processor) != _reads(processors[0]):
            raise ConfigurationError(
                f"`members` must read images and texts alike, but the processor of {folder} is another than "
                f"{folders[0]}'s."
            )
    model = join_models([model for model, _ in loaded])
    records = _records(folders)
    candidates = {hpo_id: name for folder in folders for hpo_id, name in (model_candidates(folder) or {}).items()}
    index = _training_index(folders)
    if replaces:
        shutil.rmtree(output)
    with new_folder(output) as partial:
        model.save_pretrained(partial)
        processors[0].save_pretrained(partial)
        if records:
            write_json(partial / RECORD, _joined_record(records))
        if candidates:
            rows = [{"hpo_id": hpo_id, "name": candidates[hpo_id]} for hpo_id in sorted(candidates)]
            write_json(partial / MODEL_PHENOTYPES, rows)
        if index is not None:
            pq.write_table(index, partial / TRAINING_INDEX)
    write_card(output)


def _reads(processor: PhenoLIPProcessor) -> tuple[Any, ...]:
    """What decides how images and texts are read."""
    tokenizer = processor.tokenizer
    return (
        processor.image_processor.to_json_string(),
        processor.prompt_template,
        tokenizer.model_max_length,
        tuple(sorted(tokenizer.get_vocab().items())),
    )


def _records(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """run.json of each member that has one."""
    records = []
    for file in _files(folders, RECORD):
        try:
            records.append(dict(json.loads(file.read_text(encoding="utf-8"))))
        except (ValueError, TypeError) as error:
            raise DataError(f"{file} must be a JSON object; write it anew or delete it.") from error
    return records


def _joined_record(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = records[0]
    agreed = [name for name in SHARED if name in first and all(record.get(name) == first[name] for record in records)]
    steps = sum(record.get("num_steps", 0) for record in records)
    return {"stage": "joined", "num_steps": steps, **{name: first[name] for name in agreed}, "members": list(records)}


def _training_index(folders: Sequence[Path]) -> pa.Table | None:
    """Rows that any member was trained on, each once; None where no member says."""
    files = _files(folders, TRAINING_INDEX)
    if not files:
        return None
    try:
        index = pa.concat_tables([pq.read_table(file) for file in files], promote_options="permissive")
        keys = list(zip(index["sha256"].to_pylist(), index["row_id"].to_pylist(), strict=True))
    except (pa.ArrowException, KeyError, OSError) as error:
        raise DataError(f"{TRAINING_INDEX} of the members cannot be read ({type(error).__name__}).") from error
    first_places = {key: place for place, key in reversed(list(enumerate(keys)))}
    return index.take(sorted(first_places.values()))


def _files(folders: Sequence[Path], name: str) -> list[Path]:
    return [folder / name for folder in folders if (folder / name).is_file()]
