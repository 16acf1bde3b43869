"""Findings of sentences: which words belong to which finding, what is denied, and real reports read by a person."""

import json
import os
import time
from pathlib import Path

import pytest

from phenolip.phenokg.extract_findings import kept_rules
from phenolip.phenokg.link_phenotypes import MIN_SCORE

REPORTS = Path(os.environ.get("PHENOLIP_TEST_DATA", "absent")) / "reports" / "iu_xray.jsonl"
DENIED = Path(__file__).parent / "iu_xray_denied_findings.jsonl"


@pytest.fixture(scope="module")
def extractor():
    return kept_rules(None, MIN_SCORE)


def slots(extractor, text):
    return [(found.severity, found.location, found.category) for found in extractor.extract(text)[0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # before the finding
        ("Left lower lobe opacity.", [(None, "left lower lobe", "opacity")]),
        ("Small right pleural effusion.", [("small", "right", "pleural effusion")]),
        ("Mild, patchy left basilar opacity.", [("mild", "left basilar", "opacity")]),
        ("Mild to moderate bibasilar atelectasis.", [("mild to moderate", "bilateral basilar", "atelectasis")]),
        ("Left and right lower lobe opacities.", [(None, "bilateral lower lobe", "opacity")]),
        ("Right apical and left lingular opacity.", [(None, "right apical and left lingular", "opacity")]),
        # around it and behind it
        ("The heart is borderline enlarged.", [("borderline", None, "cardiomegaly")]),
        ("Borderline heart size.", [("borderline", None, "cardiomegaly")]),
        ("Opacity in the left lower lobe.", [(None, "left lower lobe", "opacity")]),
        ("Opacities in the lung bases.", [(None, "bilateral basilar", "opacity")]),
        ("A nodule is seen in the apex of the right lung.", [(None, "right apical", "nodule")]),
        ("The effusion is small.", [("small", None, "effusion")]),
        ("Effusions, left greater than right.", [(None, "bilateral", "effusion")]),
        ("In the left base there is a density.", [(None, "left basilar", "density")]),
        # several findings
        ("Mild cardiomegaly and small left effusion.",
         [("mild", None, "cardiomegaly"), ("small", "left", "effusion")]),
        ("Atelectasis in the left base and right effusion.",
         [(None, "left basilar", "atelectasis"), (None, "right", "effusion")]),
        ("Left basilar atelectasis or infiltrate.",
         [(None, "left basilar", "atelectasis"), (None, "left basilar", "infiltrate")]),
        ("Mild scarring or atelectasis in the left base.",
         [("mild", "left basilar", "scarring"), ("mild", "left basilar", "atelectasis")]),
        ("Opacity in the left base, likely pneumonia.",
         [(None, "left basilar", "opacity"), (None, "left basilar", "pneumonia")]),
        ("Left effusion with adjacent atelectasis.", [(None, "left", "effusion"), (None, "left", "atelectasis")]),
        ("Cardiomegaly with left lower lobe atelectasis.",
         [(None, None, "cardiomegaly"), (None, "left lower lobe", "atelectasis")]),
        ("Left lower lobe opacity. Cardiomegaly.",
         [(None, "left lower lobe", "opacity"), (None, None, "cardiomegaly")]),
        # what the wording itself says
        ("Mild dextroscoliosis.", [("mild", "right", "scoliosis")]),
        ("Old left rib fracture.", [("old", "left", "rib fracture")]),
        ("No mass effect.", []),
        ("The lungs and bony density are normal.", []),
        ("", []),
        ("\u0000 \ud800", []),
    ],
)  # fmt: skip
def test_what_belongs_to_which_finding(extractor, text, expected):
    assert slots(extractor, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No pneumothorax or left effusion.", ["absent", "absent"]),
        ("Cardiomegaly without edema.", ["present", "absent"]),
        ("The heart is not enlarged.", ["absent"]),
        ("No lung masses.", ["absent"]),
        ("No other nodules.", ["absent"]),
        ("Vascular engorgement is within normal limits.", ["absent"]),
        ("Clearing of the left base opacity.", ["absent"]),
        ("Atelectasis versus infiltrate.", ["uncertain", "uncertain"]),
        ("Opacity in the base, atelectasis versus infiltrate.", ["present", "uncertain", "uncertain"]),
        ("Opacity, may reflect pneumonia.", ["present", "uncertain"]),
        ("Prior granulomatous disease.", ["present"]),
        ("History of pneumonia.", ["historical"]),
        ("Her mother had scoliosis.", ["family"]),
    ],
)
def test_assertions(extractor, text, expected):
    assert [found.assertion for found in extractor.extract(text)[0]] == expected


def test_a_finding_has_ids_and_a_place(extractor):
    text = "Chronic mild atelectasis of the left lung base."
    (finding,) = extractor.extract(text)[0]
    assert finding.hpo_id == "HP:0100750" and text[finding.start : finding.end] == "atelectasis"
    assert finding.modifiers == ("HP:0011010", "HP:0012825", "HP:0012835") and finding.severity == "mild"


def test_an_opacity_is_one_of_the_lung_only_in_the_chest(extractor):
    (somewhere,), (chest,) = (extractor.extract(text)[0] for text in ("An opacity.", "An opacity of the left lobe."))
    assert (somewhere.hpo_id, chest.hpo_id) == (None, "HP:0031457")


def test_every_term_of_the_release_is_found(extractor):
    assert slots(extractor, "Severe cataract of the left eye.") == [("severe", "left", "cataract")]


def test_what_is_said_twice_is_counted(extractor):
    findings, dropped = extractor.extract("Mild cardiomegaly. The lungs are clear. Mild cardiomegaly.")
    assert len(findings) == 1 and dropped == {"duplicate": 1}


@pytest.mark.parametrize("piece", ["mild opacity ", "opacity versus ", "opacity in the left base , "])
def test_a_text_without_a_full_stop_does_not_hang(extractor, piece):
    """Some tenths of a second; half a minute if each finding were held against each."""
    start = time.process_time()
    extractor.extract(piece * 1500)
    assert time.process_time() - start < 3


def test_denied_findings_of_real_reports(extractor):
    """100 sentences, one a report, by the sha256 of its uid: the findings that a reader says are denied."""
    if not REPORTS.exists():
        pytest.skip("PHENOLIP_TEST_DATA has no reports")
    labels = [json.loads(line) for line in DENIED.open()]
    wanted = {label["uid"] for label in labels}
    rows = map(json.loads, REPORTS.read_text(encoding="utf-8").splitlines())
    texts = {row["uid"]: row["text"] for row in rows if row["uid"] in wanted}
    assert len(wanted) == len(texts) == 100
    num_present = num_absent = 0
    for label in labels:
        sentence = texts[label["uid"]]
        stop = sentence.find(".", label["end"])
        start = max(sentence.rfind(mark, 0, label["start"]) for mark in ".?!") + 1
        offset = label["start"] - start
        found = extractor.extract(sentence[start : stop + 1 or None])[0]
        over = [each for each in found if each.start < offset + label["end"] - label["start"] and offset < each.end]
        num_present += any(each.assertion == "present" for each in over)
        num_absent += any(each.assertion == "absent" for each in over)
    assert num_present < 0.02 * len(labels) and num_absent > 0.98 * len(labels)


def test_real_reports_name_what_their_indexing_does(extractor):
    """Of reports whose indexing has one side, the share whose finding has that side; see docs/extraction.md."""
    if not REPORTS.exists():
        pytest.skip("PHENOLIP_TEST_DATA has no reports")
    rows = [json.loads(line) for line in REPORTS.read_text(encoding="utf-8").splitlines()[::5]]
    agree = total = 0
    for row in rows:
        for entry in row["mesh"]:
            head, *rest = entry.split("/")
            sides = {"left", "right", "bilateral"}.intersection(rest)
            if head != "Pleural Effusion" or len(sides) != 1:
                continue
            found = [each for each in extractor.extract(row["text"])[0] if "effusion" in each.category]
            present = [set((each.location or "").split()) for each in found if each.assertion == "present"]
            if present:
                total += 1
                agree += any(sides <= words for words in present)
    assert total >= 5 and agree >= 0.8 * total
