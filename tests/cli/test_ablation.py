"""`phenolip ablation` on a handful of pairs and a small model: interrupted, resumed, and checked number by number."""

import json
import shutil
from concurrent.futures import Future
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from accelerate.state import AcceleratorState
from filelock import FileLock
from PIL import Image
from transformers import AutoTokenizer, PreTrainedConfig

from phenolip.ablation import runs
from phenolip.cli import ablation, main
from phenolip.modeling_phenolip import PhenoLIPModel, PhenoLIPTextModel
from phenolip.train.faults import Preempted

SLICE = Path(__file__).parents[1] / "ontology" / "hp_slice.obo"
ROWS = {
    "groups": [
        {
            "title": "First",
            "rows": [
                {"id": "plain", "title": "L_m | alone"},
                {"id": "name", "title": "name term", "reference": "plain", "changes": ["name_weight"]},
                {"id": "taught", "title": "taught", "reference": "plain", "changes": ["knowledge_weight"]},
                {"id": "pasted", "config": "plain", "title": "pasted", "data": "compounds", "steps_of": "plain"},
            ],
        },
        {
            "title": "Second",
            "rows": [
                {"id": "names", "title": "names", "model": "name", "variant": "names"},
                {"id": "texts", "title": "texts", "model": "name", "variant": "texts", "reference": "names"},
            ],
        },
    ]
}


class InProcess:
    """Stands in for the pool of processes: does the work at once, and can be interrupted at its n-th call."""

    calls, interrupt_at = [], None

    def __init__(self, *_):
        pass

    def submit(self, work, spec):
        if len(self.calls) == self.interrupt_at:
            raise KeyboardInterrupt
        AcceleratorState._reset_state(True)
        self.calls.append(spec.name)
        future = Future()
        try:
            future.set_result(work(spec))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_):
        pass


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr(ablation, "ProcessPoolExecutor", InProcess)
    monkeypatch.setattr(InProcess, "calls", [])
    monkeypatch.setattr(InProcess, "interrupt_at", None)
    yield InProcess
    AcceleratorState._reset_state(True)


@pytest.fixture(scope="module")
def towers(tiny_model_dir, tmp_path_factory):
    """Folders of the small model's towers, by name of the setting."""
    folder, model = tmp_path_factory.mktemp("towers"), PhenoLIPModel.from_pretrained(tiny_model_dir)
    model.text_model.save_pretrained(folder / "text")
    AutoTokenizer.from_pretrained(tiny_model_dir, config=PreTrainedConfig()).save_pretrained(folder / "text")
    model.vision_model.save_pretrained(folder / "vision")
    return {"text_path": str(folder / "text"), "vision_path": str(folder / "vision")}


@pytest.fixture(scope="module")
def table(towers, tmp_path_factory):
    """A rows file with its configs, and thirty pairs labelled with terms of the made-up ontology."""
    folder = tmp_path_factory.mktemp("table")
    (folder / "mini").mkdir()
    (folder / "rows.yaml").write_text(yaml.safe_dump(ROWS))
    plain = {
        "image_size": 32, "vision_blocks": 0, "cached_views": 2, "freeze_text": True, "max_length": 32,
        "projection_dim": 16, "knowledge_weight": 0, "batch_size": 8, "num_epochs": 2, "save_steps": 0,
    }  # fmt: skip
    changed = {"plain": {}, "name": {"name_weight": 1.0}, "taught": {"knowledge_weight": 0.3}}
    for name, changes in changed.items():
        (folder / "mini" / f"{name}.yaml").write_text(yaml.safe_dump({**plain, **towers, **changes}))
    (folder / "pairs").mkdir()
    rows = []
    for row in range(30):
        pixels = np.random.default_rng(row).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pairs" / f"{row}.png")
        rows.append({"file_name": f"{row}.png", "caption": f"picture {row}", "hpo_ids": [f"HP:990000{row % 3 + 3}"]})
    (folder / "pairs" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def call(table, output, *arguments):
    options = ("--data", table / "pairs", "--rows_file", table / "rows.yaml", "--hpo", SLICE, "--jobs", 1)
    return main(["ablation", *map(str, (*options, "--output", output, *arguments))])


def read(path):
    return json.loads(path.read_text())


def per_query(folder, metric):
    table = pq.read_table(folder / "per_query.parquet").to_pylist()
    return {row["query_id"]: row["value"] for row in table if row["metric"] == metric}


def test_interrupted_then_resumed_and_the_table_is_that_of_the_results(table, towers, pool, tmp_path):
    output = tmp_path / "out"
    options = ("--rows", "plain", "texts", "names", "--seeds", 0, 1)
    pool.interrupt_at = 3
    assert call(table, output, *options) == 130
    assert pool.calls == ["plain, seed 0", "name, seed 0", "plain, seed 1"] and not (output / "table.md").exists()
    pool.interrupt_at = None
    assert call(table, output, *options) == 0
    assert pool.calls[3:] == ["name, seed 1"]  # only what was not done
    folders = {(row, seed): output / "rows" / row / f"seed_{seed}" for row, seed in product(("plain", "name"), (0, 1))}
    for folder in folders.values():
        assert {"run.yaml", "run.json", "log.jsonl", "results.json", "per_query.parquet"} <= {
            path.name for path in folder.iterdir()
        }
        assert not list(folder.rglob("*.safetensors")) and not (folder / "report.html").exists()

    rows = {row["id"]: row for row in read(output / "table.json")["rows"]}
    assert list(rows) == ["plain", "name", "names", "texts"]
    metrics = [f"{direction}_hit_at_1" for direction in ("i2t", "t2i", "i2p", "p2i")]  # of 6 pairs
    assert rows["name"]["mean_of"] == metrics
    stated = {key: read(folder / "results.json")["metrics"] for key, folder in folders.items()}
    for row in ("plain", "name"):
        values = np.array([[stated[row, seed][metric]["value"] for metric in metrics] for seed in (0, 1)])
        assert rows[row]["mean"]["seeds"] == pytest.approx(values.mean(axis=1))
        assert rows[row]["mean"]["std"] == pytest.approx(abs(np.diff(values.mean(axis=1))[0]) / 2**0.5)
        found = [rows[row]["metrics"][metric]["mean"] for metric in metrics]
        assert found == pytest.approx(values.mean(axis=0))
        top1 = np.mean([stated[row, seed]["zero_shot_top1"]["value"] for seed in (0, 1)])
        assert rows[row]["metrics"]["zero_shot_top1"]["mean"] == pytest.approx(top1)
        assert values.any()
    assert rows["plain"]["difference"] is None
    by_hand = []
    for metric in metrics:
        ours, others = ([per_query(folders[row, seed], metric) for seed in (0, 1)] for row in ("name", "plain"))
        by_hand.append(np.mean([np.mean([b[q] for b in ours]) - np.mean([a[q] for a in others]) for q in ours[0]]))
    assert rows["name"]["difference"]["difference"] == pytest.approx(np.mean(by_hand))
    assert np.mean(rows["name"]["difference_by_seed"]["seeds"]) == pytest.approx(np.mean(by_hand))
    low, high = rows["name"]["difference"]["ci95"]
    assert low <= np.mean(by_hand) <= high and rows["name"]["difference"]["num_runs"] == [2, 2]


@pytest.mark.slow
def test_only_seeds_that_both_rows_have_are_compared(table, pool, tmp_path):
    output = tmp_path / "out"
    assert call(table, output, "--rows", "plain", "--seeds", 0, 1) == 0
    assert call(table, output, "--rows", "name", "--seeds", 1) == 0
    assert pool.calls == ["plain, seed 0", "plain, seed 1", "name, seed 1"]  # seed 0 is shown, and not run
    rows = {row["id"]: row for row in read(output / "table.json")["rows"]}
    assert (rows["plain"]["seeds"], rows["name"]["seeds"]) == ([0, 1], [1])
    expected = rows["name"]["mean"]["seeds"][0] - rows["plain"]["mean"]["seeds"][1]
    assert rows["name"]["difference"]["num_runs"] == [1, 1]
    assert rows["name"]["difference"]["difference"] == pytest.approx(expected)
    assert rows["name"]["difference_by_seed"]["seeds"] == pytest.approx([expected])


def test_variants_of_scoring_gain_what_their_task_says(table, pool, tmp_path):
    output = tmp_path / "out"
    assert call(table, output, "--rows", "texts", "--seeds", 0) == 0
    rows = {row["id"]: row for row in read(output / "table.json")["rows"]}
    metrics = read(output / "rows" / "name" / "seed_0" / "ontology" / "results.json")["metrics"]
    names = ("i2p_hit_at_10", "p2i_hit_at_10", "zero_shot_top1")
    gain = np.mean([metrics[f"{name}_texts_gain"]["value"] for name in names])
    assert rows["texts"]["difference"]["difference"] == pytest.approx(gain)
    assert rows["names"]["mean"]["mean"] == pytest.approx(
        np.mean([metrics[f"{name}_names"]["value"] for name in names])
    )
    assert rows["texts"]["seconds"] is None and rows["name"]["seconds"] > 0
    assert read(output / "table.json")["task"] == "phenobench"


@pytest.mark.slow
def test_done_again_is_what_another_config_or_teacher_would_change(table, towers, pool, tmp_path):
    copy, output = tmp_path / "table", tmp_path / "out"
    shutil.copytree(table, copy)
    options = ("--rows", "plain", "taught", "--seeds", 0, "--knowledge_encoder", towers["text_path"])
    assert call(copy, output, *options) == 0
    with (copy / "mini" / "plain.yaml").open("a") as file:
        file.write("# a remark\nlog_steps: 3\n")  # changes nothing that is learnt
    assert call(copy, output, *options) == 0 and pool.calls == ["plain, seed 0", "taught, seed 0"]
    with (copy / "mini" / "plain.yaml").open("a") as file:
        file.write("weight_decay: 0.1\n")
    assert call(copy, output, *options) == 0 and pool.calls[2:] == ["plain, seed 0"]
    teacher = tmp_path / "teacher"
    shutil.copytree(towers["text_path"], teacher)
    model = PhenoLIPTextModel.from_pretrained(teacher)
    model.projection.layers.weight.data.add_(0.1)
    model.save_pretrained(teacher)
    assert call(copy, output, *options[:-1], teacher) == 0 and pool.calls[3:] == ["taught, seed 0"]


def test_a_failed_run_is_reported_and_the_rest_is_there(table, pool, tmp_path, monkeypatch, capsys):
    train = runs.stage2.main

    def fail(argv):
        if "compounds" in " ".join(argv):
            raise RuntimeError("no\nmemory")
        train(argv)

    monkeypatch.setattr(runs.stage2, "main", fail)
    output = tmp_path / "out"
    assert call(table, output, "--rows", "pasted", "plain", "--seeds", 0) == 1
    assert "failed: pasted, seed 0: RuntimeError: no memory\n" in capsys.readouterr().err
    assert "RuntimeError: no" in (output / "workers.log").read_text()
    assert [row["id"] for row in read(output / "table.json")["rows"]] == ["plain"]
    assert call(table, output, "--rows", "name", "--seeds", 0) == 0
    assert [row["id"] for row in read(output / "table.json")["rows"]] == ["plain", "name", "names", "texts"]
    assert "L_m \\| alone" in (output / "table.md").read_text()


def test_the_table_is_written_although_the_first_seed_failed(table, pool, tmp_path, monkeypatch):
    train = runs.stage2.main

    def fail(argv):
        if argv[argv.index("--seed") + 1] == "0":
            raise RuntimeError("no memory")
        train(argv)

    monkeypatch.setattr(runs.stage2, "main", fail)
    output = tmp_path / "out"
    assert call(table, output, "--rows", "plain", "--seeds", 0, 1) == 1
    assert (output / "rows" / "plain" / "seed_0").is_dir()
    found = read(output / "table.json")
    assert [row["seeds"] for row in found["rows"]] == [[1]] and found["n"] == 6
    assert len(found["git_commits"]) == len(found["hardware"]) == 1


def test_bad_rows_of_a_given_split_are_tolerated_where_it_is_asked(table, pool, tmp_path, capsys):
    split, output = tmp_path / "split", tmp_path / "out"
    for part, rows in (("train", range(24)), ("validation", range(24, 30))):
        shutil.copytree(table / "pairs", split / part)
        lines = (table / "pairs" / "metadata.jsonl").read_text().splitlines()
        (split / part / "metadata.jsonl").write_text("".join(lines[row] + "\n" for row in rows))
        for row in set(range(30)) - set(rows):
            (split / part / f"{row}.png").unlink()
        (split / part / f"{rows[0]}.png").write_bytes(b"no image")
    options = ("--split_dir", split, "--rows_file", table / "rows.yaml", "--hpo", SLICE, "--rows", "plain")
    options = ("ablation", *options, "--seeds", 0, "--output", output)
    assert main([*map(str, options)]) == 1 and not pool.calls
    capsys.readouterr()
    assert main([*map(str, options), "--max_bad_fraction", "0.2"]) == 0
    assert read(output / "table.json")["n"] == 5
    settings = yaml.safe_load((output / "rows" / "plain" / "seed_0" / "run.yaml").read_text())
    assert settings["max_bad_fraction"] == 0.2


@pytest.mark.slow
def test_compounds_take_as_many_steps_as_the_originals(table, pool, tmp_path):
    output = tmp_path / "out"
    assert call(table, output, "--rows", "pasted", "plain", "--seeds", 0) == 0
    steps = []
    for row in ("plain", "pasted"):
        log = (output / "rows" / row / "seed_0" / "log.jsonl").read_text().splitlines()
        steps.append(json.loads(log[-1])["step"])
    assert steps[0] == steps[1] == 2 * (24 // 8)
    record = yaml.safe_load((output / "rows" / "pasted" / "seed_0" / "run.yaml").read_text())
    assert record["max_steps"] == 6 and record["data"].endswith("composites/compounds")


def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(table, pool, tmp_path, monkeypatch):
    output, train = tmp_path / "out", runs.stage2.main
    monkeypatch.setattr(runs.stage2, "main", lambda argv: train([*argv, "--stop_after_steps", "4"]))
    with pytest.raises(Preempted):
        call(table, output, "--rows", "plain", "--seeds", 0)
    stopped = output / "rows" / "plain" / "seed_0" / "model"
    assert [path.name for path in (stopped / "checkpoints").iterdir()] == ["step_00000004"]
    resumed = []
    monkeypatch.setattr(runs.stage2, "main", lambda argv: train([*argv, "--log_steps", "1"]) or resumed.append(argv))
    assert call(table, output, "--rows", "plain", "--seeds", 0) == 0 and len(resumed) == 1
    log = (output / "rows" / "plain" / "seed_0" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [5, 6]


@pytest.mark.slow
def test_two_worker_processes_find_what_one_process_does(table, monkeypatch, tmp_path):
    assert call(table, tmp_path / "two", "--rows", "plain", "name", "--seeds", 0, "--jobs", 2) == 0
    monkeypatch.setattr(ablation, "ProcessPoolExecutor", InProcess)
    assert call(table, tmp_path / "one", "--rows", "plain", "name", "--seeds", 0) == 0
    AcceleratorState._reset_state(True)
    for row in ("plain", "name"):
        one, two = (tmp_path / name / "rows" / row / "seed_0" / "results.json" for name in ("one", "two"))
        values = [{name: metric["value"] for name, metric in read(path)["metrics"].items()} for path in (one, two)]
        assert values[0] == pytest.approx(values[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jobs", "0"], "`jobs` must be 1 or more"),
        (["--seeds", "1", "1"], "`seeds` different numbers"),
        (["--rows", "ft_plain", "--no-fine-tuned"], "`rows` names 'ft_plain', which is fine-tuned"),
        (["--rows", "plian"], "`rows` must name rows of the table, got 'plian'"),
        ([], "Either `--data`, to split, or `--split_dir`"),
        (["--data", "x", "--split_dir", "y"], "Either `--data`, to split, or `--split_dir`"),
        (["--split_dir", "nowhere"], "must hold train/ and validation/, got nowhere without train/"),
        (["--rows_file", "nowhere.yaml", "--data", "x"], "nowhere.yaml cannot be read as YAML"),
    ],
)
def test_a_wrong_call_is_one_sentence(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["ablation", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_an_output_folder_in_use_is_one_sentence(table, pool, tmp_path, capsys):
    output = tmp_path / "out"
    output.mkdir()
    with FileLock(output / ".lock"):
        assert call(table, output, "--rows", "plain", "--seeds", 0) == 2
    error = capsys.readouterr().err
    assert "is in use by another `phenolip ablation`" in error and error.count("\n") == 1 and not pool.calls


def test_rows_that_end_by_the_clock_are_refused(table, pool, tmp_path, capsys):
    copy = shutil.copytree(table, tmp_path / "table")
    with (copy / "mini" / "plain.yaml").open("a") as file:
        file.write("max_minutes: 5\n")
    assert call(copy, tmp_path / "out", "--rows", "plain", "--seeds", 0) == 2
    assert "`max_minutes` must be 0 in " in capsys.readouterr().err and not pool.calls


@pytest.mark.slow
def test_rows_with_a_teacher_are_shown_by_a_call_that_needs_none(table, towers, pool, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(towers["text_path"], output / "stage1")
    teacher = output / "stage1"
    assert call(table, output, "--rows", "taught", "--seeds", 0, "--knowledge_encoder", teacher) == 0
    assert call(table, output, "--rows", "plain", "--seeds", 0) == 0
    assert [row["id"] for row in read(output / "table.json")["rows"]] == ["plain"]  # no finished Stage 1 is there
    (teacher / "run.json").write_text("{}")
    assert call(table, output, "--rows", "plain", "--seeds", 0) == 0
    assert [row["id"] for row in read(output / "table.json")["rows"]] == ["plain", "taught"]
    assert pool.calls == ["taught, seed 0", "plain, seed 0"]


def test_an_output_folder_of_other_data_is_refused(table, pool, tmp_path, capsys):
    output = tmp_path / "out"
    assert call(table, output, "--rows", "plain", "--seeds", 0) == 0
    other = tmp_path / "other"
    shutil.copytree(table / "pairs", other)
    assert call(table, output, "--data", other, "--rows", "plain") == 2
    assert "choose another `--output`" in capsys.readouterr().err
