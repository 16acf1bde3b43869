"""ALIGN (Jia et al. 2021, arXiv:2102.05918): an EfficientNet and a BERT."""

from transformers import AlignModel

from phenolip.inference.adapters.transformers_encoder import TransformersEncoder

TRAINED_LENGTH = 64  # the length to which the processor of transformers pads and cuts


class AlignEncoder(TransformersEncoder):
    """`transformers` ALIGN: 64 tokens, though its BERT has positions for more."""

    family = "align"
    model_class = AlignModel
    model_types = ("align",)

    @property
    def logit_scale(self) -> float:
        """Inverse of the temperature that the model stores."""
        return 1.0 / float(self.model.temperature.detach().float())

    def _num_positions(self) -> int:
        return min(TRAINED_LENGTH, super()._num_positions())
