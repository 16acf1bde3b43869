"""`phenolip eval` and `phenolip predict` from their arguments to their output."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image

from phenolip.cli import eval as eval_command
from phenolip.cli import predict as predict_command


def call(command, *arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(list(map(str, arguments))))


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number, hpo_id in enumerate(["HP:0000518", "HP:0001166", "HP:0000369"]):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "caption": f"Sign number {number}.", "hpo_ids": [hpo_id]})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return tmp_path


def test_eval_writes_and_prints(pairs, tiny_model_dir, tmp_path, capsys):
    output = tmp_path / "out"
    options = ("--model", tiny_model_dir, "--data", pairs, "--output", output, "--device", "cpu")
    assert call(eval_command, "--task", "phenobench", *options, "--extra_k", "scaled", 2) == 0
    printed = capsys.readouterr().out
    results = json.loads((output / "results.json").read_text())
    assert results["ks"] == [1, 2, 5, 10, 50] and results["model"] == str(tiny_model_dir)
    assert f"i2p_hit_at_1 {'':10s}" in printed and "report.html" in printed
    assert (output / "report.html").is_file() and (output / "predictions.jsonl").is_file()


def test_eval_help_names_the_tasks(capsys):
    with pytest.raises(SystemExit):
        call(eval_command, "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{task}," in shown for task in ("knowledge", "phenobench", "pneumoniamnist_probe"))


def test_predict_prints_a_table(pairs, tiny_model_dir, tmp_path, capsys):
    (tmp_path / "few.txt").write_text("Cataract\nHP:0001166\n")
    images = (pairs / "0.png", pairs / "1.png")
    call(predict_command, *images, "--model", tiny_model_dir, "--candidates", tmp_path / "few.txt", "--device", "cpu")
    printed = capsys.readouterr().out
    assert printed.count("2 candidates") == 2 and printed.count("HP:0000518") == 2
    assert "not for diagnosis" in printed


def test_predict_as_json_is_one_object_an_image(pairs, tiny_model_dir, tmp_path, capsys):
    (tmp_path / "few.txt").write_text("Cataract\nHP:0001166\n")
    options = ("--model", tiny_model_dir, "--candidates", tmp_path / "few.txt", "--top", 1, "--json")
    call(predict_command, pairs / "0.png", pairs / "1.png", *options, "--device", "cpu")
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [row["num_candidates"] for row in rows] == [2, 2]
    assert set(rows[0]["predictions"][0]) == {"hpo_id", "name", "cosine", "probability"}
    assert "not for diagnosis" in captured.err
