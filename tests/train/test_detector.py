"""Training of a subfigure detector, on figures drawn here: coloured noise in rows on a white page."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForObjectDetection

from phenolip.eval.evaluators.subfigures import SubfigureEvaluator
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.subfigures.composites_command import main as compose
from phenolip.phenokg.subfigures.detr_subfigures import DetectorConfig, load_detector
from phenolip.train import detector
from phenolip.train.arguments import RunArguments, parse
from phenolip.train.composite_figures import (
    FigureSamples,
    LabelledFigure,
    collate_figures,
    load_figures,
    shares_of_image,
    turn,
)
from phenolip.train.detector_model import DetectorArguments, build_detector
from phenolip.train.objective_detector import DetectorObjective

CONFIGS = sorted((Path(detector.__file__).parent / "configs").glob("detector_*.yaml"))
TINY = (
    "--image_size 32 --hidden_size 16 --ffn_dim 16 --num_attention_heads 2 --encoder_layers 1 --decoder_layers 2 "
    "--backbone_sizes 8 8 --backbone_depths 1 1 --num_queries 6"
)


def draw_figures(folder, num_figures, seed=0):
    folder.mkdir()
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(num_figures):
        page = np.full((48, 64, 3), 255, dtype=np.uint8)
        boxes = []
        for column in range(number % 3 + 1):
            x0, y0 = 2 + 20 * column, int(rng.integers(0, 8))
            x1, y1 = x0 + int(rng.integers(12, 18)), y0 + int(rng.integers(20, 38))
            page[y0:y1, x0:x1] = rng.integers(0, 200, 3) + rng.integers(0, 40, (y1 - y0, x1 - x0, 3))
            boxes.append([x0, y0, x1, y1])
        Image.fromarray(page).save(folder / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "boxes": boxes})
    (folder / "boxes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def figure_dirs(tmp_path_factory):
    """Folders of figures to learn from and to be measured on."""
    folder = tmp_path_factory.mktemp("figures")
    return draw_figures(folder / "train", 8), draw_figures(folder / "test", 5, seed=1)


@pytest.fixture(scope="module")
def run_detector(figure_dirs, tmp_path_factory):
    """Function that trains a tiny detector with some settings and returns its folder."""
    root = tmp_path_factory.mktemp("runs")

    def run(name, settings, size=TINY):
        AcceleratorState._reset_state(True)
        call = f"{size} --data {figure_dirs[0]} --output_dir {root / name} --batch_size 4 --log_steps 1"
        detector.main([*call.split(), "--mixed_precision", "no", "--num_threads", "1", *settings.split()])
        return root / name

    return run


@pytest.fixture(scope="module")
def trained_dir(run_detector, figure_dirs):
    """Ten steps, each on all figures, and a measurement."""
    settings = "--max_steps 10 --batch_size 8 --mirror false --learning_rate 5e-3 --head_learning_rate 5e-3"
    return run_detector("ten", f"{settings} --evaluation_data {figure_dirs[1]} --score_threshold 0.01")


def test_ten_steps_lower_the_loss(trained_dir):
    lines = [json.loads(line) for line in (trained_dir / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 10 and lines[-1]["loss"] < 0.95 * lines[0]["loss"]
    assert {"score", "box", "overlap"} <= set(lines[0])


def test_the_checkpoint_loads_and_is_what_was_measured(trained_dir, figure_dirs):
    model = AutoModelForObjectDetection.from_pretrained(trained_dir)
    processor = AutoImageProcessor.from_pretrained(trained_dir, backend="pil")
    inputs = processor(images=Image.new("RGB", (50, 20)), return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 32, 32)
    assert model(**inputs).logits.shape == (1, 6, 1) and model.config.id2label == {0: "subfigure"}
    held_out = [(figure.path, figure.boxes_xyxy) for figure in load_figures(figure_dirs[1])]
    detect = load_detector(DetectorConfig(model=str(trained_dir), score_threshold=0.01, device="cpu"))
    saved = json.loads((trained_dir / "evaluation.json").read_text())
    for name, metric in SubfigureEvaluator(held_out)(detect).items():
        assert saved["metrics"][name]["value"] == metric.value
    assert saved["min_iou"] == 0.75 and saved["data"]["rows"] == 5


def test_the_folder_says_how_it_was_made(trained_dir):
    record = json.loads((trained_dir / "run.json").read_text())
    assert record["stage"] == "detector" and record["data"]["rows"] == 8 and "hpo_release" not in record
    parse(
        (detector.DetectorArguments, detector.FigureArguments, RunArguments),
        ["--config", str(trained_dir / "run.yaml")],
        description="x",
    )
    card = (trained_dir / "README.md").read_text()
    assert "Research use only" in card and "| subfigure_f1 | " in card and "On 5 held-out figures" in card


def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(run_detector):
    settings = "--max_steps 3 --gradient_accumulation_steps 2 --dropout 0.2"
    whole = run_detector("whole", settings)
    with pytest.raises(SystemExit) as stopped:
        run_detector("parts", f"{settings} --stop_after_steps 2")
    assert stopped.value.code == 75
    torch.rand(3)
    resumed = load_file(run_detector("parts", f"{settings} --resume true") / "model.safetensors")
    expected = load_file(whole / "model.safetensors")
    assert resumed.keys() == expected.keys()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())
    assert "Not measured" in (whole / "README.md").read_text()
    with pytest.raises(ConfigurationError, match="was made with another settings"):
        run_detector("parts", f"{settings} --resume true --mirror false")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_two_steps_of_every_config(path, run_detector, trained_dir):
    settings = f"--config {path} --max_steps 2 --image_size 32 --num_workers 0"
    if "small" not in path.stem:  # it begins from a checkpoint
        settings += f" --model_path {trained_dir}"
    folder = run_detector(path.stem, settings, size="")
    before, after = (load_file(folder / "model.safetensors") for folder in (trained_dir, folder))
    assert AutoModelForObjectDetection.from_pretrained(folder).config.model_type == "dab-detr"
    if "small" not in path.stem:
        assert before.keys() == after.keys()
        moved = {name: (before[name] - tensor).abs().max() for name, tensor in after.items()}
        backbone = max(value for name, value in moved.items() if ".backbone." in name)
        assert 0 < backbone < 0.3 * max(moved.values())  # its learning rate is a tenth


def test_composites_as_the_command_writes_them_are_read(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for seed in range(6):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{seed}.png")
    call = f"--images {tmp_path / 'images'} --output {tmp_path / 'made'} --number 3 --long_side 256"
    assert compose(call.split()) == 0
    rows = [json.loads(line) for line in (tmp_path / "made" / "boxes.jsonl").read_text().splitlines()]
    figures = load_figures(tmp_path / "made")
    assert [[list(box) for box in figure.boxes_xyxy] for figure in figures] == [row["boxes"] for row in rows]
    samples = FigureSamples(figures, image_size=32, mirror=True, seed=0)
    batch = collate_figures([samples[0, row] for row in range(3)])
    assert batch["pixels"].shape == (3, 3, 32, 32) and batch["num_boxes"].tolist() == [len(r["boxes"]) for r in rows]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold at least one figure, got none"),
        ("{", "row 1 must be"),
        ('{"file_name": "a.png"}', "row 1 must be"),
        ('{"file_name": "a.png", "boxes": [["x"]]}', "row 1 must be"),
        ('{"file_name": "../a.png", "boxes": [[0, 0, 1, 1]]}', "`file_name` must lie in the folder, got '../a.png'"),
        ('{"file_name": "/a.png", "boxes": [[0, 0, 1, 1]]}', "`file_name` must lie in the folder"),
        ('{"file_name": "a.png", "boxes": []}', "`boxes` must hold at least one box"),
        ('{"file_name": "a.png", "boxes": [[0, 0, 1]]}', r"must be \[x0, y0, x1, y1\], rising, got \[0.0, 0.0, 1.0\]"),
        ('{"file_name": "a.png", "boxes": [[5, 0, 5, 1]]}', "rising, got"),
        ('{"file_name": "a.png", "boxes": [[0, NaN, 1, 1]]}', "rising, got"),
    ],
)
def test_rows_that_are_no_figure_are_named(tmp_path, text, message):
    (tmp_path / "boxes.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        load_figures(tmp_path)


def test_missing_files_and_boxes_outside_are_named(tmp_path):
    with pytest.raises(DataError, match="A folder of figures must hold boxes.jsonl"):
        load_figures(tmp_path)
    with pytest.raises(DataError, match="lies outside the image of 20 x 10 pixels"):
        shares_of_image(LabelledFigure(tmp_path / "a.png", ((0, 0, 20, 12),)), (20, 10))
    with pytest.raises(DataError, match="absent.png does not exist"):
        figures = [LabelledFigure(tmp_path / "absent.png", ((0, 0, 1, 1),))]
        FigureSamples(figures, image_size=32, mirror=False, seed=0)[0, 0]


def test_boxes_turn_with_their_figure():
    """The lit pixels of a dark page are a box of their own, whichever way the page is turned."""
    for flips in np.ndindex(2, 2, 2):
        pixels = np.zeros((20, 20, 3), dtype=np.uint8)
        pixels[2:9, 5:17] = 1
        boxes = shares_of_image(LabelledFigure(Path("a"), ((5, 2, 17, 9),)), (20, 20))
        turned, ((x, y, width, height),) = turn(pixels, boxes, flips)
        rows, columns = np.nonzero(turned[..., 0])
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        found = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]) * 20
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def tiny_objective(figure_dirs):
    """A tiny model, its objective without dropout, and all training figures as one batch."""
    figures = load_figures(figure_dirs[0])
    samples = FigureSamples(figures, image_size=32, mirror=False, seed=0)
    arguments = parse((DetectorArguments,), TINY.split(), description="x")[0]
    torch.manual_seed(0)
    model, processor = build_detector(arguments, figures, samples)
    objective = DetectorObjective(model, pixel_mean=processor.image_mean, pixel_std=processor.image_std)
    return objective, collate_figures([samples[0, row] for row in range(len(figures))]), processor


def test_the_loss_is_that_of_the_model_on_what_its_processor_makes(tiny_objective, figure_dirs):
    objective, batch, processor = tiny_objective
    figures = load_figures(figure_dirs[0])
    images = [Image.open(figure.path) for figure in figures]
    boxes = [
        torch.from_numpy(shares_of_image(figure, image.size)) for figure, image in zip(figures, images, strict=True)
    ]
    labels = [{"boxes": shares, "class_labels": torch.zeros(len(shares), dtype=torch.long)} for shares in boxes]
    pixel_values = processor(images=images, return_tensors="pt")["pixel_values"]
    expected = objective.model(pixel_values=pixel_values, labels=labels).loss
    torch.testing.assert_close(objective(batch)["loss"], expected, rtol=1e-4, atol=1e-4)


def test_order_and_padding_of_a_batch_do_not_matter(tiny_objective):
    objective, batch, _ = tiny_objective
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    wider = {name: tensor[order] for name, tensor in batch.items()}
    wider["boxes"] = torch.nn.functional.pad(wider["boxes"], (0, 0, 0, 2))
    torch.testing.assert_close(objective(wider)["loss"], objective(batch)["loss"], rtol=1e-5, atol=1e-5)


def test_a_random_model_starts_from_measured_norms_and_real_boxes(tiny_objective):
    objective, batch, _ = tiny_objective
    anchors = objective.model.model.query_refpoint_embeddings.weight.sigmoid()
    boxes = batch["boxes"][batch["boxes"][..., 2] > 0]
    assert torch.cdist(anchors, boxes.clamp(0.02, 0.98)).min(dim=1).values.max() < 1e-5
    assert len({tuple(anchor) for anchor in anchors.tolist()}) == len(anchors)

    seen = []
    norms = [module for module in objective.model.model.backbone.modules() if hasattr(module, "running_var")]
    for norm in norms:
        norm.register_forward_hook(lambda module, args, output: seen.append(torch.var_mean(output, dim=(0, 2, 3))))
    objective(batch)
    assert len(seen) == len(norms) > 3
    for variance, mean in seen:
        torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-3)
        torch.testing.assert_close(variance, torch.ones_like(variance), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("--image_size 16", "`image_size` must be at least 32 pixels, got 16"),
        ("--hidden_size 24", "`hidden_size` must be a multiple of 4 times `num_attention_heads`, 16, got 24"),
        ("--decoder_layers 0", "`decoder_layers` must be above 0, got 0"),
        ("--dropout 1", "`dropout` must be at least 0 and below 1, got 1.0"),
        ("--backbone_sizes 8 0", "`backbone_sizes` must be one or more numbers above 0"),
        ("--backbone_depths 1", "`backbone_depths` must be 3 numbers above 0"),
        ("--score_threshold 2", "`score_threshold` must be from 0 to 1, got 2.0"),
        ("--evaluation_batch_size 0", "`evaluation_batch_size` must be above 0, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    kinds = (detector.DetectorArguments, detector.FigureArguments, RunArguments)
    with pytest.raises(ConfigurationError, match=message):
        parse(kinds, ["--data", "x", "--output_dir", "y", *settings.split()], description="x")


def test_runs_that_cannot_be_are_refused(run_detector, figure_dirs, tmp_path):
    with pytest.raises(ConfigurationError, match="`num_queries` must be at least 3, the most subfigures .*, got 2"):
        run_detector("few", f"{TINY} --num_queries 2", size="")
    with pytest.raises(ConfigurationError, match="`evaluation_data` must be other figures than `data`"):
        run_detector("same", f"--evaluation_data {figure_dirs[0]}")
    with pytest.raises(
        ConfigurationError, match="`model_path` must be a Hub id or folder .* in safetensors"
    ) as raised:
        run_detector("absent", f"--model_path {tmp_path / 'absent'}")
    assert "\n" not in str(raised.value)
