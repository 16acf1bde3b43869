"""Steps run again when, and only when, what they read has changed."""

import os
import sys

import pytest

from phenolip.cli import chain
from phenolip.cli.chain import Step, run_steps

SCRIPT = "import os, sys; open(os.environ['CHAIN_LOG'], 'a').write('x')"


@pytest.fixture
def num_runs(tmp_path, monkeypatch):
    """Function that runs a chain of one step with some options and returns how often the step has run in all."""
    log = tmp_path / "log"
    monkeypatch.setenv("CHAIN_LOG", str(log))

    def count(*options, output=tmp_path / "output", words=()):
        step = Step("step", "t", [sys.executable, "-c", SCRIPT, *words, *map(str, options)], log)
        run_steps([step], output / "steps.json", fresh=False)
        return len(log.read_text())

    return count


def write(path, text, age_s=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(10**18, 10**18 - age_s * 10**9))
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet", "model.safetensors", "a/b/c.png"])
@pytest.mark.parametrize("named", ["file", "folder"])
def test_an_edited_file_makes_the_step_run_again(tmp_path, num_runs, name, named):
    file = write(tmp_path / "data" / name, "one")
    path = file if named == "file" else tmp_path / "data"
    assert [num_runs("--data", path) for _ in range(2)] == [1, 1]
    write(file, "one and more")  # another size at the same time
    assert [num_runs("--data", path) for _ in range(2)] == [2, 2]
    write(file, "two and more", age_s=-5)  # another time, the same size
    assert num_runs("--data", path) == 3


def test_files_that_come_go_or_change_their_names_are_noticed(tmp_path, num_runs):
    folder = write(tmp_path / "data" / "1.png", "one").parent
    assert num_runs("--extra", "word", folder) == 1
    write(folder / "2.png", "one")
    assert num_runs("--extra", "word", folder) == 2
    (folder / "2.png").rename(folder / "3.png")
    assert num_runs("--extra", "word", folder) == 3
    (folder / "3.png").unlink()
    (folder / "gone.png").symlink_to(tmp_path / "absent")
    assert num_runs("--extra", "word", folder) == 4
    write(folder / ".DS_Store", "hidden")
    assert num_runs("--extra", "word", folder) == 4


def test_images_behind_a_link_are_noticed(tmp_path, num_runs):
    image = write(tmp_path / "elsewhere" / "1.png", "one")
    folder = write(tmp_path / "data" / "metadata.jsonl", "{}").parent
    (folder / "images").symlink_to(image.parent)
    (folder / "round").symlink_to(folder)
    assert [num_runs("--data", folder) for _ in range(2)] == [1, 1]
    write(image, "another")
    assert num_runs("--data", folder) == 2


def test_a_config_counts_by_its_text_and_not_by_its_age(tmp_path, num_runs):
    config = write(tmp_path / "a.yaml", "seed: 0")
    assert num_runs("--config", config) == 1
    write(config, "seed: 0", age_s=9)
    assert num_runs("--config", config) == 1
    write(config, "seed: 1", age_s=9)
    assert num_runs("--config", config) == 2


def test_what_the_chain_itself_writes_is_no_input(tmp_path, num_runs):
    output = tmp_path / "data" / "runs" / "mini"
    rows = write(tmp_path / "data" / "rows.csv", "a")
    prepared = write(output / "data" / "train.parquet", "a")
    options = ("--data", tmp_path / "data", "--train", prepared.parent)
    assert [num_runs(*options, output=output) for _ in range(2)] == [1, 1]  # the first wrote steps.json
    write(prepared, "more")
    assert num_runs(*options, output=output) == 1
    write(rows, "more")
    assert num_runs(*options, output=output) == 2


def test_the_name_of_a_subcommand_is_no_folder(tmp_path, num_runs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "eval" / "run.py", "a")
    assert num_runs("--task", "phenobench", words=["eval"]) == 1
    write(tmp_path / "eval" / "run.py", "more")
    assert num_runs("--task", "phenobench", words=["eval"]) == 1


def test_a_long_walk_is_cut(tmp_path, num_runs, monkeypatch):
    monkeypatch.setattr(chain, "_MAX_FILES", 2)
    folder = write(tmp_path / "data" / "1.png", "one").parent
    for name in ("2.png", "3.png"):
        write(folder / name, "one")
    assert num_runs("--data", folder) == 1
    write(folder / "3.png", "changed")
    assert num_runs("--data", folder) == 1
    write(folder / "2.png", "changed")
    assert num_runs("--data", folder) == 2
