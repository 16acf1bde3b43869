"""Rows that train on findings: planned where the data has some, left out and named where it has none."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phenolip.ablation import plan
from phenolip.ablation.plan import AblationData, plan_runs
from phenolip.ablation.rows import load_rows

SLICE = Path(__file__).parents[1] / "ontology" / "hp_slice.obo"


@pytest.fixture
def plan_of(tmp_path, monkeypatch):
    """Function that plans two rows over pairs with some findings."""
    monkeypatch.setattr(plan, "load_teacher", lambda *_: [None])
    monkeypatch.setattr(plan, "module_fingerprint", lambda _: "teacher")
    rows = load_rows()

    def build(findings):
        lines = []
        for row in range(4):
            pixels = np.random.default_rng(row).integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{row}.png")
            lines.append({"file_name": f"{row}.png", "caption": f"picture {row}", "findings": findings})
        (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        data = AblationData({"originals": str(tmp_path)}, str(tmp_path), str(SLICE))
        chosen = [rows["findings_report"], rows["findings_ssm"]]
        return plan_runs(rows, chosen, [0], data, tmp_path / "out", knowledge_encoder="stage1")

    return build


def test_rows_of_findings_are_left_out_and_named_where_there_are_none(plan_of, caplog):
    with caplog.at_level(logging.WARNING):
        specs = plan_of([])
    assert [spec.row_id for spec in specs] == ["findings_report"]
    assert "Row 'findings_ssm' is left out: no pair of" in caplog.text


def test_findings_and_the_teacher_that_compares_them_are_part_of_a_run(plan_of, monkeypatch):
    keys = [[spec.key for spec in plan_of([{"category": name}])] for name in ("square", "circle")]
    assert len(keys[0]) == 2 and not set(keys[0]) & set(keys[1])
    monkeypatch.setattr(plan, "module_fingerprint", lambda _: "another teacher")
    again = [spec.key for spec in plan_of([{"category": "circle"}])]
    assert again[0] == keys[1][0] and again[1] != keys[1][1]
