"""`clusters.parquet`: which cluster each image of a folder is in, and what the clustering was made with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from phenolip.exceptions import DataError
from phenolip.phenokg.figures.cluster_features import Clusters
from phenolip.phenokg.records import ImageFile
from phenolip.provenance import content_hash
from phenolip.whole_files import whole_file

_COLUMNS = pa.schema(
    {
        "file_name": pa.string(),
        "sha256": pa.string(),
        "cluster": pa.int64(),
        "first_level": pa.int64(),
        "distance": pa.float64(),
    }
)
_FIELDS = ("root", "tower", "fingerprint", "clustering")


@dataclass(frozen=True, slots=True)
class ClusteredImages:
    """Images and their clusters, in the order of the file.

    Attributes:
        root: Folder of the images.
        tower: Name of the tower whose features were clustered.
        fingerprint: Of the tower.
        file_names: Of the images below the folder; all but those whose features are not finite.
        hashes: sha256 of each file.
        labels: Number of the cluster of each.
        clustering: Changes with any image or label: decisions on one clustering are not those on another.
    """

    root: str
    tower: str
    fingerprint: str
    file_names: Sequence[str]
    hashes: Sequence[str]
    labels: np.ndarray
    clustering: str

    @property
    def num_clusters(self) -> int:
        """How many clusters there are."""
        return int(self.labels.max(initial=-1)) + 1


def write_clusters(
    path: str | Path,
    clusters: Clusters,
    files: Sequence[ImageFile],
    hashes: Sequence[str],
    *,
    tower: str,
    fingerprint: str,
) -> None:
    """Writes `clusters.parquet`; images without a cluster are left out."""
    placed = np.flatnonzero(clusters.labels >= 0)
    table = pa.table(
        {
            "file_name": [files[row].path for row in placed],
            "sha256": [hashes[row] for row in placed],
            "cluster": clusters.labels[placed],
            "first_level": clusters.first[placed],
            "distance": clusters.distances[placed],
        },
        schema=_COLUMNS,
    )
    parts = [f"{hashes[row]} {clusters.labels[row]}" for row in placed]
    about = {"root": files[0].root, "tower": tower, "fingerprint": fingerprint, "clustering": content_hash(parts)}
    with whole_file(path) as file:
        pq.write_table(table.replace_schema_metadata(about), file)


def read_clusters(path: str | Path) -> ClusteredImages:
    """The clusters of a file.

    Raises:
        DataError: It cannot be read, or is no such file.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}.") from None
    about = {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in (table.schema.metadata or {}).items()
    }
    missing = [name for name in _FIELDS if name not in about]
    if missing or not table.schema.remove_metadata().equals(_COLUMNS) or any(c.null_count for c in table.columns):
        raise DataError(f"{path} must be a file that `phenolip kg filter cluster` wrote.")
    labels = table["cluster"].to_numpy()
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= len(labels):
        raise DataError(f"{path} must number its clusters from 0, and hold an image at least.")
    return ClusteredImages(
        **{name: about[name] for name in _FIELDS},
        file_names=table["file_name"].to_pylist(),
        hashes=table["sha256"].to_pylist(),
        labels=labels,
    )
