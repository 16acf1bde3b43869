"""Segmentation transfer: one model, one set of masks -> results.json, per_query.parquet, report.md, overlay.png."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from phenolip.datasets_scripts.masked_images import load_masked_splits
from phenolip.eval.class_report import breakdown_tables, clean_tables, markdown_table, metric_table
from phenolip.eval.contamination import TaskRows, audit_items, training_index
from phenolip.eval.evaluators.segmentation import MODES, PREFIX, SegmentationEvaluator
from phenolip.eval.item_breakdowns import item_breakdowns
from phenolip.eval.item_scores import write_item_pixels
from phenolip.eval.load_encoder import load_image_encoder
from phenolip.eval.metadata import beside_columns
from phenolip.eval.per_query import unique_ids, write_clusters
from phenolip.eval.run_record import Evaluation, describe_run, describe_task, write_run
from phenolip.eval.segmentation_fit import Pixels, SegmentationFit, predict_mask
from phenolip.eval.tasks.registry import Task
from phenolip.images import decode_image
from phenolip.inference.adapters.registry import describe_model
from phenolip.provenance import content_hash
from phenolip.whole_files import whole_file

NUM_SHOWN = 3
_MISSED, _ADDED, _RIGHT = (70, 130, 255), (255, 150, 40), (60, 200, 90)  # blue, orange, green


def evaluate_segmentation(
    task: Task,
    model: Any,
    data: str | Path,
    output_dir: str | Path,
    *,
    device: str | None = None,
    report: bool = True,
    report_path: str | Path | None = None,
) -> Evaluation:
    """Evaluates an encoder on a segmentation task.

    Args:
        task: A task with the one evaluator ``segmentation``.
        model: As `load_encoder` takes it; its tower must be one of `transformers`.
        data: Folder of images and masks.
        output_dir: Receives results.json, per_query.parquet, predictions.parquet, report.md and overlay.png.
        device: Device of the model; by default a GPU if there is one.
        report: Write the report and the picture.
        report_path: Where the report goes instead.

    Raises:
        ConfigurationError: The task or the model cannot be used.
        DataError: The data cannot be read.
    """
    started = time.perf_counter()
    settings = dict(task.evaluators["segmentation"])
    reading = {name: settings.pop(name) for name in ("layout", "group_separator") if name in settings}
    settings.pop("reading", None)
    splits, about = load_masked_splits(data, **reading)
    evaluator = SegmentationEvaluator(splits, **settings)
    encoder = load_image_encoder(model, device)
    found = evaluator(encoder)
    output_dir = Path(output_dir)
    test = splits["test"]
    audit = audit_items(
        training_index(model, encoder),
        TaskRows(test.file_hashes(), test.images, row_ids=test.ids, group_ids=test.groups),
        encoder.name,
        found.metrics,
        lambda rows: found.measure_rows(rows, False),
    )
    results = {
        **describe_task(task, encoder.name, describe_model(encoder), len(test), found.metrics),
        "checks": found.checks,
        "contamination": audit,
        **found.details,
        "breakdowns": item_breakdowns(beside_columns(data, test.ids), lambda rows: found.measure_rows(rows, True)),
        "num_candidates": None,
        "data": str(data),
        "split": about,
        "data_revision": test.revision(),
        "training_revision": content_hash([splits[split].revision() for split in ("train", "val")]),
        "num_groups": len(set(test.groups)),
        "dropped": {split: dict(images.dropped) for split, images in splits.items()},
        **describe_run(None, started),
    }
    write_item_pixels(output_dir, found.items)
    write_clusters(output_dir, "image", unique_ids(test.ids), np.unique(test.groups, return_inverse=True)[1])
    write_run(output_dir, results, found.metrics, evaluator.queries)
    if report:
        with whole_file(report_path or output_dir / "report.md", "w") as file:
            file.write(segmentation_report(results))
        with whole_file(output_dir / "overlay.png") as file:
            draw_overlay(*evaluator.example).save(file, "PNG")
    return Evaluation(results)


def segmentation_report(results: dict[str, Any]) -> str:
    """The table of encoders by share of the training images, every metric, the draws and the controls."""
    shares = sorted({name.rpartition("_at_")[2] for name in results["metrics"]}, key=lambda s: float(s.split("_")[0]))
    rows = []
    for label in ("", "imagenet_", "random_"):
        for mode in MODES:
            names = [f"{PREFIX}_{label}{mode}_dice_all_at_{share}" for share in shares]
            if names[0] in results["metrics"]:
                encoder = label.rstrip("_") or "model"
                rows.append([encoder, mode, *(_interval(results["metrics"][name]) for name in names)])
    draws = [
        [name, entry["num_train"], seed["seed"], *(f"{seed[key]:.4f}" for key in ("threshold", "dice_all"))]
        for name, entry in results["draws"].items()
        for seed in entry["seeds"]
    ]
    parts = [
        f"# {results['task']} (version {results['task_version']})",
        f"Model `{results['model']}`; {results['n']:,} test images in {results['num_groups']:,} groups; "
        + "; ".join(f"{name}: {text}" for name, text in results["split"].items())
        + ". Dice of each image at the size of its mask, 1 where mask and prediction are both empty; mean over images "
        "and draws, at the threshold that is best on the validation images; 95 % bootstrap intervals over draws and "
        "groups. For research, not for diagnosis.",
        "## Dice, all images",
        markdown_table(("encoder", "mode", *(share.replace("_percent", " %") for share in shares)), rows),
        *(f"No control `{name}`: {why}." for name, why in results["controls_left_out"].items()),
        "![Test images: right green, missed blue, added orange](overlay.png)",
        "## Every metric",
        metric_table(results),
        *breakdown_tables(results["breakdowns"]),
        *clean_tables(results["contamination"]),
        "## Draws",
        markdown_table(("encoder, mode, share", "training images", "draw", "threshold", "Dice"), draws),
        "## Controls",
        markdown_table(("control", "found"), [[name, found] for name, found in results["checks"].items()]),
    ]
    return "\n\n".join(parts) + "\n"


def draw_overlay(fit: SegmentationFit, part: Pixels, side: int = 320) -> Image.Image:
    """The first test images with what was found (green), missed (blue) and added (orange)."""
    rows = range(min(NUM_SHOWN, len(part)))
    sheet = Image.new("RGB", (side * len(rows), side), "white")
    for row in rows:
        mask = part.images.mask(row)
        found = predict_mask(fit.network, part[row][0], mask.shape) >= fit.threshold
        picture = np.array(decode_image(part.images.images[row]).resize(mask.shape[::-1]))
        for color, where in ((_RIGHT, mask & found), (_MISSED, mask & ~found), (_ADDED, ~mask & found)):
            picture[where] = color
        tile = Image.fromarray(picture)
        tile.thumbnail((side, side))
        sheet.paste(tile, (side * row, 0))
    return sheet


def _interval(metric: dict[str, Any]) -> str:
    low, high = (100 * bound for bound in metric["ci95"])
    return f"{100 * metric['value']:.1f} ({low:.1f}–{high:.1f})"
