"""A random model of two small layers in a folder for every family of transformers."""

import string

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AlignConfig,
    AlignModel,
    AltCLIPConfig,
    AltCLIPModel,
    ChineseCLIPConfig,
    ChineseCLIPModel,
    CLIPConfig,
    CLIPModel,
    MetaClip2Config,
    MetaClip2Model,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

CONTEXT = 24
WIDE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**WIDE, "vocab_size": 128, "max_position_embeddings": CONTEXT}
VISION = {**WIDE, "image_size": 32, "patch_size": 8}
IDS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
SIZE = {"height": 32, "width": 32}


def letters(max_length):
    """A tokenizer of letters: pad 0, unknown 1, start 2, end 3."""
    pieces = ["<pad>", "<unk>", "<s>", "</s>", *string.ascii_lowercase, *string.digits]
    pieces += [f"##{piece}" for piece in pieces[4:]]
    tokenizer = Tokenizer(models.WordPiece({piece: row for row, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        model_max_length=max_length, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def _clip():
    return CLIPModel(CLIPConfig(text_config={**TEXT, **IDS}, vision_config=VISION, projection_dim=16))


def _metaclip_2():
    return MetaClip2Model(MetaClip2Config(text_config={**TEXT, **IDS}, vision_config=VISION, projection_dim=16))


def _siglip():
    return SiglipModel(SiglipConfig(text_config={**TEXT, **IDS, "projection_size": 32}, vision_config=VISION))


def _siglip2():
    vision = {**WIDE, "patch_size": 8, "num_patches": 16}
    return Siglip2Model(Siglip2Config(text_config={**TEXT, **IDS, "projection_size": 32}, vision_config=vision))


def _chinese_clip():
    config = ChineseCLIPConfig(text_config={**TEXT, **IDS}, vision_config=VISION, projection_dim=16)
    return ChineseCLIPModel(config)


def _altclip():
    text = {**TEXT, **IDS, "pad_token_id": 0, "project_dim": 32, "max_position_embeddings": CONTEXT + 1}
    return AltCLIPModel(AltCLIPConfig(text_config=text, vision_config=VISION, projection_dim=16))


def _align():
    vision = {
        "image_size": 32, "width_coefficient": 0.2, "depth_coefficient": 0.2, "hidden_dim": 32,
        "in_channels": [8, 8, 16], "out_channels": [8, 16, 16], "depthwise_padding": [], "strides": [1, 2, 2],
        "num_block_repeats": [1, 1, 1], "expand_ratios": [1, 2, 2], "kernel_sizes": [3, 3, 3],
    }  # fmt: skip
    return AlignModel(AlignConfig(text_config={**TEXT, **IDS}, vision_config=vision, projection_dim=8))


BUILDERS = {
    "clip": (_clip, lambda: CLIPImageProcessorPil(size={"shortest_edge": 36}, crop_size=SIZE)),
    "siglip": (_siglip, lambda: SiglipImageProcessorPil(size=SIZE)),
    "siglip2": (_siglip2, lambda: Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)),
    "chinese_clip": (_chinese_clip, lambda: CLIPImageProcessorPil(size=SIZE, crop_size=SIZE)),
    "altclip": (_altclip, lambda: CLIPImageProcessorPil(size=SIZE, crop_size=SIZE)),
    "metaclip_2": (_metaclip_2, lambda: CLIPImageProcessorPil(size=SIZE, crop_size=SIZE)),
    "align": (_align, lambda: EfficientNetImageProcessorPil(size=SIZE)),
}


@pytest.fixture(scope="session")
def model_dirs(tmp_path_factory):
    """Family -> folder with random weights, an image processor and a tokenizer. Read them only."""
    folders = {}
    for family, (build, image_processor) in BUILDERS.items():
        torch.manual_seed(0)
        model = build().eval()
        folder = tmp_path_factory.mktemp(family)
        for name, parameter in model.named_parameters():  # initial weights are so small that all inputs look alike
            if parameter.ndim > 1 and "embed" not in name:
                torch.nn.init.normal_(parameter.data, std=0.2)
        if hasattr(model, "logit_bias"):  # left at random by the library, large enough to hide the cosines
            model.logit_scale.data.fill_(2.0)
            model.logit_bias.data.fill_(-3.0)
        model.save_pretrained(folder)
        image_processor().save_pretrained(folder)
        letters(CONTEXT).save_pretrained(folder)
        folders[family] = folder
    return folders


@pytest.fixture(scope="session")
def pictures():
    """Seven pictures of different shapes."""
    rng = np.random.default_rng(0)
    shapes = [(40, 50), (32, 32), (64, 30), (33, 90), (70, 70), (50, 40), (36, 37)]
    return [Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]
