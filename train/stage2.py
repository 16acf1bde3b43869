"""Stage 2: trains image and text encoders contrastively, with the Stage 1 encoder as a frozen teacher.

accelerate launch train/stage2.py --config train/configs/mini_stage2.yaml --data DIR
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import Accelerator
from datasets import Dataset, concatenate_datasets

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.split import perceptual_hashes
from phenolip.datasets_scripts.tables import data_revision
from phenolip.exceptions import ConfigurationError
from phenolip.hub.card import write_card
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.near_copies import caption_hash
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.knowledge_file import fingerprint, write_knowledge
from phenolip.ontology.name_search import NameSearch
from phenolip.ontology.reader import load_ontology
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.provenance import content_hash, write_json
from phenolip.train.adapters import add_adapters, merged, save_adapter
from phenolip.train.arguments import RunArguments, parse, require
from phenolip.train.build_matching import build_similarity, build_text_matching, build_weighted_matching
from phenolip.train.compiled_towers import compile_towers
from phenolip.train.data import EpochPlan, ImageTextPairs
from phenolip.train.distillation import CAPTION_FORMS, NAME_FORMS
from phenolip.train.entry import run_entry_point, write_run_record
from phenolip.train.finding_texts import build_finding_rows, finding_rewriter, finding_writer, load_book
from phenolip.train.findings import FindingRows
from phenolip.train.image_features import CachedViews, cached_image_features
from phenolip.train.local_matching import LocalMatching
from phenolip.train.loop import TrainingLoop, build_accelerator
from phenolip.train.matching_arguments import without_later_defaults
from phenolip.train.objective_stage2 import ImageTextObjective
from phenolip.train.pair_inputs import PairInputs, build_pair_inputs
from phenolip.train.patch_dropout import drop_patches
from phenolip.train.row_orders import BalancedOrder, LengthGroupedOrder, RowOrder, SiblingOrder
from phenolip.train.saved_model import load_saved, saved_image_size, with_earlier_rows
from phenolip.train.stage2_arguments import DataArguments, LossArguments, ModelArguments
from phenolip.train.target_histogram import target_histogram
from phenolip.train.targets.caption_fit import CaptionFit
from phenolip.train.targets.closure import ClosureTargets
from phenolip.train.targets.lin import LinTargets
from phenolip.train.targets.multi_hot import MultiHotTargets
from phenolip.train.targets.phenotype_targets import PhenotypeTargets, distinct_labels
from phenolip.train.towers import (
    build_preset,
    choose_attention,
    freeze_batch_norm,
    freeze_first_blocks,
    reset_weights,
)

if TYPE_CHECKING:
    from peft import PeftModel

logger = logging.getLogger(__name__)

CONVOLUTIONAL_TOWERS = ("efficientnet_lite", "resnet", "convnext")
NUM_HISTOGRAM_BATCHES = 20


def main(argv: list[str] | None = None) -> None:
    """Parses, builds, trains, saves."""
    kinds = (ModelArguments, DataArguments, LossArguments, RunArguments)
    model_args, data_args, loss_args, run = parse(kinds, argv, description=__doc__)
    _check_together(model_args, data_args, loss_args, run)
    if model_args.image_size is None:
        model_args.image_size = saved_image_size(model_args.init_from)
    accelerator = build_accelerator(run)
    output_dir = Path(run.output_dir)
    ontology = load_ontology(data_args.hpo)
    with accelerator.main_process_first():
        rows = _load_rows(data_args, ontology, output_dir)
    if loss_args.needs_targets and not any(rows["hpo_ids"]):
        raise ConfigurationError(
            f"No row of {data_args.data} has an HPO id; set `name_weight: 0`, `caption_target_weight: 0` and a "
            f"`distillation` without {', '.join(sorted(NAME_FORMS))}."
        )
    targets = _build_targets(rows, ontology, loss_args) if loss_args.needs_targets else None
    model, processor = _build_model(model_args, loss_args, accelerator.device)
    adapted = _build_adapters(model, model_args) if model_args.lora_rank else None
    book = load_book(ontology, loss_args) if loss_args.text_unit == "entity" else None
    findings = rewrite = None
    if book is not None:
        of_book = (book, loss_args, processor.tokenizer, processor.tokenizer.model_max_length)
        findings = build_finding_rows(rows, finding_writer(*of_book), loss_args)
        rewrite = finding_rewriter(*of_book, seed=run.seed)
    cache_dir = Path(data_args.feature_cache or output_dir / "features")
    with accelerator.main_process_first():
        inputs = build_pair_inputs(
            model,
            processor.tokenizer,
            rows,
            names=[ontology[hpo_id].name for hpo_id in targets.candidate_ids] if targets else [],
            targets=targets,
            student_names=bool(loss_args.name_weight) or "names" in loss_args.forms(),
            teacher_names=bool(NAME_FORMS & loss_args.forms().keys()),
            teacher_captions=bool(CAPTION_FORMS & loss_args.forms().keys()),
            teacher_path=loss_args.knowledge_encoder if loss_args.knowledge_weight else None,
            freeze_text=model_args.freeze_text,
            max_length=processor.tokenizer.model_max_length,
            cache_dir=cache_dir,
            findings=findings,
            target_path=(loss_args.ssm_model or loss_args.knowledge_encoder) if loss_args.targets == "ssm" else None,
            rewrite=rewrite,
        )
        samples = _build_samples(rows, model, processor, model_args, data_args, run.seed, accelerator, cache_dir)
    if model_args.torch_compile != "no":  # once what is frozen has been encoded
        compile_towers(model, model_args.torch_compile)
    objective = _build_objective(
        model, processor, inputs, loss_args, model_args.chunk_size, findings=findings, ontology=ontology
    )
    plan = EpochPlan(
        len(rows),
        run.batch_size,
        seed=run.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        order=_build_order(rows, ontology, data_args, run),
    )
    settings = {**asdict(model_args), **asdict(data_args), **asdict(loss_args)}
    data = {"name": data_args.data, "revision": data_revision(rows), "num_rows": len(rows)}
    named = {name: value for name, value in settings.items() if name != "feature_cache"}
    identity = {
        "settings": without_later_defaults(named),
        "data_revision": data["revision"],
        "row_order": content_hash([*rows["sha256"], *rows["caption"]]),  # the plan of an epoch counts rows
        "knowledge_fingerprint": inputs.knowledge_fingerprint,
        "batch_size": plan.batch_size,
        "seed": run.seed,
        **({"target_fingerprint": inputs.target_fingerprint} if inputs.target_fingerprint else {}),
        **({"knowledge_book": fingerprint(book)} if book is not None else {}),
    }
    if accelerator.is_main_process and (findings is not None or loss_args.matching_weight):
        _write_target_histogram(objective, inputs, plan, output_dir, accelerator.device)
    loop = TrainingLoop(objective, samples, inputs.collate, plan, run, accelerator, identity)
    trained = loop.fit().model
    if accelerator.is_main_process:
        if adapted is not None:
            trained.clamp_logit_scale()
            save_adapter(adapted, output_dir / "adapter")
            trained = merged(adapted)
        _save_model(trained, processor, output_dir)
        write_run_record(output_dir, "stage2", {**settings, **asdict(run)}, ontology, data, num_steps=loop.num_steps)
        _write_training_index(output_dir, rows, ontology, model_args.init_from)
        if book is not None:
            write_knowledge(book, output_dir)
        write_card(output_dir)


def _check_together(model: ModelArguments, data: DataArguments, loss: LossArguments, run: RunArguments) -> None:
    """Settings that others would make void."""
    size = data.first_image_size
    require(not (run.max_minutes and size), "max_minutes", "0 where `first_image_size` is given", run.max_minutes)
    require(not (model.cached_views and size), "first_image_size", "left out where `cached_views` is given", size)
    require(
        model.freeze_batch_norm or not run.micro_batch_size,
        "freeze_batch_norm",
        "true where `micro_batch_size` is given",
        model.freeze_batch_norm,
    )
    path = loss.knowledge_encoder
    require(bool(path) or not model.init_from_teacher, "knowledge_encoder", "given for `init_from_teacher`", path)
    for name in ("slot_dropout", "synonym_probability"):
        chance = getattr(loss, name)
        require(not (chance and model.freeze_text), name, "0 where `freeze_text` is given", chance)
    is_cached = bool(model.cached_views or model.freeze_text)
    require(
        not (loss.local_weight and is_cached),
        "local_weight",
        "0 where `cached_views` or `freeze_text` is given",
        loss.local_weight,
    )


def _load_rows(data: DataArguments, ontology: PhenotypeOntology, output_dir: Path) -> Dataset:
    sources = [(data.data, data.split), *((extra, None) for extra in data.extra_data)]
    tables = [
        load_pairs(
            source,
            split=split,
            ontology=ontology,
            max_bad_fraction=data.max_bad_fraction,
            bad_rows_path=output_dir / f"bad_rows{number or ''}.jsonl",
        )
        for number, (source, split) in enumerate(sources)
    ]
    return concatenate_datasets(tables)


def _build_targets(rows: Dataset, ontology: PhenotypeOntology, loss: LossArguments) -> PhenotypeTargets:
    hpo_ids = list(rows["hpo_ids"])
    if loss.targets == "closure":
        return ClosureTargets(hpo_ids, ontology, min_information=loss.closure_information)
    if loss.targets == "lin":
        return LinTargets(hpo_ids, ontology, sharpness=loss.lin_sharpness)
    return MultiHotTargets(hpo_ids)


def _build_order(
    rows: Dataset, ontology: PhenotypeOntology, data: DataArguments, run: RunArguments
) -> RowOrder | None:
    if data.order == "balanced":
        return BalancedOrder(list(rows["hpo_ids"]), cap=data.rows_per_phenotype, seed=run.seed)
    if data.order == "length":
        lengths = [len(caption) for caption in rows["caption"]]
        return LengthGroupedOrder(lengths, run.batch_size, seed=run.seed)
    if data.order == "siblings":
        return SiblingOrder(list(rows["hpo_ids"]), ontology, group_size=data.siblings_per_group, seed=run.seed)
    return None


def _build_samples(
    rows: Dataset,
    model: PhenoLIPModel,
    processor: PhenoLIPProcessor,
    arguments: ModelArguments,
    data: DataArguments,
    seed: int,
    accelerator: Accelerator,
    cache_dir: Path,
) -> ImageTextPairs | CachedViews:
    pairs = ImageTextPairs(
        rows,
        image_size=arguments.image_size,
        min_crop_area=data.min_crop_area,
        color_jitter=data.color_jitter,
        seed=0 if arguments.cached_views else seed,  # runs of every seed share the stored views
        first_image_size=data.first_image_size,
        num_first_epochs=data.num_first_epochs,
        grayscale=data.grayscale,
        reduced_decoding=data.reduced_decoding,
    )
    if not arguments.cached_views:
        return pairs
    views = cached_image_features(
        model.vision_model,
        pairs,
        list(rows["sha256"]),
        pixel_mean=processor.image_processor.image_mean,
        pixel_std=processor.image_processor.image_std,
        num_views=arguments.cached_views,
        cache_dir=cache_dir,
        precision=accelerator.mixed_precision,
    )
    return CachedViews(views, seed=seed)


def _build_model(
    arguments: ModelArguments, loss: LossArguments, device: torch.device
) -> tuple[PhenoLIPModel, PhenoLIPProcessor]:
    if arguments.init_from is not None:
        size = arguments.inference_image_size or arguments.image_size
        model, processor = load_saved(arguments.init_from, image_size=size, max_length=arguments.max_length)
        _prepare_for_training(model.to(device), arguments)
        return model, processor
    model, processor = build_preset(
        arguments.preset,
        text_path=loss.knowledge_encoder if arguments.init_from_teacher else arguments.text_path,
        vision_path=arguments.vision_path,
        image_size=arguments.inference_image_size or arguments.image_size,
        projection_dim=arguments.projection_dim,
        text_projection=arguments.text_projection,
        vision_projection=arguments.vision_projection,
        vision_dropout=arguments.vision_dropout,
        text_layers=arguments.text_layers,
        max_length=arguments.max_length,
    )
    _prepare_for_training(model.to(device), arguments)
    return model, processor


def _build_adapters(model: PhenoLIPModel, arguments: ModelArguments) -> "PeftModel":
    return add_adapters(
        model,
        arguments.init_from,
        rank=arguments.lora_rank,
        alpha=arguments.lora_alpha,
        dropout=arguments.lora_dropout,
        targets=tuple(arguments.lora_targets),
        use_dora=arguments.use_dora,
    )


def _build_objective(
    model: PhenoLIPModel,
    processor: PhenoLIPProcessor,
    inputs: PairInputs,
    loss: LossArguments,
    chunk_size: int,
    *,
    findings: FindingRows | None,
    ontology: PhenotypeOntology,
) -> ImageTextObjective:
    of_findings = of_captions = None
    if findings is not None:
        of_findings = build_text_matching(loss, findings.categories, ontology, inputs.target_embeds)
    else:
        of_captions = CaptionFit(loss.targets, build_similarity(loss, inputs.target_embeds, None))
    return ImageTextObjective(
        model,
        pixel_mean=processor.image_processor.image_mean,
        pixel_std=processor.image_processor.image_std,
        knowledge_weight=loss.knowledge_weight,
        distillation=loss.forms(),
        knowledge_dim=inputs.knowledge_dim,
        share_scale=loss.share_scale,
        name_weight=loss.name_weight,
        mask_duplicates=loss.mask_duplicates,
        caption_target_weight=loss.caption_target_weight,
        chunk_size=chunk_size,
        contrastive_weight=loss.contrastive_weight,
        caption_fit=of_captions,
        matching=build_weighted_matching(loss) if findings is None else None,
        findings=of_findings,
        local=_build_local(model, processor, loss) if loss.local_weight else None,
        sigmoid=loss.contrastive == "sigmoid",
        tiled_from=loss.tiled_from,
    )


def _build_local(model: PhenoLIPModel, processor: PhenoLIPProcessor, loss: LossArguments) -> LocalMatching:
    tokenizer = processor.tokenizer
    local = LocalMatching(
        model,
        weight=loss.local_weight,
        special_ids=tokenizer.all_special_ids,
        max_length=tokenizer.model_max_length,
        mask_duplicates=loss.mask_duplicates,
    )
    return local.to(model.device)


def _write_target_histogram(
    objective: ImageTextObjective, inputs: PairInputs, plan: EpochPlan, output_dir: Path, device: torch.device
) -> None:
    """targets.json: how the targets of the first batches of the run are distributed, before anything is learnt."""
    whole = EpochPlan(plan.num_rows, plan.batch_size, seed=0, order=plan.order)  # not this process's share alone
    batches = [
        [row for _, row in whole.batch(index)] for index in range(min(NUM_HISTOGRAM_BATCHES, whole.batches_per_epoch))
    ]
    objective = objective.to(device)
    histogram = target_histogram(batches, inputs.collate.without_images, objective.target_matrix, device=device)
    write_json(output_dir / "targets.json", histogram)


def _save_model(model: PhenoLIPModel, processor: PhenoLIPProcessor, output_dir: Path) -> None:
    model.clamp_logit_scale()
    model.save_pretrained(output_dir)
    processor.save_pretrained(output_dir)


def _prepare_for_training(model: PhenoLIPModel, arguments: ModelArguments) -> None:
    if model.config.vision_config.tower_config.model_type in CONVOLUTIONAL_TOWERS:
        model.vision_model.to(memory_format=torch.channels_last)  # 1.7 times faster for EfficientNet-Lite on a CPU
    choose_attention(model.text_model, model.device)
    for name, parameter in model.vision_model.tower.named_parameters():
        if name.endswith("mask_token"):  # read in masked pretraining only; without a gradient it would stop DDP
            parameter.requires_grad_(False)
    if arguments.random_vision:
        reset_weights(model.vision_model.tower)
    if arguments.vision_blocks is not None:
        freeze_first_blocks(model.vision_model.tower, arguments.vision_blocks)
    drop_patches(model.vision_model.tower, arguments.patch_dropout)
    if arguments.freeze_text:
        model.text_model.tower.requires_grad_(False)
    if arguments.freeze_batch_norm:
        freeze_batch_norm(model)
    if arguments.gradient_checkpointing:
        model.activation_checkpointing_enable()


def _write_training_index(output_dir: Path, rows: Dataset, ontology: PhenotypeOntology, init_from: str | None) -> None:
    """training_index.parquet, by which an evaluation notices images and phenotypes it was trained on, and how often
    each phenotype was, and phenotypes.json. Captions stay out: they may be nobody else's to read. The rows of the
    model that this one began as come along in the index, and its phenotypes stay out of the other."""
    search = NameSearch(ontology)
    ids = [{finding["hpo_id"] for finding in findings if finding["hpo_id"]} for findings in rows["findings"]]
    mentioned = [sorted(own.union(search.find(text))) for own, text in zip(ids, rows["caption"], strict=True)]
    index = pa.table(
        {
            "sha256": list(rows["sha256"]),
            "row_id": list(map(str, rows["row_id"])),
            "hpo_ids": pa.array(list(rows["hpo_ids"]), pa.list_(pa.string())),
            "mentioned_ids": pa.array(mentioned, pa.list_(pa.string())),
            "group_id": list(rows["group_id"]),
            "caption_sha256": list(map(caption_hash, rows["caption"])),
            "phash": pa.array(perceptual_hashes(rows), pa.uint64()),
        }
    )
    index = with_earlier_rows(index, init_from)
    pq.write_table(index, output_dir / "training_index.parquet")
    phenotypes = [{"hpo_id": hpo_id, "name": ontology[hpo_id].name} for hpo_id in distinct_labels(rows["hpo_ids"])]
    write_json(output_dir / "phenotypes.json", phenotypes)


if __name__ == "__main__":
    run_entry_point(main)
