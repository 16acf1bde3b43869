"""Captions: one to three signs put into the words of a report, a clinic note or a figure legend.

`TEMPLATES["train"]` and `TEMPLATES["heldout"]` share no template, so a model is tested on phrasings it never read.
"""

from collections.abc import Sequence

import numpy as np

from phenolip.datasets_scripts.phantoms.scene import Sign

# {view}: what the image is. {signs}: the signs in running text. {Signs}: the same with a capital. A view is a noun
# phrase without an article, e.g. "frontal chest radiograph".
TEMPLATES: dict[str, tuple[str, ...]] = {
    "train": (
        "{Signs}.",
        "{View} showing {signs}.",
        "{View} with {signs}.",
        "{Signs} on {view}.",
        "FINDINGS: {Signs}. IMPRESSION: As above.",
        "EXAMINATION: {View}. FINDINGS: {Signs}. No other abnormality.",
        "Technique: {view}. Impression: {signs}.",
        "On examination there is {signs}.",
        "Clinic note: patient seen today, {signs} noted; {view} taken.",
        "Figure 1. {View} demonstrating {signs}.",
        "Fig. 2: {Signs} in an affected individual ({view}).",
        "The {view} reveals {signs}.",
        "{View}. Note the {signs}.",
        "Positive findings: {signs}. The remainder of the image is unremarkable.",
        "Clinical image of a patient with {signs}.",
        "Representative {view} from a proband with {signs}.",
    ),
    "heldout": (
        "This {view} depicts {signs}.",
        "We observed {signs} in this case.",
        "REPORT. Study: {view}. Conclusion: {signs}; otherwise normal.",
        "Physical findings included {signs}, as documented by the {view}.",
        "Panel A, {view}: {signs} (drawn from the index case).",
        "Referred for evaluation of {signs}.",
        "{View} obtained at presentation; {signs} can be appreciated.",
        "Consistent with {signs}.",
    ),
}
PHRASINGS = tuple(TEMPLATES)


def caption(rng: np.random.Generator, signs: Sequence[Sign], view: str, phrasings: str) -> str:
    """Write a caption that mentions every sign by its name or one of its synonyms.

    Args:
        signs: the signs that the image shows.
        view: a noun phrase for the image.
        phrasings: "train" or "heldout".
    """
    templates = TEMPLATES[phrasings]
    template = templates[rng.integers(len(templates))]
    words = [_wording(rng, sign) for sign in signs]
    listed = words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
    return template.format(signs=listed, Signs=_capital(listed), view=view, View=_capital(view))


def _wording(rng: np.random.Generator, sign: Sign) -> str:
    """The name of a sign half of the time, else one of its synonyms, as it stands inside a sentence."""
    named = not sign.synonyms or rng.random() < 0.5
    text = sign.name if named else sign.synonyms[rng.integers(len(sign.synonyms))]
    return text if text[:2].isupper() else text[0].lower() + text[1:]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
