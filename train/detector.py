"""Trains a subfigure detector on compound figures whose boxes are known, and measures it on others.

accelerate launch train/detector.py --config train/configs/detector_small.yaml --data DIR --evaluation_data DIR
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.evaluators.subfigures import measure_model
from phenolip.eval.metrics.subfigure_boxes import MIN_IOU
from phenolip.provenance import write_json
from phenolip.train.accelerator import build_accelerator
from phenolip.train.arguments import RunArguments, parse, require, setting
from phenolip.train.composite_figures import (
    FigureSamples,
    LabelledFigure,
    collate_figures,
    figures_revision,
    load_figures,
)
from phenolip.train.data import EpochPlan
from phenolip.train.detector_card import write_card
from phenolip.train.detector_model import DetectorArguments, build_detector, num_queries
from phenolip.train.entry import run_entry_point, write_run_record
from phenolip.train.loop import TrainingLoop
from phenolip.train.objective_detector import DetectorObjective
from phenolip.whole_files import whole_file

#: Settings that do not change what is learnt; a resumed run may have others.
NOT_LEARNT_FROM = ("data", "evaluation_data", "score_threshold", "evaluation_batch_size")


@dataclass
class FigureArguments:
    """Which figures it learns from, and which it is measured on."""

    data: str = setting(help="Folder with images and boxes.jsonl, such as the composites command writes.")
    evaluation_data: str | None = setting(
        None, help="Folder of the same form, of other images and layouts; by default nothing is measured."
    )
    score_threshold: float = setting(0.5, help="Boxes that score less are left out when it is measured.")
    evaluation_batch_size: int = setting(16, help="Figures measured together.")
    mirror: bool = setting(True, help="Mirror and turn training figures at random, labels with them.")

    def __post_init__(self) -> None:
        require(0 <= self.score_threshold <= 1, "score_threshold", "from 0 to 1", self.score_threshold)
        require(self.evaluation_batch_size > 0, "evaluation_batch_size", "above 0", self.evaluation_batch_size)


def main(argv: list[str] | None = None) -> None:
    """Parses, builds, trains, saves, measures."""
    detector_args, figure_args, run = parse(
        (DetectorArguments, FigureArguments, RunArguments), argv, description=__doc__
    )
    accelerator = build_accelerator(run)
    figures = load_figures(figure_args.data)
    held_out = load_figures(figure_args.evaluation_data) if figure_args.evaluation_data else []
    revision = figures_revision(figures)
    is_other = not held_out or figures_revision(held_out) != revision
    require(is_other, "evaluation_data", "other figures than `data`", figure_args.evaluation_data)
    samples = FigureSamples(figures, image_size=detector_args.image_size, mirror=figure_args.mirror, seed=run.seed)
    model, processor = build_detector(detector_args, figures, samples)
    objective = DetectorObjective(model, pixel_mean=processor.image_mean, pixel_std=processor.image_std)
    plan = EpochPlan(
        len(figures),
        run.batch_size,
        seed=run.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    settings = {**asdict(detector_args), **asdict(figure_args)}
    data = {"name": figure_args.data, "revision": revision, "rows": len(figures)}
    identity = {
        "settings": {name: value for name, value in settings.items() if name not in NOT_LEARNT_FROM},
        "data_revision": revision,
        "batch_size": plan.batch_size,
        "seed": run.seed,
    }
    loop = TrainingLoop(objective, samples, collate_figures, plan, run, accelerator, identity)
    trained = loop.fit().model.eval()
    if accelerator.is_main_process:
        output_dir = Path(run.output_dir)
        trained.save_pretrained(output_dir)
        processor.save_pretrained(output_dir)
        write_run_record(output_dir, "detector", settings | asdict(run), data=data, num_steps=loop.num_steps)
        metrics = {}
        if held_out:
            metrics = measure_model(
                trained,
                processor,
                [(figure.path, figure.boxes_xyxy) for figure in held_out],
                score_threshold=figure_args.score_threshold,
                batch_size=figure_args.evaluation_batch_size,
            )
        _write_results(output_dir, metrics, held_out, figure_args)
        _write_card(output_dir, metrics, len(held_out), num_queries(trained), detector_args)


def _write_results(
    output_dir: Path, metrics: dict[str, MetricValue], held_out: Sequence[LabelledFigure], figure_args: FigureArguments
) -> None:
    """evaluation.json, and the same as a table on stderr; nothing where nothing was measured."""
    if not metrics:
        return
    record = {
        "task": "subfigures",
        "min_iou": MIN_IOU,
        "score_threshold": figure_args.score_threshold,
        "data": {"name": figure_args.evaluation_data, "revision": figures_revision(held_out), "rows": len(held_out)},
        "metrics": {
            name: {"value": metric.value, "ci95": metric.ci95, "n": metric.n} for name, metric in metrics.items()
        },
    }
    write_json(output_dir / "evaluation.json", record)
    sys.stderr.write("".join(f"{name:20s} {metric.value:.3f}\n" for name, metric in metrics.items()))


def _write_card(
    output_dir: Path,
    metrics: dict[str, MetricValue],
    num_figures: int,
    most_boxes: int,
    detector_args: DetectorArguments,
) -> None:
    card = write_card(
        {name: metric.value for name, metric in metrics.items()},
        num_figures=num_figures,
        num_queries=most_boxes,
        start=f"`{detector_args.model_path}`" if detector_args.model_path else "random weights",
    )
    with whole_file(output_dir / "README.md", "w") as file:
        file.write(card)


if __name__ == "__main__":
    run_entry_point(main)
