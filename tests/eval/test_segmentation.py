"""Dice against a brute force, feature maps of both kinds of tower, masks in both layouts, and the task end to end."""

import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from transformers import CLIPVisionConfig, ConvNextConfig, Dinov2Config, SiglipVisionConfig, ViTConfig

from phenolip.configuration_efficientnet_lite import EfficientNetLiteConfig
from phenolip.datasets_scripts.masked_images import load_masked_splits
from phenolip.eval.evaluators.segmentation import SegmentationEvaluator
from phenolip.eval.metrics.dice import THRESHOLDS, dice_at_thresholds
from phenolip.eval.run import evaluate
from phenolip.eval.segmentation_fit import (
    Pixels,
    SegmentationNetwork,
    SegmentationSettings,
    fit_segmentation,
    segmentation_loss,
)
from phenolip.eval.tasks.registry import TASKS_DIR
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.feature_maps import FeatureMaps, image_tower_of
from phenolip.modeling_phenolip import TowerGroup, build_tower

LITE = EfficientNetLiteConfig(
    stem_size=8, hidden_sizes=[8, 16], depths=[1, 2], kernel_sizes=[3, 3], strides=[1, 2], expand_ratios=[1, 2],
    hidden_size=16,
)  # fmt: skip
SMALL = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16}
TOKENS = {
    "vit": ViTConfig(**SMALL, image_size=64, patch_size=16),
    "clip": CLIPVisionConfig(**SMALL, image_size=32, patch_size=16),
    "siglip": SiglipVisionConfig(**SMALL, image_size=32, patch_size=16),
    "dinov2": Dinov2Config(**{**SMALL, "mlp_ratio": 1}, image_size=32, patch_size=16),
}


class Processor:
    image_mean, image_std = (0.5,) * 3, (0.25,) * 3


class SmallEncoder:
    """An encoder whose model shows a tower, as ours and those of transformers do."""

    name, has_images, image_processor = "small", True, Processor()

    def __init__(self, config=LITE):
        torch.manual_seed(0)
        self.model = torch.nn.Module()
        self.model.vision_model = torch.nn.Module()
        self.model.vision_model.tower = build_tower(config).eval()


def write_set(folder, num_images, masks="masks", rename=lambda name: name, seed=0):
    """Images of a bright square on noise, with its mask; every fourth is empty."""
    rng = np.random.default_rng(seed)
    for part in ("images", masks):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number in range(num_images):
        pixels, mask = rng.integers(0, 80, (40, 48, 3), dtype=np.uint8), np.zeros((40, 48), np.uint8)
        if number % 4 != 3:
            row, column = rng.integers(0, 24, 2)
            pixels[row : row + 16, column : column + 16] += 150
            mask[row : row + 16, column : column + 16] = 1 if number % 2 else 255
        Image.fromarray(pixels).save(folder / "images" / f"{seed}{number}_x.png")
        Image.fromarray(mask).save(folder / masks / rename(f"{seed}{number}_x.png"))
    return folder


def brute_dice(probabilities, mask, threshold):
    found = {tuple(at) for at in np.argwhere(probabilities >= threshold)}
    right = {tuple(at) for at in np.argwhere(mask)}
    return 1.0 if not found and not right else 2 * len(found & right) / (len(found) + len(right))


@pytest.mark.parametrize("seed", range(6))
def test_dice_against_sets_of_pixels(seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.choice([*THRESHOLDS, 0.0, 1.0, 0.333], (7, 9))  # ties with the thresholds among them
    mask = rng.random((7, 9)) < (0.3 if seed else 0)
    if seed == 1:
        probabilities[:] = 0
    expected = [brute_dice(probabilities, mask, threshold) for threshold in THRESHOLDS]
    assert dice_at_thresholds(probabilities, mask).tolist() == pytest.approx(expected, abs=1e-12)
    assert dice_at_thresholds(np.zeros((2, 2)), np.zeros((2, 2))).tolist() == [1.0] * len(THRESHOLDS)


def test_loss_in_closed_form():
    logits, masks = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    expected = np.log(2) + 1 - (2 * 0.5 + 1) / (2 + 1 + 1)
    assert float(segmentation_loss(logits, masks)) == pytest.approx(expected, abs=1e-6)
    perfect = torch.tensor([[[50.0, -50.0], [-50.0, -50.0]]])
    assert float(segmentation_loss(perfect, masks)) == pytest.approx(0, abs=1e-6)
    logits = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    masks = (torch.rand(2, 3, 3) > 0.5).double()
    assert torch.autograd.gradcheck(lambda logits: segmentation_loss(logits, masks), logits)


@pytest.mark.parametrize("name", sorted(TOKENS))
def test_tokens_become_maps_in_place(name):
    torch.manual_seed(0)
    tower = build_tower(TOKENS[name]).eval()
    maps = FeatureMaps(tower, 64)
    assert maps.channels == [16] * 4
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = maps(pixels)
        assert [part.shape[-1] for part in found] == [16, 8, 4, 2]
        tokens = tower(pixel_values=pixels, output_hidden_states=True, **maps.options).hidden_states[3]
    grid = tokens[:, -16:].reshape(2, 4, 4, 16).permute(0, 3, 1, 2)
    assert torch.equal(found[2], grid)
    with pytest.raises(ConfigurationError, match="must be a multiple of the patch 16, got 60"):
        FeatureMaps(tower, 60)


@pytest.mark.parametrize("config", [*TOKENS.values(), LITE], ids=[*TOKENS, "efficientnet_lite"])
def test_maps_of_towers_side_by_side_are_theirs(config):
    towers = [build_tower(config).eval() for _ in range(2)]
    together, *alone = (FeatureMaps(tower, 32) for tower in (TowerGroup(towers).eval(), *towers))
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        found, expected = together(pixels), [maps(pixels) for maps in alone]
    for one, *parts in zip(found, *expected, strict=True):
        torch.testing.assert_close(one, torch.cat(parts, dim=1))


def test_convolutions_give_the_last_map_of_each_size():
    tower = build_tower(LITE).eval()
    maps = FeatureMaps(tower, 32)
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        states = tower(pixels, output_hidden_states=True).hidden_states
        found = maps(pixels)
    assert maps.channels == [8, 16] and torch.equal(found[0], states[1]) and torch.equal(found[1], states[-1])
    convnext = ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    assert [part.shape[1:] for part in FeatureMaps(build_tower(convnext), 32)(pixels)] == [(8, 8, 8), (16, 4, 4)]


def test_towers_that_do_not_show_themselves():
    with pytest.raises(ConfigurationError, match="`model` small must show a vision tower"):
        image_tower_of(type("Encoder", (), {"name": "small"})())
    wants_more = build_tower(LITE)
    wants_more.forward = lambda pixel_values, shapes, **kwargs: None
    with pytest.raises(ConfigurationError, match="A tower of EfficientNetLiteModel must take pixels alone"):
        FeatureMaps(wants_more, 32)
    shows_nothing = build_tower(LITE)
    shows_nothing.forward = lambda pixel_values, **kwargs: type("Output", (), {"hidden_states": None})
    with pytest.raises(ConfigurationError, match="shows no features of its layers"):
        FeatureMaps(shows_nothing, 32)


def test_dual_encoders_of_transformers_show_their_tower():
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    text = {**SMALL, "vocab_size": 50}
    for config, kind in ((CLIPConfig, CLIPModel), (SiglipConfig, SiglipModel)):
        vision = {**SMALL, "image_size": 32, "patch_size": 16}
        model = kind(config(text_config=text, vision_config=vision)).eval()
        encoder = type("Encoder", (), {"model": model, "image_processor": Processor(), "name": "dual"})()
        assert FeatureMaps(image_tower_of(encoder)[0], 64).channels == [16] * 4


def test_layouts_splits_and_groups(tmp_path):
    folder = write_set(tmp_path / "whole", 20)
    splits, about = load_masked_splits(folder)
    assert {name: len(part) for name, part in splits.items()} == {"train": 14, "val": 3, "test": 3}
    assert sorted(sum((part.ids for part in splits.values()), ())) == sorted(
        p.name for p in (folder / "images").iterdir()
    )
    assert splits["train"].mask(0).dtype == bool and "by hash" in about["val"]
    for seed, name in enumerate(("training", "test")):
        write_set(tmp_path / "drive" / name, 5, "1st_manual", lambda name: name.replace("x.png", "manual1.png"), seed)
    splits, about = load_masked_splits(tmp_path / "drive", layout="drive")
    assert {name: len(part) for name, part in splits.items()} == {"train": 4, "val": 1, "test": 5}
    shown = [splits["test"].mask(row).sum() for row in range(5)]
    assert shown == [256, 256, 256, 0, 256]  # 0 and 1 read as 0 and 255 do
    assert splits["test"].revision() != splits["train"].revision()
    grouped, _ = load_masked_splits(tmp_path / "drive", layout="drive", group_separator="_")
    assert grouped["test"].groups == ("10", "11", "12", "13", "14")


def test_groups_stay_on_one_side(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for patient in range(10):
        for view in range(2):
            for part in ("images", "masks"):
                Image.new("L", (4, 4)).save(tmp_path / part / f"p{patient}-{view}.png")
    splits, _ = load_masked_splits(tmp_path, group_separator="-")
    groups = [set(part.groups) for part in splits.values()]
    assert not groups[0] & groups[1] and not groups[1] & groups[2] and sum(map(len, groups)) == 10


def test_data_that_cannot_be_used(tmp_path):
    with pytest.raises(ConfigurationError, match="`layout` must be one of masks, drive, got 'coco'"):
        load_masked_splits(tmp_path, layout="coco")
    with pytest.raises(DataError, match="must have the folders images and masks; images is missing"):
        load_masked_splits(tmp_path)
    write_set(tmp_path / "train", 4)
    with pytest.raises(DataError, match="must have the folders train and test, got train alone"):
        load_masked_splits(tmp_path)
    write_set(tmp_path / "test", 1, rename=lambda name: "other.png")
    with pytest.raises(DataError, match="no image of images/ has a mask in masks/"):
        load_masked_splits(tmp_path)
    write_set(tmp_path / "one", 1)
    with pytest.raises(DataError, match="images are empty"):
        load_masked_splits(tmp_path / "one")
    splits, _ = load_masked_splits(write_set(tmp_path / "whole", 10))
    with pytest.raises(ConfigurationError, match="`modes` must be of frozen, finetuned, got"):
        SegmentationEvaluator(splits, modes=[])
    with pytest.raises(ConfigurationError, match="`num_seeds` must be a whole number"):
        SegmentationEvaluator(splits, num_seeds=0)


@pytest.mark.parametrize("frozen", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_decoder_learns_squares_and_the_encoder_moves_only_if_it_may(frozen, tmp_path):
    splits, _ = load_masked_splits(write_set(tmp_path, 20))
    encoder = SmallEncoder()
    maps = FeatureMaps(encoder.model.vision_model.tower, 32)
    before = {key: value.clone() for key, value in maps.state_dict().items()}
    parts = [Pixels(splits[split], 32, (0.5,) * 3, (0.25,) * 3) for split in ("train", "val", "test")]
    settings = SegmentationSettings(image_size=32, num_steps=30, batch_size=4, decoder_width=16)
    fit = fit_segmentation(maps, parts, np.arange(len(parts[0])), settings, frozen=frozen, seed=0)
    assert np.mean(fit.losses[-5:]) < 0.75 * np.mean(fit.losses[:5])
    assert all(value.equal(before[key]) for key, value in maps.state_dict().items())  # a copy is trained
    moved = [key for key, value in fit.network.maps.state_dict().items() if not value.equal(before[key])]
    assert bool(moved) != frozen and not any("running" in key for key in moved)
    again = fit_segmentation(maps, parts, np.arange(len(parts[0])), settings, frozen=frozen, seed=0)
    assert again.dice.tolist() == fit.dice.tolist() and again.threshold == fit.threshold


def test_kept_features_are_those_of_the_encoder(tmp_path):
    from phenolip.eval.segmentation_fit import _frozen_features

    network = SegmentationNetwork(FeatureMaps(SmallEncoder().model.vision_model.tower, 32), frozen=True, width=16)
    network.train()
    pixels, kept = torch.randn(3, 3, 32, 32), {}
    for batch in ([0, 1], [1, 2], [2, 0, 1]):
        found = _frozen_features(network, batch, pixels[batch], kept)
        for level, expected in zip(found, network.features(pixels[batch]), strict=True):
            assert torch.allclose(level, expected, atol=1e-5)
    assert sorted(kept) == [0, 1, 2]


def test_the_task_end_to_end(tmp_path):
    data = write_set(tmp_path / "data", 20)
    settings = yaml.safe_load((TASKS_DIR / "segmentation_small.yaml").read_text())
    settings["evaluators"]["segmentation"] |= {
        **{"image_size": 32, "num_steps": 2, "num_seeds": 2, "fractions": [0.1, 1.0], "decoder_width": 16},
        "controls": ["random"],
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    results = evaluate(SmallEncoder(), tmp_path / "mine.yaml", data, tmp_path / "out").results
    metrics = results["metrics"]
    assert len(metrics) == 2 * 2 * 2 * 3  # the model and a control, modes, shares, kinds of Dice
    values = results["draws"]["finetuned_10_percent"]["seeds"]
    mean = np.mean([entry["dice_all"] for entry in values])
    assert metrics["segmentation_finetuned_dice_all_at_10_percent"]["value"] == pytest.approx(mean, abs=1e-12)
    splits, _ = load_masked_splits(data)
    sizes = [splits["test"].mask(row).mean() for row in range(3)]
    everything = np.mean([2 * size / (1 + size) for size in sizes])
    assert results["checks"]["everything"]["dice_all"] == pytest.approx(everything, abs=1e-12)
    assert metrics["segmentation_frozen_dice_positive_at_100_percent"]["n"] == sum(size > 0 for size in sizes)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| random | finetuned |" in report and "not for diagnosis" in report
    assert Image.open(tmp_path / "out" / "overlay.png").size == (960, 320)
    assert json.loads((tmp_path / "out" / "results.json").read_text())["n"] == 3


def test_a_control_that_does_not_fit_is_left_out_with_the_reason(tmp_path):
    splits, _ = load_masked_splits(write_set(tmp_path, 10))
    evaluator = SegmentationEvaluator(
        splits, controls=["imagenet"], modes=["frozen"], fractions=[1.0], num_seeds=1, image_size=64, num_steps=1
    )
    found = evaluator(SmallEncoder(TOKENS["vit"]))
    assert found.details["controls_left_out"] == {"imagenet": "the tower is a vit, not EfficientNet-Lite0"}
    assert {name.split("_")[1] for name in found.metrics} == {"frozen"}


def drive(folder, test_masks=True):
    """A few drawn items as DRIVE is published: TIFF images, GIF masks of vessels and of the field of view."""
    rng = np.random.default_rng(0)
    for part, first in (("training", 21), ("test", 1)):
        kinds = {"images": f"{part}.tif", "mask": f"{part}_mask.gif", "1st_manual": "manual1.gif"}
        kinds |= {"2nd_manual": "manual2.gif"} if part == "test" else {}
        for kind, ending in kinds.items():
            if kind.endswith("manual") and part == "test" and not test_masks:
                continue
            (folder / part / kind).mkdir(parents=True, exist_ok=True)
            for number in range(first, first + 10):
                shape = (24, 20, 3) if kind == "images" else (24, 20)
                pixels = rng.integers(0, 256, shape, dtype=np.uint8)
                if kind != "images":
                    pixels = np.zeros(shape, np.uint8)
                    pixels[: {"mask": 20, "1st_manual": number % 20 + 1, "2nd_manual": 9}[kind]] = 255
                Image.fromarray(pixels).save(folder / part / kind / f"{number:02d}_{ending}")
    return folder


def test_drive_as_it_is_published(tmp_path):
    splits, about = load_masked_splits(drive(tmp_path), layout="drive")
    assert splits["test"].ids == tuple(f"{n:02d}_test.tif" for n in range(1, 11))
    assert [int(splits["test"].mask(row).sum()) for row in range(3)] == [20 * (n % 20 + 1) for n in (1, 2, 3)]
    assert {path.parent.name for part in splits.values() for path in part.masks} == {"1st_manual"}
    assert len(splits["train"]) == 8 and len(splits["val"]) == 2 and "groups by hash" in about["val"]


def test_drive_without_test_masks_is_cut_from_its_training_images(tmp_path):
    splits, about = load_masked_splits(drive(tmp_path, test_masks=False), layout="drive")
    assert sorted(name for part in splits.values() for name in part.ids) == [
        f"{n}_training.tif" for n in range(21, 31)
    ]
    assert all("since the test folder has no drawn masks" in text for text in about.values())


def test_drive_without_any_mask_is_one_sentence(tmp_path):
    (tmp_path / "training" / "images").mkdir(parents=True)
    with pytest.raises(DataError, match="must have the folders images and 1st_manual; 1st_manual is missing"):
        load_masked_splits(tmp_path, layout="drive")


def test_no_patient_stands_on_two_sides(tmp_path):
    for part, start in (("train", 0), ("test", 1)):
        write_set(tmp_path / part, 8, seed=start)
    load_masked_splits(tmp_path, group_separator="_")
    for kind in ("images", "masks"):
        (tmp_path / "test" / kind / "10_x.png").rename(tmp_path / "test" / kind / "03_y.png")
    with pytest.raises(DataError, match="03 has images in the train and in the test folder"):
        load_masked_splits(tmp_path, group_separator="_")


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ({"decoder_width": 8}, "`decoder_width` must be a multiple of 16, got 8"),
        ({"num_steps": 0}, "`num_steps` must be a whole number of at least 1, got 0"),
        ({"learning_rate": "fast"}, "`learning_rate` must be a number above 0, got 'fast'"),
    ],
)
def test_settings_out_of_range_are_named(setting, match):
    with pytest.raises(ConfigurationError, match=match):
        SegmentationSettings(**setting)
