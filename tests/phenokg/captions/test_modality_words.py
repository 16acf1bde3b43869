"""Words that name a modality: the file they are in, how they match, and how often they are right on MedPix."""

import json
import os
from pathlib import Path
from typing import get_args

import pytest

from phenolip.phenokg.captions.modality_words import _entries, find_modality, modality_spans
from phenolip.phenokg.records import Modality

DATA = os.environ.get("PHENOLIP_TEST_DATA")


@pytest.mark.parametrize(
    ("text", "modality", "surface"),
    [
        ("Axial T2-weighted image of the knee.", "MRI", "Axial T2"),
        ("MR Angiography of the neck", "MRI", "MR Angiography"),
        ("CT angiogram of the aorta", "CT", "CT"),
        ("CTs before and after", "CT", "CTs"),
        ("qPCR: Ct values", None, None),
        ("digital subtraction angiography", "X-ray", "angiography"),
        ("Fluorescein angiography of the left eye", "Other", "Fluorescein angiography"),
        ("Chest X-ray", "X-ray", "X-ray"),
        ("Herniation of the gastric fundus on CT", "CT", "CT"),
        ("Fundus photograph", "Natural image", "Fundus photograph"),
        ("H&E, ×400", "Pathology", "H&E"),
        ("Transmission electron microscopy", "Microscopy", "electron microscopy"),
        ("Photomicrograph of the skin", "Pathology", "Photomicrograph"),
        ("colour Doppler of the renal artery", "Ultrasound", "Doppler"),
        ("a hypodense mass", "CT", "hypodense"),
        ("a hypodense mass on T2-weighted images", "MRI", "T2-weighted"),
        ("stage T2 tumours by age in the US, a survey", "MRI", "T2"),  # a known error of a weak word
        ("A mass of the liver.", None, None),
        ("", None, None),
        ("PET/CT, fused", "Other", "PET"),
    ],
)
def test_words_of_each_kind(text, modality, surface):
    found = find_modality([text])
    assert (found and found.modality, found and found.surface) == (modality, surface)


def test_the_first_text_with_a_strong_word_decides_and_weak_words_come_last():
    assert find_modality(["a hypodense mass", "MRI", "CT CT"]).place == 1
    assert find_modality(["nothing", "a hyperechoic mass", "hypodense"]).modality == "Ultrasound"
    assert find_modality(["CT and MRI, MRI"]).modality == "MRI" and find_modality(["CT, MRI"]).modality == "CT"


def test_spans_are_those_of_the_text():
    text = "Chest radiograph (A), CT and H&E."
    assert [text[start:end] for _, start, end in modality_spans(text)] == ["radiograph", "CT", "H&E"]


def test_no_entry_is_in_two_modalities_and_all_modalities_have_entries():
    for entries in _entries():
        assert set(entries.modalities.values()) == set(get_args(Modality))
        assert all(len(entry.split()) <= 4 and entry == " ".join(entry.split()) for entry in entries.modalities)
        stems = [entry.split()[-1][:-1] for entry in entries.modalities if entry.endswith("*")]
        assert all(3 <= len(stem) <= 30 for stem in stems)
    assert not set(_entries()[0].modalities) & set(_entries()[1].modalities)


@pytest.mark.skipif(not DATA, reason="PHENOLIP_TEST_DATA is not set")
def test_captions_of_medpix():
    rows = [json.loads(line) for line in Path(DATA, "medpix2", "dev.jsonl").open(encoding="utf-8")]
    captions = {(row["caption"], {"MR": "MRI", "CT": "CT"}[row["modality"]]) for row in rows}
    named = [(found.modality, gold) for caption, gold in captions if (found := find_modality([caption]))]
    assert len(named) > 0.65 * len(captions)
    assert sum(modality == gold for modality, gold in named) > 0.92 * len(named)
