"""Images to medical ones and others, by a classifier on features of a vision tower, or by decisions on clusters.

The paper's way is `phenolip kg filter`: cluster, let a person keep or drop each cluster, apply. The automatic way is a
classifier that was trained from such decisions; as a step of the chain this module runs it. The tower is handed in:
nothing here knows of models.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from phenolip.exceptions import ConfigurationError
from phenolip.images import MAX_PIXELS
from phenolip.phenokg.figures.cluster_decisions import Decision, Decisions, read_decisions
from phenolip.phenokg.figures.cluster_files import ClusteredImages, read_clusters
from phenolip.phenokg.figures.image_features import (
    MAX_BYTES,
    STEP,
    ImageTower,
    ReadImage,
    encoded,
    in_batches,
    read_image_file,
)
from phenolip.phenokg.figures.medical_head import MedicalHead, load_head, score_images
from phenolip.phenokg.records import Drop, FilteredFigure, ImageFile

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """Settings of the step.

    Attributes:
        tower: Vision tower that the head was trained on: "efficientnet-lite0", a folder or a Hub id.
        head: JSON file of a classifier that `phenolip kg filter train` wrote; None means the one in the package.
        min_score: Probability from which an image counts as medical, 0 to 1.
        clusters: A clusters.parquet; its cluster numbers are noted. None means none are.
        decisions: A decisions.yaml on these clusters, which then wins over the classifier; None means none does.
        max_bytes: Largest file read.
        max_pixels: Width times height above which an image is not decoded.
        batch_size: Images encoded together.
    """

    tower: str = "efficientnet-lite0"
    head: str | None = None
    min_score: float = 0.5
    clusters: str | None = None
    decisions: str | None = None
    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS
    batch_size: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise ConfigurationError(f"`min_score` must be from 0 to 1, got {self.min_score}.")
        for name in ("max_bytes", "max_pixels", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"`{name}` must be 1 or more, got {getattr(self, name)}.")
        if self.decisions is not None and self.clusters is None:
            raise ConfigurationError("`decisions` needs the `clusters` that they are on.")


def run(
    records: Iterable[ImageFile | Drop], config: FilterConfig, tower: ImageTower | None = None
) -> Iterator[FilteredFigure | Drop]:
    """Every image, in order, with whether it is medical; drops among the files are handed on.

    Drops are "outside_folder", "unreadable_image", "too_large_image" and "not_finite".

    Args:
        records: Image files.
        config: See `FilterConfig`.
        tower: That of `config.tower`, loaded, such as `phenolip.inference.image_tower.load_image_tower` gives.

    Raises:
        ConfigurationError: No tower is handed in, or one that the head was not trained on.
    """
    head = load_head(config.head)
    check_tower(head, tower)
    clusters, decided = _clusters(config)
    for batch in in_batches(records, config.batch_size):
        limits = {"max_bytes": config.max_bytes, "max_pixels": config.max_pixels}
        outcomes = [each if isinstance(each, Drop) else read_image_file(each, **limits) for each in batch]
        pictures = [outcome.picture for outcome in outcomes if isinstance(outcome, ReadImage)]
        scores = iter(score_images(encoded(tower, pictures), head) if pictures else ())
        for outcome in outcomes:
            if isinstance(outcome, Drop):
                yield outcome
                continue
            yield _filtered(outcome, float(next(scores)), clusters, decided, config.min_score)


def check_tower(head: MedicalHead, tower: ImageTower | None) -> None:
    """Raises ConfigurationError unless the head was trained on this very tower."""
    if tower is None:
        raise ConfigurationError(f"Step {STEP} needs a `tower`: the command loads one and hands it in.")
    if head.fingerprint != tower.fingerprint:
        raise ConfigurationError(
            f"`head` was trained on features of {head.tower} ({head.fingerprint}), got those of {tower.name} "
            f"({tower.fingerprint}); train one with `phenolip kg filter train`."
        )


def apply_decisions(clustered: ClusteredImages, decisions: Decisions) -> Iterator[FilteredFigure | Drop]:
    """Every clustered image as its cluster was decided; those of undecided clusters are Drops, "undecided".

    Raises:
        DataError: The decisions are on other clusters.
    """
    decisions.check(clustered.num_clusters, clustered.clustering)
    for file_name, cluster in zip(clustered.file_names, clustered.labels.tolist(), strict=True):
        decision = decisions.by_cluster.get(cluster)
        if decision is None:
            yield Drop(STEP, file_name, "undecided", f"Nobody decided on cluster {cluster}.")
        else:
            yield FilteredFigure(file_name, decision == "keep", cluster=cluster)


def _clusters(config: FilterConfig) -> tuple[Mapping[str, int], Mapping[int, Decision]]:
    """Cluster by sha256 of the file, and decision by cluster."""
    if config.clusters is None:
        return {}, {}
    clustered = read_clusters(config.clusters)
    placed = dict(zip(clustered.hashes, clustered.labels.tolist(), strict=True))
    if config.decisions is None:
        return placed, {}
    decisions = read_decisions(config.decisions)
    decisions.check(clustered.num_clusters, clustered.clustering, config.decisions)
    return placed, decisions.by_cluster


def _filtered(
    image: ReadImage, score: float, clusters: Mapping[str, int], decided: Mapping[int, Decision], min_score: float
) -> FilteredFigure | Drop:
    if not np.isfinite(score):
        return Drop(STEP, image.file.path, "not_finite", "The tower gives features that are not finite.")
    cluster = clusters.get(image.sha256)
    decision = decided.get(cluster) if cluster is not None else None
    is_medical = score >= min_score if decision is None else decision == "keep"
    return FilteredFigure(image.file.path, is_medical, round(score, 4), cluster)
