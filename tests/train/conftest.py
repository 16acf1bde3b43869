"""Pairs drawn in code, and a small objective over a small model, shared by the tests of training."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as PILImage
from transformers import AutoTokenizer, PreTrainedConfig

from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.ontology.reader import load_ontology
from phenolip.train.collator import PairCollator, TextTokenizer
from phenolip.train.data import ImageTextPairs
from phenolip.train.objective_stage2 import ImageTextObjective
from phenolip.train.targets.identity import duplicate_groups
from phenolip.train.targets.multi_hot import MultiHotTargets
from phenolip.train.tower_layers import freeze_batch_norm


def draw_rows(num_rows, size=32):
    """Noise images with captions of different lengths; the last two rows share a caption, first and last a case."""
    rows = []
    for row in range(num_rows):
        pixels = np.random.default_rng(row).integers(0, 256, (size, size, 3), dtype=np.uint8)
        file = io.BytesIO()
        PILImage.fromarray(pixels).save(file, "PNG")
        caption = "finding " + "x" * (row % 5) + f" {min(row, num_rows - 2)}"
        rows.append(
            {
                "image": {"bytes": file.getvalue(), "path": None},
                "caption": caption,
                "hpo_ids": [f"HP:{row % 3:07d}"] if row % 4 else [],
                "sha256": hashlib.sha256(file.getvalue()).hexdigest(),
                "row_id": str(row),
                "group_id": f"case {row}" if row < num_rows - 1 else "case 0",
            }
        )
    text = Value("string")
    columns = {"caption": text, "hpo_ids": List(text), "sha256": text, "row_id": text, "group_id": text}
    return Dataset.from_list(rows, features=Features({"image": Image(decode=False), **columns}))


def tiny_tokenize(folder):
    """Tokeniser of the small model, without the code that its folder carries."""
    return TextTokenizer(AutoTokenizer.from_pretrained(folder, config=PreTrainedConfig()), 32)


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Accelerate keeps one state a process; each test is to choose its own."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


@pytest.fixture(scope="session")
def pair_rows():
    """Eighteen pairs."""
    return draw_rows(18)


@pytest.fixture
def build_objective(tiny_model_dir):
    """Function that builds the same objective over the small model each time it is called."""

    def build(dropout=0.0, **changes):
        torch.manual_seed(1)
        model = PhenoLIPModel.from_pretrained(tiny_model_dir)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
        settings = {
            "pixel_mean": [0.5] * 3,
            "pixel_std": [0.5] * 3,
            "knowledge_weight": 0.3,
            "distillation": {"contrastive": 1.0},
            "knowledge_dim": 8,
            "share_scale": False,
            "name_weight": 0.5,
            "mask_duplicates": True,
            "caption_target_weight": 0.0,
            "chunk_size": 4,
        }
        return ImageTextObjective(freeze_batch_norm(model), **(settings | changes))

    return build


@pytest.fixture
def pair_samples(pair_rows):
    """Augmented samples of the pairs."""
    return ImageTextPairs(pair_rows, image_size=32, min_crop_area=0.5, color_jitter=0.2, seed=0)


@pytest.fixture
def pair_collator(pair_rows, tiny_model_dir):
    """Collator with tokens, labels, names and random unit-norm teacher embeddings."""
    tokenize = tiny_tokenize(tiny_model_dir)
    captions = list(pair_rows["caption"])
    teacher = np.random.default_rng(0).normal(size=(len(captions), 8)).astype(np.float32)
    names = {f"name_{key}": value for key, value in tokenize(["one", "two", "three"]).items()}
    columns = {
        "group_ids": duplicate_groups(captions, pair_rows["sha256"], pair_rows["group_id"]),
        "knowledge_embeds": teacher / np.linalg.norm(teacher, axis=1, keepdims=True),
    }
    targets = MultiHotTargets(pair_rows["hpo_ids"])
    return PairCollator(columns, targets=targets, captions=captions, tokenize=tokenize, constants=names)


@pytest.fixture(scope="session")
def slice_path():
    """A made-up ontology of a dozen terms."""
    return Path(__file__).parents[1] / "ontology" / "hp_slice.obo"


@pytest.fixture(scope="session")
def ontology(slice_path, tmp_path_factory):
    """The made-up ontology, read."""
    return load_ontology(slice_path, cache_dir=tmp_path_factory.mktemp("ontology_cache"))
