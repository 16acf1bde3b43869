"""What the check of claims lets pass and what it catches, on made and on real captions."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from phenolip.phenokg.captions.grounding import Grounding
from phenolip.phenokg.captions.sentences import sentences

DATA = os.environ.get("PHENOLIP_TEST_DATA")
SOURCES = [
    "Axial CT: a 3.5 cm hypodense mass in the left kidney, with two calcified nodules. No pleural effusion.",
    "A 54-year-old man with seizures and possible pneumonia; the right kidney was normal. His fingers were long.",
]


@pytest.fixture(scope="module")
def grounding(release_linker):
    return Grounding(SOURCES, release_linker)


@pytest.mark.parametrize(
    ("claim", "problem"),
    [
        ("Axial CT shows a hypodense mass of the left kidney measuring 3.5 cm.", None),
        ("The image shows two calcified nodules in the left kidney.", None),
        ("There is no pleural effusion.", None),
        ("A 54-year-old man had seizures.", None),
        ("Computed tomography of a renal mass.", "new_words"),
        ("A mass of 3.6 cm.", "new_number"),
        ("A mass in the right kidney.", None),  # the right kidney is spoken of: the check does not see what lies there
        ("A mass in the left lung.", "new_words"),
        ("Right-sided calcified nodules.", None),
        ("MRI shows a mass.", "new_modality"),
        ("Pleural effusion.", "reversed"),
        ("No seizures.", "reversed"),
        ("No calcified nodules.", "reversed"),
        ("Pneumonia.", "surer"),
        ("Possible pneumonia.", None),
        ("There is a meningioma.", "new_phenotype"),
        ("The fingers were long.", None),
        ("Metastatic spread throughout the abdominal cavity.", "new_words"),
        ("", None),
    ],
)
def test_claims(grounding, claim, problem):
    assert grounding.problem(claim) == problem


def test_sides_of_the_same_words(release_linker):
    grounding = Grounding(["Mass of the left kidney."], release_linker)
    assert grounding.problem("Mass of the right kidney.") == "other_side"
    assert grounding.problem("The left kidney has a mass.") is None


def test_support_is_the_nearest_source_that_states_it(grounding):
    assert grounding.support("HP:0001250", ())[0] == 1  # seizures
    assert grounding.support("HP:0002202", ()) is None  # pleural effusion, denied
    assert grounding.support("HP:0000118", ("HP:0001250",))[1].name == "Seizure"


@pytest.mark.skipif(not DATA, reason="PHENOLIP_TEST_DATA is not set")
def test_captions_support_their_own_sentences_and_not_changed_ones(release_linker):
    rows = map(json.loads, Path(DATA, "phenobench_gallery", "metadata.jsonl").open(encoding="utf-8"))
    captions = sorted({row["caption"] for row in rows}, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    own, changed = [], []
    for caption in captions[:60]:
        grounding = Grounding([caption], release_linker)
        for sentence in list(sentences(caption))[:2]:
            own.append(grounding.problem(sentence))
            if re.search(r"\d", sentence):
                changed.append(grounding.problem(re.sub(r"\d+", lambda match: match.group() + "7", sentence, count=1)))
            changed += [
                grounding.problem(f"{sentence[: link.start]}no {sentence[link.start :]}")
                for link in release_linker.link(sentence)[:1]
                if link.assertion == "present"
            ]
    assert own.count(None) == len(own) > 60
    assert changed.count(None) < 0.05 * len(changed) and len(changed) > 60
