"""SigLIP (Zhai et al. 2023, arXiv:2303.15343), MedSigLIP, and SigLIP 2 of fixed resolution."""

from transformers import SiglipModel

from phenolip.inference.adapters.transformers_encoder import TransformersEncoder


class SiglipEncoder(TransformersEncoder):
    """`transformers` SigLIP. The text tower attends to padding: texts are padded to the context, without a mask."""

    family = "siglip"
    model_class = SiglipModel
    model_types = ("siglip",)
    text_fields = ("input_ids",)
    pads_to_context = True
