"""What a benchmark is drawn from: a build, its prepared tables, and lists of images with their terms of use."""

import hashlib
import io
import json

import pytest
from PIL import Image

from phenolip.datasets_scripts.bench_build import draw_bench
from phenolip.datasets_scripts.bench_draw import DrawConfig
from phenolip.datasets_scripts.bench_folder import BenchFolder
from phenolip.datasets_scripts.bench_source import open_bench_source, read_training_table
from phenolip.datasets_scripts.phenokg import prepare_phenokg
from phenolip.exceptions import DataError

FILES_ONLY = DrawConfig(max_phash_distance=-1)  # the builds of these tests state one hash for all images


def test_a_build_and_its_prepared_table_give_the_same_rows(make_build, tmp_path, ontology):
    build = make_build(16)
    prepare_phenokg(build.folder, output=tmp_path / "tables", ontology=ontology)
    for name, source in (("a", build.folder), ("b", tmp_path / "tables")):
        draw_bench(source, tmp_path / name, config=FILES_ONLY, ontology=ontology)
    rows, same = (BenchFolder(tmp_path / name).rows() for name in ("a", "b"))
    assert rows == same and [row["pmcid"] for row in rows] == [row["group_id"] for row in rows]
    assert {row["pmcid"] for row in rows} <= {"PMC3000", "PMC7000", "PMC11000", "PMC15000"}  # those of the split test
    first = rows[0]
    assert first["phenotypes"] == ["Square shape"]  # what a caption denies is no label
    assert (first["license"], first["license_category"], first["version"]) == (None, "unknown", "1")
    assert first["doi"].startswith("10.1/") and first["title"] == "On shapes"
    facts = BenchFolder(tmp_path / "a").drawn()
    assert facts["num_excluded_rows"] == 12 and facts["num_candidates"] == 4


def test_the_other_splits_of_a_build_are_trained_on(make_build, tmp_path, ontology):
    build = make_build(8)
    with pytest.raises(DataError, match="can be drawn: 2 training_near_image"):
        draw_bench(build.folder, tmp_path / "a", ontology=ontology)
    assert len(read_training_table(build.folder, split=None, ontology=ontology)) == 8
    assert len(read_training_table(build.folder, split="train", ontology=ontology)) == 4
    assert read_training_table(build.folder, split=None, ontology=ontology).groups[0] == "PMC0000"
    with pytest.raises(DataError, match=r"no pair in `split` 'dev'; there are 4 in train, 2 in validation, 2 in test"):
        draw_bench(build.folder, tmp_path / "b", config=DrawConfig(split="dev"), ontology=ontology)


def test_an_image_of_a_build_that_is_gone_or_changed(make_build, tmp_path, ontology, helpers):
    build = make_build(8)
    gone, changed = (build.media / f"PMC{n}000.1" / f"fig{n}.png" for n in (3, 7))
    changed.write_bytes(helpers.encoded(helpers.picture(99)))
    source = open_bench_source(build.folder, split="test", ontology=ontology)
    places = {candidate.row_id: place for place, candidate in enumerate(source.candidates)}
    assert source.image_bytes(places["PMC3000.1/F3"]) == gone.read_bytes()
    gone.unlink()
    for row_id, message in (("PMC3000.1/F3", "does not exist"), ("PMC7000.1/F7", "its SHA-256 differs")):
        with pytest.raises(DataError, match=message):
            source.image_bytes(places[row_id])


def test_a_mention_is_where_the_table_says_if_the_caption_agrees(make_build, tmp_path, ontology):
    source = open_bench_source(make_build(4).folder, split="test", ontology=ontology)
    (candidate,) = source.candidates
    assert candidate.caption == "Shape 3." and candidate.mentions == {"HP:9900002": (0, 5)}


def test_terms_of_use_of_a_list_of_images(helpers, tmp_path, ontology):
    records = [
        {
            "caption": "One square.",
            "hpo_ids": ["HP:9900002"],
            "license": "CC-BY-4.0",
            "license_url": "https://x",
            "version": 2,
        },
        {"caption": "One circle.", "hpo_ids": ["HP:9900003"], "license": " ", "split": "test"},
    ]
    folder = helpers.write_imagefolder(tmp_path / "list", records)
    source = open_bench_source(folder, split="test", ontology=ontology)
    found = source.candidates
    assert source.is_divided and [candidate.caption for candidate in found] == [
        "One circle."
    ]  # a column that names splits is followed
    assert found[0].attribution == {}
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    (folder / "metadata.jsonl").write_text("not json\n" + lines[0] + "\n")
    source = open_bench_source(folder, split="test", ontology=ontology, max_bad_fraction=0.9)
    (candidate,) = source.candidates
    assert not source.is_divided and candidate.attribution == {
        "license": "CC-BY-4.0",
        "license_url": "https://x",
        "version": "2",
    }


def test_two_rows_of_one_name_and_unlike_licences_have_none(helpers, tmp_path, ontology):
    folder = helpers.write_imagefolder(tmp_path / "list", helpers.captions(1))
    record = json.loads((folder / "metadata.jsonl").read_text())
    rows = [
        {**record, "caption": f"View {n}.", "license": license} for n, license in enumerate(("CC0-1.0", "CC-BY-4.0"))
    ]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = open_bench_source(folder, split="test", ontology=ontology).candidates
    assert [candidate.attribution for candidate in found] == [{}, {}]
    table = tmp_path / "pairs.csv"
    (tmp_path / "0.png").write_bytes((folder / "images" / "0.png").read_bytes())
    table.write_text("image_path,caption,hpo_ids,license\n0.png,A view.,HP:9900002,CC0-1.0\n")
    (candidate,) = open_bench_source(table, split="test", ontology=ontology).candidates
    assert candidate.attribution == {"license": "CC0-1.0"}


def test_a_part_of_a_figure_is_an_image_of_its_own(make_build, tmp_path, ontology):
    build = make_build(2)  # the second is a box of its file
    prepare_phenokg(build.folder, output=tmp_path / "tables", ontology=ontology)
    config = DrawConfig(split="train", max_phash_distance=-1)
    for name, source in (("a", build.folder), ("b", tmp_path / "tables")):
        draw_bench(source, tmp_path / name, config=config, ontology=ontology)
    benches = [BenchFolder(tmp_path / name) for name in ("a", "b")]
    rows = [sorted((row["row_id"], row["sha256"], row["caption"]) for row in bench.rows()) for bench in benches]
    assert rows[0] == rows[1] and len(rows[0]) == 2
    sizes = {Image.open(io.BytesIO(image)).size for image in benches[0].images()}
    assert sizes == {(24, 20), (10, 16)}
    hashes = [hashlib.sha256(image).hexdigest() for image in benches[0].images()]
    assert hashes == [row["sha256"] for row in benches[0].rows()]
    source = open_bench_source(build.folder, split="train", ontology=ontology)
    assert [len(key) > 64 for key in source.table.file_hashes] == [False, True]
