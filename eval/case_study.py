"""How near an image is to one finding in several wordings: the case study of MedFILIP (arXiv 2501.10775) as a plot."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from phenolip.eval.svg import INK, plain_axes
from phenolip.exceptions import ConfigurationError
from phenolip.images import decode_image
from phenolip.inference.encoder import Encoder
from phenolip.inference.predict import RESEARCH_ONLY
from phenolip.ontology.finding_template import compose
from phenolip.ontology.knowledge_book import KnowledgeBook
from phenolip.whole_files import whole_file

SUFFIXES = (".svg", ".png")
GENERIC = "a medical image of {}."
_COLOURS = {"template": "#9aa7ae", "fine-grained": "#3f7cac", "explanation": "#c1666b"}


@dataclass(frozen=True, slots=True)
class WordedSimilarity:
    """One text and how near the image is.

    Attributes:
        kind: "template", "fine-grained" or "explanation".
        text: What was encoded.
        cosine: Of image and text.
    """

    kind: str
    text: str
    cosine: float


def finding_wordings(
    book: KnowledgeBook, finding: str, severity: str | None = None, location: str | None = None
) -> list[tuple[str, str]]:
    """Kind and text of each wording: a generic sentence, the finding with what is said of it, what it looks like.

    Raises:
        UnknownTermError: The book does not have the finding.
    """
    told = book.explain(finding).text
    name = book.resolve(finding).name
    texts = [("template", GENERIC.format(name.lower()))]
    texts += [("fine-grained", compose(severity, location, name))] if severity or location else []
    if told:
        texts += [("explanation", told[:1].upper() + told[1:])]
        texts += [("explanation", compose(severity, location, name, told))]
    return texts


def similarities(encoder: Encoder, image: Any, wordings: list[tuple[str, str]]) -> list[WordedSimilarity]:
    """Cosine of an image with each text, in their order.

    Raises:
        ConfigurationError: The model encodes text only.
    """
    if not encoder.has_images:
        raise ConfigurationError(f"`model` {encoder.name} encodes text only: a comparison needs a Stage-2 model.")
    cosines = encoder.encode_texts([text for _, text in wordings]) @ encoder.encode_images([image])[0]
    return [
        WordedSimilarity(kind, text, float(cosine)) for (kind, text), cosine in zip(wordings, cosines, strict=True)
    ]


def plot_similarities(image: Any, found: Mapping[str, list[WordedSimilarity]], path: str | Path) -> None:
    """Draws the image beside bars, one a text; a finding's texts stand together.

    Args:
        image: Anything that `decode_image` reads.
        found: Name of a finding -> its texts.
        path: A .svg or .png file.

    Raises:
        ConfigurationError: The file has another ending.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ConfigurationError(f"`output` must end in {' or '.join(SUFFIXES)}, got {path.name}.")
    rows = [one for texts in found.values() for one in texts]
    places = -np.arange(len(rows), dtype=float)
    places -= 0.6 * np.repeat(np.arange(len(found)), [len(texts) for texts in found.values()])  # a gap after each
    with matplotlib.rc_context({"svg.fonttype": "none", "font.size": 8, "svg.hashsalt": "phenolip"}):
        figure = Figure(figsize=(10.5, 0.55 * len(rows) + 1.4), layout="constrained")
        picture, axes = figure.subplots(1, 2, width_ratios=(1, 3.2))
        picture.imshow(decode_image(image))
        picture.set_axis_off()
        axes.barh(places, [one.cosine for one in rows], color=[_COLOURS[one.kind] for one in rows], height=0.42)
        for place, one in zip(places, rows, strict=True):
            label = f"{one.cosine:.3f}   {_shortened(one.text)}"
            text = axes.text(0, place + 0.28, label, va="bottom", color=INK, transform=axes.get_yaxis_transform())
            text.set_in_layout(False)  # else a long text would squeeze the bars
        plain_axes(axes)
        axes.set_yticks([])
        axes.set_xlabel("cosine of image and text (" + ", ".join(_COLOURS) + ": grey, blue, red)", color=INK)
        figure.suptitle(RESEARCH_ONLY, fontsize=7, color=INK)
        with whole_file(path) as file:
            figure.savefig(
                file, format=path.suffix[1:], dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None
            )


def _shortened(text: str, limit: int = 100) -> str:
    return text if len(text) <= limit else text[: limit - 3].rstrip() + "..."
