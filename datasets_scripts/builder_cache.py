"""What our builders keep in the cache of ``datasets``, so that ``load_dataset(NAME)`` has one thing to find."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import datasets


def default_folder(name: str, cache_dir: str | Path | None = None) -> Path:
    """Where the Parquet files go when the user names no folder: inside the cache, by default that of ``datasets``."""
    return Path(cache_dir or datasets.config.HF_DATASETS_CACHE).expanduser() / "phenolip" / name


def forget_others(builders: Sequence[datasets.DatasetBuilder]) -> None:
    """Delete whatever else than the tables of these builders the cache holds under their name."""
    current = {Path(builder.cache_dir) for builder in builders}
    for folder in Path(builders[0].cache_dir).parents[2].glob("*/*/*/"):  # configuration / version / hash
        if folder not in current:
            shutil.rmtree(folder)
            Path(f"{folder}_builder.lock").unlink(missing_ok=True)
