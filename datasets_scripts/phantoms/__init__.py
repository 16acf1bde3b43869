"""Phantoms: images drawn in code in which the HPO terms of their captions are really visible. They show no patient.

One module a scene; each names its signs and draws those that it is told to. `generate` yields images with captions and
ids, `write_imagefolder` writes them as a `datasets` ImageFolder.
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from phenolip.datasets_scripts.phantoms import (
    blood_smear,
    brain_mri,
    chest_xray,
    ecg,
    face,
    foot,
    fundus,
    hand,
    skin,
)
from phenolip.datasets_scripts.phantoms.canvas import Box
from phenolip.datasets_scripts.phantoms.captions import PHRASINGS, caption
from phenolip.datasets_scripts.phantoms.scene import Scene, Sign
from phenolip.exceptions import ConfigurationError, DataError

SCENES: tuple[Scene, ...] = tuple(
    module.SCENE for module in (hand, foot, face, skin, chest_xray, fundus, blood_smear, brain_mri, ecg)
)
SIGNS: dict[str, Sign] = {sign.id: sign for scene in SCENES for sign in scene.signs}
_SCENE_OF: dict[str, Scene] = {sign.id: scene for scene in SCENES for sign in scene.signs}
PHANTOM_TERMS: dict[str, str] = {hpo_id: scene.name for hpo_id, scene in _SCENE_OF.items()}
GENERATOR_VERSION = 1  # rises with any change of an image or a caption
MANIFEST = "phantoms.json"
_NUM_SIGNS = (0.72, 0.22, 0.06)  # share of images that aim at one, two and three signs


class Phantom(NamedTuple):
    """A drawn image, its caption, the ids of the HPO terms it shows, in the order of the caption, and where.

    `regions` has the boxes (x0, y0, x1, y1) of each term, in pixels.
    """

    image: Image.Image
    caption: str
    hpo_ids: tuple[str, ...]
    regions: dict[str, list[Box]]


def phantom(index: int, *, seed: int, phrasings: str = "train", size: int = 224) -> Phantom:
    """Draw image `index` of `seed`; it depends on nothing else."""
    hpo_ids = signs_of(index, seed=seed)
    # the image and the words draw from streams of their own: an image does not depend on phrasings
    drawing = _SCENE_OF[hpo_ids[0]].draw(np.random.default_rng([seed, index, 2]), frozenset(hpo_ids), size)
    words = np.random.default_rng([seed, index, 3 + PHRASINGS.index(phrasings)])
    text = caption(words, [SIGNS[hpo_id] for hpo_id in hpo_ids], drawing.view, phrasings)
    return Phantom(drawing.image, text, hpo_ids, drawing.regions)


def signs_of(index: int, *, seed: int) -> tuple[str, ...]:
    """The HPO ids that image `index` of `seed` shows, without drawing it.

    The first runs through a fresh permutation of all terms for every block of `len(PHANTOM_TERMS)` images, so that
    terms are balanced; up to two others of the same scene join it where they are compatible.
    """
    terms = sorted(PHANTOM_TERMS)
    block, place = divmod(index, len(terms))
    hpo_ids = [terms[np.random.default_rng([seed, block, 0]).permutation(len(terms))[place]]]
    rng, scene = np.random.default_rng([seed, index, 1]), _SCENE_OF[hpo_ids[0]]
    for _ in range(rng.choice(len(_NUM_SIGNS), p=_NUM_SIGNS)):
        shown = frozenset(hpo_ids)
        others = [sign.id for sign in scene.signs if scene.compatible(sign.id, shown)]
        if others:
            hpo_ids.append(others[rng.integers(len(others))])
    return tuple(hpo_ids)


def generate(num_images: int, *, seed: int, phrasings: str = "train", size: int = 224) -> Iterator[Phantom]:
    """Yield phantoms 0 to `num_images` - 1 of a seed.

    Args:
        num_images: how many.
        seed: images and captions of different seeds are independent.
        phrasings: "train" or "heldout": two disjoint sets of sentence templates.
        size: side of the square images in pixels.
    """
    _check(num_images, seed, phrasings, size)
    return (phantom(index, seed=seed, phrasings=phrasings, size=size) for index in range(num_images))


def _check(num_images: int, seed: int, phrasings: str, size: int) -> None:
    if phrasings not in PHRASINGS:
        raise ConfigurationError(f"`phrasings` must be one of {', '.join(PHRASINGS)}, got {phrasings!r}.")
    for name, value, least in (("num_images", num_images, 1), ("seed", seed, 0), ("size", size, 32)):
        if value < least:
            raise ConfigurationError(f"`{name}` must be at least {least}, got {value}.")


def write_imagefolder(
    path: str | os.PathLike[str],
    num_images: int,
    *,
    seed: int,
    phrasings: str = "train",
    size: int = 224,
    progress: bool = True,
) -> Path:
    """Write phantoms as a `datasets` ImageFolder; returns its path.

    The folder holds `images/*.jpg`, `metadata.jsonl` (file_name, caption, phenotypes, hpo_ids) and the manifest
    `phantoms.json`. It is written beside its place and then renamed, so that it is whole or absent. A folder of
    phantoms is replaced, any other folder is left alone.

    Raises:
        DataError: `path` exists and was not written by this function.
    """
    _check(num_images, seed, phrasings, size)
    path = Path(path)
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(f"{path} exists and holds no phantoms ({MANIFEST} is missing); give another folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        _write(draft, num_images, seed, phrasings, size, progress)
        draft.chmod(0o755)  # mkdtemp makes it private
        if path.exists():
            shutil.rmtree(path)
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def _write(folder: Path, num_images: int, seed: int, phrasings: str, size: int, progress: bool) -> None:
    (folder / "images").mkdir()
    counts: Counter[str] = Counter()
    phantoms = generate(num_images, seed=seed, phrasings=phrasings, size=size)
    bar = tqdm(phantoms, total=num_images, desc="Drawing phantoms", unit="image", disable=not progress)
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as metadata:
        for index, row in enumerate(bar):
            file_name = f"images/{index:06d}.jpg"
            row.image.save(folder / file_name, quality=92)
            phenotypes = [SIGNS[hpo_id].name for hpo_id in row.hpo_ids]
            record = {
                "file_name": file_name,
                "caption": row.caption,
                "phenotypes": phenotypes,
                "hpo_ids": list(row.hpo_ids),
            }
            metadata.write(json.dumps(record) + "\n")
            counts.update(row.hpo_ids)
    manifest = {
        "generator": "phenolip.datasets_scripts.phantoms",
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "phrasings": phrasings,
        "size_px": size,
        "num_images": num_images,
        "images_per_term": dict(sorted(counts.items())),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
