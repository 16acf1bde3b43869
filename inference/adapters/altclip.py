"""AltCLIP (Chen et al. 2022, arXiv:2211.06679): a CLIP whose text tower is an XLM-RoBERTa."""

from transformers import AltCLIPModel

from phenolip.inference.adapters.transformers_encoder import TransformersEncoder


class AltClipEncoder(TransformersEncoder):
    """`transformers` AltCLIP."""

    family = "altclip"
    model_class = AltCLIPModel
    model_types = ("altclip",)

    def _num_positions(self) -> int:
        config = self.model.config.text_config
        return config.max_position_embeddings - config.pad_token_id - 1  # RoBERTa counts positions from its padding id
