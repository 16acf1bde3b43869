"""`phenolip predict --texts ... --hierarchy` from its arguments to its output, and `phenobench_ontology` with it."""

import argparse
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from phenolip.cli import eval as eval_command
from phenolip.cli import predict as predict_command
from phenolip.exceptions import ConfigurationError

IDS = ("HP:0000518", "HP:0001166", "HP:0000369")


def call(command, *arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(list(map(str, arguments))))


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number, hpo_id in enumerate(IDS):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "caption": f"Sign number {number}.", "hpo_ids": [hpo_id]})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (tmp_path / "few.txt").write_text("\n".join(IDS) + "\n")
    return tmp_path


def predict(folder, model, *options):
    chosen = ("--model", model, "--candidates", folder / "few.txt", "--device", "cpu", "--hierarchy")
    return call(predict_command, folder / "0.png", *chosen, *options)


def test_predict_prints_a_tree(folder, tiny_model_dir, capsys):
    assert predict(folder, tiny_model_dir, "--texts", "name", "definition", "synonyms") == 0
    printed = capsys.readouterr().out
    assert all(f"{hpo_id}\n" in printed for hpo_id in IDS)
    assert printed.count("* ") == 3 and "3 candidates" in printed
    assert "Abnormality of the eye  HP:0000478" in printed and "not for diagnosis" in printed


def test_json_holds_the_tree(folder, tiny_model_dir, capsys):
    predict(folder, tiny_model_dir, "--json", "--top", 2)
    row = json.loads(capsys.readouterr().out)
    assert len(row["predictions"]) == 2

    def check(nodes, above):
        found = []
        for node in nodes:
            assert 0 < node["probability"] <= above
            found += [node["hpo_id"]] * node["predicted"] + check(node["children"], node["probability"])
        return found

    assert sorted(check(row["hierarchy"], 1 + 1e-9)) == sorted(best["hpo_id"] for best in row["predictions"])


def test_wrong_calls_stop_before_the_model_is_read(folder):
    with pytest.raises(ConfigurationError, match="`top` must be at least 1, got 0"):
        predict(folder, "no/such/model", "--top", 0)
    with pytest.raises(ConfigurationError, match="`texts` must hold 'name'"):
        predict(folder, "no/such/model", "--texts", "definition")


def test_the_ontology_task_writes_gains(folder, tiny_model_dir, tmp_path, capsys):
    output = tmp_path / "out"
    options = ("--model", tiny_model_dir, "--data", folder, "--output", output, "--device", "cpu")
    assert call(eval_command, "--task", "phenobench_ontology", *options) == 0
    metrics = json.loads((output / "results.json").read_text())["metrics"]
    assert metrics["zero_shot_top1_names"]["value"] == metrics["zero_shot_top1"]["value"]
    assert metrics["zero_shot_violation_at_10_consistent_up"]["value"] == 0
    assert metrics["i2p_hit_at_10_ensemble_gain"]["n"] == 3
    assert "zero_shot_top1_ensemble" in capsys.readouterr().out


@pytest.mark.parametrize("hierarchy", [False, True])
def test_a_file_name_is_shown_and_not_obeyed(hierarchy, capsys):
    from phenolip.cli.predict import _write_tables

    predictor = SimpleNamespace(names=["a"], trees=lambda *_, **__: [[]])
    _write_tables(SimpleNamespace(hierarchy=hierarchy, top=1), predictor, [("a\x1b[2J.png", None, [])], None)
    assert capsys.readouterr().out.startswith(r"a\x1b[2J.png  (1 candidates)")
