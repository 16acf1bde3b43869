"""A build from which rows were taken: its folder says what is left, and no later build brings them back."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest

from phenolip.cli import main
from phenolip.exceptions import DataError
from phenolip.phenokg.build_config import BuildConfig
from phenolip.phenokg.forgotten import FORGOTTEN, MARKER, Forgotten, add_forgotten, name_hash, read_forgotten
from phenolip.phenokg.pipeline import build
from phenolip.phenokg.table_files import read_manifest

TEXT = "ZEBRAMARKER seizures of a man who can be told by this"


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets_cache")


@pytest.fixture
def config(corpus, stages, tmp_path):
    """Six articles in three shards; two figures of the one at the third place hold the marker."""
    for number in range(6):
        captions = [(TEXT, "zebramarker1.png"), (TEXT + " again", "zebramarker2.png")] if number == 2 else []
        corpus.add(f"good{number}", [(f"seizures {number}", "f1.png"), ("nothing", "f2.png"), *captions])
    output, steps = tmp_path / "out", stages(corpus.folder)
    return BuildConfig(articles=str(corpus.folder), output=str(output), shard_size=2, stages=steps)


def figures_of(output):
    rows = pq.read_table(Path(output) / "tables" / "pairs-00000.parquet").to_pylist()
    return {(row["article_id"], row["figure_id"]): row["caption"] for row in rows}


def holds_marker(folder):
    for path in Path(folder).rglob("*"):
        if path.is_file():
            data = path.name.encode() + path.read_bytes()
            data += str(pq.read_table(path).to_pydict()).encode() if path.suffix == ".parquet" else b""
            if b"zebramarker" in data.lower():
                return path
    return None


@pytest.mark.parametrize("asked", ["10.1/good2/f3 10.1/good2/f4", "10.1/good2"])
def test_figures_and_articles_leave_every_step_and_stay_out(config, corpus, stages, asked, tmp_path, capsys):
    build(config)
    before = figures_of(config.output)
    assert holds_marker(config.output) and len(before) == 8
    folders = [config.output, str(corpus.folder)] if asked == "10.1/good2" else [config.output]
    assert main(["forget", *folders, "--ids", *asked.split()]) == 0, capsys.readouterr().out
    assert holds_marker(config.output) is None
    left = {key: text for key, text in before.items() if "ZEBRA" not in text}
    if asked == "10.1/good2":
        left.pop(("10.1/good2", "f1"))
        assert not (corpus.folder / "good2").exists(), "the article and its pictures go where their folder is named"
    assert figures_of(config.output) == left

    manifest = read_manifest(Path(config.output))
    assert manifest is not None, "sizes in the manifest are those of the tables"
    assert sum(manifest["splits"].values()) == manifest["steps"]["split_pairs"]["out"] == len(left)
    anew = tmp_path / "anew"
    anew.mkdir()
    for name in (FORGOTTEN, MARKER):
        shutil.copy(Path(config.output) / name, anew)
    fresh = build(replace(config, output=str(anew)))
    counts = ("in", "out", "dropped", "examples")
    assert {name: [step[count] for count in counts] for name, step in manifest["steps"].items()} == {
        name: [step[count] for count in counts] for name, step in fresh["steps"].items()
    }, "a build that never met the rows counts the same"

    if asked != "10.1/good2":  # the articles are as they were: nothing is done again
        assert build(config) == json.loads((Path(config.output) / "manifest.json").read_text())
    again = replace(config, stages=stages(corpus.folder, word="seizure"))  # another setting: steps are done again
    build(again)
    assert set(figures_of(again.output)) == set(left) and holds_marker(config.output) is None
    shutil.rmtree(Path(config.output) / "01-parse_articles")
    build(config)
    assert set(figures_of(config.output)) == set(left) and holds_marker(config.output) is None


def test_a_part_that_a_killed_build_left_in_halves_is_made_again_without_the_rows(config):
    build(config)
    whole = figures_of(config.output)
    part = Path(config.output) / "02-link_phenotypes" / "part-00001"
    for ending in (".json", ".drops.parquet"):
        part.with_suffix(ending).unlink()
    (Path(config.output) / "manifest.json").unlink()
    assert main(["forget", config.output, "--ids", "10.1/good2"]) == 0
    assert holds_marker(config.output) is None
    build(config)
    assert holds_marker(config.output) is None
    assert figures_of(config.output) == {key: text for key, text in whole.items() if key[0] != "10.1/good2"}


class KilledError(BaseException):
    """In place of a kill: nothing of ours catches it."""


@pytest.mark.parametrize("number", [7, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 30, 2))])
def test_a_run_over_a_build_that_is_cut_off_is_ended_by_the_same_call(config, monkeypatch, number):
    """Killed before a rename; afterwards a build counts what one counts that never met the rows."""
    build(config)
    renames, rename = [], os.replace

    def counted(*places):
        renames.append(places)
        if len(renames) == number:
            raise KilledError
        rename(*places)

    call = ["forget", config.output, "--ids", "10.1/good2/f3", "10.1/good2/f4"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted)
        try:
            assert main(call) == 0 and len(renames) < number
        except KilledError:
            pass
    assert main(call) == 0
    assert holds_marker(config.output) is None
    steps = build(config)["steps"]
    assert [(step["in"], step["out"]) for step in steps.values()] == [(6, 6), (6, 6), (6, 12), (12, 6), (6, 6), (6, 6)]
    assert holds_marker(config.output) is None


def test_an_article_is_found_by_the_ids_in_its_file_too(corpus, capsys):
    """Its rows may be gone by then: nothing but the file says which article it is."""
    for name in ("one", "other"):
        corpus.add(name)
    assert main(["forget", str(corpus.folder), "--ids", "10.1/one"]) == 0, capsys.readouterr().out
    assert [path.name for path in corpus.folder.iterdir() if path.is_dir()] == ["other"]


def test_without_the_list_the_rows_come_back(config):
    """What the list is for: the same call, but for the file."""
    build(config)
    main(["forget", config.output, "--ids", "10.1/good2"])
    for name in (FORGOTTEN, "manifest.json"):
        (Path(config.output) / name).unlink()
    shutil.rmtree(Path(config.output) / "01-parse_articles")
    build(config)
    assert holds_marker(config.output) is not None


def test_the_list_holds_hashes_alone_and_a_damaged_one_stops_a_build(config, tmp_path):
    build(config)
    add_forgotten(Path(config.output), ["PMC12.1/F1"])
    add_forgotten(Path(config.output), ["PMC13"])
    text = (Path(config.output) / FORGOTTEN).read_text()
    assert "PMC" not in text and json.loads(text)["sha256"] == sorted(map(name_hash, ["PMC12.1/F1", "PMC13"]))
    assert read_forgotten(tmp_path / "absent") == Forgotten()
    (Path(config.output) / FORGOTTEN).write_text("{}")
    with pytest.raises(DataError, match=r"forgotten\.json cannot be read"):
        build(config)


def test_the_folder_of_one_step_is_shrunk_too(config):
    build(config)
    step = Path(config.output) / "02-link_phenotypes"
    assert main(["forget", str(step), "--ids", "10.1/good2"]) == 0
    assert holds_marker(step) is None and holds_marker(config.output) is not None
