"""MetaCLIP 2 (Chuang et al. 2025, arXiv:2507.22062): a CLIP of many languages."""

from transformers import MetaClip2Model

from phenolip.inference.adapters.transformers_encoder import TransformersEncoder


class MetaClip2Encoder(TransformersEncoder):
    """`transformers` MetaCLIP 2: as CLIP, with a larger vocabulary."""

    family = "metaclip_2"
    model_class = MetaClip2Model
    model_types = ("metaclip_2",)
