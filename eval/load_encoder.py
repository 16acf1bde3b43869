"""The model of a run: an encoder that is there already, the baseline by its name, or that of a folder or Hub id."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from phenolip.eval.evaluators.base import SupportsEncoding
from phenolip.exceptions import ConfigurationError
from phenolip.inference.adapters.registry import load_model
from phenolip.ontology.graph import PhenotypeOntology

TFIDF = "tfidf"  # the model's name on the command line; a folder of that name is ./tfidf


def load_encoder(model: str | Path | SupportsEncoding, ontology: PhenotypeOntology, device: str | None) -> Any:
    """The encoder itself, the baseline that is named, or the encoder of a folder or Hub id.

    Raises:
        ConfigurationError: The model cannot be used, or the baseline lacks a package.
    """
    if not isinstance(model, (str, Path)):
        return model
    if str(model) != TFIDF:
        return load_model(model, device)
    if find_spec("sklearn") is None:
        raise ConfigurationError(f"`model` {TFIDF} needs scikit-learn: `pip install phenolip[eval]`.")
    from phenolip.eval.baselines import TfidfEncoder  # here, since it needs the package above

    return TfidfEncoder([ontology[hpo_id].name for hpo_id in ontology.term_ids()])


def load_image_encoder(model: str | Path | SupportsEncoding, device: str | None) -> Any:
    """The encoder, once it is known to see images.

    Raises:
        ConfigurationError: It encodes text only, or cannot be used.
    """
    encoder = model
    if isinstance(model, (str, Path)):
        encoder = None if str(model) == TFIDF else load_model(model, device)
    if encoder is None or not getattr(encoder, "has_images", True):
        name = getattr(encoder, "name", model)
        raise ConfigurationError(f"`model` {name} encodes text only; this task needs images.")
    return encoder
