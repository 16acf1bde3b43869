"""Cards say what the run and its results say, and nothing of another model."""

import json
import re

import pytest
import yaml
from huggingface_hub import ModelCard

from phenolip import cli
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.hub.card import write_card
from phenolip.hub.card_carbon import Carbon, estimate_carbon
from phenolip.hub.card_results import MAX_METRICS, contamination, shown_metrics

METRIC = {"value": 0.25, "ci95": [0.2, 0.3], "n": 40}
RESULTS = {
    "task": "phenobench_full",
    "task_version": 2,
    "primary_metric": "i2t_hit_at_10",
    "model": "/runs/stage2",
    "n": 40,
    "metrics": {"i2t_hit_at_10": METRIC, "i2t_median_rank": {"value": 7.0, "ci95": [None, None], "n": 40}},
    "chance": {"i2t_hit_at_10": 0.1},
    "data": "/ward/bench",
    "data_revision": "c" * 64,
    "split": "test",
    "hpo_release": "2025-01-16",
    "date": "2026-01-02T03:04:05+00:00",
    "breakdowns": [
        {"by": "organ system", "rows": [{"name": "Eye", "n": 9, "metrics": {"i2t_hit_at_10": METRIC | {"n": 9}}}]},
        {"by": "training frequency", "omitted": "The model carries no training_index.parquet."},
    ],
    "contamination": {
        "num_rows_in_training": 3,
        "num_rows_touched": 5,
        "num_rows": 40,
        "criteria": {"same_image": 3, "near_image": 5},
        "not_compared": ["same_article"],
        "clean": {"i2t_hit_at_10": {"value": 0.2, "ci95": [0.1, 0.3], "n": 35, "value_of_all": 0.25}},
    },
}


@pytest.fixture
def model_dir(tmp_path):
    folder = tmp_path / "stage2"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "phenolip"}))
    settings = {"preset": "base", "batch_size": 10, "gradient_accumulation_steps": 2, "text_path": "org/bert"}
    (folder / "run.yaml").write_text(yaml.safe_dump(settings | {"vision_path": "/models/vit"}))
    record = {"stage": "stage2", "num_steps": 360, "hpo_release": "2025-01-16", "data": {"name": "/ward/pairs"}}
    record["data"] |= {"num_rows": 1234, "revision": "d" * 64}
    record["hardware"] = {"cpu": "Xeon", "num_cores": 4, "accelerators": []}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "log.jsonl").write_text('{"samples_per_second": 9}\n{"samples_per_second": 2.0}\n')
    (folder / "phenotypes.json").write_text('[{"hpo_id": "HP:0000001", "name": "All"}]')
    return folder


def test_a_card_of_a_measured_model(model_dir, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    card = ModelCard(write_card(model_dir, [tmp_path]).read_text(), ignore_metadata_errors=False)
    text = card.text
    assert (
        "| i2t hit at 10 | 25.0 [20.0, 30.0] | 40 | 10.0 |" in text and "| i2t median rank | 7.00 | 40 | — |" in text
    )
    assert "| Eye | 25.0 [20.0, 30.0] | 9 |" in text and "by training frequency**: left out. The model carries" in text
    assert "5 of 40 rows are in the training data (same image 3, near image 5)" in text
    assert "1,234 rows of `pairs`, revision `dddddddddddd`. Phenotypes with training rows: 1." in text
    assert "1.00 h of the training loop x 40 W (4 cores x 10 W, rough factors) x 475 g/kWh" in text
    assert "For research, not for diagnosis." in text and "/ward" not in str(card) and "{{" not in text
    assert not re.search(r"\n{3,}", text)
    front = card.data.to_dict()
    assert front["license"] == "other" and front["base_model"] == ["org/bert"]
    assert front["co2_eq_emissions"]["emissions"] == 19.0
    first = card.data.eval_results[0]
    assert (first.metric_type, first.metric_value, first.dataset_split) == ("i2t_hit_at_10", 0.25, "test")
    assert first.metric_args == {"ci95": [0.2, 0.3], "n": 40}
    assert (model_dir / "card" / "0_phenobench_full.png").stat().st_size > 2_000


def test_a_card_without_results_or_record(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "phenolip_text"}))
    text = write_card(tmp_path, license="apache-2.0", title="Knowledge").read_text()
    assert "Not measured yet" in text and "no record of a training run" in text and "# Knowledge" in text
    assert "AutoTokenizer" in text and "pipeline_tag: sentence-similarity" in text and "license: apache-2.0" in text


def test_figures_of_another_model_stay_out(model_dir, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(RESULTS | {"model": "other"}))
    with pytest.raises(ConfigurationError, match="`results` must be of stage2.*measured 'other'"):
        write_card(model_dir, [tmp_path / "results.json"])
    write_card(model_dir, [tmp_path / "results.json"], measured_as="other")


@pytest.mark.parametrize("content", ["{}", "[1]", json.dumps({"task": "a", "metrics": {}, "model": "stage2"}), "{"])
def test_files_that_are_no_results(model_dir, tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match="results.json|`results` must be"):
        write_card(model_dir, [tmp_path])


def test_wrong_calls(model_dir, tmp_path):
    with pytest.raises(ConfigurationError, match="`watts` must be above 0, got -1"):
        write_card(model_dir, watts=-1.0)
    with pytest.raises(DataError, match="must be a model folder"):
        write_card(tmp_path)


def test_contamination_in_words():
    assert contamination(RESULTS).endswith("10 is 20.0 [10.0, 30.0] instead of 25.0; not compared: same article.")
    assert contamination(RESULTS | {"contamination": None}).startswith("not compared")


def test_a_run_with_many_metrics_shows_some():
    many = {f"extra_{number}": METRIC for number in range(50)} | {"zero_shot_top1": METRIC, "i2t_hit_at_10": METRIC}
    assert shown_metrics(RESULTS | {"metrics": many}) == ["i2t_hit_at_10", "zero_shot_top1"]
    some = dict(list(many.items())[:40])
    assert len(shown_metrics(RESULTS | {"metrics": some})) == MAX_METRICS


def test_carbon_is_a_product(tmp_path):
    assert Carbon(7200, 500, 100, "as stated").grams == pytest.approx(100)
    assert estimate_carbon(tmp_path, {"num_steps": 5}, {"batch_size": 2}) is None
    (tmp_path / "log.jsonl").write_text('{"samples_per_second": 5}\n')
    record = {"num_steps": 5, "hardware": {"num_cores": 2, "accelerators": ["a", "b"]}}
    found = estimate_carbon(tmp_path, record, {"batch_size": 2})
    assert (found.seconds, found.watts) == (2, 820)


def test_the_command(model_dir, capsys):
    assert cli.main(["card", str(model_dir), "--watts", "65"]) == 0
    assert (
        "x 65 W (as stated)" in (model_dir / "README.md").read_text()
        and "card with 0 files" in capsys.readouterr().out
    )
