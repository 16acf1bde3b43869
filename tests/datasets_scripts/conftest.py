"""A made-up ontology of five terms, drawn images, and a `datasets` cache of the test's own."""

import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
from PIL import Image

from phenolip.ontology import load_ontology

# Real data is used in place where the environment says where it lies (the Makefile does), and is never part of this.
GALLERY = Path(os.environ.get("PHENOLIP_TEST_DATA", "absent")) / "phenobench_gallery"
HPO = """format-version: 1.2
data-version: hp/releases/2025-01-16

[Term]
id: HP:0000118
name: Phenotypic abnormality

[Term]
id: HP:9900001
name: Odd shape
is_a: HP:0000118

[Term]
id: HP:9900002
name: Square shape
alt_id: HP:9900020
synonym: "Boxy form" EXACT []
is_a: HP:9900001

[Term]
id: HP:9900003
name: Round shape
is_a: HP:9900001

[Term]
id: HP:9900004
name: obsolete Circle
is_obsolete: true
replaced_by: HP:9900003
"""


@pytest.fixture(scope="session")
def ontology(tmp_path_factory):
    """The made-up ontology."""
    folder = tmp_path_factory.mktemp("ontology")
    (folder / "hp.obo").write_text(HPO)
    return load_ontology(folder / "hp.obo", cache_dir=folder)


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path, monkeypatch):
    """A cache of its own for each test, and no Hub."""
    cache = tmp_path / "datasets_cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return cache


@pytest.fixture
def gallery():
    """The real pairs, where they lie beside the repository."""
    if not GALLERY.is_dir():
        pytest.skip("the gallery of PhenoBench does not lie beside the repository")
    return GALLERY


def picture(seed, size=(24, 20)):
    """A smooth picture that differs from those of other seeds in its perceptual hash."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image, format="PNG", **options):
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def write_imagefolder(folder, records, *, suffix="png"):
    """Write `images/` and metadata.jsonl; each record lacks only its `file_name`."""
    (folder / "images").mkdir(parents=True)
    with (folder / "metadata.jsonl").open("w") as lines:
        for number, record in enumerate(records):
            name = f"images/{number}.{suffix}"
            (folder / name).write_bytes(encoded(picture(number), {"png": "PNG", "jpg": "JPEG"}[suffix]))
            lines.write(json.dumps({"file_name": name, **record}) + "\n")
    return folder


def captions(number):
    """Records with distinct captions and one label each."""
    return [{"caption": f"Picture {row}.", "hpo_ids": ["HP:9900002"]} for row in range(number)]


@pytest.fixture
def helpers():
    """The functions above, for tests of other files."""
    return SimpleNamespace(picture=picture, encoded=encoded, write_imagefolder=write_imagefolder, captions=captions)
