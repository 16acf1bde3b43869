"""Alignment on real figures and on composites of real images: the folder of data is named by PHENOLIP_TEST_DATA."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phenolip.phenokg.align_captions import AlignConfig, align_caption, run
from phenolip.phenokg.alignment.read_labels import LabelReader
from phenolip.phenokg.record_files import read_records
from phenolip.phenokg.records import CaptionedBoxes
from phenolip.phenokg.subfigures.composites_command import main

DATA = os.environ.get("PHENOLIP_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="PHENOLIP_TEST_DATA is not set")

#: End of the file name -> subfigures by eye, in the order of their labels.
BOXES = {
    "57c9ad0f4aab133f96d40992c46926fabc901ffa_2-Figure1-1.png": [(0, 0, 325, 337), (328, 0, 701, 337)],
    "57c9ad0f4aab133f96d40992c46926fabc901ffa_2-Figure2-1.png": [(0, 33, 301, 358), (303, 33, 699, 358)],
    "57c9ad0f4aab133f96d40992c46926fabc901ffa_2-Figure4-1.png": [(35, 0, 309, 294), (313, 0, 732, 294)],
    "5f2d2f2ffbd20c7ff3ac30d514da54ee5bd825b4_1-Figure1-1.png": [
        *((34, 0, 243, 229), (254, 0, 463, 229), (474, 0, 682, 229)),
    ],
    "5f2d2f2ffbd20c7ff3ac30d514da54ee5bd825b4_2-Figure2-1.png": [
        *((0, 0, 253, 318), (261, 0, 649, 318), (0, 325, 253, 641), (261, 325, 649, 641)),
    ],
}


def figures():
    folder = Path(DATA, "compound", "medicat_sample")
    for line in (folder / "sample.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        name = f"{row['pdf_hash']}_{row['fig_uri']}"
        if name in BOXES:
            yield Image.open(folder / "figures" / name).convert("RGB"), row["s2_caption"], BOXES[name]


def test_real_compound_figures_are_aligned_and_their_letters_read():
    num_figures = num_read = num_boxes = 0
    for picture, caption, boxes in figures():
        labels = "ABCD"[: len(boxes)]
        _, found = align_caption(picture, boxes[::-1], caption)
        assert [one.label for one in found] == list(labels[::-1])
        read = LabelReader(picture, boxes).scores(list(labels))[0]
        num_read += int(((read.argmax(axis=1) == np.arange(len(boxes))) & (read.max(axis=1) > 0)).sum())
        num_figures, num_boxes = num_figures + 1, num_boxes + len(boxes)
    assert num_figures == 5 and num_boxes == 13 and num_read >= 11


@pytest.mark.slow
def test_composites_are_aligned(tmp_path):
    output = tmp_path / "composites"
    layouts = Path(DATA, "compound", "layouts_train.jsonl")
    arguments = ["--images", str(Path(DATA, "phenobench_gallery")), "--layouts", str(layouts), "--output", str(output)]
    arguments += ["--number", "60", "--gap", "0", "20", "--page", "white", "grey", "black", "--outside_share", "0.25"]
    assert main(arguments) == 0
    gold = [json.loads(line)["boxes"] for line in (output / "alignment_gold.jsonl").read_text().splitlines()]
    found = list(run(read_records(output / "alignment.jsonl", CaptionedBoxes), AlignConfig()))
    pairs = [pair for one, row in zip(found, gold, strict=True) for pair in zip(one.boxes, row, strict=True)]
    assert np.mean([one.label == truth["label"] for one, truth in pairs]) >= 0.93
