"""Chinese CLIP (Yang et al. 2022, arXiv:2211.01335): a CLIP whose text tower is a BERT."""

from transformers import ChineseCLIPModel

from phenolip.inference.adapters.transformers_encoder import TransformersEncoder


class ChineseClipEncoder(TransformersEncoder):
    """`transformers` ChineseCLIP: text pooled at its first token."""

    family = "chinese_clip"
    model_class = ChineseCLIPModel
    model_types = ("chinese_clip",)
