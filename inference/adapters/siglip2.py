"""SigLIP 2 with images of any shape, NaFlex (Tschannen et al. 2025, arXiv:2502.14786)."""

from transformers import Siglip2Model

from phenolip.inference.adapters.transformers_encoder import TransformersEncoder


class Siglip2Encoder(TransformersEncoder):
    """`transformers` SigLIP 2: images keep their shape and become at most `max_num_patches` patches.

    Checkpoints of SigLIP 2 with a fixed resolution call themselves `siglip` and are read by `SiglipEncoder`.
    """

    family = "siglip2"
    model_class = Siglip2Model
    model_types = ("siglip2",)
    text_fields = ("input_ids",)
    pads_to_context = True
