"""Same seed, same result: a short run beside its recorded losses, and embeddings whatever the batch size."""

import json

import pytest
import torch

from phenolip.inference.encoder import Encoder
from phenolip.train.accelerator import build_accelerator
from phenolip.train.arguments import RunArguments
from phenolip.train.data import EpochPlan
from phenolip.train.loop import TrainingLoop

# float32 on one CPU; other processors add up in another order.
GOLDEN_LOSSES = [4.052296, 4.626365, 4.08392, 3.274501, 3.7858]


@pytest.fixture
def five_steps(build_objective, pair_samples, pair_collator, tmp_path):
    """Losses of five steps of Stage 2 over the small model."""
    run = RunArguments(
        output_dir=str(tmp_path), max_steps=5, batch_size=6, learning_rate=1e-3, mixed_precision="no", save_steps=0,
        log_steps=1, deterministic=True,
    )  # fmt: skip
    accelerator = build_accelerator(run)
    plan = EpochPlan(len(pair_samples), run.batch_size, seed=run.seed)
    try:
        TrainingLoop(build_objective(), pair_samples, pair_collator, plan, run, accelerator, {}).fit()
    finally:
        torch.use_deterministic_algorithms(False)
    return [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]


def test_golden_run(five_steps):
    assert five_steps == pytest.approx(GOLDEN_LOSSES, rel=2e-3)


def test_embeddings_do_not_depend_on_the_batch(tiny_model_dir):
    encoder = Encoder.from_pretrained(tiny_model_dir, "cpu")
    texts = [f"finding {'x' * (number % 7)} {number}" for number in range(12)]
    together = torch.as_tensor(encoder.encode_texts(texts))
    for size in (1, 2, 5):
        parts = [torch.as_tensor(encoder.encode_texts(texts[at : at + size])) for at in range(0, 12, size)]
        torch.testing.assert_close(torch.cat(parts), together, rtol=0, atol=2e-6)
