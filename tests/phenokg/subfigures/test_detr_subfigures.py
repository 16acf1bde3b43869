"""Detectors of `transformers` as a back end: small random models in folders, no download."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForObjectDetection,
    BertConfig,
    DabDetrConfig,
    DabDetrForObjectDetection,
    ResNetConfig,
    YolosConfig,
    YolosForObjectDetection,
)
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg import detect_subfigures
from phenolip.phenokg.detect_subfigures import DetectConfig
from phenolip.phenokg.records import ImageFile
from phenolip.phenokg.subfigures import detr_subfigures
from phenolip.phenokg.subfigures.box_cleaning import clean_boxes
from phenolip.phenokg.subfigures.detr_subfigures import DetectorConfig, load_detector, snapped_size

BACKBONE = {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1], "layer_type": "basic"}


@pytest.fixture(scope="module")
def detector_dir(tmp_path_factory):
    """A DAB-DETR of two layers whose boxes are spread over the image; read it only."""
    torch.manual_seed(0)
    small = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in
             (("layers", 1), ("ffn_dim", 16), ("attention_heads", 2))}  # fmt: skip
    model = DabDetrForObjectDetection(
        DabDetrConfig(
            backbone_config=ResNetConfig(out_features=["stage2"], **BACKBONE),
            hidden_size=16,
            num_queries=6,
            id2label={0: "subfigure"},
            label2id={"subfigure": 0},
            **small,
        )
    )
    for linear in (model.bbox_predictor.layers[-1], model.class_embed):  # else every query says the same
        torch.nn.init.normal_(linear.weight, std=0.3)
    with torch.no_grad():
        anchors = [[-1, -0.2], [1, 0.2], [0.1, 0.9], [-1.2, 0], [0, 0], [2, 2]]
        model.model.query_refpoint_embeddings.weight[:] = torch.tensor([[*place, -0.4, -0.1] for place in anchors])
    folder = tmp_path_factory.mktemp("detector")
    model.save_pretrained(folder)
    DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128}).save_pretrained(folder)
    return folder


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


IMAGES = [noise(200, 100), noise(100, 200, 1), noise(198, 102, 2), noise(96, 96, 3), noise(200, 100, 4)]


def load(model, **settings):
    return load_detector(DetectorConfig(model=str(model), **({"device": "cpu", "score_threshold": 0.1} | settings)))


def test_boxes_are_those_of_the_model_asked_directly(detector_dir):
    model = AutoModelForObjectDetection.from_pretrained(detector_dir).eval()
    image = IMAGES[0]  # 128 x 64 as the model sees it
    pixels = torch.from_numpy(np.asarray(image.resize((128, 64), Image.Resampling.BILINEAR), dtype=np.float32) / 255)
    pixels = (pixels - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        outputs = model(pixels.permute(2, 0, 1)[None])
    x, y, width, height = (outputs.pred_boxes[0] * torch.tensor([200, 100, 200, 100])).T.numpy()
    boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
    expected = clean_boxes(boxes, outputs.logits[0, :, 0].sigmoid().numpy(), 200, 100, score_threshold=0.1)
    assert load(detector_dir)([image]) == [expected]
    assert len(expected) > 1


def test_neighbours_in_a_batch_change_nothing_and_the_order_stays(detector_dir, monkeypatch):
    monkeypatch.setattr(detr_subfigures, "_WINDOW_BATCHES", 2)
    detector = load(detector_dir)
    alone = [detector([image])[0] for image in IMAGES]
    assert len({tuple(boxes) for boxes in alone}) > 2
    for detector.batch_size in (1, 2, 8):
        assert detector(IMAGES) == alone
    assert detector([]) == []


def test_images_of_one_size_go_through_together(detector_dir):
    detector = load(detector_dir, batch_size=2)
    seen = []
    detector.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(tuple(kwargs["pixel_values"].shape)), with_kwargs=True
    )
    detector(IMAGES)
    assert sorted(seen) == [(1, 3, 64, 64), (1, 3, 64, 128), (1, 3, 128, 64), (2, 3, 64, 128)]


def test_the_step_runs_it_as_a_back_end(detector_dir, tmp_path):
    for number, image in enumerate(IMAGES[:3]):
        image.save(tmp_path / f"{number}.png")
    files = [ImageFile(str(tmp_path), f"{number}.png") for number in range(3)]
    config = DetectConfig(backend="dab_detr", model=str(detector_dir), device="cpu", score_threshold=0.1, batch_size=2)
    found = list(detect_subfigures.run(files, config))
    assert [list(record.boxes) for record in found] == load(detector_dir)(IMAGES[:3])


def test_a_figure_with_nothing_above_the_threshold_stays_whole(detector_dir):
    assert load(detector_dir, score_threshold=1.0)([noise(200, 100)]) == [[(0, 0, 200, 100)]]
    assert load(detector_dir)([noise(3, 2)]) == [[(0, 0, 3, 2)]]


def test_a_detector_with_another_head_and_a_fixed_size_works(tmp_path):
    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[32, 48],
        patch_size=16, num_detection_tokens=4, id2label={0: "subfigure"}, label2id={"subfigure": 0},
        use_mid_position_embeddings=False,
    )  # fmt: skip
    YolosForObjectDetection(config).save_pretrained(tmp_path)
    YolosImageProcessorPil(size={"height": 32, "width": 48}).save_pretrained(tmp_path)
    boxes = load(tmp_path, score_threshold=0.0)(IMAGES[:2])
    assert all(boxes) and len(boxes) == 2
    for (width, height), found in zip(((200, 100), (100, 200)), boxes, strict=True):
        assert all(0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height for x0, y0, x1, y1 in found)


@pytest.mark.parametrize(
    ("size", "rule", "expected"),
    [
        ((700, 500), {"shortest_edge": 800, "longest_edge": 1333}, (1120, 800)),
        ((500, 700), {"shortest_edge": 800}, (800, 1120)),
        ((3000, 500), {"shortest_edge": 800, "longest_edge": 1333}, (1344, 224)),
        ((9000, 2), {"shortest_edge": 800, "longest_edge": 1333}, (1344, 32)),
        ((700, 500), {"height": 640, "width": 640}, None),
    ],
)
def test_sides_follow_the_rule_in_steps_of_32(size, rule, expected):
    assert snapped_size(size, rule) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": ""}, "`model` must be a Hub id or a folder, got ''"),
        ({"score_threshold": 1.5}, "`score_threshold` must be from 0 to 1, got 1.5"),
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        DetectorConfig(**settings)


def refusal(model, **settings):
    with pytest.raises(ConfigurationError) as raised:
        load(model, **settings)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_is_no_detector_is_refused_in_one_sentence(detector_dir, tmp_path):
    assert refusal(tmp_path / "absent").startswith(
        "`model` must be a Hub id or folder of an object-detection checkpoint"
    )
    BertConfig().save_pretrained(tmp_path / "bert")
    shutil.copy(detector_dir / "preprocessor_config.json", tmp_path / "bert")
    assert "Unrecognized configuration class" in refusal(tmp_path / "bert")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    assert "not a valid JSON" in refusal(tmp_path / "broken", revision="v1")
    assert "`device` must be 'auto' or one that torch finds here, got 'tpux'" in refusal(detector_dir, device="tpux")


def test_weights_are_read_from_safetensors_alone_and_whole(detector_dir, tmp_path):
    pickled = shutil.copytree(detector_dir, tmp_path / "pickled")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    assert "no file named model.safetensors" in refusal(pickled)

    partial = shutil.copytree(detector_dir, tmp_path / "partial")
    weights = load_file(partial / "model.safetensors")
    del weights["class_embed.weight"]
    save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
    assert "its weights lack class_embed.weight" in refusal(partial)
    (partial / "model.safetensors").write_bytes(b"\x08" + bytes(40))
    assert refusal(partial)


def test_code_of_a_checkpoint_is_not_run(detector_dir, tmp_path):
    folder = shutil.copytree(detector_dir, tmp_path / "coded")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "of-its-own", "auto_map": {"AutoConfig": "code.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert "contains custom code" in refusal(folder)
    assert not (tmp_path / "ran").exists()


def test_a_timm_backbone_without_timm_gives_one_sentence(tmp_path, monkeypatch):
    DabDetrConfig().save_pretrained(tmp_path)  # its default backbone
    monkeypatch.setitem(sys.modules, "timm", None)
    assert refusal(tmp_path).startswith(f"The backbone of `model` '{tmp_path}' comes from timm, which cannot be used")
    assert "install `phenolip[detector]`" in refusal(tmp_path)


def test_the_module_imports_without_torch():
    code = (
        "import sys; import phenolip.phenokg.subfigures.detr_subfigures, phenolip.phenokg.subfigures.box_cleaning;"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
