"""A saved model as two functions: images to unit vectors, texts to unit vectors."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoModel,
    AutoTokenizer,
    BatchEncoding,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import cached_file

from phenolip.configuration_phenolip import TEXT_POOLINGS, PhenoLIPTextConfig
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.adapters.files import file_hashes, find_file, weight_files
from phenolip.inference.adapters.image_settings import describe_image_processor
from phenolip.inference.encoding import (
    TextCounts,
    check_rows,
    encode_by_length,
    encode_pictures,
    inference_mode,
    usable_device,
)
from phenolip.inference.model_check import check_model
from phenolip.inference.model_knowledge import model_knowledge
from phenolip.modeling_phenolip import PhenoLIPModel, PhenoLIPTextModel
from phenolip.ontology.knowledge_book import KnowledgeBook
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.train.towers import longest_text

# What configs and weights that do not fit each other raise below.
_UNFIT = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, StrictDataclassError)
UNLIMITED = 100_000  # tokenizers without a limit report a number far above this


class Encoder:
    """Encodes images and texts with a PhenoLIP model, or texts alone with a text model.

    Texts are sorted by length and padded to the longest of their batch; results come back in the order asked, and a
    text that occurs twice is encoded once. Precision is that of the weights, float32 unless loaded otherwise.

    Args:
        model: PhenoLIPModel or PhenoLIPTextModel; put into eval mode for the time of each call.
        tokenizer: Tokenizer of the text side.
        image_processor: Image processor of the image side, if there is one.
        prompt_template: Sentence with one ``{}`` that the model wants around a phenotype's name.
        name: What messages and reports call the model.
        knowledge: What findings are, in the words of the model's training; None if it was trained on names alone.
    """

    def __init__(
        self,
        model: PhenoLIPModel | PhenoLIPTextModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Any = None,
        *,
        prompt_template: str = "{}",
        name: str = "",
        knowledge: KnowledgeBook | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.prompt_template = prompt_template
        self.name = name
        self.source: str | Path | None = None  # where the weights were read from, if they were
        self.counts = TextCounts()
        self.knowledge = knowledge

    @classmethod
    def from_pretrained(
        cls, path: str | Path, device: str | torch.device | None = None, *, dtype: torch.dtype = torch.float32
    ) -> "Encoder":
        """Encoder of a PhenoLIP folder or Hub id, of its text model alone, or of a sentence encoder of transformers.

        A sentence encoder keeps the pooling of its `1_Pooling/config.json` if it has one, else the mean of its tokens.

        Args:
            path: Folder or Hub id.
            device: By default the first GPU, else the CPU.
            dtype: Precision of the weights; float32 is exact, bfloat16 several times faster where the hardware has it.

        Raises:
            ConfigurationError: The folder holds no model that can be used here.
        """
        model_type = _model_type(path)
        if model_type not in ("phenolip", "phenolip_text_model", *TEXT_POOLINGS):
            allowed = ", ".join(("phenolip", "phenolip_text_model", *TEXT_POOLINGS))
            raise ConfigurationError(f"`model` {path} must be one of {allowed}, got the model type {model_type!r}.")
        check_model(path)
        device = usable_device(device)
        try:
            encoder = cls._load(path, model_type, device, dtype)
            encoder.source = path
            return encoder
        except ConfigurationError:
            raise
        except (*_UNFIT, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise ConfigurationError(f"`model` {path} cannot be loaded: {reason}.") from error

    @classmethod
    def _load(cls, path: str | Path, model_type: str, device: torch.device, dtype: torch.dtype) -> "Encoder":
        if model_type == "phenolip":
            model = _whole(PhenoLIPModel, path, dtype).to(device)
            processor = PhenoLIPProcessor.from_pretrained(path, config=model.config)
            return cls(
                model,
                processor.tokenizer,
                processor.image_processor,
                prompt_template=processor.prompt_template,
                name=str(path),
                knowledge=model_knowledge(path),
            )
        if model_type == "phenolip_text_model":
            model = _whole(PhenoLIPTextModel, path, dtype)
        else:
            model = _sentence_encoder(path, dtype)
        # With the config at hand, transformers does not ask whether to run the code that the folder carries.
        tokenizer = AutoTokenizer.from_pretrained(path, config=model.config)
        return cls(model.to(device), tokenizer, name=str(path))

    @property
    def has_images(self) -> bool:
        """Whether the model has an image side."""
        return self.image_processor is not None and hasattr(self.model, "vision_model")

    @property
    def logit_scale(self) -> float:
        """Inverse temperature that turns cosines into logits; 1 for a text model, which has none."""
        scale = getattr(self.model, "logit_scale", None)
        return float(scale.detach().float().exp()) if scale is not None else 1.0

    @property
    def max_length(self) -> int:
        """Tokens after which a text is cut: the tokenizer's limit, else the tower's."""
        if self.tokenizer.model_max_length < UNLIMITED:
            return self.tokenizer.model_max_length
        return longest_text(self._text_model.config.tower_config)

    def encode_images(self, images: Sequence[Any], batch_size: int = 32) -> NDArray[np.float32]:
        """Unit-norm embeddings of images, in their order.

        Args:
            images: Anything `decode_image` reads: Pillow images, paths, bytes or rows of a `datasets` Image column.
            batch_size: Images decoded and encoded at a time.

        Shapes (N images, D width): returns (N, D).

        Raises:
            ConfigurationError: The model has no image side.
            DataError: An image cannot be read, or the model gives no finite numbers.
        """
        if not self.has_images:
            raise ConfigurationError(f"`model` {self.name} encodes text only: images need a Stage-2 model.")

        def encode(pictures: list[Image.Image]) -> NDArray:
            pixels = self.image_processor(images=pictures, return_tensors="pt")["pixel_values"]
            pixels = pixels.to(self.model.device, self.model.dtype)
            return self.model.get_image_features(pixels).float().cpu().numpy()

        with inference_mode(self.model):
            embeds = encode_pictures(images, batch_size, encode)
        return check_rows(embeds, "images", self.name)

    def encode_texts(self, texts: Sequence[str], batch_size: int = 64) -> NDArray[np.float32]:
        """Unit-norm embeddings of texts, in their order, without the processor's prompt template.

        Args:
            texts: Any texts; what exceeds `max_length` tokens is cut.
            batch_size: Texts encoded at a time.

        Shapes (N texts, D width): returns (N, D).

        Raises:
            DataError: No text was given, or the model gives no finite numbers.
        """
        if not len(texts):
            raise DataError("At least one text must be given, got none.")
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        encoded = self.tokenizer(list(rows), truncation=True, max_length=self.max_length)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        whole = [length + _num_cut(encoded, row) for row, length in enumerate(lengths)]
        self.counts.add(list(rows), whole, self.max_length)

        def encode(batch: list[int]) -> NDArray:
            fields = {name: [encoded[name][row] for row in batch] for name in ("input_ids", "attention_mask")}
            inputs = self.tokenizer.pad(fields, return_tensors="pt").to(self.model.device)
            output = self._text_model(inputs["input_ids"], inputs["attention_mask"])
            return output.text_embeds.float().cpu().numpy()

        with inference_mode(self.model):
            embeds = encode_by_length(lengths, batch_size, encode)
        return check_rows(embeds[[rows[text] for text in texts]], "texts", self.name)

    def describe(self) -> dict[str, Any]:
        """What decides this model's numbers, as JSON values: family, inputs, precision, size and hash of weights."""
        model_type = self.model.config.model_type
        tower = getattr(self._text_model.config, "tower_config", None)
        images = describe_image_processor(self.image_processor) if self.has_images else {}
        return {
            "family": "phenolip" if self.has_images else "text",
            "model_type": model_type,
            "text_tower": getattr(tower, "model_type", None),
            "context_length": self.max_length,
            **images,
            "tokenizer": {"class": type(self.tokenizer).__name__, "vocab_size": len(self.tokenizer)},
            "logit_scale": self.logit_scale,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "num_parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "weights_sha256": file_hashes(weight_files(self.source)) if self.source is not None else None,
            "num_texts": self.counts.num_texts,
            "num_texts_truncated": self.counts.num_truncated,
        }

    @property
    def _text_model(self) -> nn.Module:
        return getattr(self.model, "text_model", self.model)


def _num_cut(encoded: BatchEncoding, row: int) -> int:
    """Tokens of a text beyond the limit; tokenizers that are not of the Rust library do not say."""
    overflowing = encoded.encodings[row].overflowing if encoded.is_fast else ()
    return sum(sum(mask == 0 for mask in part.special_tokens_mask) for part in overflowing)


def _model_type(path: str | Path) -> str:
    try:
        config, _ = PreTrainedConfig.get_config_dict(str(path))
    except (OSError, RecursionError):  # none, or brackets within brackets
        config = {}
    if not isinstance(config, dict) or not config.get("model_type"):
        raise ConfigurationError(
            f"`model` {path} must be a folder with weights and a config.json that states `model_type`, or a Hub id; "
            "there is none."
        )
    return config["model_type"]


def _whole(kind: type[PreTrainedModel], path: str | Path, dtype: torch.dtype) -> Any:
    """A model all of whose tensors the folder holds: transformers would fill the others with random numbers."""
    model, loading = kind.from_pretrained(path, dtype=dtype, use_safetensors=True, output_loading_info=True)
    if loading["missing_keys"]:
        missing = sorted(loading["missing_keys"])
        raise ConfigurationError(f"`model` {path} lacks {len(missing)} of its tensors, {missing[0]} among them.")
    return model


def _sentence_encoder(path: str | Path, dtype: torch.dtype) -> PhenoLIPTextModel:
    _check_modules(path)
    tower = AutoModel.from_pretrained(path, dtype=dtype, use_safetensors=True, trust_remote_code=False)
    poolings = TEXT_POOLINGS[tower.config.model_type]
    pooling = _sentence_pooling(path) or ("mean" if "mean" in poolings else poolings[0])
    model = PhenoLIPTextModel(PhenoLIPTextConfig(tower_config=tower.config, pooling=pooling, projection="none"))
    model.tower = tower
    return model.to(dtype)


def _check_modules(path: str | Path) -> None:
    """Sees that a sentence-transformers folder has no layers beyond those that are read here."""
    file = find_file(path, "modules.json")
    if file is None:
        return
    types = [str(module.get("type")).rpartition(".")[2] for module in json.loads(file.read_text(encoding="utf-8"))]
    unread = [name for name in types if name not in ("Transformer", "Pooling", "Normalize")]
    if unread:
        raise ConfigurationError(f"{file}: modules must be Transformer, Pooling and Normalize, got {unread[0]} too.")


def _sentence_pooling(path: str | Path) -> str | None:
    """Pooling that a sentence-transformers folder states, in our words; None if it states none."""
    file = cached_file(
        str(path), "1_Pooling/config.json", _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )  # fmt: skip
    if file is None:
        return None
    stated = json.loads(Path(file).read_text(encoding="utf-8"))
    names = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens"}
    chosen = [name for name, field in names.items() if stated.get(field)]
    if len(chosen) != 1:
        raise ConfigurationError(f"{file}: one of {', '.join(names.values())} must be true, got {stated}.")
    return chosen[0]
