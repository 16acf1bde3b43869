"""An encoder that asks frozen towers once: what they say about an image or text is kept on disk."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from phenolip.exceptions import DataError
from phenolip.images import decode_image, read_image
from phenolip.inference.encoder import Encoder
from phenolip.provenance import content_hash
from phenolip.train.collator import TextTokenizer
from phenolip.train.teacher import encode_texts, module_fingerprint
from phenolip.train.text_feature_store import TextFeatureStore


class StoredFeatureEncoder:
    """Encodes as `Encoder` does, but looks up the pooled features of towers that many models share.

    For models that differ in their projections alone: each tower encodes an image or text for the first of them, the
    others only project. Texts share the store of training with a frozen text tower.

    Args:
        encoder: A model with an image side.
        folder: Where features are kept; runs side by side may share it.
        images: The vision tower is shared.
        texts: The text tower is shared.
    """

    def __init__(self, encoder: Encoder, folder: str | Path, *, images: bool, texts: bool) -> None:
        self.encoder, self.folder = encoder, Path(folder)
        self.has_images, self.name = encoder.has_images, encoder.name
        self._images = self._image_folder() if images else None
        self._texts = self._text_store() if texts else None

    def encode_images(self, images: Sequence[Any]) -> NDArray[np.float32]:
        """(N, D) unit-norm embeddings of images, in their order.

        Raises:
            DataError: No image was given, or one cannot be read.
        """
        if self._images is None or not len(images):
            return self.encoder.encode_images(images)
        hashes = [hashlib.sha256(read_image(image)[0]).hexdigest() for image in images]
        place = {sha256: row for row, sha256 in enumerate(hashes)}

        def encode(missing: list[str]) -> NDArray[np.float32]:
            return self._pooled_images([images[place[sha256]] for sha256 in missing])

        return self._project("vision", TextFeatureStore(self._images, encode).features(hashes))

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) unit-norm embeddings of texts, in their order.

        Raises:
            DataError: No text was given.
        """
        if self._texts is None:
            return self.encoder.encode_texts(texts)
        if not len(texts):
            raise DataError("At least one text must be given, got none.")
        return self._project("text", self._texts.features(list(texts)))

    @torch.inference_mode()
    def _pooled_images(self, images: Sequence[Any], batch_size: int = 32) -> NDArray[np.float32]:
        vision_model, processor = self.encoder.model.vision_model.eval(), self.encoder.image_processor
        features = []
        for start in range(0, len(images), batch_size):
            pictures = [decode_image(image) for image in images[start : start + batch_size]]
            pixels = processor(images=pictures, return_tensors="pt")["pixel_values"].to(self.encoder.model.device)
            features.append(vision_model(pixels).pooler_output.float().cpu().numpy())
        return np.concatenate(features)

    @torch.inference_mode()
    def _project(self, side: str, pooled: NDArray) -> NDArray[np.float32]:
        model = getattr(self.encoder.model, f"{side}_model").eval()
        return model.project(torch.from_numpy(pooled).to(self.encoder.model.device)).float().cpu().numpy()

    def _image_folder(self) -> Path:
        tower, processor = self.encoder.model.vision_model.tower, self.encoder.image_processor
        key = content_hash([module_fingerprint(tower), processor.to_json_string()])
        return self.folder / f"plain_image-{key}"

    def _text_store(self) -> TextFeatureStore:
        text_model, max_length = self.encoder.model.text_model, self.encoder.max_length
        tokenize = TextTokenizer(self.encoder.tokenizer, max_length)
        return TextFeatureStore(
            self.folder / f"pooler_output-{module_fingerprint(text_model.tower)}-{max_length}",
            lambda texts: encode_texts(text_model, tokenize, texts, field="pooler_output"),
        )
