"""From settings to the modules of image-text matching."""

from collections.abc import Sequence

import numpy as np

from phenolip.ontology.graph import PhenotypeOntology
from phenolip.train.losses.image_text_matching import ImageTextMatchingLoss
from phenolip.train.stage2_arguments import LossArguments
from phenolip.train.targets.categories import CategoryRelations, relate_categories
from phenolip.train.targets.ssm import SemanticSimilarity, mean_cosine
from phenolip.train.targets.text_targets import TextTargets
from phenolip.train.text_matching import TextMatching, WeightedMatching


def build_similarity(
    loss: LossArguments, target_embeds: np.ndarray | None, relations: CategoryRelations | None
) -> SemanticSimilarity | None:
    """Likeness of texts for `targets: ssm`, its floor from all distinct texts of the data; else None."""
    if loss.targets != "ssm":
        return None
    return SemanticSimilarity(
        loss.ssm_gate,
        loss.ssm_calibration,
        floor=mean_cosine(target_embeds) if loss.ssm_calibration == "affine" else 0.0,
        related=relations.related if relations is not None else None,
    )


def build_weighted_matching(loss: LossArguments) -> WeightedMatching | None:
    """Image-text matching with its weight; None where that is 0."""
    if not loss.matching_weight:
        return None
    matching = ImageTextMatchingLoss(
        mse_on=loss.matching_mse,
        ce=loss.matching_ce,
        target_norm=loss.matching_target_norm,
        target_temperature=loss.matching_target_temperature,
    )
    return WeightedMatching(matching, loss.matching_weight)


def build_text_matching(
    loss: LossArguments,
    categories: Sequence[str],
    ontology: PhenotypeOntology,
    target_embeds: np.ndarray | None,
) -> TextMatching:
    """Losses of `text_unit: entity`.

    Args:
        loss: Settings.
        categories: Of the findings, in the order of their numbers.
        ontology: Source of is_a.
        target_embeds: Of the distinct texts, for `targets: ssm`.
    """
    relations = relate_categories(
        categories,
        ontology,
        loss.targets if loss.targets in ("closure", "lin") else "multi_hot",
        min_information=loss.closure_information,
        lin_sharpness=loss.lin_sharpness,
    )
    similarity = build_similarity(loss, target_embeds, relations)
    targets = TextTargets(loss.targets, relations, similarity, mask_duplicates=loss.mask_duplicates)
    return TextMatching(
        targets,
        contrastive_weight=loss.contrastive_weight,
        target_weight=loss.caption_target_weight,
        matching=build_weighted_matching(loss),
    )
