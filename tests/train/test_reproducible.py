"""Same seed, same result: a short run beside its recorded losses, and embeddings whatever the batch size."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, PreTrainedConfig

from phenolip.inference.encoder import Encoder
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train import stage1
from phenolip.train.accelerator import build_accelerator
from phenolip.train.arguments import RunArguments
from phenolip.train.data import EpochPlan
from phenolip.train.loop import TrainingLoop

# float32 on one CPU; other processors add up in another order.
GOLDEN_LOSSES = [4.052296, 4.626365, 4.08392, 3.274501, 3.7858]
GOLDEN_WAYS = {
    "model.vision_model.tower.embeddings.patch_embeddings.projection.weight": 0.130071,
    "model.vision_model.projection.layers.weight": 0.00455663,
    "model.text_model.projection.layers.weight": 0.00399768,
}
GOLDEN_LOSSES_OF_STAGE_1 = [2.090291, 1.398387, 1.106199, 1.519056, 0.485177]
GOLDEN_WAYS_OF_STAGE_1 = {
    "tower.embeddings.word_embeddings.weight": 0.0562667,
    "projection.layers.weight": 0.00434394,
}


@pytest.fixture
def five_steps(build_objective, pair_samples, pair_collator, tmp_path):
    """Losses of five steps of Stage 2 over the small model, and how far they move its weights."""
    run = RunArguments(
        output_dir=str(tmp_path), max_steps=5, batch_size=6, learning_rate=1e-3, mixed_precision="no", save_steps=0,
        log_steps=1, deterministic=True,
    )  # fmt: skip
    accelerator = build_accelerator(run)
    plan = EpochPlan(len(pair_samples), run.batch_size, seed=run.seed)
    try:
        trained = TrainingLoop(build_objective(), pair_samples, pair_collator, plan, run, accelerator, {}).fit()
    finally:
        torch.use_deterministic_algorithms(False)
    return losses_of(tmp_path), moved(build_objective().state_dict(), trained.state_dict())


def moved(before, after):
    """Length of the way from one set of weights to another, by name."""
    return {name: float((after[name] - tensor).float().norm()) for name, tensor in before.items()}


def losses_of(folder):
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_golden_run(five_steps):
    losses, ways = five_steps
    assert losses == pytest.approx(GOLDEN_LOSSES, rel=2e-3)
    assert {name: ways[name] for name in GOLDEN_WAYS} == pytest.approx(GOLDEN_WAYS, rel=5e-2)


def test_golden_run_of_stage_1(tiny_model_dir, slice_path, tmp_path):
    """As a user calls it, over the text side of the small model and the made-up ontology."""
    PhenoLIPModel.from_pretrained(tiny_model_dir).text_model.save_pretrained(tmp_path / "text")
    AutoTokenizer.from_pretrained(tiny_model_dir, config=PreTrainedConfig()).save_pretrained(tmp_path / "text")
    call = f"--output_dir {tmp_path / 'run'} --text_path {tmp_path / 'text'} --hpo {slice_path} --max_length 32"
    call += " --max_steps 5 --batch_size 6 --learning_rate 1e-3 --mixed_precision no --log_steps 1 --evaluate false"
    try:
        stage1.main([*call.split(), "--deterministic", "true"])
    finally:
        torch.use_deterministic_algorithms(False)
    ways = moved(*(load_file(tmp_path / folder / "model.safetensors") for folder in ("text", "run")))
    assert losses_of(tmp_path / "run") == pytest.approx(GOLDEN_LOSSES_OF_STAGE_1, rel=2e-3)
    chosen = {name: ways[name] for name in GOLDEN_WAYS_OF_STAGE_1}
    assert chosen == pytest.approx(GOLDEN_WAYS_OF_STAGE_1, rel=5e-2)


def test_embeddings_do_not_depend_on_the_batch(tiny_model_dir):
    encoder = Encoder.from_pretrained(tiny_model_dir, "cpu")
    texts = [f"finding {'x' * (number % 7)} {number}" for number in range(12)]
    together = torch.as_tensor(encoder.encode_texts(texts))
    for size in (1, 2, 5):
        parts = [torch.as_tensor(encoder.encode_texts(texts[at : at + size])) for at in range(0, 12, size)]
        torch.testing.assert_close(torch.cat(parts), together, rtol=0, atol=2e-6)
