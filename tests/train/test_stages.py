import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from accelerate.state import AcceleratorState
from transformers import AutoTokenizer, PreTrainedConfig

from phenolip.inference.encoder import Encoder
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train import stage1, stage2
from phenolip.train.objective_stage1 import KnowledgeObjective


@pytest.fixture(scope="module")
def text_dir(tiny_model_dir, tmp_path_factory):
    """The text side of the small model, as a folder of its own."""
    folder = tmp_path_factory.mktemp("text")
    PhenoLIPModel.from_pretrained(tiny_model_dir).text_model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model_dir, config=PreTrainedConfig()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def knowledge_dir(text_dir, slice_path, tmp_path_factory):
    """A Stage 1 run of two steps on the made-up ontology."""
    folder = tmp_path_factory.mktemp("stage1")
    AcceleratorState._reset_state(True)
    call = f"--output_dir {folder} --text_path {text_dir} --hpo {slice_path} --max_length 32 --max_steps 2"
    stage1.main([*call.split(), "--batch_size", "6", "--evaluation_definitions", "5"])
    return folder


def test_stage1_leaves_a_model_its_record_and_the_measurement(knowledge_dir):
    embeds = Encoder.from_pretrained(knowledge_dir, "cpu").encode_texts(["Red square", "Odd shape"])
    assert embeds.shape == (2, 16)
    record = json.loads((knowledge_dir / "run.json").read_text())
    assert record["stage"] == "stage1" and record["hpo_release"] and record["packages"]["torch"]
    measured = json.loads((knowledge_dir / "knowledge.json").read_text())["metrics"]
    assert set(measured["spearman_lin_uniform"]) == {"before", "after"}


def test_relatives_are_pairs_of_ancestor_and_descendant(tiny_model_dir, ontology):
    import torch

    hpo_ids = list(ontology.term_ids())
    encoder = PhenoLIPModel.from_pretrained(tiny_model_dir).text_model
    settings = {"temperature": 0.07, "learn_temperature": False, "chunk_size": 8}
    objective = KnowledgeObjective(encoder, hpo_ids, ontology, mask_relatives=True, **settings)
    found = objective._relatives(torch.arange(len(hpo_ids)))
    for i, a in enumerate(hpo_ids):
        for j, b in enumerate(hpo_ids):
            assert found[i, j].item() == (a in ontology.ancestors(b) or b in ontology.ancestors(a))
    assert KnowledgeObjective(encoder, hpo_ids, ontology, mask_relatives=False, **settings)._relatives(found) is None


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    """Twelve pairs as an ImageFolder, labelled with terms of the made-up ontology."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("pairs")
    (folder / "images").mkdir()
    rows = []
    for row in range(12):
        pixels = np.random.default_rng(row).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{row}.png")
        hpo_ids = [f"HP:990000{row % 3 + 3}"]
        rows.append({"file_name": f"images/{row}.png", "caption": f"a picture number {row}", "hpo_ids": hpo_ids})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize("freeze_text", ["true", "false"])
def test_stage2_leaves_a_model_that_predicts_and_knows_its_data(
    knowledge_dir, text_dir, tiny_model_dir, slice_path, image_folder, tmp_path, freeze_text
):
    vision_dir = tmp_path / "vision"
    PhenoLIPModel.from_pretrained(tiny_model_dir).vision_model.save_pretrained(vision_dir)
    output_dir = tmp_path / "stage2"
    call = f"--data {image_folder} --hpo {slice_path} --output_dir {output_dir} --knowledge_encoder {knowledge_dir}"
    call += f" --text_path {text_dir} --vision_path {vision_dir} --image_size 32 --max_length 32 --projection_dim 24"
    call += f" --name_weight 1 --freeze_text {freeze_text} --max_steps 3 --batch_size 4 --log_steps 1"
    stage2.main(call.split())
    encoder = Encoder.from_pretrained(output_dir, "cpu")
    assert encoder.encode_texts(["Red square"]).shape == (1, 24)
    assert {row["hpo_id"] for row in json.loads((output_dir / "phenotypes.json").read_text())} == {
        "HP:9900003", "HP:9900004", "HP:9900005",
    }  # fmt: skip
    assert pq.read_table(output_dir / "training_index.parquet").num_rows == 12
    line = json.loads((output_dir / "log.jsonl").read_text().splitlines()[0])
    assert {"loss", "image_text", "knowledge_contrastive", "image_name", "temperature"} <= set(line)


def test_a_wrong_call_ends_with_one_sentence_and_exit_code_2(tmp_path):
    call = [sys.executable, stage2.__file__, "--output_dir", str(tmp_path), "--data", "x", "--knowledge_weight", "-1"]
    ended = subprocess.run(call, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == "error: `knowledge_weight` must be 0 or above, got -1.0."
    assert "Traceback" not in ended.stderr
