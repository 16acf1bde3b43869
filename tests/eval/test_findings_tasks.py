"""Findings: reports against an indexing, thresholds and slots against plain loops, similarity plots."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from phenolip.eval.case_study import finding_wordings, plot_similarities, similarities
from phenolip.eval.evaluators.finegrained import FineGrainedEvaluator
from phenolip.eval.finding_labels import common_categories, common_values, finding_labels
from phenolip.eval.metrics.finding_agreement import Heading, finding_agreement
from phenolip.eval.run import evaluate
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.finding_thresholds import (
    FindingThreshold,
    FindingThresholds,
    model_thresholds,
    read_thresholds,
    write_thresholds,
)
from phenolip.inference.finegrained import FineGrainedPredictor
from phenolip.ontology import PhenotypeOntology, PhenotypeTerm
from phenolip.ontology.knowledge_book import KnowledgeBook, KnowledgeEntry

ROOT, LUNG, EFFUSION = "HP:0000118", "HP:0002088", "HP:0002202"


@pytest.fixture(scope="module")
def ontology():
    terms = [
        PhenotypeTerm(ROOT, "Phenotypic abnormality"),
        PhenotypeTerm(LUNG, "Abnormal lung", parents=(ROOT,)),
        PhenotypeTerm(EFFUSION, "Pleural effusion", parents=(LUNG,)),
    ]
    return PhenotypeOntology(terms, release="2000-01-01")


def finding(category="effusion", severity=None, location=None, assertion="present", hpo_id=None):
    return {"category": category, "severity": severity, "location": location, "assertion": assertion, "hpo_id": hpo_id}


def test_agreement_counts_headings_sides_and_grades():
    headings = [Heading(("effusion",), ("Pleural Effusion",)), Heading(("edema",), ("Pulmonary Edema",))]
    indexing = [["Pleural Effusion/left/mild"], ["Pleural Effusion/left", "Pleural Effusion/right"], ["normal"], []]
    said = [
        [finding("Pleural effusion", "mild to moderate", "left base")],
        [finding(location="left")],
        [finding("pulmonary edema")],
        [finding(assertion="absent")],
    ]
    found = finding_agreement(indexing, said, headings)
    assert found.category_scores() == (2 / 3, 1.0, 0.8)
    assert found.right["laterality"][0, 0] == 1 and np.isnan(found.right["laterality"][1, 0])  # two sides are indexed
    assert found.right["severity"][0, 0] == 0  # another grade stands beside it
    assert finding_agreement([[]], [[]], headings).category_scores() == (0.0, 0.0, 0.0)


@pytest.fixture
def reports(tmp_path):
    rows = [{"uid": "1", "text": "A small left pleural effusion.", "mesh": ["Pleural Effusion/left/small"]},
            {"uid": "2", "text": "No effusion.", "mesh": ["normal"]}]  # fmt: skip
    path = tmp_path / "reports.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = [{"doc_id": "1", "findings": [finding(location="left")]}, {"uid": "2", "findings": []}]
    (tmp_path / "found.jsonl").write_text("\n".join(map(json.dumps, found)))
    return path


def test_a_file_of_findings_is_scored_and_reported(reports, tmp_path, caplog):
    results = evaluate(tmp_path / "found.jsonl", "findings", reports, tmp_path / "out", split="test").results
    assert "`split` is ignored: the task 'findings' has no use for it." in caplog.text
    values = {name: metric["value"] for name, metric in results["metrics"].items()}
    assert values["findings_category_f1"] == values["findings_laterality_accuracy"] == 1
    assert "Pleural Effusion" in (tmp_path / "out/report.md").read_text()
    (tmp_path / "found.jsonl").write_text(json.dumps({"uid": "1", "findings": []}))
    with pytest.raises(DataError, match="no findings of 1 of 2 reports"):
        evaluate(tmp_path / "found.jsonl", "findings", reports, tmp_path / "out")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is not JSON"),
        ("[]", "object with `uid`"),
        ('{"uid": 1, "text": "x", "mesh": "y"}', "`mesh` must be a list"),
        ('{"uid": 1, "text": "x", "mesh": [1]}', "must hold texts"),
        ("", "has no rows"),
    ],
)
def test_reports_of_another_form_are_one_sentence(tmp_path, line, message):
    (tmp_path / "bad.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        evaluate("rules", "findings", tmp_path / "bad.jsonl", tmp_path / "out")


def test_labels_follow_the_true_path_and_the_assertions(ontology):
    keys = [("Abnormal lung", LUNG), ("opacity", None)]
    rows = [
        [finding("Pleural effusion", "Mild", hpo_id=EFFUSION), finding("opacity", assertion="uncertain")],
        [finding("Opacity", location="left"), finding("opacity", location="right")],
        [finding("opacity", assertion="absent"), finding("opacity", assertion="family")],
    ]
    labels = finding_labels(rows, keys, ontology)
    assert labels.labels.tolist() == [[1, -1], [0, 1], [0, 0]]
    assert labels.slots["severity"] == [{0: "mild"}, {}, {}]
    assert labels.slots["location"] == [{}, {}, {}]  # two places are none
    assert common_categories(rows, ontology, 1) == [("Pleural effusion", EFFUSION), ("opacity", None)]
    assert common_values(labels, "severity", 0, min_rows=1, limit=3) == ("mild",)


class WordEncoder:
    """One axis a word; an image is the name of its words."""

    has_images, name, source, knowledge, prompt_template = True, "words", None, None, "{}"
    words = ("effusion", "mild", "severe", "left", "right")

    def encode_texts(self, texts):
        rows = np.float32([[word in text for word in self.words] for text in texts]) + 1e-3
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    encode_images = encode_texts


THRESHOLD = FindingThreshold("effusion", None, 0.5, 1.0, 2, 2, ("mild", "severe"), ("left", "right"))


@pytest.fixture
def thresholds():
    return FindingThresholds((THRESHOLD,), {"num_rows": 4})


def test_category_severity_and_location_are_read_off_the_nearest_prompts(thresholds):
    predict = FineGrainedPredictor(WordEncoder(), thresholds)
    (first,), second = predict(["severe left effusion", "nothing right"])
    assert (first.severity, first.location, first.seen) == ("severe", "left", True)
    assert first.text == "severe left effusion"
    assert second == [] and not predict(["nothing right"], max_unseen=1)[0][0].seen


def test_accuracies_given_the_category_equal_plain_loops(thresholds, ontology, helpers):
    images = ["severe left effusion", "mild effusion", "mild right effusion", "nothing"]
    rows = [
        [finding("effusion", "severe", "left")],
        [finding("effusion", "severe")],
        [finding("effusion", "mild", "apical")],
        [],
    ]
    pairs = helpers.make_pairs(images, list("abcd"), [[]] * 4, ["x"])
    labels = finding_labels(rows, [("effusion", None)], ontology)
    metrics, about = FineGrainedEvaluator(pairs, labels, FineGrainedPredictor(WordEncoder(), thresholds))()
    assert metrics["finegrained_severity_accuracy_given_category"].value == pytest.approx(2 / 3)
    assert metrics["finegrained_severity_accuracy_over_majority"].value == pytest.approx(1 / 3)
    assert metrics["finegrained_location_accuracy_given_category"].value == 0.5  # "apical" cannot be answered
    assert about["majority"]["location"] == {"value": 0.5, "ci95": [0.0, 1.0], "n": 2, "answerable": 0.5}
    (entry,) = about["classes"]
    assert entry["auroc"] == 1 == entry["auroc_ci95"][1] and entry["f1_val_fitted_ci95"][0] <= 1
    assert metrics["finegrained_macro_f1_val_fitted"].value == 1 == metrics["finegrained_macro_auroc"].value


def test_thresholds_come_back_as_they_were_and_damage_is_one_sentence(thresholds, tmp_path):
    path = tmp_path / "finding_thresholds.json"
    write_thresholds(thresholds, path)
    assert read_thresholds(path) == thresholds == model_thresholds(str(tmp_path))
    for text in ("{", "[]", path.read_text().replace("0.5", "7"), path.read_text().replace('"mild"', "3")):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DataError, match="must be a file that `phenolip thresholds` wrote"):
            read_thresholds(tmp_path / "bad.json")
    (tmp_path / "old.json").write_text(path.read_text().replace('"format_version": 1', '"format_version": 0'))
    with pytest.raises(DataError, match="must hold categories of format 1"):
        read_thresholds(tmp_path / "old.json")
    path.unlink()
    with pytest.raises(DataError, match="has no finding_thresholds.json"):
        model_thresholds(str(tmp_path))


def test_a_model_without_images_or_with_other_weights_is_refused(thresholds):
    with pytest.raises(ConfigurationError, match="encodes text only"):
        FineGrainedPredictor(SimpleNamespace(has_images=False, name="t"), thresholds)
    other = WordEncoder()
    other.source, other.describe = "m", lambda: {"weights_sha256": {"model.safetensors": "a"}}
    fitted = FindingThresholds((THRESHOLD,), {}, {"model.safetensors": "b"})
    with pytest.raises(DataError, match="other weights"):
        FineGrainedPredictor(other, fitted)


def test_an_image_is_compared_with_every_wording_and_drawn(tmp_path):
    book = KnowledgeBook({"effusion": KnowledgeEntry("effusion", "effusion", "fluid at the base", "user")})
    wordings = finding_wordings(book, "effusion", "mild", "left")
    assert [kind for kind, _ in wordings] == ["template", "fine-grained", "explanation", "explanation"]
    assert wordings[-1][1] == "mild left effusion, where effusion is fluid at the base."
    found = similarities(WordEncoder(), "mild left effusion", wordings)
    assert max(found, key=lambda one: one.cosine).text.startswith("mild left effusion")
    for name in ("case.svg", "case.png"):
        plot_similarities(Image.new("L", (9, 9)), {"effusion": found}, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    assert "mild left effusion" in (tmp_path / "case.svg").read_text()
    with pytest.raises(ConfigurationError, match="must end in .svg or .png"):
        plot_similarities(Image.new("L", (9, 9)), {"effusion": found}, tmp_path / "case.gif")
