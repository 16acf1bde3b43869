"""A build ends with the same tables whatever happens on the way, and redoes only what it must."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from phenolip.exceptions import ConfigurationError, DataError, PhenoLIPError
from phenolip.phenokg import parts
from phenolip.phenokg.build_config import BuildConfig, Stage, make_build, read_settings
from phenolip.phenokg.parts import Part
from phenolip.phenokg.pipeline import build
from phenolip.phenokg.records import Article, Drop, FigurePair, LinkedFigure, from_table
from phenolip.phenokg.steps import find_step, make_config


@pytest.fixture
def config(corpus, stages, tmp_path):
    """Ten articles in four shards, with everything wrong that an article can have wrong."""
    for number in range(6):
        corpus.add(f"good{number}", [("seizures", "f1.png"), (f"seizures {number}", "f2.png"), ("no", "f3.png")])
    corpus.add("closed", license="")
    corpus.add("film", [("seizures", "f1.pdf"), ("seizures", "f2.png")], images=["f2.png"])
    (corpus.folder / "film" / "f1.pdf").write_bytes(b"%PDF-1.4")
    corpus.add("thief", [("seizures", "../good0/f1.png"), ("seizures", "absent.png")], images=[])
    copy = corpus.add("twin", [("seizures of the twin", "f1.png")], images=[])
    shutil.copy(corpus.folder / "good0" / "f1.png", copy / "f1.png")
    (corpus.folder / "broken").mkdir()
    (corpus.folder / "broken" / "a.xml").write_text("<article><front>")
    (corpus.folder / "other.xml").write_text("<manifest/>")
    return make_config_of(corpus, stages, tmp_path / "out")


def make_config_of(corpus, stages, output, **more):
    settings = {"shard_size": 3, "stages": stages(corpus.folder)} | more
    return BuildConfig(articles=str(corpus.folder), output=str(output), **settings)


def tables_of(config):
    folder = os.path.join(config.output, "tables")
    return {name: open(os.path.join(folder, name), "rb").read() for name in sorted(os.listdir(folder))}


def pairs_of(config):
    return from_table(pq.read_table(os.path.join(config.output, "tables", "pairs-00000.parquet")), FigurePair)


def states(config):
    """When each part was written."""
    return {
        str(path.relative_to(config.output)): path.stat().st_mtime_ns
        for path in sorted(Path(config.output).glob("0[1-9]-*/*.json"))
    }


def steps_written(before, after):
    return sorted({name.split("/")[0] for name in after if after[name] != before.get(name)})


def test_every_figure_is_a_pair_or_a_counted_drop(config):
    manifest = build(config)
    steps = manifest["steps"]
    assert steps["find_articles"]["dropped"] == {"not_jats": 1} and steps["find_articles"]["out"] == 11
    assert steps["parse_articles"]["dropped"] == {"broken_xml": 1}
    assert steps["select_figures"]["dropped"] == {"no_license": 1, "no_phenotype": 6}
    assert steps["assemble"]["dropped"] == {"missing_file": 1, "not_raster": 1, "unsafe_href": 1}
    assert steps["split_pairs"]["dropped"] == {"duplicate_image": 1}
    for before, after in zip(list(steps.values())[:-1], list(steps.values())[1:], strict=True):
        assert after["in"] == before["out"]
    for name in ("find_articles", "parse_articles", "select_figures", "assemble", "split_pairs"):
        assert steps[name]["in"] == steps[name]["out"] + sum(steps[name]["dropped"].values())
    assert steps["assemble"]["examples"]["unsafe_href"] == ["10.1/thief/f1"]
    assert steps["link_phenotypes"]["in"] == 10 and steps["link_phenotypes"]["out"] == 24

    pairs = pairs_of(config)
    assert len(pairs) == steps["split_pairs"]["out"] == 13 == sum(manifest["splits"].values())
    splits = {pair.article_id: pair.split for pair in pairs}
    assert all(splits[pair.article_id] == pair.split for pair in pairs)
    assert {pair.license.category for pair in pairs} == {"commercial"}
    drops = from_table(pq.read_table(os.path.join(config.output, "tables", "drops.parquet")), Drop)
    assert len(drops) == sum(sum(step["dropped"].values()) for step in steps.values())
    assert {(drop.step, drop.key) for drop in drops if drop.reason == "not_jats"} == {("find_articles", "other.xml")}
    assert json.loads(open(os.path.join(config.output, "manifest.json")).read()) == json.loads(json.dumps(manifest))


def test_tables_depend_on_neither_shard_size_nor_place(config, corpus, tmp_path, stages):
    build(config)
    moved = corpus.folder.with_name("moved")
    shutil.copytree(corpus.folder, moved)
    other = replace(config, output=str(tmp_path / "other"), shard_size=100, articles=str(moved), stages=stages(moved))
    build(other)
    assert pairs_of(other) == pairs_of(config)
    same = replace(config, output=str(tmp_path / "same"))
    build(same)
    assert tables_of(same) == tables_of(config)


def test_a_second_run_does_nothing_and_a_change_only_what_it_must(config, corpus, stages):
    first = build(config)
    before, tables = states(config), tables_of(config)
    assert build(config) == first and states(config) == before

    narrower = replace(config, stages=stages(corpus.folder, licenses=["commercial"]))
    build(narrower)
    after = states(config)
    assert steps_written(before, after) == ["03-select_figures", "04-assemble"]
    assert tables_of(config) == tables

    word = replace(narrower, stages=stages(corpus.folder, word="no", licenses=["commercial"]))
    build(word)
    assert steps_written(after, states(config)) == ["02-link_phenotypes", "03-select_figures", "04-assemble"]
    assert {pair.caption for pair in pairs_of(config)} == {"no"}


def test_a_changed_file_costs_its_shard(config, corpus):
    build(config)
    before = states(config)
    shutil.copy(corpus.folder / "good1" / "f1.png", corpus.folder / "thief" / "absent.png")
    manifest = build(config)
    changed = {name.split("part-")[1] for name, when in states(config).items() if when != before[name]}
    assert changed == {"00003.json"}
    assert "missing_file" not in manifest["steps"]["assemble"]["dropped"]

    shutil.rmtree(corpus.folder / "good5")
    build(config)
    assert "10.1/good5" not in {pair.article_id for pair in pairs_of(config)}
    clean = replace(config, output=config.output + "-clean")
    build(clean)
    assert tables_of(clean) == tables_of(config)


def killed_at(config, number):
    """Builds, and is killed before the file that is renamed as the number-th."""
    renamed = 0
    rename = os.replace

    def counted(*paths):
        nonlocal renamed
        renamed += 1
        if renamed == number:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(*paths)

    os.replace = counted
    build(config)
    os._exit(0)


def test_killed_anywhere_the_tables_come_out_the_same(config):
    reference = replace(config, output=config.output + "-reference")
    build(reference)
    fork, ends = multiprocessing.get_context("fork"), []
    for extra in range(100):
        child = fork.Process(target=killed_at, args=(config, 16 + extra % 3))  # 12 renames list the articles
        child.start()
        child.join(60)
        ends.append(child.exitcode)
        if child.exitcode == 0:
            break
        assert not os.path.exists(os.path.join(config.output, "manifest.json"))
    assert ends[-1] == 0 and set(ends[:-1]) == {-signal.SIGKILL} and len(ends) > 5
    assert tables_of(config) == tables_of(reference)
    assert not list(Path(config.output).rglob("*.partial"))


@pytest.mark.parametrize("number", [49, 50, 51])  # 12 list the articles, 36 are parts
def test_killed_while_tables_are_replaced(config, corpus, number, stages):
    build(config)
    changed = replace(config, stages=stages(corpus.folder, word="no"))
    child = multiprocessing.get_context("fork").Process(target=killed_at, args=(changed, number))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert not os.path.exists(os.path.join(config.output, "manifest.json"))
    build(changed)
    assert {pair.caption for pair in pairs_of(config)} == {"no"}


def test_a_part_of_other_settings_is_never_taken_for_this_one(config, tmp_path):
    part = Part(tmp_path / "step", 0)
    part.write("a", [], Drop, [], num_in=0, seconds=0)
    assert part.counts("a") is not None and part.counts("b") is None
    part.drops_path.write_bytes(b"cut")
    assert part.counts("a") is None


@pytest.mark.parametrize("place", [0, 7, 12, 31, 59, 60, 61])
def test_a_full_disk_is_one_sentence_and_no_table(config, monkeypatch, place):
    written = 0
    rename = os.replace

    def full(*paths):
        nonlocal written
        written += 1
        if written > place:
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(*paths)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(
            DataError, match="^The disk of .* is full: free some space and run again, what is finished"
        ):
            build(config)
    assert not os.path.exists(os.path.join(config.output, "manifest.json"))
    assert not list(Path(config.output).rglob("*.partial"))
    build(config)
    assert len(pairs_of(config)) == 13


def test_two_runs_on_one_folder(config):
    started, go_on = multiprocessing.get_context("fork").Event(), multiprocessing.get_context("fork").Event()

    def slow(work, shards):
        started.set()
        go_on.wait(60)
        for shard in shards:
            work(shard)
            yield shard

    child = multiprocessing.get_context("fork").Process(target=build, args=(config, slow))
    child.start()
    try:
        assert started.wait(60)
        with pytest.raises(ConfigurationError, match="`output` .* is in use by another run: wait for it"):
            build(config)
    finally:
        go_on.set()
        child.join(60)
    assert child.exitcode == 0 and len(pairs_of(config)) == 13


def test_too_much_damage_ends_the_build_and_names_the_commonest_reason(config):
    with pytest.raises(DataError) as caught:
        build(replace(config, max_dropped_fraction=0.05))
    assert str(caught.value) == (
        "Step parse_articles dropped 1 of 11 records as damaged, more than `max_dropped_fraction` 0.05 allows; the "
        "commonest reason is broken_xml (1, such as broken/a.xml)."
    )
    assert not os.path.exists(os.path.join(config.output, "tables"))
    with pytest.raises(DataError, match="Step assemble dropped 3 of 17 .* commonest reason is (missing|not|unsafe)_"):
        build(replace(config, max_dropped_fraction=0.1))
    build(config)


def test_an_error_of_a_step_names_the_step(config, corpus, stages):
    config_type = type(stages(corpus.folder)[1].config)

    def fail(records: Iterable[Article], config: config_type) -> Iterator[LinkedFigure | Drop]:
        raise KeyError("x")
        yield

    with pytest.raises(PhenoLIPError, match=r"Step link_phenotypes failed on shard 0, .* \(KeyError: 'x'\)"):
        build(replace(config, stages=stages(corpus.folder, fail)))


def test_folders_that_are_wrong(config, corpus, tmp_path):
    with pytest.raises(ConfigurationError, match="`output` must lie outside of `articles`"):
        replace(config, output=str(corpus.folder / "out"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").touch()
    with pytest.raises(ConfigurationError, match="`output` .*home holds other files"):
        build(replace(config, output=str(tmp_path / "home")))
    with pytest.raises(ConfigurationError, match="`output` must be a folder"):
        build(replace(config, output=str(tmp_path / "home" / "thesis.txt")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match="There is no article in .*empty, where .xml and .nxml files count; left out: nothing"
    ):
        build(replace(config, articles=str(tmp_path / "empty")))
    with pytest.raises(DataError, match="Folder of articles .*absent does not exist"):
        build(replace(config, articles=str(tmp_path / "absent")))


def test_articles_of_a_bucket_are_fetched_first(corpus, tmp_path, monkeypatch, stages):
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="pipeline")  # servers of one process share their buckets
        for path, name in zip(sorted(corpus.add("a").iterdir()), ("PMC1.1.xml", "f1.png"), strict=True):
            key = f"PMC1.1/{name}"
            client.put_object(Bucket="pipeline", Key=key, Body=path.read_bytes(), ACL="public-read")
        (tmp_path / "ids.txt").write_text("PMC1\nPMC2\n")
        fetch = find_step("fetch_articles")
        fetched = tmp_path / "fetched"
        values = {"bucket": "pipeline", "folder": str(fetched), "endpoint": endpoint, "requests_per_s": 1000}
        config = BuildConfig(
            articles=str(fetched), output=str(tmp_path / "out"), stages=stages(fetched), ids=str(tmp_path / "ids.txt"),
            fetch=Stage(fetch, make_config(fetch, values)),
        )  # fmt: skip
        manifest = build(config)
    finally:
        server.stop()
    counts = manifest["steps"]["fetch_articles"]
    assert (counts["in"], counts["out"], counts["dropped"]) == (2, 1, {"not_found": 1})
    assert [pair.image_path for pair in pairs_of(config)] == ["PMC0/PMC1.1/f1.png"]


def test_every_yaml_is_a_build(tmp_path):
    folder = Path(parts.__file__).parent / "configs"
    assert len(list(folder.glob("*.yaml"))) >= 4
    for path in folder.glob("*.yaml"):
        settings = read_settings(path) | {"articles": str(tmp_path / "a"), "output": str(tmp_path / "b")}
        if "fetch_articles" in settings["steps"]:
            settings["ids"] = "ids.txt"
        config = make_build(settings)
        assert config.stages[-1].step.name == "split_pairs"
        assert len(path.read_text().splitlines()) < 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shardsize": 3}, "A build has no setting 'shardsize'. Close: 'shard_size'"),
        ({"shard_size": 0}, "`shard_size` must be at least 1, got 0"),
        ({"shard_size": "many"}, "`shard_size` cannot be 'many'"),
        ({"max_dropped_fraction": 2}, "`max_dropped_fraction` must be from 0 to 1, got 2.0"),
        ({"articles": None}, "A build needs `articles`"),
        ({"ids": "ids.txt"}, "`ids` and the step fetch_articles go together"),
        ({"steps": {}}, "The last of the `steps` must be split_pairs"),
        ({"steps": {"parse_articles": {}}}, "The last of the `steps` must be split_pairs"),
        ({"steps": {"split_pair": {}}}, "Unknown step 'split_pair'. Close: 'split_pairs'"),
        ({"steps": {"assemble": {}, "split_pairs": {}}}, "Step assemble takes LinkedFigure records, and the step"),
        ({"steps": {"link_phenotypes": {"hpo": [1]}}}, "`hpo` of step link_phenotypes"),
        ({"steps": {"assemble": {"media": "x"}}}, "`media` of step assemble is `articles` in a build"),
        ({"steps": {"parse_articles": {"max_byte": 1}}}, "no setting 'max_byte'. Close: 'max_bytes'"),
    ],
)
def test_settings_that_are_wrong(tmp_path, change, message):
    settings = {"articles": str(tmp_path / "a"), "output": str(tmp_path / "b"), "steps": {}}
    with pytest.raises(ConfigurationError) as caught:
        make_build(settings | change)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["[", "steps: [a]", "steps:\n  assemble: 3", "- 1", "\0"])
def test_files_that_are_no_build(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match="x.yaml"):
        read_settings(tmp_path / "x.yaml")
    with pytest.raises(ConfigurationError, match="cannot be read as YAML"):
        read_settings(tmp_path / "absent.yaml")


def test_a_model_trained_further_in_its_folder_is_another(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"1")
    (folder / "gone").symlink_to("nowhere")
    steps = {
        "parse_articles": {},
        "link_phenotypes": {},
        "detect_subfigures": {"backend": "dab_detr", "model": "model"},
    }
    values = {"articles": "a", "output": "b", "steps": steps | {"assemble": {}, "split_pairs": {}}}
    stage = make_build(values).stages[2]
    assert stage.config.model == str(folder)  # workers may run in another folder
    before = stage.identity
    assert make_build(values).stages[2].identity == before
    (folder / "model.safetensors").write_bytes(b"12")
    assert make_build(values).stages[2].identity != before
    steps["detect_subfigures"]["model"] = "owner/name"
    assert make_build(values).stages[2].config.model == "owner/name"


@pytest.mark.slow
def test_time_is_linear_and_memory_is_constant(corpus, tmp_path, stages):
    """Ten times the articles take ten times as long, in the same memory."""
    fork = multiprocessing.get_context("fork")
    figures = {}
    for size in (100, 1000):
        folder = corpus.folder / str(size)
        part = type(corpus)(folder)
        for number in range(size):
            part.add(f"a{number:05d}")
        config = make_config_of(part, stages, tmp_path / f"out{size}", shard_size=50)
        queue = fork.SimpleQueue()
        child = fork.Process(target=_measure, args=(config, queue))
        child.start()
        figures[size] = queue.get()
        child.join()
    assert figures[1000][0] < 13 * figures[100][0]
    assert figures[1000][1] < figures[100][1] + 30


def _measure(config, queue):
    import resource

    start = time.process_time()
    build(config)
    queue.put((time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
