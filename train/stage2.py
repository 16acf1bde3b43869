"""Stage 2: trains image and text encoders contrastively, with the Stage 1 encoder as a frozen teacher.

accelerate launch train/stage2.py --config train/configs/mini_stage2.yaml --data DIR
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset

from phenolip.datasets_scripts.tables import data_revision
from phenolip.exceptions import ConfigurationError
from phenolip.hub.card import write_card
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.knowledge_book import KnowledgeBook
from phenolip.ontology.knowledge_file import fingerprint, write_knowledge
from phenolip.ontology.reader import load_ontology
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.provenance import content_hash, write_json
from phenolip.train.accelerator import build_accelerator
from phenolip.train.adapters import merged, save_adapter
from phenolip.train.arguments import RunArguments, parse, require
from phenolip.train.build_matching import build_similarity, build_text_matching, build_weighted_matching
from phenolip.train.build_model import build_adapters, build_model
from phenolip.train.build_pairs import build_order, build_samples, build_targets, load_rows, text_needs
from phenolip.train.build_stream import (
    build_inputs_of_stream,
    build_stream_samples,
    check_streaming,
    open_stream,
    stream_labels,
)
from phenolip.train.compiled_towers import compile_towers
from phenolip.train.cutmix import CutMix
from phenolip.train.data import EpochPlan
from phenolip.train.distillation import IMAGE_FORMS, NAME_FORMS
from phenolip.train.entry import run_entry_point, write_run_record
from phenolip.train.finding_texts import build_finding_rows, finding_rewriter, finding_writer, load_book
from phenolip.train.findings import FindingRows
from phenolip.train.local_matching import LocalMatching
from phenolip.train.loop import TrainingLoop
from phenolip.train.matching_arguments import without_later_defaults
from phenolip.train.objective_stage2 import ImageTextObjective
from phenolip.train.pair_inputs import PairInputs, build_pair_inputs
from phenolip.train.saved_model import saved_image_size
from phenolip.train.stage2_arguments import DataArguments, LossArguments, ModelArguments
from phenolip.train.streaming import StreamPlan
from phenolip.train.target_histogram import target_histogram
from phenolip.train.targets.caption_fit import CaptionFit
from phenolip.train.targets.phenotype_targets import distinct_labels
from phenolip.train.training_index import write_training_index

if TYPE_CHECKING:
    from peft import PeftModel

logger = logging.getLogger(__name__)

NUM_HISTOGRAM_BATCHES = 20
INDEXED_TOGETHER = 4096  # rows of a stream


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
        if data_args.streaming:
            rows = open_stream(data_args)
            labels = stream_labels(rows, ontology) if loss_args.needs_targets else []
        else:
            rows = load_rows(data_args, ontology, output_dir)
            labels = distinct_labels(rows["hpo_ids"])
    if loss_args.needs_targets and not labels:
        raise ConfigurationError(
            f"No row of {data_args.data} has an HPO id; set `name_weight: 0`, `caption_target_weight: 0` and a "
            f"`distillation` without {', '.join(sorted(NAME_FORMS))}."
        )
    model, processor = build_model(model_args, loss_args, accelerator.device)
    adapted = build_adapters(model, model_args)
    book = load_book(ontology, loss_args) if loss_args.text_unit == "entity" else None
    cache_dir = Path(data_args.feature_cache or output_dir / "features")
    with accelerator.main_process_first():
        if data_args.streaming:
            findings = None
            inputs = build_inputs_of_stream(model, processor, labels, ontology, loss_args, cache_dir)
            samples = build_stream_samples(rows, model_args, data_args, run.seed)
        else:
            findings, inputs = _build_inputs(
                model, processor, rows, ontology, book, model_args, loss_args, seed=run.seed, cache_dir=cache_dir
            )
            samples = build_samples(rows, model, processor, model_args, data_args, run.seed, accelerator, cache_dir)
    if model_args.torch_compile != "no":  # once what is frozen has been encoded
        compile_towers(model, model_args.torch_compile)
    objective = _build_objective(
        model, processor, inputs, loss_args, model_args.chunk_size, findings=findings, ontology=ontology
    )
    share = {"rank": accelerator.process_index, "world_size": accelerator.num_processes}
    if data_args.streaming:
        plan = StreamPlan(rows, run.batch_size, buffer=data_args.shuffle_buffer, seed=run.seed, **share)
        revision = row_order = rows.revision
    else:
        order = build_order(rows, ontology, data_args, run)
        plan = EpochPlan(len(rows), run.batch_size, seed=run.seed, order=order, **share)
        revision = data_revision(rows)
        row_order = content_hash([*rows["sha256"], *rows["caption"]])  # the plan of an epoch counts rows
    if accelerator.is_main_process and (findings is not None or loss_args.matching_weight):
        _write_target_histogram(objective, inputs, plan, output_dir, accelerator.device)
    settings = {**asdict(model_args), **asdict(data_args), **asdict(loss_args)}
    data = {"name": data_args.data, "revision": revision, "num_rows": len(rows)}
    identity = _identity(settings, revision, row_order, inputs, book, plan, run.seed)
    collate = inputs.collate
    if data_args.cutmix:
        share = plan.batch_size // accelerator.num_processes
        require(share % 2 == 0, "batch_size", "even on each process where `cutmix` is above 0", share)
        collate = CutMix(collate, probability=data_args.cutmix, seed=run.seed)
    loop = TrainingLoop(objective, samples, collate, plan, run, accelerator, identity)
    trained = loop.fit().model
    if accelerator.is_main_process:
        _save_model(trained, adapted, processor, output_dir)
        write_run_record(output_dir, "stage2", {**settings, **asdict(run)}, ontology, data, num_steps=loop.num_steps)
        parts = rows.tables(INDEXED_TOGETHER) if data_args.streaming else [rows]
        write_training_index(output_dir, parts, ontology, model_args.init_from)
        if book is not None:
            write_knowledge(book, output_dir)
        write_card(output_dir)


def _check_together(model: ModelArguments, data: DataArguments, loss: LossArguments, run: RunArguments) -> None:
    """Settings that others would make void."""
    if data.streaming:
        check_streaming(model, data, loss)
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
    if data.cutmix:
        _check_mixing(model, loss, run)
    is_cached = bool(model.cached_views or model.freeze_text)
    require(
        not (loss.local_weight and is_cached),
        "local_weight",
        "0 where `cached_views` or `freeze_text` is given",
        loss.local_weight,
    )


def _check_mixing(model: ModelArguments, loss: LossArguments, run: RunArguments) -> None:
    """Mixed images have targets in L_m of captions and in the name term alone."""
    where = "where `cutmix` is above 0"
    require(not model.cached_views, "cached_views", f"0 {where}", model.cached_views)
    require(run.micro_batch_size % 2 == 0, "micro_batch_size", f"even {where}", run.micro_batch_size)
    require(loss.text_unit == "report", "text_unit", f"report {where}", loss.text_unit)
    require(loss.contrastive == "softmax", "contrastive", f"softmax {where}", loss.contrastive)
    for name in ("caption_target_weight", "matching_weight", "local_weight"):
        require(not getattr(loss, name), name, f"0 {where}", getattr(loss, name))
    of_images = IMAGE_FORMS & loss.forms().keys()
    require(not of_images, "distillation", f"without {', '.join(sorted(IMAGE_FORMS))} {where}", loss.distillation)


def _build_inputs(
    model: PhenoLIPModel,
    processor: PhenoLIPProcessor,
    rows: Dataset,
    ontology: PhenotypeOntology,
    book: KnowledgeBook | None,
    model_args: ModelArguments,
    loss: LossArguments,
    *,
    seed: int,
    cache_dir: Path,
) -> tuple[FindingRows | None, PairInputs]:
    """Findings that texts are made of, None where captions are trained on; and what a batch holds beside images."""
    targets = build_targets(rows, ontology, loss) if loss.needs_targets else None
    max_length = processor.tokenizer.model_max_length
    findings = rewrite = None
    if book is not None:
        of_book = (book, loss, processor.tokenizer, max_length)
        findings = build_finding_rows(rows, finding_writer(*of_book), loss)
        rewrite = finding_rewriter(*of_book, seed=seed)
    inputs = build_pair_inputs(
        model,
        processor.tokenizer,
        rows,
        text_needs(targets, ontology, loss, max_length),
        freeze_text=model_args.freeze_text,
        cache_dir=cache_dir,
        findings=findings,
        target_path=(loss.ssm_model or loss.knowledge_encoder) if loss.targets == "ssm" else None,
        rewrite=rewrite,
    )
    return findings, inputs


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
        teacher=inputs.teacher,
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


def _identity(
    settings: dict[str, Any],
    revision: str,
    row_order: str,
    inputs: PairInputs,
    book: KnowledgeBook | None,
    plan: EpochPlan,
    seed: int,
) -> dict[str, Any]:
    """What a checkpoint must share with the run that resumes it."""
    named = {name: value for name, value in settings.items() if name != "feature_cache"}
    return {
        "settings": without_later_defaults(named),
        "data_revision": revision,
        "row_order": row_order,
        "knowledge_fingerprint": inputs.knowledge_fingerprint,
        "batch_size": plan.batch_size,
        "seed": seed,
        **({"target_fingerprint": inputs.target_fingerprint} if inputs.target_fingerprint else {}),
        **({"knowledge_book": fingerprint(book)} if book is not None else {}),
    }


def _save_model(
    model: PhenoLIPModel, adapted: "PeftModel | None", processor: PhenoLIPProcessor, output_dir: Path
) -> None:
    """A plain model folder; adapters are merged into it and kept beside."""
    model.clamp_logit_scale()
    if adapted is not None:
        save_adapter(adapted, output_dir / "adapter")
        model = merged(adapted)
    model.save_pretrained(output_dir)
    processor.save_pretrained(output_dir)


if __name__ == "__main__":
    run_entry_point(main)
