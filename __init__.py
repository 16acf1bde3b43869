"""PhenoLIP: phenotype-aware medical vision-language models.

The names below load on first use, so that ``import phenolip`` stays light.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "PhenoLIPConfig": "configuration_phenolip",
    "PhenoLIPTextConfig": "configuration_phenolip",
    "PhenoLIPVisionConfig": "configuration_phenolip",
    "PhenoLIPModel": "modeling_phenolip",
    "PhenoLIPTextModel": "modeling_phenolip",
    "PhenoLIPVisionModel": "modeling_phenolip",
    "PhenoLIPProcessor": "processing_phenolip",
    "load_ontology": "ontology.reader",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module 'phenolip' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
