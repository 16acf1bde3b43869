"""An ONNX folder as two functions, images and texts to unit vectors, by onnxruntime alone: no torch model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from phenolip.inference.encoding import encode_by_length, encode_pictures
from phenolip.processing_phenolip import PhenoLIPProcessor

SETTINGS = "onnx.json"


class OnnxEncoder:
    """Runs both towers of an exported folder.

    Args:
        folder: As `phenolip export onnx` writes it.
        suffix: "" for float32, "_int8" for the quantised files.
    """

    def __init__(self, folder: str | Path, suffix: str = "") -> None:
        folder = Path(folder)
        self.processor = PhenoLIPProcessor.from_pretrained(folder)
        self.logit_scale = float(json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["logit_scale"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 0
        self._sessions = {
            tower: onnxruntime.InferenceSession(
                folder / f"{tower}_model{suffix}.onnx", options, providers=onnxruntime.get_available_providers()
            )
            for tower in ("vision", "text")
        }

    def encode_images(self, images: Sequence[Any], batch_size: int = 16) -> NDArray[np.float32]:
        """Unit-norm embeddings (N, D) of images, in their order."""
        return encode_pictures(images, batch_size, self._images)

    def encode_texts(self, texts: Sequence[str], batch_size: int = 32) -> NDArray[np.float32]:
        """Unit-norm embeddings (N, D) of texts as they are, without the template, in their order."""
        lengths = [len(ids) for ids in self.processor.tokenizer(list(texts), truncation=True)["input_ids"]]
        return encode_by_length(lengths, batch_size, lambda rows: self._texts([texts[row] for row in rows]))

    def _images(self, pictures: list[Any]) -> NDArray[np.float32]:
        inputs = self.processor(images=pictures, return_tensors="np")
        return self._sessions["vision"].run(None, {"pixel_values": inputs["pixel_values"]})[0]

    def _texts(self, texts: list[str]) -> NDArray[np.float32]:
        inputs = self.processor(text=texts, prompt_template="{}", return_tensors="np")
        fields = {name: inputs[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
        return self._sessions["text"].run(None, fields)[0]
