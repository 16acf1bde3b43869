"""From settings to the pairs that Stage 2 learns: rows, samples, their order and their targets."""

from collections.abc import Sequence
from pathlib import Path

from accelerate import Accelerator
from datasets import Dataset, concatenate_datasets

from phenolip.datasets_scripts.load import load_pairs
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.processing_phenolip import PhenoLIPProcessor
from phenolip.train.arguments import RunArguments
from phenolip.train.data import ImageTextPairs
from phenolip.train.distillation import CAPTION_FORMS, NAME_FORMS
from phenolip.train.image_features import CachedViews, cached_image_features
from phenolip.train.pair_inputs import TextNeeds
from phenolip.train.row_orders import BalancedOrder, LengthGroupedOrder, RowOrder, SiblingOrder
from phenolip.train.stage2_arguments import DataArguments, LossArguments, ModelArguments
from phenolip.train.targets.closure import ClosureTargets
from phenolip.train.targets.lin import LinTargets
from phenolip.train.targets.multi_hot import MultiHotTargets
from phenolip.train.targets.phenotype_targets import PhenotypeTargets


def load_rows(data: DataArguments, ontology: PhenotypeOntology, output_dir: Path) -> Dataset:
    """Rows of `data` and `extra_data`; unusable ones are listed in `output_dir`."""
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


def build_targets(rows: Dataset, ontology: PhenotypeOntology, loss: LossArguments) -> PhenotypeTargets:
    """Which phenotypes each row shows, as `targets` has it."""
    return targets_of(list(rows["hpo_ids"]), ontology, loss)


def text_needs(
    targets: PhenotypeTargets | None, ontology: PhenotypeOntology, loss: LossArguments, max_length: int
) -> TextNeeds:
    """Which texts the losses look at."""
    forms = loss.forms().keys()
    return TextNeeds(
        targets=targets,
        names=[ontology[hpo_id].name for hpo_id in targets.candidate_ids] if targets else [],
        student_names=bool(loss.name_weight) or "names" in forms,
        teacher_names=bool(NAME_FORMS & forms),
        teacher_captions=bool(CAPTION_FORMS & forms),
        teacher_path=loss.knowledge_encoder if loss.knowledge_weight else None,
        max_length=max_length,
    )


def targets_of(hpo_ids: Sequence[Sequence[str]], ontology: PhenotypeOntology, loss: LossArguments) -> PhenotypeTargets:
    """The same of rows that are given by their labels."""
    if loss.targets == "closure":
        return ClosureTargets(hpo_ids, ontology, min_information=loss.closure_information)
    if loss.targets == "lin":
        return LinTargets(hpo_ids, ontology, sharpness=loss.lin_sharpness)
    return MultiHotTargets(hpo_ids)


def build_order(rows: Dataset, ontology: PhenotypeOntology, data: DataArguments, run: RunArguments) -> RowOrder | None:
    """As `order` has it; None shuffles."""
    if data.order == "balanced":
        return BalancedOrder(list(rows["hpo_ids"]), cap=data.rows_per_phenotype, seed=run.seed)
    if data.order == "length":
        lengths = [len(caption) for caption in rows["caption"]]
        return LengthGroupedOrder(lengths, run.batch_size, seed=run.seed)
    if data.order == "siblings":
        return SiblingOrder(list(rows["hpo_ids"]), ontology, group_size=data.siblings_per_group, seed=run.seed)
    return None


def build_samples(
    rows: Dataset,
    model: PhenoLIPModel,
    processor: PhenoLIPProcessor,
    arguments: ModelArguments,
    data: DataArguments,
    seed: int,
    accelerator: Accelerator,
    cache_dir: Path,
) -> ImageTextPairs | CachedViews:
    """Varied images by epoch and row, or their stored features where the image tower is frozen."""
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
