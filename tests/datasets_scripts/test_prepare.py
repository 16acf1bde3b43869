"""What `phenolip prepare` leaves behind, and what it refuses to touch."""

import argparse
import json
import os
import subprocess
import sys

import datasets
import pyarrow.parquet as pq
import pytest
import yaml

from phenolip.cli import prepare as command
from phenolip.datasets_scripts.features import PHENOBENCH
from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.phenobench import PhenoBench, prepare_phenobench
from phenolip.datasets_scripts.prepare import prepare_phantoms, prepare_split
from phenolip.datasets_scripts.tables import replaced_folder
from phenolip.exceptions import DataError
from phenolip.images import decode_image

IN_ANOTHER_PROCESS = """
import json, sys
import datasets
loaded = datasets.load_dataset("phenobench")
assert "phenolip" not in sys.modules
row = loaded["test"][0]
print(json.dumps({
    "splits": {name: len(split) for name, split in loaded.items()},
    "columns": loaded["test"].column_names,
    "size": row["image"].size,
    "row": {key: row[key] for key in ("caption", "phenotypes", "hpo_ids", "source")},
    "description": loaded["test"].info.description,
}))
"""


def load_elsewhere(tmp_path, cache):
    """`load_dataset("phenobench")` from an empty folder, in a fresh process, offline."""
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    environment = {**os.environ, "HF_DATASETS_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        cwd=tmp_path / "elsewhere",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def source(tmp_path, helpers):
    return helpers.write_imagefolder(tmp_path / "first_source", helpers.captions(5))


def test_load_dataset_works_from_any_folder_and_a_second_source_replaces_the_first(
    tmp_path, source, ontology, helpers, datasets_cache, monkeypatch
):
    monkeypatch.chdir(source / "images")  # where files of the rows' own names lie
    prepare_phenobench(source, ontology=ontology)
    monkeypatch.chdir(tmp_path)
    first = load_elsewhere(tmp_path, datasets_cache)
    assert first["splits"] == {"test": 5}
    assert first["columns"] == list(PHENOBENCH)
    assert first["size"] == [24, 20]
    assert first["row"] == {
        "caption": "Picture 0.",
        "phenotypes": ["Square shape"],
        "hpo_ids": ["HP:9900002"],
        "source": "images/0.png",
    }
    assert "first_source" in first["description"]

    second_source = helpers.write_imagefolder(tmp_path / "second_source", helpers.captions(3))
    folder, facts = prepare_phenobench(second_source, ontology=ontology)
    second = load_elsewhere(tmp_path, datasets_cache)
    assert second["splits"] == {"test": 3}
    assert "second_source" in second["description"] and "first_source" not in second["description"]
    cached = list(datasets_cache.glob("phenobench/*/*/*/dataset_info.json"))
    assert len(cached) == 1
    for card in (folder / "README.md", cached[0].parent / "README.md"):
        assert "second_source" in card.read_text() and "first_source" not in card.read_text()
    assert facts["num_rows"] == 3


def test_the_same_rows_can_be_prepared_again(source, ontology, datasets_cache):
    for _ in range(2):
        prepare_phenobench(source, ontology=ontology)
    assert len(load_pairs("phenobench", ontology=ontology)) == 5
    assert len(list(datasets_cache.glob("phenobench/*/*/*/dataset_info.json"))) == 1


def test_a_folder_of_the_same_name_does_not_compete(tmp_path, source, ontology, helpers, datasets_cache):
    prepare_phenobench(source, ontology=ontology, output=tmp_path / "phenobench")
    datasets.load_dataset(str(tmp_path / "phenobench"))  # cached by `datasets` as "phenobench", too
    other = helpers.write_imagefolder(tmp_path / "other", helpers.captions(2))
    prepare_phenobench(other, ontology=ontology)
    assert load_pairs(tmp_path / "phenobench", ontology=ontology).num_rows == 5
    assert load_elsewhere(tmp_path, datasets_cache)["splits"] == {"test": 2}


def test_output_is_a_local_dataset_with_a_card(tmp_path, source, ontology):
    folder, facts = prepare_phenobench(source, ontology=ontology, output=tmp_path / "bench", max_side=12)
    loaded = datasets.load_dataset(str(folder))
    assert loaded["test"].features == PHENOBENCH
    assert loaded["test"][0]["image"].size == (12, 10)
    card = (folder / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["configs"][0]["data_files"] == [{"split": "test", "path": "data/test-*.parquet"}]
    assert f"`{source}`" in card and facts["data_revision"] in card and "12 px" in card
    pairs = load_pairs(folder, ontology=ontology)
    assert pairs["row_id"][:] == [f"images/{number}.png" for number in range(5)]
    assert pairs["hpo_ids"][:] == [["HP:9900002"]] * 5


def test_the_hash_follows_the_content(source, ontology):
    first = PhenoBench(source, ontology=ontology)
    assert PhenoBench(source, ontology=ontology).hash == first.hash
    assert PhenoBench(source, ontology=ontology, max_side=9).hash != first.hash
    metadata = source / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace("Picture 0.", "Another."))
    assert PhenoBench(source, ontology=ontology).hash != first.hash


def test_a_failed_prepare_leaves_what_was_there(tmp_path, source, ontology, datasets_cache, helpers):
    folder, _ = prepare_phenobench(source, ontology=ontology)
    before = sorted(path for path in folder.rglob("*"))
    bad = helpers.write_imagefolder(tmp_path / "bad", [{"caption": ""}])
    with pytest.raises(DataError, match="1 of 1 rows are bad"):
        prepare_phenobench(bad, ontology=ontology)
    assert sorted(path for path in folder.rglob("*")) == before
    assert len(load_pairs("phenobench", ontology=ontology)) == 5


def test_split_embeds_the_files_byte_for_byte(tmp_path, source, ontology):
    manifest = prepare_split(source, tmp_path / "out", validation_fraction=0.4, ontology=ontology)
    assert manifest["num_rows"] == {"train": 3, "validation": 2}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    assert "`pmcid`, `article_id`, `patient_id`, `case_id`, `study_id`" in (tmp_path / "out" / "README.md").read_text()
    assert len(datasets.load_dataset(str(tmp_path / "out"))["validation"]) == 2
    whole = {row["row_id"]: row for row in load_pairs(source, ontology=ontology)}
    for name, number in manifest["num_rows"].items():
        for loaded in (
            load_pairs(tmp_path / "out" / name, ontology=ontology),
            load_pairs(tmp_path / "out", split=name, ontology=ontology),
        ):
            assert len(loaded) == number
            for row in loaded:
                original = whole.pop(row["row_id"]) if row["row_id"] in whole else None
                data = (source / row["row_id"]).read_bytes()
                assert row["image"]["bytes"] == data
                assert original is None or {**row, "image": original["image"]} == original
    assert not whole
    with pytest.raises(DataError, match="holds the splits train, validation|several splits"):
        load_pairs(tmp_path / "out", ontology=ontology)


def test_split_with_a_size_limit_keeps_hashes_true(tmp_path, source, ontology):
    prepare_split(source, tmp_path / "out", validation_fraction=0.4, ontology=ontology, max_side=10)
    (shard,) = (tmp_path / "out" / "train").glob("*.parquet")
    stored = pq.read_table(shard).to_pylist()
    loaded = load_pairs(tmp_path / "out" / "train", ontology=ontology)
    assert [row["sha256"] for row in stored] == loaded["sha256"][:]
    assert all(max(decode_image(row["image"]).size) == 10 for row in stored)
    assert all(row["image"]["path"].endswith(".jpg") for row in stored)


def test_large_tables_are_cut_into_shards(tmp_path, source, ontology, monkeypatch):
    monkeypatch.setattr("phenolip.datasets_scripts.tables._BYTES_PER_SHARD", 1)
    monkeypatch.setattr("phenolip.datasets_scripts.tables._ROWS_PER_GROUP", 2)
    prepare_split(source, tmp_path / "out", validation_fraction=0.2, ontology=ontology)
    names = sorted(path.name for path in (tmp_path / "out" / "train").iterdir())
    assert names == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert len(load_pairs(tmp_path / "out" / "train", ontology=ontology)) == 4


def test_only_own_folders_are_replaced(tmp_path, source, ontology):
    output = tmp_path / "out"
    output.mkdir()
    for _ in range(2):  # an empty folder, then one that `prepare` wrote
        prepare_split(source, output, ontology=ontology)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="mine exists and was not written by `phenolip prepare`"):
        prepare_split(source, tmp_path / "mine", ontology=ontology)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), replaced_folder(tmp_path / "out") as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_phantoms_of_two_seeds_and_phrasings(tmp_path):
    manifest = prepare_phantoms(tmp_path / "phantoms", num_train=3, num_validation=2, seed=5)
    assert manifest["num_rows"] == {"train": 3, "validation": 2}
    assert manifest["seeds"]["train"] != manifest["seeds"]["validation"]
    train, validation = (load_pairs(tmp_path / "phantoms", split=name) for name in ("train", "validation"))
    assert (len(train), len(validation)) == (3, 2)
    assert all(train["hpo_ids"]) and not set(train["sha256"]) & set(validation["sha256"])
    with pytest.raises(DataError, match="`num_train` must be at least 1, got 0"):
        prepare_phantoms(tmp_path / "none", num_train=0, num_validation=2)


def run(*arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_command(tmp_path, source, ontology, monkeypatch, capsys):
    monkeypatch.setattr(command, "load_ontology", lambda path: ontology)
    assert run("phenobench", "--source", source, "--output", tmp_path / "bench") == 0
    assert "PhenoBench: 5 rows from" in capsys.readouterr().out
    assert run("split", "--source", source, "--output", tmp_path / "out", "--max_side", 12) == 0
    assert "Split: 4 rows in" in capsys.readouterr().out
    assert run("phantoms", "--output", tmp_path / "drawn", "--num_train", 2, "--num_validation", 1) == 0
    assert "Phantoms: 2 in" in capsys.readouterr().out
    with (source / "metadata.jsonl").open("a") as lines:
        lines.write('{"file_name": "images/0.png", "caption": ""}\n')
    with pytest.raises(DataError, match=r"out\.bad_rows\.jsonl"):
        run("split", "--source", source, "--output", tmp_path / "out")
    assert "caption is empty" in (tmp_path / "out.bad_rows.jsonl").read_text()
    with pytest.raises(SystemExit):
        run("split", "--source", source, "--output", tmp_path / "out", "--max_side", 0)
    assert "must be a whole number of pixels above 0, got '0'" in capsys.readouterr().err


@pytest.mark.slow
def test_gallery(gallery, tmp_path, datasets_cache):
    _, facts = prepare_phenobench(gallery)
    loaded = load_elsewhere(tmp_path, datasets_cache)
    assert loaded["splits"] == {"test": 2786}
    assert (facts["num_labels"], facts["num_labels_dropped"], facts["num_phenotypes"]) == (3992, 26, 1153)
    assert "phenobench_gallery" in loaded["description"]
