"""Category, severity and location of what a model sees, from prompts composed as its training composed them.

MedFILIP (arXiv 2501.10775) asks for severity and category together. Here the category is decided first, by a threshold
that was fitted on validation images; then the severity, and the location, whose prompt is nearest. Ours.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.encoder import Encoder
from phenolip.inference.finding_thresholds import FindingThreshold, FindingThresholds
from phenolip.inference.model_knowledge import finding_text

SLOTS = ("severity", "location")


@dataclass(frozen=True, slots=True)
class SeenFinding:
    """A category that reaches its threshold in an image, or the best that does not.

    Attributes:
        category: Its name.
        hpo_id: Its term, if it has one.
        cosine: Of image and category prompt.
        threshold: From which it counts as seen.
        seen: Whether the cosine reaches it.
        severity: Whose prompt is nearest among those known of the category; None where none is known.
        location: Likewise.
        text: The finding as the template writes it.
    """

    category: str
    hpo_id: str | None
    cosine: float
    threshold: float
    seen: bool
    severity: str | None
    location: str | None
    text: str


class FineGrainedPredictor:
    """Findings of images.

    Args:
        encoder: A model with an image side.
        thresholds: Its categories.

    Raises:
        ConfigurationError: The model encodes text only.
        DataError: The thresholds were fitted for other weights.
    """

    def __init__(self, encoder: Encoder, thresholds: FindingThresholds) -> None:
        if not encoder.has_images:
            raise ConfigurationError(f"`model` {encoder.name} encodes text only: a prediction needs a Stage-2 model.")
        weights = encoder.describe()["weights_sha256"] if encoder.source is not None else None
        if weights and thresholds.weights_sha256 and weights != thresholds.weights_sha256:
            raise DataError(
                f"The thresholds were fitted for other weights than those of {encoder.name}; fit them anew."
            )
        self.encoder, self.thresholds = encoder, thresholds
        self.categories = thresholds.categories
        self.embeds = embed_findings(encoder, [(entry, None, None) for entry in self.categories])
        self._slots: dict[tuple[int, str], NDArray] = {}

    def __call__(self, images: Sequence[Any], *, max_unseen: int = 0) -> list[list[SeenFinding]]:
        """What reaches its threshold, farthest above it first, and up to ``max_unseen`` of what comes nearest to it.

        Raises:
            DataError: An image cannot be read.
        """
        embeds = self.encoder.encode_images(images)
        cosines = self.category_cosines(embeds)
        margins = cosines - np.array([entry.threshold for entry in self.categories])
        found = []
        for row, margin in enumerate(margins):
            order = np.argsort(-margin, kind="stable")
            num_seen = int((margin >= 0).sum())
            found.append(
                [self._describe(embeds[row], int(c), float(cosines[row, c])) for c in order[: num_seen + max_unseen]]
            )
        return found

    def category_cosines(self, image_embeds: NDArray) -> NDArray:
        """(N, C) float64 cosines of images with category prompts."""
        return np.asarray(image_embeds, np.float64) @ np.asarray(self.embeds, np.float64).T

    def best(self, image_embeds: NDArray, category: int, slot: str) -> list[str | None]:
        """For each image the severity or location whose prompt is nearest; of equals the commonest."""
        options = options_of(self.categories[category], slot)
        if not options:
            return [None] * len(image_embeds)
        if (category, slot) not in self._slots:
            entry = self.categories[category]
            asked = [(entry, *((option, None) if slot == "severity" else (None, option))) for option in options]
            self._slots[category, slot] = embed_findings(self.encoder, asked)
        nearest = (np.asarray(image_embeds) @ self._slots[category, slot].T).argmax(axis=1)
        return [options[place] for place in nearest]

    def _describe(self, embed: NDArray, category: int, cosine: float) -> SeenFinding:
        entry = self.categories[category]
        severity, location = (self.best(embed[None], category, slot)[0] for slot in SLOTS)
        return SeenFinding(
            category=entry.category,
            hpo_id=entry.hpo_id,
            cosine=cosine,
            threshold=entry.threshold,
            seen=cosine >= entry.threshold,
            severity=severity,
            location=location,
            text=finding_text(self.encoder, entry.category, hpo_id=entry.hpo_id, severity=severity, location=location),
        )


def options_of(entry: FindingThreshold, slot: str) -> tuple[str, ...]:
    """What may be said in a slot of a category."""
    return entry.severities if slot == "severity" else entry.locations


def embed_findings(encoder: Encoder, asked: Iterable[tuple[FindingThreshold, str | None, str | None]]) -> NDArray:
    """(F, D) embeddings of categories with severity and location, in the prompt of the model's processor."""
    texts = [
        finding_text(encoder, entry.category, hpo_id=entry.hpo_id, severity=severity, location=location)
        for entry, severity, location in asked
    ]
    return encoder.encode_texts([encoder.prompt_template.replace("{}", text) for text in texts])
