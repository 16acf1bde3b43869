"""A made-up ontology of five terms, drawn images, and a `datasets` cache of the test's own."""

import hashlib
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
from phenolip.phenokg.records import FigurePair, License, PhenotypeLink, to_table
from phenolip.phenokg.table_files import TableFiles, write_manifest

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


def link(hpo_id, assertion="present"):
    return PhenotypeLink(hpo_id, "A shape", 0, 5, "Shape", assertion, "name", 1.0, "words")


@pytest.fixture
def make_build(tmp_path, helpers):
    """Writes what `phenolip kg build` leaves: tables, manifest, and the articles' images elsewhere."""

    def make(number=4, release="2025-01-16", folder="build"):
        media, output = tmp_path / "articles", tmp_path / folder
        splits = np.array([0, 0, 1, 2] * number, dtype=np.int8)[:number]
        pairs = []
        for place in range(number):
            path = f"PMC{place}000.1/fig{place}.png"
            data = helpers.encoded(helpers.picture(place, (24, 20)))
            (media / path).parent.mkdir(parents=True, exist_ok=True)
            (media / path).write_bytes(data)
            pairs.append(
                FigurePair(
                    article_id=f"PMC{place}000.1", figure_id=f"F{place}", image_path=path,
                    sha256=hashlib.sha256(data).hexdigest(), phash="0" * 16, width_px=24, height_px=20, num_images=1,
                    label=f"Figure {place}", caption=f"Shape {place}.", caption_raw=f"Shape {place}.",
                    caption_sha256="", phenotypes=(link("HP:9900002"), link("HP:9900003", "absent")),
                    license=[License("commercial", "CC-BY-4.0", "Free for all", "https://x"), License()][place % 2],
                    url="", citing_paragraphs=("As seen in the figure.",), pmcid=f"PMC{place}000", version=1,
                    doi=f"10.1/{place}", title="On shapes", journal="Shapes", published="2020-01",
                    bbox_xyxy=(2, 4, 12, 20) if place == 1 else None,
                )
            )  # fmt: skip
        output.mkdir()
        with TableFiles(output) as tables:
            tables.add_pairs(to_table(pairs, FigurePair), splits)
            files = tables.publish()
        write_manifest(output, {
            "identity": "x", "tables": files, "finished": "2026-01-01T00:00:00+00:00", "git_commit": None,
            "versions": {"python": "3"}, "splits": {}, "hpo": {"release": release, "sha256": "", "source": "hp.obo"},
            "steps": {"assemble": {"in": 9, "out": number, "dropped": {"no_license": 9 - number}}},
            "config": {"steps": {"link_phenotypes": {"mode": "clean", "hpo": "/home/me/hp.obo"},
                                 "assemble": {"media": str(media)}}},
        })  # fmt: skip
        return SimpleNamespace(folder=output, media=media, pairs=pairs)

    return make
