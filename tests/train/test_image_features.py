import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
import torch

from phenolip.configuration_efficientnet_lite import EfficientNetLiteConfig
from phenolip.modeling_efficientnet_lite import EfficientNetLiteModel
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train import image_features
from phenolip.train.data import ImageTextPairs
from phenolip.train.image_features import CachedViews, cached_image_features
from phenolip.train.teacher import module_fingerprint

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]


@pytest.fixture
def vision_model(tiny_model_dir):
    return PhenoLIPModel.from_pretrained(tiny_model_dir).vision_model


def features_of(vision_model, pairs, folder, num_views=2, **changes):
    settings = {"pixel_mean": MEAN, "pixel_std": STD, "batch_size": 7}
    hashes = [f"hash {row}" for row in range(len(pairs))]
    return cached_image_features(
        vision_model, pairs, changes.pop("revision", hashes), num_views=num_views, cache_dir=folder,
        **(settings | changes),
    )  # fmt: skip


def test_views_are_the_augmented_images_encoded_one_by_one(vision_model, pair_samples, tmp_path):
    vision_model.train()
    for module in vision_model.modules():  # must not drop anything while it encodes
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    features = features_of(vision_model, pair_samples, tmp_path)
    assert vision_model.training  # as it was found
    assert [view.shape for view in features] == 2 * [(len(pair_samples), 32)]
    assert all(isinstance(view, np.memmap) and view.dtype == np.float32 for view in features)
    vision_model.eval()
    for view, row in ((0, 0), (1, 17), (0, 8)):
        pixels = torch.tensor(pair_samples[(view, row)]["image"]).permute(2, 0, 1).float() / 255
        pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        with torch.no_grad():
            alone = vision_model(pixels.unsqueeze(0)).pooler_output[0]
        np.testing.assert_allclose(features[view][row], alone, atol=1e-5)
    assert np.abs(features[0] - features[1]).max() > 1e-3


def test_cached_views_draw_one_view_by_seed_epoch_and_row():
    features = list(np.arange(5 * 3 * 2).reshape(5, 3, 2).swapaxes(0, 1))
    views = CachedViews(features, seed=1)
    assert len(views) == 5
    drawn = np.array([[views[(epoch, row)]["image_pooled"][0] // 2 % 3 for epoch in range(60)] for row in range(5)])
    assert all(set(row) == {0, 1, 2} for row in drawn)
    sample = views[(4, 2)]
    assert sample["row"] == 2 and sample["image_pooled"].dtype == np.float32
    assert np.array_equal(sample["image_pooled"], CachedViews(features, seed=1)[(4, 2)]["image_pooled"])
    others = CachedViews(features, seed=2)
    assert any(
        not np.array_equal(views[(epoch, 0)]["image_pooled"], others[(epoch, 0)]["image_pooled"])
        for epoch in range(20)
    )


def test_an_interrupted_run_goes_on_with_the_next_view(vision_model, pair_samples, tmp_path, monkeypatch):
    encode, encoded = image_features._encode_view, []

    def stop_at_second(model, pairs, view, *rest):
        encoded.append(view)
        if encoded == [0, 1]:
            raise KeyboardInterrupt
        return encode(model, pairs, view, *rest)

    monkeypatch.setattr(image_features, "_encode_view", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        features_of(vision_model, pair_samples, tmp_path)
    parts = features_of(vision_model, pair_samples, tmp_path)
    assert encoded == [0, 1, 1]
    assert np.array_equal(features_of(vision_model, pair_samples, tmp_path), parts) and len(encoded) == 3
    assert np.array_equal(features_of(vision_model, pair_samples, tmp_path, num_views=3)[:2], parts)
    assert encoded == [0, 1, 1, 2]  # another view is added to those
    monkeypatch.undo()
    assert np.array_equal(features_of(vision_model, pair_samples, tmp_path / "whole"), parts)


def test_two_runs_that_share_a_folder_encode_once(vision_model, pair_samples, tmp_path, monkeypatch):
    encode, encoded, second_waits = image_features._encode_view, [], threading.Event()

    def slowly(model, pairs, view, *rest):
        encoded.append(view)
        assert second_waits.wait(timeout=30)
        return encode(model, pairs, view, *rest)

    monkeypatch.setattr(image_features, "_encode_view", slowly)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(features_of, vision_model, pair_samples, tmp_path, 1) for _ in range(2)]
        assert not wait(runs, timeout=0.3).done
        second_waits.set()
    assert encoded == [0] and np.array_equal(runs[0].result(), runs[1].result())


def test_another_tower_data_or_augmentation_is_encoded_anew(vision_model, pair_rows, tmp_path):
    def folders(model=vision_model, **changes):
        names = {"image_size", "min_crop_area", "color_jitter", "seed", "first_image_size", "num_first_epochs"}
        settings = {"image_size": 32, "min_crop_area": 0.5, "color_jitter": 0.2, "seed": 0}
        settings |= {name: changes.pop(name) for name in names & changes.keys()}
        pairs = ImageTextPairs(pair_rows.select(range(2)), **settings)
        features_of(model, pairs, tmp_path, num_views=1, **changes)
        return len(list(tmp_path.iterdir()))

    assert folders() == 1 == folders()
    changes = [
        {"image_size": 40}, {"min_crop_area": 0.6}, {"color_jitter": 0.1}, {"seed": 1}, {"precision": "bf16"},
        {"revision": ["hash 1", "hash 0"]}, {"pixel_mean": [0.5] * 3}, {"pixel_std": [0.5] * 3},
        {"first_image_size": 40, "num_first_epochs": 1},
    ]  # fmt: skip
    for number, change in enumerate(changes, start=2):
        assert folders(**change) == number, change
    with torch.no_grad():
        next(vision_model.tower.parameters()).add_(1e-3)
    assert folders() == len(changes) + 2


def test_the_projection_may_change_without_encoding_anew(vision_model, pair_samples, tmp_path):
    features_of(vision_model, pair_samples, tmp_path, num_views=1)
    with torch.no_grad():
        vision_model.projection.layers.weight.add_(1.0)
    features_of(vision_model, pair_samples, tmp_path, num_views=1)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_tower_with_batch_norm_has_a_fingerprint_that_sees_its_statistics():
    tower = EfficientNetLiteModel(EfficientNetLiteConfig())
    before = module_fingerprint(tower)
    assert before == module_fingerprint(tower)
    tower.stem.normalization.running_mean.add_(1e-3)
    assert module_fingerprint(tower) != before
