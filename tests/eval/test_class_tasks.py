"""Tasks over classes end to end, with an encoder that knows the answer and one that knows nothing."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, recall_score

from phenolip.datasets_scripts.labelled_images import LabelledImages
from phenolip.eval.class_checks import embedding_spread
from phenolip.eval.label_subsets import nested_subsets
from phenolip.eval.logistic_probe import STRENGTHS, fit_probe
from phenolip.eval.metrics.calibration import calibration_errors, expected_calibration_error
from phenolip.eval.metrics.classification import class_scores, macro
from phenolip.eval.metrics.grouped_bootstrap import grouped_intervals, num_resamples_for
from phenolip.eval.run import evaluate
from phenolip.eval.task_classes import read_classes
from phenolip.eval.tasks.registry import TASKS_DIR, list_tasks, load_task
from phenolip.exceptions import ConfigurationError, DataError

CLASS_TASKS = [name for name in list_tasks() if load_task(name).has_classes]


class BrightnessEncoder:
    """Sees how bright an image is: bright ones lie with texts that name pneumonia."""

    name, has_images, logit_scale = "brightness", True, 10.0

    def encode_images(self, images):
        bright = np.array([np.asarray(images[row]).mean() / 255 for row in range(len(images))])
        return np.stack([np.cos(bright), np.sin(bright)], axis=1).astype(np.float32)

    def encode_texts(self, texts):
        angles = np.array([1.0 if "pneumonia" in text and "no evidence" not in text else 0.0 for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


class ConstantEncoder(BrightnessEncoder):
    """Sees nothing."""

    def encode_images(self, images):
        return np.tile(np.float32([1, 0]), (len(images), 1))


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    """Intervals of 40 resamples, which the tests that are not about intervals do not wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("phenolip.eval.metrics.grouped_bootstrap._MIN_RESAMPLES", 40)
        patch.setattr("phenolip.eval.metrics.grouped_bootstrap._MAX_RESAMPLES", 40)
        yield


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    """Normal images are dark, pneumonia is bright, with some overlap; no test split."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, size in (("train", 200), ("val", 60)):
        labels = (np.arange(size) % 4 > 0).astype(np.uint8)
        level = 60 + 110 * labels + rng.normal(0, 35, size)
        pixels = np.clip(level[:, None, None] + rng.normal(0, 5, (size, 4, 4)), 0, 255)
        arrays |= {f"{split}_images": pixels.astype(np.uint8), f"{split}_labels": labels[:, None]}
    path = tmp_path_factory.mktemp("set") / "pneumoniamnist.npz"
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture(scope="module")
def zero_shot(npz, tmp_path_factory):
    output = tmp_path_factory.mktemp("zero_shot")
    evaluate(BrightnessEncoder(), "pneumoniamnist", npz, output)
    return output


def test_zero_shot_numbers_are_those_of_a_second_script(zero_shot, npz):
    results = json.loads((zero_shot / "results.json").read_text())
    data = np.load(npz)
    bright = data["val_images"].mean(axis=(1, 2)) / 255
    labels = data["val_labels"][:, 0]
    encoder = BrightnessEncoder()
    classes = yaml.safe_load((TASKS_DIR / "pneumoniamnist.yaml").read_text())["evaluators"]["zero_shot_classes"]
    texts = []
    for names in classes["classes"].values():
        mean = encoder.encode_texts([p.format(n) for p in classes["prompts"] for n in names]).mean(axis=0)
        texts.append(mean / np.linalg.norm(mean))
    scores = np.stack([np.cos(bright), np.sin(bright)], axis=1) @ np.stack(texts).T
    answers = scores.argmax(axis=1)
    metrics = results["metrics"]
    assert metrics["zero_shot_classes_top1"]["value"] == pytest.approx((answers == labels).mean(), abs=1e-9)
    macro_f1 = f1_score(labels, answers, average="macro")
    assert metrics["zero_shot_classes_macro_f1"]["value"] == pytest.approx(macro_f1, abs=1e-9)
    for metric in metrics.values():
        low, high = metric["ci95"]
        assert metric["n"] in (60, 15, 45) and low <= high
    oracle, fitted = (metrics[f"zero_shot_classes_macro_f1_{how}"]["value"] for how in ("oracle", "val_fitted"))
    assert oracle >= fitted > 0.7
    assert "no test split" in results["split"]["test"] and "training split" in results["split"]["validation"]
    majority = results["checks"]["majority_class"]
    assert [majority[name] for name in ("class", "k", "n", "value")] == ["pneumonia", 45, 60, 0.75]
    assert majority["ci95"][0] < 0.75 < majority["ci95"][1]
    assert results["checks"]["shuffled_labels"]["macro_auroc"] == pytest.approx(0.5, abs=0.1)
    assert sum(row["n"] for row in results["calibration"]["reliability"]) == 60
    assert results["none_of_these"]["max_false_positive_rate_on_validation"] == 0.05


def test_files_beside_results(zero_shot):
    table = pq.read_table(zero_shot / "per_query.parquet").to_pandas()
    results = json.loads((zero_shot / "results.json").read_text())
    top1 = table[table["metric"] == "zero_shot_classes_top1"]["value"]
    assert len(top1) == 60 and top1.mean() == pytest.approx(results["metrics"]["zero_shot_classes_top1"]["value"])
    report = (zero_shot / "report.md").read_text()
    assert (
        "| zero_shot_classes_macro_f1_oracle |" in report and "## Reliability" in report and "majority_class" in report
    )


def test_a_blind_model_collapses_and_says_so(npz, tmp_path):
    results = evaluate(ConstantEncoder(), "pneumoniamnist", npz, tmp_path).results
    assert results["checks"]["answer_collapse"] == {"class": "normal", "share": 1.0, "collapsed": True}
    assert results["checks"]["embedding_collapse"]["mean_cosine_of_two_images"] == pytest.approx(1.0)
    assert results["metrics"]["zero_shot_classes_macro_auroc"]["value"] == 0.5


def test_probe_end_to_end_and_nothing_trains_on_what_is_reported(npz, tmp_path):
    results = evaluate(BrightnessEncoder(), "pneumoniamnist_probe", npz, tmp_path).results
    metrics = results["metrics"]
    assert [results["draws"][f"{part}_percent"]["num_train"] for part in (1, 10, 100)] == [2, 18, 180]
    assert len(results["draws"]["10_percent"]["seeds"]) == 5 and len(results["draws"]["100_percent"]["seeds"]) == 1
    assert metrics["probe_accuracy_at_100_percent"]["value"] > results["checks"]["majority_class"]["value"]
    draws = [seed["accuracy"] for seed in results["draws"]["10_percent"]["seeds"]]
    assert metrics["probe_accuracy_at_10_percent"]["value"] == pytest.approx(np.mean(draws))
    spread = results["draws"]["10_percent"]["standard_deviation"]["accuracy"]
    assert spread == pytest.approx(np.std(draws, ddof=1))
    assert "| 180 | 0 |" in (tmp_path / "report.md").read_text()


def test_a_fit_is_that_of_scikit_learn_at_the_best_validation_strength():
    rng = np.random.default_rng(0)
    features, held_out, asked = (rng.normal(2, 3, (size, 4)) for size in (80, 60, 50))
    codes = [(part @ [1, -1, 0.5, 0] + rng.normal(0, 2, len(part)) > 1).astype(int) for part in (features, held_out)]
    train, validation = (
        (part, np.eye(2, dtype=int)[code]) for part, code in zip((features, held_out), codes, strict=True)
    )
    fit = fit_probe(train, validation, asked, exclusive=True)
    mean, spread = features.mean(axis=0), features.std(axis=0)
    accuracies = {}
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000, tol=1e-8).fit((features - mean) / spread, codes[0])
        accuracies[strength] = model.score((held_out - mean) / spread, codes[1])
        if strength == fit.strength:
            assert np.allclose(fit.probabilities, model.predict_proba((asked - mean) / spread), atol=1e-2)
    assert fit.validation_accuracy == pytest.approx(max(accuracies.values()), abs=0.02)
    assert fit.num_unfinished == 0


def test_probes_of_several_labels_and_of_one_class():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(60, 3))
    labels = np.stack([features[:, 0] > 0, features[:, 1] > 0, np.zeros(60, bool)], axis=1).astype(int)
    fit = fit_probe((features, labels), (features, labels), features, exclusive=False)
    assert ((fit.probabilities >= 0.5) == labels).all(axis=1).mean() > 0.9 and not fit.probabilities[:, 2].any()
    single = np.eye(3, dtype=int)[[1] * 60]
    assert (fit_probe((features, single), (features, single), features, exclusive=True).probabilities[:, 1] == 1).all()


@pytest.mark.parametrize("exclusive", [True, False])
def test_subsets_are_nested_stratified_and_hold_every_class(exclusive):
    rng = np.random.default_rng(2)
    if exclusive:
        labels = np.eye(4, dtype=int)[np.repeat(np.arange(4), [700, 250, 47, 3])]
    else:
        labels = (rng.random((1000, 4)) < [0.5, 0.2, 0.01, 0.002]).astype(int)
        labels[5, 3] = 1
    for seed in range(3):
        small, middle, whole = map(set, nested_subsets(labels, [0.01, 0.1, 1.0], exclusive=exclusive, seed=seed))
        assert small < middle < whole and len(whole) == 1000
        assert (labels[sorted(small)].sum(axis=0) > 0).all()
        if exclusive:
            assert labels[sorted(middle)].sum(axis=0).tolist() == [70, 25, 5, 1]
    first, second = (nested_subsets(labels, [0.1], exclusive=exclusive, seed=seed)[0] for seed in (0, 1))
    assert first.tolist() != second.tolist()
    with pytest.raises(ConfigurationError, match="above 0 and at most 1, got 0"):
        nested_subsets(labels, [0], exclusive=exclusive, seed=0)


def test_class_scores_equal_scikit_learn():
    rng = np.random.default_rng(3)
    answers, codes = rng.integers(4, size=90), rng.integers(3, size=90)  # class 3 has no image
    found = class_scores(answers, codes, 4)
    expected = recall_score(codes, answers, labels=[0, 1, 2], average=None)
    assert np.allclose(found.recall[:3], expected, atol=1e-12) and np.isnan(found.recall[3])
    expected = f1_score(codes, answers, labels=[0, 1, 2], average="macro")
    assert macro(found.f1) == pytest.approx(expected, abs=1e-12)


def test_intervals_over_groups_are_wider_than_over_rows():
    rng = np.random.default_rng(4)
    values = np.repeat(rng.normal(size=20), 10)
    mean = lambda rows, _: np.array([values[rows].mean()])  # noqa: E731
    by_row = grouped_intervals(mean, [str(row) for row in range(200)])[0]
    by_group = grouped_intervals(mean, [str(row // 10) for row in range(200)])[0]
    assert np.diff(by_group)[0] > 2 * np.diff(by_row)[0]
    expected = 2 * 1.96 * values.std() / np.sqrt(20)
    assert np.diff(by_group)[0] == pytest.approx(expected, rel=0.15)
    assert num_resamples_for(100, 2) == num_resamples_for(10**6, 10) == 40
    with pytest.raises(DataError, match="at least one row"):
        grouped_intervals(mean, [])


def test_intervals_of_calibration_errors_hold_the_value():
    """Resampling adds noise to bins: plain percentiles of a small, well calibrated set lie above its error."""
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.2, 1.0, 150)
    correct = rng.uniform(size=150) < confidences
    names = {"ece_equal_mass": 0, "accuracy": 0}

    def values(rows, _=None):
        error = expected_calibration_error(confidences[rows], correct[rows], binning="equal_mass")
        return np.array([error, correct[rows].mean()])

    whole, groups = values(np.arange(150)), [str(row) for row in range(150)]
    lifted = calibration_errors(dict(zip(names, whole, strict=True)))
    assert lifted[0] == whole[0] and np.isnan(lifted[1])
    plain, moved = grouped_intervals(values, groups), grouped_intervals(values, groups, lifted=lifted)
    assert plain[0, 0] > whole[0]
    assert 0 <= moved[0, 0] < whole[0] < moved[0, 1]
    assert moved[0, 1] - moved[0, 0] == pytest.approx(plain[0, 1] - plain[0, 0])
    assert moved[1].tolist() == plain[1].tolist()


def test_embedding_spread_against_all_pairs():
    embeds = np.random.default_rng(5).normal(size=(12, 4))
    unit = embeds / np.linalg.norm(embeds, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[~np.eye(12, dtype=bool)]
    assert embedding_spread(embeds)["mean_cosine_of_two_images"] == pytest.approx(cosines.mean(), abs=1e-12)


@pytest.mark.parametrize("name", CLASS_TASKS)
def test_class_tasks_name_their_reading_and_classes(name):
    (settings,) = load_task(name).evaluators.values()
    classes = read_classes(settings["classes"])
    assert "ours" in settings["reading"] and settings["layout"]["kind"] in ("medmnist", "table", "folders")
    assert len({entry.name for entry in classes}) == len(classes) >= 2
    assert settings.get("normal") in (None, *(entry.name for entry in classes))


@pytest.mark.parametrize(
    ("classes", "match"),
    [
        (["a"], "at least two classes"),
        ({"a": None}, "at least two classes"),
        ({"a": {"text": "x"}, "b": None}, "`classes.a` takes texts and values, got 'text'"),
        ({"a": [], "b": None}, "`classes.a` must hold words"),
    ],
)
def test_wrong_classes_are_named(classes, match):
    with pytest.raises(ConfigurationError, match=match):
        read_classes(classes)


def test_models_and_data_that_cannot_be_used(npz, tmp_path):
    with pytest.raises(ConfigurationError, match="tfidf encodes text only"):
        evaluate("tfidf", "pneumoniamnist", npz, tmp_path)
    with pytest.raises(ConfigurationError, match="`data` must be given"):
        evaluate(BrightnessEncoder(), "pneumoniamnist", None, tmp_path)

    class Broken(BrightnessEncoder):
        def encode_images(self, images):
            return np.full((len(images), 2), np.nan, np.float32)

    for task in ("pneumoniamnist", "pneumoniamnist_probe"):
        with pytest.raises(DataError, match="must be finite"):
            evaluate(Broken(), task, npz, tmp_path)
    assert not (tmp_path / "results.json").exists()
    settings = yaml.safe_load((TASKS_DIR / "pneumoniamnist_probe.yaml").read_text())
    settings["evaluators"]["linear_probe"]["features"] = "pooled"
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigurationError, match="shows no pooled features"):
        evaluate(BrightnessEncoder(), tmp_path / "mine.yaml", npz, tmp_path)


def test_pooled_and_projected_features_of_a_model_leave_it_unchanged():
    import torch

    from phenolip.eval.probe_features import probe_features

    class Vision(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.projection = torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2)

        def forward(self, values):
            pooled = self.norm(values)
            return type("Output", (), {"pooler_output": pooled, "embeds": self.projection(pooled)})()

    class Encoder:
        name = "small"

        def __init__(self):
            self.model = torch.nn.Module()
            self.model.vision_model = Vision()
            self.model.eval()

        def encode_images(self, images):
            rows = torch.stack(list(images)).split(2)
            return torch.cat([self.model.vision_model(part).embeds for part in rows]).detach().numpy()

    encoder, images = Encoder(), list(torch.randn(5, 3))
    before = {key: value.clone() for key, value in encoder.model.state_dict().items()}
    pooled, projected = (probe_features(encoder, images, kind) for kind in ("pooled", "projected"))
    assert pooled.shape == (5, 3) and np.allclose(pooled, torch.stack(images).numpy(), atol=1e-4)
    assert np.allclose(projected, encoder.encode_images(images))
    assert all(value.equal(before[key]) for key, value in encoder.model.state_dict().items())
    assert not encoder.model.vision_model._forward_hooks
    with pytest.raises(ConfigurationError, match="`features` must be one of"):
        probe_features(encoder, images, "tokens")


@pytest.mark.skipif("PHENOLIP_TEST_DATA" not in os.environ, reason="PHENOLIP_TEST_DATA names the folder of real data")
@pytest.mark.slow
def test_real_pneumoniamnist(tmp_path):
    path = Path(os.environ["PHENOLIP_TEST_DATA"], "pneumoniamnist", "pneumoniamnist.npz")
    results = evaluate(BrightnessEncoder(), "pneumoniamnist_probe", path, tmp_path).results
    assert results["n"] == 524 and results["checks"]["majority_class"]["k"] == 389


def test_a_set_of_several_labels_has_no_top1(npz):
    names = ("a", "b")
    images = LabelledImages([0, 1], np.array([[1, 1], [0, 0]], np.int8), names, ("x", "y"), ("x", "y"), False)
    with pytest.raises(DataError, match="no single one"):
        _ = images.codes


def test_the_scale_of_a_feature_decides_nothing():
    rng = np.random.default_rng(6)
    features = rng.normal(size=(40, 2))
    labels = np.eye(2, dtype=int)[(features[:, 0] > 0).astype(int)]
    plain, tiny = (
        fit_probe((scale * features, labels), (scale * features, labels), scale * features, exclusive=True)
        for scale in (1.0, 1e-12)
    )
    assert np.allclose(plain.probabilities, tiny.probabilities, atol=1e-6)
    constant = np.full((40, 1), 3.0) + 1e-8 * rng.normal(size=(40, 1))  # less than float32 resolves
    fit = fit_probe((constant, labels), (constant, labels), constant, exclusive=True)
    assert np.ptp(fit.probabilities[:, 0]) < 1e-3


def test_settings_of_other_tasks_are_ignored_aloud(npz, tmp_path, caplog):
    evaluate(ConstantEncoder(), "pneumoniamnist", npz, tmp_path, split="test", extra_k=[3], report=False)
    said = [record.getMessage() for record in caplog.records if "is ignored" in record.getMessage()]
    assert [message.split("`")[1] for message in said] == ["extra_k", "split"]
