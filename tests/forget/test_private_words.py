"""Captions and file names of private pairs reach no log, no card and nothing that a push would send."""

import json
import logging
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from transformers import AutoTokenizer, PreTrainedConfig

from phenolip.cli import main
from phenolip.hub.push import plan_push
from phenolip.modeling_phenolip import PhenoLIPModel

MARKER = "ZEBRAMARKER"
SLICE = Path(__file__).parents[1] / "ontology" / "hp_slice.obo"
NUM_ROWS = 12


@pytest.fixture
def private_pairs(tmp_path):
    """Pairs whose every caption, file name and patient is marked; one caption is empty, one picture damaged."""
    folder = tmp_path / "pairs"
    (folder / "images").mkdir(parents=True)
    rows = []
    for row in range(NUM_ROWS + 2):
        name = f"images/{MARKER.lower()}_jones_{row}.png"
        pixels = np.random.default_rng(row).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 48), Image.Resampling.NEAREST).save(folder / name)
        caption = f"{MARKER} Mr Jones, number {row}, of Elm Street" if row != NUM_ROWS else ""
        rows.append({"file_name": name, "caption": caption, "hpo_ids": [f"HP:990000{row % 3 + 3}"]})
        rows[-1]["patient_id"] = f"{MARKER}-{row}"
    (folder / f"images/{MARKER.lower()}_jones_{NUM_ROWS + 1}.png").write_bytes(b"\x89PNG no picture")
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def towers(tiny_model_dir, tmp_path):
    """The sides of the small model, as folders of their own."""
    model = PhenoLIPModel.from_pretrained(tiny_model_dir)
    for name, side in (("text", model.text_model), ("vision", model.vision_model)):
        side.save_pretrained(tmp_path / name)
    AutoTokenizer.from_pretrained(tiny_model_dir, config=PreTrainedConfig()).save_pretrained(tmp_path / "text")
    return tmp_path


def words_of(log):
    return " ".join(record.getMessage() for record in log.records if record.levelno >= logging.WARNING)


def test_nothing_private_is_logged_put_on_a_card_or_sent(private_pairs, towers, tmp_path, monkeypatch, capfd, caplog):
    from phenolip.train import stage2

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets_cache")
    run, evaluated = tmp_path / "stage2", tmp_path / "eval"
    call = f"--data {private_pairs} --hpo {SLICE} --output_dir {run} --text_path {towers / 'text'}"
    call += f" --vision_path {towers / 'vision'} --max_bad_fraction 0.5 --image_size 32 --max_length 32"
    call += " --projection_dim 24 --max_steps 2 --batch_size 4 --log_steps 1 --num_threads 1"
    stage2.main([*call.split(), "--knowledge_weight", "0"])
    reading = ["--data", str(private_pairs), "--hpo", str(SLICE), "--max_bad_fraction", "0.5"]
    model = ["--model", str(run), "--device", "cpu"]
    assert main(["eval", *model, *reading, "--task", "phenobench", "--output", str(evaluated)]) == 0
    assert main(["card", str(run), "--results", str(evaluated / "results.json")]) == 0
    assert main(["embed", *model, *reading, "--output", str(tmp_path / "index")]) == 0
    assert main(["embed", *model, *reading[:-1], "0", "--output", str(tmp_path / "other")]) == 1  # bad rows end it
    (run / "report.html").write_bytes((evaluated / "report.html").read_bytes())
    assert MARKER in (run / "report.html").read_text(), "a local report shows captions"
    assert main(["push", str(run), "org/model", "--dry_run"]) == 0

    shown = capfd.readouterr()
    assert MARKER not in shown.out + shown.err + words_of(caplog), "captions and patients stay out of every log"
    said = shown.out + shown.err + words_of(caplog)
    bad = [f"{MARKER.lower()}_jones_{row}" for row in (NUM_ROWS, NUM_ROWS + 1)]
    assert "are bad" in said and bad[0] in said, "the logs are what is looked through"
    for name in bad:
        said = said.replace(name, "")  # of a row that stops a command, its id is said, so that it can be repaired
    assert MARKER.lower() not in said.lower()

    sent = plan_push(run, "org/model").selection
    contents = [file.content if isinstance(file.content, bytes) else file.content.read_bytes() for file in sent.files]
    assert not any(MARKER.lower().encode() in content.lower() for content in contents)
    assert MARKER.lower() not in (run / "README.md").read_text().lower()
    assert "--allow_examples" in sent.left_out["report.html"] and "training_index.parquet" in sent.left_out
    allowed = plan_push(run, "org/model", allow_examples=True).selection
    assert {"report.html"} == {file.path for file in allowed.files} - {file.path for file in sent.files}
