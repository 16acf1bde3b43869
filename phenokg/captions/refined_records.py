"""What refining a caption takes and gives."""

from dataclasses import dataclass
from typing import Literal

from phenolip.phenokg.records import Assertion

Source = Literal["subcaption", "caption", "context"]
Method = Literal["extractive", "model"]
DroppedReason = Literal[
    "new_words",  # says what no source says
    "new_number",
    "new_modality",  # names a way of imaging that no source names
    "new_phenotype",
    "other_side",  # left for right
    "reversed",  # denies what the sources state, or states what they deny
    "surer",  # states what the sources think possible
]


@dataclass(frozen=True, slots=True)
class CaptionToRefine:
    """A subfigure's part of a caption, and what the article says besides.

    Attributes:
        key: Names the subfigure, such as "PMC123.2/fig1/s1".
        caption: All of the figure's caption.
        subcaption: What of it describes the subfigure: background and own text; empty means the whole caption.
        own_text: What it says of this subfigure alone; empty if that is not known.
        label: By which the caption names it; empty if it names none.
        paragraphs: Paragraphs of the article that cite the figure, those that say most first.
        abstract: Of the article.
    """

    key: str
    caption: str
    subcaption: str = ""
    own_text: str = ""
    label: str = ""
    paragraphs: tuple[str, ...] = ()
    abstract: str = ""


@dataclass(frozen=True, slots=True)
class GroundedPhenotype:
    """A phenotype that a subfigure is said to show, and the words that say so.

    Attributes:
        hpo_id: Current id of the release that was linked against.
        name: The term's name.
        surface: The words in the source.
        source: The nearest text that has them; "context" is the paragraphs and the abstract.
        assertion: "present" or "uncertain".
        score: Confidence in the link, 0 to 1.
    """

    hpo_id: str
    name: str
    surface: str
    source: Source
    assertion: Assertion
    score: float


@dataclass(frozen=True, slots=True)
class DroppedClaim:
    """A sentence, or a phenotype's name, of a model's answer that no source supports."""

    text: str
    reason: DroppedReason


@dataclass(frozen=True, slots=True)
class RefinedCaption:
    """A self-contained description of a subfigure, beside what it was made of.

    Attributes:
        key: Names the subfigure.
        description: The text to train on.
        modality: How the image was made, a `Modality`; empty if that is unknown.
        modality_words: The words that say so, as they stand in a source; empty for a model's word alone.
        phenotypes: That the description, or the model, names and a source supports; each once.
        dropped_claims: What was left out of a model's answer, and why.
        method: Who wrote the description.
        caption: What the description replaces: the subcaption as it was given.
        model: That was asked; empty for none.
        prompt: Name, version and hash of the prompt file; empty for none.
        failure: Why the description is extractive although a model was asked; empty otherwise.
    """

    key: str
    description: str
    modality: str
    modality_words: str
    phenotypes: tuple[GroundedPhenotype, ...]
    dropped_claims: tuple[DroppedClaim, ...]
    method: Method
    caption: str
    model: str = ""
    prompt: str = ""
    failure: str = ""
