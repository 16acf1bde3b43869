"""Starting from a saved PhenoLIP model instead of from pretrained towers."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from transformers import PreTrainedConfig
from transformers.utils import cached_file

from phenolip.configuration_phenolip import PhenoLIPConfig
from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.train.towers import longest_text

TRAINING_INDEX = "training_index.parquet"


def load_saved(
    path: str | Path, *, image_size: int, max_length: int | None = None
) -> tuple[PhenoLIPModel, PhenoLIPProcessor]:
    """Model and processor of a PhenoLIP folder or Hub id, projections and temperature included.

    Args:
        path: The folder or id.
        image_size: Side in pixels that the processor resizes images to from now on.
        max_length: Longest text in tokens from now on; by default the one saved.

    Raises:
        ConfigurationError: It holds no PhenoLIP model with an image side, or the text tower reads less.
    """
    try:
        model_type = PreTrainedConfig.get_config_dict(str(path))[0].get("model_type")
        if model_type != PhenoLIPConfig.model_type:
            raise ValueError(f"its model type is {model_type!r}")
        model = PhenoLIPModel.from_pretrained(path, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unusable(path, error) from error
    processor = load_processor(path, model.config)
    side = {"height": image_size, "width": image_size}
    processor.image_processor.size = processor.image_processor.crop_size = side
    if max_length is not None:
        limit = longest_text(model.config.text_config.tower_config)
        if not 1 <= max_length <= limit:
            raise ConfigurationError(f"`max_length` must be from 1 to {limit} for this text tower, got {max_length}.")
        processor.tokenizer.model_max_length = max_length
    return model, processor


def saved_image_size(path: str | Path) -> int:
    """Side in pixels of the square that a saved model reads.

    Raises:
        ConfigurationError: The folder has no processor.
    """
    return load_processor(path, PreTrainedConfig()).image_processor.size["height"]


def load_processor(path: str | Path, config: PreTrainedConfig) -> PhenoLIPProcessor:
    """Processor of a PhenoLIP folder; with a config, transformers does not ask about the code that the folder carries.

    Raises:
        ConfigurationError: There is none.
    """
    try:
        return PhenoLIPProcessor.from_pretrained(path, config=config)
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from error


def with_earlier_rows(index: pa.Table, init_from: str | None) -> pa.Table:
    """A training index with the rows that the model it began from was trained on, where that one states them."""
    file = None
    if init_from is not None:
        file = cached_file(
            init_from,
            TRAINING_INDEX,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    if file is None:
        return index
    return pa.concat_tables([index, pq.read_table(file)], promote_options="permissive")


def _unusable(path: str | Path, error: Exception) -> ConfigurationError:
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return ConfigurationError(f"`init_from` must be the folder or id of a PhenoLIP model: {path} ({reason}).")
