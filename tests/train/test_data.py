import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, PreTrainedConfig

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train.collator import TextTokenizer
from phenolip.train.data import EpochPlan, ImageTextPairs
from phenolip.train.optimizer import learning_rate_factor
from phenolip.train.targets.identity import duplicate_groups
from phenolip.train.targets.multi_hot import MultiHotTargets
from phenolip.train.teacher import encode_texts, module_fingerprint


def test_an_epoch_visits_rows_once_and_epochs_differ():
    plan = EpochPlan(10, 3, seed=0)
    first, second = ([row for i in range(3) for _, row in plan.batch(3 * epoch + i)] for epoch in (0, 1))
    assert len(set(first)) == len(set(second)) == 9 and first != second
    assert plan.batch(4) == EpochPlan(10, 3, seed=0).batch(4)
    assert plan.batch(4) != EpochPlan(10, 3, seed=1).batch(4)


def test_processes_share_each_batch_in_rank_order():
    whole = EpochPlan(20, 8, seed=3)
    parts = [EpochPlan(20, 8, seed=3, rank=rank, world_size=2) for rank in (0, 1)]
    for index in range(5):
        assert whole.batch(index) == parts[0].batch(index) + parts[1].batch(index)


def test_a_batch_larger_than_the_data_is_the_data():
    assert EpochPlan(5, 64, seed=0).batch_size == 5
    with pytest.raises(DataError, match="at least 2 rows, got 1"):
        EpochPlan(1, 64, seed=0)
    with pytest.raises(ConfigurationError, match="at least the 4 processes"):
        EpochPlan(10, 2, seed=0, world_size=4)


def test_loader_starts_anywhere_and_leaves_the_global_generator_alone(pair_samples):
    plan = EpochPlan(len(pair_samples), 4, seed=0)
    settings = {"num_batches": 8, "num_workers": 0}
    state = torch.get_rng_state()
    whole = list(plan.loader(pair_samples, lambda samples: samples, first_batch=0, **settings))
    rest = list(plan.loader(pair_samples, lambda samples: samples, first_batch=5, **settings))
    assert torch.equal(state, torch.get_rng_state())
    assert [[s["row"] for s in batch] for batch in whole[5:]] == [[s["row"] for s in batch] for batch in rest]
    assert np.array_equal(whole[6][1]["image"], rest[1][1]["image"])


def test_workers_give_the_same_batches(pair_samples):
    plan = EpochPlan(len(pair_samples), 4, seed=0)
    alone, beside = (
        list(plan.loader(pair_samples, list, first_batch=1, num_batches=5, num_workers=n)) for n in (0, 2)
    )
    for a, b in zip(alone, beside, strict=True):
        assert all(np.array_equal(x["image"], y["image"]) for x, y in zip(a, b, strict=True))


def test_augmentation_differs_by_epoch_keeps_the_frame_without_crop_and_never_mirrors(pair_rows):
    samples = ImageTextPairs(pair_rows, image_size=32, min_crop_area=0.5, color_jitter=0.2, seed=0)
    assert not np.array_equal(samples[(0, 1)]["image"], samples[(1, 1)]["image"])
    plain = ImageTextPairs(pair_rows, image_size=16, min_crop_area=1.0, color_jitter=0.0, seed=0)
    image = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))).convert("RGB")
    expected = np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC))
    assert np.array_equal(plain.augment(image, np.random.default_rng(0), 16), expected)
    for seed in range(50):  # brightness rises from left to right, and must go on doing so
        pixels = samples.augment(image, np.random.default_rng(seed), 32)
        assert pixels[:, -1].mean() > pixels[:, 0].mean()


def test_the_first_epochs_are_smaller(pair_rows):
    settings = {"image_size": 32, "min_crop_area": 0.5, "color_jitter": 0.2, "seed": 0}
    samples = ImageTextPairs(pair_rows, first_image_size=16, num_first_epochs=2, **settings)
    assert [samples[(epoch, 1)]["image"].shape[0] for epoch in range(4)] == [16, 16, 32, 32]
    assert np.array_equal(samples[(2, 1)]["image"], ImageTextPairs(pair_rows, **settings)[(2, 1)]["image"])


def test_multi_hot_and_duplicate_groups():
    targets = MultiHotTargets([["HP:2", "HP:1"], [], ["HP:2"]])
    assert targets.candidate_ids == ["HP:1", "HP:2"]
    batch = targets([2, 0, 1])
    assert batch["labels"].tolist() == [[False, True], [True, True], [False, False]]
    assert batch.keys() == {"labels"}
    groups = duplicate_groups(["A  b", "a B", "c"], ["x", "y", "y"], ["", "p", ""])
    assert (groups[:, 0] == groups[0, 0]).tolist() == [True, True, False]
    assert (groups[:, 1] == groups[1, 1]).tolist() == [False, True, True]
    assert len(set(groups[:, 2])) == 3  # rows without a case are no case together
    groups = duplicate_groups(["a", "b", "c"], ["x", "y", "z"], ["p", "", "p"])
    assert (groups[:, 2] == groups[0, 2]).tolist() == [True, False, True]


def test_learning_rate_rises_then_falls():
    factors = [learning_rate_factor(step, 100, 0.1, 0.01) for step in range(101)]
    assert factors[9] == 1 and factors[0] == 0.1 and factors[-1] == pytest.approx(0.01)
    assert factors[:10] == sorted(factors[:10]) and factors[10:] == sorted(factors[10:], reverse=True)


def test_encoded_texts_keep_their_order(tiny_model_dir):
    model = PhenoLIPModel.from_pretrained(tiny_model_dir).text_model
    tokenize = TextTokenizer(AutoTokenizer.from_pretrained(tiny_model_dir, config=PreTrainedConfig()), 32)
    texts = ["a", "a long text of many words", "mid size", "b"]
    together = encode_texts(model, tokenize, texts, field="text_embeds", batch_size=3)
    alone = np.concatenate([encode_texts(model, tokenize, [text], field="text_embeds") for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    fingerprint = module_fingerprint(model)
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    assert module_fingerprint(model) != fingerprint


def test_reduced_decoding_keeps_enough_for_every_crop_and_changes_small_images_not_at_all(tmp_path):
    ramp = (np.linspace(0, 255, 700)[:, None, None] * np.ones((1, 900, 3))).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "large.jpg", quality=95)
    Image.fromarray(ramp[::5, ::5]).save(tmp_path / "small.jpg")
    rows = [{"image": str(tmp_path / name)} for name in ("large.jpg", "small.jpg")]
    settings = {"image_size": 96, "min_crop_area": 0.5, "color_jitter": 0.0, "seed": 0}
    full, reduced = (ImageTextPairs(rows, reduced_decoding=flag, **settings) for flag in (False, True))
    assert 96 / reduced._smallest_share <= 700 / 4  # so that the large one is decoded at a quarter
    for epoch in range(8):
        small = [samples[(epoch, 1)]["image"] for samples in (full, reduced)]
        assert np.array_equal(*small)
        large = [samples[(epoch, 0)]["image"].astype(float) for samples in (full, reduced)]
        assert 0 < np.abs(large[0] - large[1]).mean() < 1.5
    shares = [np.sqrt(area) * np.exp(-0.5 * (1 - area)) for area in np.linspace(0.5, 1, 50)]
    assert min(shares) == pytest.approx(full._smallest_share)
