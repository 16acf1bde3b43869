"""A model of two small layers in a folder, for every test that needs one; random weights, no download."""

import json
import resource
import signal
import string
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from phenolip.configuration_phenolip import PhenoLIPConfig
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.processing_phenolip import PhenoLIPProcessor

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def letter_tokenizer(max_length=64):
    """Splits words into letters: a vocabulary of 80 entries that knows every plain text."""
    letters = string.ascii_lowercase + string.digits
    pieces = SPECIAL_TOKENS + list(letters) + [f"##{letter}" for letter in letters] + list(".,:;-()/")
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=max_length, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory):
    """Folder of a whole PhenoLIP model and its processor: 2 layers, 32 wide, 32 px. Read it only."""
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = PhenoLIPConfig(
        text_config={
            "tower_config": {"model_type": "bert", "vocab_size": 100, "max_position_embeddings": 64, **tower}
        },
        vision_config={"tower_config": {"model_type": "vit", "image_size": 32, "patch_size": 8, **tower}},
        projection_dim=16,
    )
    size = {"height": 32, "width": 32}
    processor = PhenoLIPProcessor(CLIPImageProcessorPil(size=size, crop_size=size), letter_tokenizer())
    folder = tmp_path_factory.mktemp("tiny_model")
    PhenoLIPModel(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def draw_signs():
    """Function that fills a new folder with pairs of noise: three signs, `number` images of each."""

    def draw(folder, number, side):
        folder.mkdir()
        lines = []
        for row, hpo_id in enumerate(["HP:0000518", "HP:0001166", "HP:0000369"] * number):
            pixels = np.random.default_rng(row).integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{row}.png")
            lines.append({"file_name": f"{row}.png", "caption": f"Sign number {row}.", "hpo_ids": [hpo_id]})
        (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return draw


@pytest.fixture
def bounds():
    """A context in which the next two seconds of processor time, or a gigabyte, end the work with an error."""

    def stop(signum, frame):
        raise AssertionError("It takes longer than 2 s.")

    @contextmanager
    def bounded():
        status = Path("/proc/self/status").read_text()
        used = int(next(line for line in status.splitlines() if line.startswith("VmData")).split()[1]) << 10
        before = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (used + (1 << 30), before[1]))
        old = signal.signal(signal.SIGPROF, stop)
        signal.setitimer(signal.ITIMER_PROF, 2)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, old)
            resource.setrlimit(resource.RLIMIT_DATA, before)

    return bounded
