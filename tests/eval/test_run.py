"""Tasks, runs and reports: what they write, warn of and refuse."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from phenolip.eval.evaluators.zero_shot import ZeroShotEvaluator
from phenolip.eval.report import percent, write_report
from phenolip.eval.run import evaluate
from phenolip.eval.tasks.registry import TASKS_DIR, list_tasks, load_task
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import decode_image

TERMS = {"HP:0000256": "Macrocephaly", "HP:0000518": "Cataract", "HP:0011510": "Drusen"}
HOSTILE = "<script>alert('x')</script> & \"quotes\""


@pytest.fixture(scope="module")
def hpo(tmp_path_factory):
    """A release of four terms."""
    lines = ["format-version: 1.2", "data-version: hp/releases/2000-01-01", "", "[Term]", "id: HP:0000118"]
    lines += ["name: Phenotypic abnormality"]
    for hpo_id, name in TERMS.items():
        lines += ["", "[Term]", f"id: {hpo_id}", f"name: {name}", "is_a: HP:0000118"]
    path = tmp_path_factory.mktemp("hpo") / "hp.obo"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight noise images with captions, the first of them hostile, the last shown twice."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(8):
        name = f"images/{min(number, 6)}.png"
        if not (folder / name).exists():
            Image.fromarray(rng.integers(0, 256, (36, 36, 3), dtype=np.uint8)).save(folder / name)
        hpo_ids = [list(TERMS)[number % 3]] if number != 4 else list(TERMS)
        caption = (
            HOSTILE if number == 0 else f"Image {number} shows {TERMS[hpo_ids[0]]}. " + "Long. " * 40 * (number == 1)
        )
        rows.append({"file_name": name, "caption": caption, "hpo_ids": hpo_ids})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


class TinyEncoder:
    """As the Encoder, without a model: a vector from the pixels or letters."""

    has_images = True

    def __init__(self, name=""):
        self.name = name

    def _unit(self, rows):
        rows = np.asarray(rows, np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_images(self, images):
        return self._unit([np.asarray(decode_image(image)).ravel()[:64].astype(float) for image in images])

    def encode_texts(self, texts):
        return self._unit([np.bincount([ord(letter) % 64 for letter in text], minlength=64) for text in texts])


@pytest.fixture(scope="module")
def run_dir(folder, hpo, tmp_path_factory):
    output = tmp_path_factory.mktemp("output")
    evaluate(TinyEncoder(), "phenobench", folder, output, extra_k=["scaled", 3], hpo=hpo)
    return output


@pytest.fixture(scope="module")
def results(run_dir):
    return json.loads((run_dir / "results.json").read_text())


def test_results_hold_what_a_reader_needs_to_check_them(results):
    assert results["task"] == "phenobench" and results["task_version"] == 1
    assert results["n"] == 8 and results["num_candidates"] == 3
    assert results["hpo_release"] == "2000-01-01" and len(results["hpo_sha256"]) == 64
    assert results["prompts"] == list(ZeroShotEvaluator.__init__.__kwdefaults__["prompts"])
    assert results["contamination"] is None
    assert {"python", "torch", "numpy"} <= set(results["package_versions"])
    assert results["hardware"]["num_cores"] and results["seconds"] >= 0 and results["date"].endswith("+00:00")
    assert "git_commit" in results and len(results["data_revision"]) == 64


def test_metrics_have_value_interval_and_n(results):
    assert results["ks"] == [1, 3, 5, 10, 50]  # scaled: round(10 * 8 / 722) is 0, hence 1
    for direction in ("i2t", "t2i", "i2p", "p2i"):
        for kind in ("hit", "recall"):
            assert f"{direction}_{kind}_at_3" in results["metrics"]
    assert {"zero_shot_top1", "zero_shot_top5"} <= set(results["metrics"])
    for metric in results["metrics"].values():
        assert set(metric) == {"value", "ci95", "n"}
        assert 0 <= metric["ci95"][0] <= metric["value"] <= metric["ci95"][1] <= 1
    assert results["chance"]["i2p_recall_at_1"] == pytest.approx(1 / 3)


def test_predictions_name_every_row(run_dir):
    rows = [json.loads(line) for line in (run_dir / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert all(len(row["predictions"]) == 3 for row in rows)
    assert sorted(rows[4]["hpo_ids"]) == sorted(TERMS)


def test_report_is_one_file_with_escaped_captions(run_dir):
    page = (run_dir / "report.html").read_text()
    assert "<script" not in page and "&lt;script&gt;alert" in page
    assert page.count("<svg") == 5 and "<?xml" not in page and "<!DOCTYPE svg" not in page
    assert page.count("data:image/jpeg;base64,") == 7  # distinct images
    assert not re.search(r'(src|href)="(?!data:|#)', page.replace('xlink:href="#', 'href="#'))
    assert "not for diagnosis" in page


def test_same_run_same_report(folder, hpo, tmp_path):
    evaluation = evaluate(
        TinyEncoder(), "phenobench", folder, tmp_path, hpo=hpo, report_path=tmp_path / "a" / "r.html"
    )
    write_report(evaluation.results, evaluation.pairs, evaluation.predictions, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == (tmp_path / "a" / "r.html").read_text()
    assert not (tmp_path / "report.html").exists()


def test_training_images_are_noticed(folder, hpo, tmp_path, caplog, results):
    model = tmp_path / "model"
    model.mkdir()
    rows = evaluate(TinyEncoder(), "phenobench", folder, tmp_path / "a", hpo=hpo).pairs.sha256
    pq.write_table(
        pa.table({"sha256": [rows[7], rows[0], "other"], "row_id": ["a", "b", "c"]}), model / "training_index.parquet"
    )
    found = evaluate(TinyEncoder(str(model)), "phenobench", folder, tmp_path / "b", hpo=hpo).results["contamination"]
    assert found["num_rows_in_training"] == 3 and found["fraction"] == 3 / 8  # the last image stands in two rows
    assert found["criteria"] == {"same_image": 3, "same_row_id": 0, "same_article": 0}
    assert found["not_compared"] == ["near_image", "same_caption"]  # the index says nothing of them
    assert found["clean"]["i2t_hit_at_1"]["n"] == 5 and "p2i_hit_at_1" not in found["clean"]
    assert "3 of 8 evaluated rows" in caplog.text
    assert "These numbers flatter the model,</b> a rate over rows by" in (tmp_path / "b" / "report.html").read_text()
    (model / "training_index.parquet").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"training_index\.parquet must be a Parquet file"):
        evaluate(TinyEncoder(str(model)), "phenobench", folder, tmp_path / "c", hpo=hpo)


def test_candidates_from_a_file(folder, hpo, tmp_path):
    (tmp_path / "few.txt").write_text("Cataract\nDrusen\n")
    results = evaluate(TinyEncoder(), "phenobench", folder, tmp_path, candidates=tmp_path / "few.txt", hpo=hpo).results
    assert results["num_candidates"] == 2
    assert results["metrics"]["i2p_hit_at_1"]["n"] == 5  # rows 1, 2, 4, 5 and 7


def test_results_tell_one_list_of_candidates_from_another_of_its_length(folder, hpo, tmp_path):
    hashes = []
    for names in ("Cataract\nDrusen\n", "Drusen\nCataract\n", "Cataract\nPhenotypic abnormality\n"):
        (tmp_path / "few.txt").write_text(names)
        results = evaluate(TinyEncoder(), "phenobench", folder, tmp_path, candidates=tmp_path / "few.txt", hpo=hpo)
        hashes.append(results.results["candidates_hash"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_results_do_not_need_the_packages_of_the_report(folder, hpo, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("phenolip.eval.pair_task.REPORT_PACKAGES", ("no_such_package",))
    evaluate(TinyEncoder(), "phenobench", folder, tmp_path, hpo=hpo)
    assert (tmp_path / "results.json").exists() and not (tmp_path / "report.html").exists()
    assert "install no_such_package" in caplog.text


@pytest.mark.parametrize(
    ("task", "options", "match"),
    [
        ("phenobnch", {}, "Unknown task 'phenobnch'. Close: 'phenobench'"),
        ("phenobench", {"data": None}, "`data` must be given"),
        ("phenobench", {"extra_k": [0]}, "at least 1 or 'scaled', got 0"),
    ],
)
def test_wrong_calls_are_named_before_anything_is_written(folder, tmp_path, task, options, match):
    options = {"data": folder, **options}
    with pytest.raises(ConfigurationError, match=match):
        evaluate(TinyEncoder(), task, output_dir=tmp_path / "none", **options)
    assert not (tmp_path / "none").exists()


def test_a_scaled_cutoff_needs_a_size_to_scale_by(folder, tmp_path):
    lines = load_task("phenobench").path.read_text().splitlines()
    unscaled = tmp_path / "unscaled.yaml"
    unscaled.write_text(
        "\n".join(line for line in lines if not line.startswith(("scaled_k", "name"))) + "\nname: unscaled"
    )
    with pytest.raises(ConfigurationError, match="needs a task with `scaled_k`, which 'unscaled' lacks"):
        evaluate(TinyEncoder(), unscaled, folder, tmp_path / "none", extra_k=["scaled"])


def test_a_text_model_cannot_see(folder, hpo, tmp_path):
    encoder = TinyEncoder("some/model")
    encoder.has_images = False
    with pytest.raises(ConfigurationError, match="some/model encodes text only"):
        evaluate(encoder, "phenobench", folder, tmp_path, hpo=hpo)


@pytest.mark.parametrize("name", list_tasks())
def test_every_task_is_whole(name):
    task = load_task(name)
    assert task.name == name and task.version >= 1 and task.evaluators
    assert len(task.path.read_text().splitlines()) < 60


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"promts": []}, "unknown field 'promts'"),
        ({"evaluator": {}}, "unknown field 'evaluator'. Close: 'evaluators'"),
        ({"version": None}, "`version` must be int, got None"),
        ({"needs_data": "yes"}, "`needs_data` must be bool, got 'yes'"),
        ({"evaluators": {"recall": {}}}, "evaluator 'recall' must be one of retrieval"),
        ({"evaluators": {"zero_shot": {"promts": []}}}, "`zero_shot` takes prompts.*, got 'promts'"),
        ({"evaluators": {"knowledge": None}}, "`needs_data` must be false"),
    ],
)
def test_a_wrong_task_file_is_named(tmp_path, change, match):
    settings = yaml.safe_load((TASKS_DIR / "phenobench.yaml").read_text()) | change
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigurationError, match=match):
        load_task(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("text", "match"), [("a: [", "is not YAML"), ("- a", "fields and values"), ("name: a", "missing")]
)
def test_a_file_that_is_no_task_is_named(tmp_path, text, match):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=match):
        load_task(str(tmp_path / "mine.yaml"))


def test_percent_of_what_is_not_defined():
    assert percent(None) == percent(float("nan")) == "—"
