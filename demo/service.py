"""What the page asks of a model: ranked phenotypes, a heat map, images for a text. No browser in here."""

import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from phenolip.exceptions import DataError
from phenolip.images import decode_image
from phenolip.inference.explain import Method, heat_map, model_pixels, seen_picture
from phenolip.inference.explain_picture import overlay
from phenolip.inference.predict import CandidateScores, PhenotypePredictor
from phenolip.inference.prediction_tree import TreeNode
from phenolip.ontology.graph import PhenotypeOntology

MAX_UPLOAD_MB = 10
MAX_UPLOAD_PIXELS = 24_000_000  # a camera's picture; whatever claims more is not decoded


class DemoModel:
    """A predictor with the ontology beside it.

    Args:
        predictor: A model and its candidates.
        ontology: The release.
        name: What the page calls the model: never a whole path, which says where files lie on the machine.
    """

    def __init__(self, predictor: PhenotypePredictor, ontology: PhenotypeOntology, name: str) -> None:
        self.predictor, self.ontology, self.name = predictor, ontology, name
        # A gradient map changes how a transformer attends for the time of its call: one at a time.
        self._gradients = threading.Lock()

    @classmethod
    def from_pretrained(cls, path: str | Path, ontology: PhenotypeOntology, device: str | None = None) -> "DemoModel":
        """The model of a folder or Hub id, with the candidates that it was trained with, else all of the release."""
        predictor = PhenotypePredictor.from_pretrained(path, ontology=ontology, device=device)
        if predictor.encoder.model.device.type == "cpu":  # convolutions are faster so, and give the same numbers
            predictor.encoder.model.vision_model.to(memory_format=torch.channels_last)
        path_parts = Path(path).parts
        return cls(predictor, ontology, "/".join(path_parts[-2:]).strip("/"))

    def score(self, picture: Image.Image) -> CandidateScores:
        """Cosines and probabilities of all candidates for one picture."""
        return self.predictor.score([picture])

    def tree(self, scores: CandidateScores, top: int) -> list[TreeNode]:
        """The best candidates under their organ systems."""
        return self.predictor.trees(scores, self.ontology, top=top)[0]

    def map_over(self, picture: Image.Image, hpo_id: str, method: Method = "occlusion") -> Image.Image:
        """The map of one phenotype over what the model sees of the picture.

        Raises:
            DataError: The phenotype is none of the candidates.
        """
        if hpo_id not in self.predictor.hpo_ids:
            raise DataError(f"{hpo_id} is not among the {len(self.predictor.hpo_ids)} candidates of this model.")
        pixels = model_pixels(self.predictor.encoder, picture)
        direction = self.predictor.embeds[self.predictor.hpo_ids.index(hpo_id)]
        stride = max(1, max(pixels.shape[-2:]) // 4)  # squares side by side: 16 passes, an answer in time
        with self._gradients if method == "gradient" else nullcontext():
            heat = heat_map(self.predictor.encoder, pixels, direction, method, stride_px=stride)
        return overlay(seen_picture(self.predictor.encoder, pixels), heat)

    def warm_up(self, picture: Image.Image) -> None:
        """Answers once, so that the first user does not wait for what is loaded and prepared on first use."""
        best = self.predictor.best(self.score(picture), top=1)[0][0]
        self.map_over(picture, best.hpo_id)

    def text_embed(self, text: str) -> NDArray[np.float32]:
        """Embedding (D,) of a phenotype's name, an id, or free text: what is a term is put into the model's prompt.

        Raises:
            DataError: The text is empty or too long.
        """
        text = " ".join(text.split())
        if not 1 <= len(text) <= 2000:
            raise DataError(f"A query must have 1 to 2,000 characters, got {len(text):,}.")
        encoder, hpo_id = self.predictor.encoder, self.find_term(text)
        written = encoder.prompt_template.replace("{}", self.ontology[hpo_id].name) if hpo_id else text
        return encoder.encode_texts([written])[0]

    def find_term(self, text: str) -> str | None:
        """Current id of what a text names by id, name or exact synonym."""
        text = text.strip()
        return self.ontology.resolve(text) if text in self.ontology else self.ontology.find(text)


def open_upload(path: str | None) -> Image.Image:
    """The picture of an uploaded file.

    Raises:
        DataError: There is no file, it is too large, or it is no image that can be read.
    """
    if not path:
        raise DataError("Choose an image first.")
    file = Path(path)
    if file.stat().st_size > MAX_UPLOAD_MB * 2**20:
        raise DataError(f"An image file must have at most {MAX_UPLOAD_MB} MB.")
    try:
        return decode_image(file.read_bytes(), max_pixels=MAX_UPLOAD_PIXELS)
    except DataError as error:  # its own words would name the temporary file
        raise DataError(str(error).replace(str(file), "The file")) from error
