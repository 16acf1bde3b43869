"""open_clip checkpoints to PhenoLIP folders and back, with a proof that both give the same."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from phenolip.exceptions import ConfigurationError
from phenolip.hub import convert_check
from phenolip.hub.convert_config import read_config
from phenolip.hub.convert_config_back import write_config
from phenolip.hub.convert_files import read_open_clip_config, read_text_tower, read_weights
from phenolip.hub.convert_inputs import image_processor, preprocess_config, read_tokenizer
from phenolip.hub.convert_weights import list_moves, to_ours, to_theirs
from phenolip.inference.adapters.files import OPEN_CLIP_WEIGHTS, file_hashes, first_line
from phenolip.inference.adapters.open_clip import OPEN_CLIP_CONFIG
from phenolip.inference.encoder import Encoder
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.provenance import write_json
from phenolip.train.towers import longest_text


@dataclass(frozen=True)
class Converted:
    """What came of a conversion.

    Attributes:
        output: The folder.
        num_tensors: Tensors of open_clip that were moved.
        difference: Greatest difference of a cosine to open_clip's own; None where open_clip could not be asked.
        reason: Why it could not.
    """

    output: Path
    num_tensors: int
    difference: float | None
    reason: str


def from_open_clip(
    checkpoint: str | Path,
    output: str | Path,
    *,
    config: str | Path | None = None,
    text_tower: str | None = None,
    tokenizer: str | None = None,
    bpe: str | Path | None = None,
    drop: Sequence[str] = (),
    prompt_template: str = "{}",
    allow_pickle: bool = False,
) -> Converted:
    """Writes a PhenoLIP folder with the weights, tokenizer and image settings of an open_clip checkpoint.

    Args:
        checkpoint: Folder or Hub id with an open_clip_config.json, or a file of weights.
        output: Folder to make; it must not hold anything.
        config: An open_clip config in another place.
        text_tower: Folder or Hub id of the config of a BERT tower.
        tokenizer: Folder or Hub id of the tokenizer.
        bpe: open_clip's file of merges, for its own tokenizer.
        drop: Beginnings of tensor names to leave out; without it, a tensor that has no place is an error.
        prompt_template: Sentence around a phenotype's name.
        allow_pickle: Read a pickled state dict where there is no safetensors file.

    Raises:
        ConfigurationError: A file is missing, a setting unknown, a tensor missing or left over.
        DataError: The converted model gives other numbers than open_clip.
    """
    settings = read_open_clip_config(checkpoint, config)
    model_cfg = settings["model_cfg"]
    file, weights = read_weights(checkpoint, allow_pickle)
    weights = _without(weights, drop)
    tower = read_text_tower(checkpoint, model_cfg, weights, text_tower)
    words = read_tokenizer(checkpoint, model_cfg, tokenizer, bpe)
    _check_tokenizer(words, tower)
    try:
        highest = max(words.get_vocab().values())
        model_config, style = read_config(model_cfg, tower, words.eos_token_id, highest)
    except ConfigurationError:
        raise
    except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
        raise ConfigurationError(f"The config of {checkpoint} cannot be read: {first_line(error)}.") from error
    moves = list_moves(model_config, style)
    if model_config.vision_config.projection == "mlp":  # timm's second layer has a bias only where it was asked for
        weights.setdefault("visual.head.mlp.fc2.bias", torch.zeros(model_config.projection_dim))
    model = _filled(PhenoLIPModel(model_config), to_ours(weights, moves))
    words.model_max_length = min(words.model_max_length, longest_text(model_config.text_config.tower_config))
    pixels = image_processor(model_cfg, settings["preprocess_cfg"])
    source = {"format": "open_clip", "checkpoint": Path(checkpoint).name, "sha256": file_hashes([file]), **settings}
    reference = convert_check.open_clip_cosines(checkpoint) if not drop else (None, "tensors were left out")
    with new_folder(output) as folder:
        model.save_pretrained(folder)
        PhenoLIPProcessor(pixels, words, prompt_template).save_pretrained(folder)
        difference = convert_check.record(folder, Encoder.from_pretrained(folder, "cpu"), source, reference)
    return Converted(Path(output), len(moves), difference, "" if difference is not None else reference[1])


def to_open_clip(model: str | Path, output: str | Path, *, text_tower: str | None = None) -> Converted:
    """Writes an open_clip folder with the weights, tokenizer and image settings of a PhenoLIP folder.

    Args:
        model: PhenoLIP folder or Hub id.
        output: Folder to make; it must not hold anything.
        text_tower: Hub id under which open_clip finds the config of a BERT tower; by default that of the checkpoint
            which the folder was once converted from.

    Raises:
        ConfigurationError: open_clip has no such layers.
        DataError: open_clip gives other numbers than the PhenoLIP model.
    """
    encoder = Encoder.from_pretrained(model, "cpu")
    if not encoder.has_images:
        raise ConfigurationError(f"`model` {model} must have an image tower, got a text model alone.")
    config, tokenizer = encoder.model.config, encoder.tokenizer
    tower = config.text_config.tower_config
    is_bert = tower.model_type == "bert"
    # open_clip makes as many positions as a text of its own tower may have tokens.
    limit = min(tokenizer.model_max_length, longest_text(tower)) if is_bert else tower.max_position_embeddings
    settings, style = write_config(config, limit, (text_tower or _once_named(model)) if is_bert else None)
    moves = list_moves(config, style)
    weights = to_theirs({name: value.float() for name, value in encoder.model.state_dict().items()}, moves)
    pixels = preprocess_config(encoder.image_processor)
    with new_folder(output) as folder:
        write_json(folder / OPEN_CLIP_CONFIG, {"model_cfg": settings, "preprocess_cfg": pixels})
        save_file(weights, folder / OPEN_CLIP_WEIGHTS, metadata={"format": "pt"})
        tokenizer.save_pretrained(folder)
        reference = convert_check.open_clip_cosines(folder)
        source = {"format": "phenolip", "checkpoint": Path(model).name}
        difference = convert_check.record(folder, encoder, source, reference)
    return Converted(Path(output), len(moves), difference, "" if difference is not None else reference[1])


def _without(weights: dict[str, torch.Tensor], drop: Sequence[str]) -> dict[str, torch.Tensor]:
    for beginning in drop:
        if not any(name.startswith(beginning) for name in weights):
            raise ConfigurationError(
                f"`--drop` must name tensors of the checkpoint, got '{beginning}', which is none."
            )
    return {name: value for name, value in weights.items() if not name.startswith(tuple(drop) or ("\0",))}


def _check_tokenizer(tokenizer: Any, tower: dict[str, Any] | None) -> None:
    """open_clip masks the padding that the tower's config states; ours, that of the tokenizer."""
    if tokenizer.pad_token_id is None:
        raise ConfigurationError("The tokenizer must have a token of padding, got none.")
    if tower is not None and tokenizer.pad_token_id != tower.get("pad_token_id"):
        raise ConfigurationError(
            f"The tokenizer must pad with token {tower.get('pad_token_id')}, as the text tower's config says, got "
            f"{tokenizer.pad_token_id}."
        )


def _filled(model: PhenoLIPModel, weights: dict[str, torch.Tensor]) -> PhenoLIPModel:
    try:
        model.load_state_dict(weights)  # strict
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n")[1].split()).rstrip(".") if "\n" in str(error) else first_line(error)
        raise ConfigurationError(
            f"The checkpoint must hold the tensors that its config describes: {reason}."
        ) from error
    return model.eval()


def _once_named(model: str | Path) -> str | None:
    """Text tower of the open_clip config that a folder was converted from."""
    path = Path(model) / convert_check.RECORD
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["source"]["model_cfg"]["text_cfg"].get("hf_model_name")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return name if isinstance(name, str) else None


@contextmanager
def new_folder(output: str | Path) -> Iterator[Path]:
    """A folder that takes its name when all of it is written and proved, and is not left behind by a failure."""
    output = Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigurationError(f"`output` {output} must be a new or empty folder, got one that holds something.")
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
    try:
        yield partial
        partial.chmod(0o755)
        partial.replace(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
