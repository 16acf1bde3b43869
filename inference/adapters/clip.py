"""CLIP (Radford et al. 2021, arXiv:2103.00020) and its fine-tunings, such as PubMedCLIP or PLIP."""

from transformers import CLIPModel

from phenolip.inference.adapters.transformers_encoder import TransformersEncoder


class ClipEncoder(TransformersEncoder):
    """`transformers` CLIP: causal text tower, pooled at the end token, usually 77 tokens."""

    family = "clip"
    model_class = CLIPModel
    model_types = ("clip",)
