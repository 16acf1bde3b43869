"""Thresholds of findings, fitted on validation pairs and kept beside the model."""

import logging
from pathlib import Path

from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.tables import data_revision
from phenolip.eval.contamination import find_contamination
from phenolip.eval.evaluators.base import EvaluationPairs
from phenolip.eval.finding_labels import common_categories, common_values, finding_labels
from phenolip.eval.metrics.thresholds import best_threshold, decide
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.encoder import Encoder
from phenolip.inference.finding_thresholds import MIN_POSITIVE, FindingThreshold, FindingThresholds
from phenolip.inference.finegrained import embed_findings
from phenolip.ontology.reader import load_ontology

logger = logging.getLogger(__name__)

MIN_VALUE, MAX_VALUES = 2, 12  # rows that say a severity or location, and how many of them a category keeps; ours


def fit_thresholds(
    encoder: Encoder,
    data: str | Path,
    *,
    split: str | None = None,
    min_positive: int = MIN_POSITIVE,
    hpo: str | Path | None = None,
    max_bad_fraction: float = 0.01,
) -> FindingThresholds:
    """For each category of the data the cosine from which on its F1 is highest.

    Args:
        encoder: The model.
        data: Validation pairs with the column `findings`: neither trained nor reported on.
        split: Split to read where the data has several.
        min_positive: Fewest images that show a category.
        hpo: hp.obo or hp.json.
        max_bad_fraction: Share of unusable rows that is tolerated.

    Raises:
        ConfigurationError: The model encodes text only, or `min_positive` is below 1.
        DataError: The data has no findings, or no category that enough images show.
    """
    if min_positive < 1:
        raise ConfigurationError(f"`min_positive` must be at least 1, got {min_positive}.")
    if not encoder.has_images:
        raise ConfigurationError(f"`model` {encoder.name} encodes text only: thresholds need a Stage-2 model.")
    ontology = load_ontology(hpo)
    dataset = load_pairs(data, split=split, ontology=ontology, max_bad_fraction=max_bad_fraction)
    findings = dataset["findings"][:]
    if not any(findings):
        raise DataError(f"{data} must have the column `findings`, as `phenolip extract` makes it; it has none.")
    keys = common_categories(findings, ontology, min_positive)
    none_fits = DataError(f"No category of {data} is shown by at least {min_positive} images and missing in others.")
    if not keys:
        raise none_fits
    labels = finding_labels(findings, keys, ontology)
    pairs = EvaluationPairs.from_dataset(dataset, ontology, candidates={})
    find_contamination(encoder.name, pairs.sha256)  # warns
    images = pairs.embed_images(encoder)
    entries = []
    for column, (name, hpo_id) in enumerate(keys):
        known = labels.labels[:, column] >= 0
        truth = labels.labels[known, column]
        if not 0 < truth.sum() < len(truth):
            logger.warning("'%s' is left out: no image shows it, or every one does.", name)
            continue
        asked = FindingThreshold(name, hpo_id, 0.0, 0.0, 0, 0)
        cosines = (images[known] @ embed_findings(encoder, [(asked, None, None)]).T)[:, 0].astype(float)
        threshold = best_threshold(cosines, truth)
        values = {
            slot: common_values(labels, slot, column, min_rows=MIN_VALUE, limit=MAX_VALUES)
            for slot in ("severity", "location")
        }
        entries.append(
            FindingThreshold(
                category=name,
                hpo_id=hpo_id,
                threshold=threshold,
                f1=decide(cosines, truth, threshold)[0],
                num_positive=int(truth.sum()),
                num_negative=int((truth == 0).sum()),
                severities=values["severity"],
                locations=values["location"],
            )
        )
    if not entries:
        raise none_fits
    fitted_on = {"data": str(data), "split": split, "data_revision": data_revision(dataset), "num_rows": len(dataset)}
    return FindingThresholds(tuple(entries), fitted_on, encoder.describe()["weights_sha256"])
