"""The page on which a person keeps or drops clusters: ten images of each, one HTML file, no network, no server.

Names of files are data and are escaped; the page forbids the browser to load anything or to run any script but its
own. Images are drawn anew as small JPEGs, so nothing else of a file reaches the browser.
"""

import base64
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from phenolip.exceptions import ConfigurationError
from phenolip.phenokg.figures.cluster_files import ClusteredImages
from phenolip.phenokg.figures.image_features import ReadImage, read_image_file
from phenolip.phenokg.records import ImageFile
from phenolip.whole_files import whole_file

_TEMPLATE, _STYLE, _SCRIPT = "filter_review.html.jinja", "filter_review.css.jinja", "filter_review.js.jinja"
_JPEG_QUALITY = 70


@dataclass(frozen=True, kw_only=True)
class ReviewConfig:
    """How the page looks.

    Attributes:
        per_cluster: Images shown of each cluster, drawn at random, 1 or more; the paper's reviewers saw ten.
        seed: Draws them.
        max_side: Longer side of a shown image in pixels; 400 clusters at 160 px make a page of 20 MB.
    """

    per_cluster: int = 10
    seed: int = 42
    max_side: int = 160

    def __post_init__(self) -> None:
        if not 1 <= self.per_cluster <= 100:
            raise ConfigurationError(f"`per_cluster` must be from 1 to 100, got {self.per_cluster}.")
        if not 16 <= self.max_side <= 1000:
            raise ConfigurationError(f"`max_side` must be from 16 to 1,000 pixels, got {self.max_side}.")
        if self.seed < 0:
            raise ConfigurationError(f"`seed` must be 0 or more, got {self.seed}.")


@dataclass(frozen=True, slots=True)
class ShownCluster:
    """A cluster on the page.

    Attributes:
        number: Of the cluster.
        size: How many images it has.
        images: Name and data URI of each image shown; None for one that cannot be read any more.
    """

    number: int
    size: int
    images: tuple[tuple[str, str | None], ...]


def draw_samples(clustered: ClusteredImages, config: ReviewConfig) -> Iterator[ShownCluster]:
    """Images of every cluster, drawn by the seed and the cluster's number alone."""
    order = np.argsort(clustered.labels, kind="stable")
    bounds = np.searchsorted(clustered.labels[order], np.arange(clustered.num_clusters + 1))
    for number in range(clustered.num_clusters):
        members = order[bounds[number] : bounds[number + 1]]
        draw = np.random.default_rng([config.seed, number])
        shown = np.sort(draw.permutation(members)[: config.per_cluster])
        names = [clustered.file_names[row] for row in shown]
        images = tuple((name, _data_uri(ImageFile(clustered.root, name), config.max_side)) for name in names)
        yield ShownCluster(number, len(members), images)


def write_review(path: str | Path, clustered: ClusteredImages, config: ReviewConfig | None = None) -> int:
    """Writes the page; returns how many of the images to show cannot be read any more."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (environment.get_template(name).render() for name in (_STYLE, _SCRIPT))
    num_missing = 0

    def counted() -> Iterator[ShownCluster]:
        nonlocal num_missing
        for cluster in draw_samples(clustered, config or ReviewConfig()):
            num_missing += sum(uri is None for _, uri in cluster.images)
            yield cluster

    values: dict[str, Any] = {
        "clusters": counted(),
        "clustering": clustered.clustering,
        "num_clusters": clustered.num_clusters,
        "num_images": len(clustered.labels),
        "style": style,
        "script": script,
        "style_hash": _csp_hash(style),
        "script_hash": _csp_hash(script),
    }
    with whole_file(path, "w") as file:
        for piece in environment.get_template(_TEMPLATE).generate(values):  # never all of it in memory
            file.write(piece)
    return num_missing


def _data_uri(file: ImageFile, max_side: int) -> str | None:
    image = read_image_file(file)
    if not isinstance(image, ReadImage):
        return None
    picture = image.picture
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
