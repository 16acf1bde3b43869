"""Joined folders: what they say of their training, what is replaced, and what a joined model is not for."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoTokenizer, PreTrainedConfig

from phenolip.cli import main
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.hub.convert_config_back import write_config
from phenolip.hub.export_sentence_transformers import export_sentence_transformers
from phenolip.hub.join import join_folders
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train.saved_model import load_saved
from phenolip.train.towers import build_preset


def member_of(folder, seed):
    """The small model with other weights in its image tower, its projections and its temperature."""
    model = PhenoLIPModel.from_pretrained(folder)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.startswith("text_model.tower."):
                weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return model.eval()


@pytest.fixture
def saved_members(tiny_model_dir, tmp_path):
    folders = []
    for seed in range(2):
        folder = tmp_path / f"member_{seed}"
        shutil.copytree(tiny_model_dir, folder)
        member_of(tiny_model_dir, seed).save_pretrained(folder)
        record = {"num_steps": 10, "hpo_release": "2025-01-16", "data": {"name": "pairs", "num_rows": 3}}
        (folder / "run.json").write_text(json.dumps(record))
        ids = [f"HP:000000{seed}", "HP:0000005"]
        (folder / "phenotypes.json").write_text(json.dumps([{"hpo_id": hpo_id, "name": hpo_id} for hpo_id in ids]))
        rows = pa.table({"sha256": ["a", "b", f"c{seed}"], "row_id": ["1", "2", "3"]})
        pq.write_table(rows, folder / "training_index.parquet")
        folders.append(folder)
    return folders


def test_a_joined_folder_says_what_its_members_were_trained_on(saved_members, tmp_path, capsys):
    output = tmp_path / "joined"
    assert main(["join", *map(str, saved_members), "--output", str(output)]) == 0
    assert f"Joined 2 models: {output}" in capsys.readouterr().out
    record = json.loads((output / "run.json").read_text())
    assert record["num_steps"] == 20 and record["data"]["num_rows"] == 3 and len(record["members"]) == 2
    candidates = [entry["hpo_id"] for entry in json.loads((output / "phenotypes.json").read_text())]
    assert candidates == ["HP:0000000", "HP:0000001", "HP:0000005"]
    index = pq.read_table(output / "training_index.parquet")
    assert index["sha256"].to_pylist() == ["a", "b", "c0", "c1"]
    assert "not for diagnosis" in (output / "README.md").read_text()
    model, _ = load_saved(output, image_size=32)
    assert model.config.vision_config.num_parts == 2
    assert main(["join", *map(str, saved_members), "--output", str(output)]) == 2
    assert "must be a new or empty folder" in capsys.readouterr().err
    (output / "log.jsonl").write_text("of an earlier run")
    assert main(["join", *map(str, saved_members), "--output", str(output), "--overwrite"]) == 0
    assert not (output / "log.jsonl").exists() and (output / "model.safetensors").is_file()


def test_a_folder_that_holds_no_model_or_a_member_is_not_replaced(saved_members, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ConfigurationError, match="must be a new or empty folder"):
        join_folders(saved_members, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "notes.txt").exists()
    with pytest.raises(ConfigurationError, match="`members` must be model folders other than `output`, got"):
        join_folders(saved_members, saved_members[0], overwrite=True)
    with pytest.raises(ConfigurationError, match="`members` must be model folders other than `output`, got"):
        join_folders([saved_members[0], tmp_path / "absent"], tmp_path / "joined")
    assert (saved_members[0] / "model.safetensors").is_file()


def test_members_that_read_differently_are_named(saved_members, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(saved_members[1], config=PreTrainedConfig(), model_max_length=9)
    tokenizer.save_pretrained(saved_members[1])
    with pytest.raises(ConfigurationError, match=r"must read images and texts alike, but the processor of .*member_1"):
        join_folders(saved_members, tmp_path / "joined")


def test_members_of_other_data_share_no_record_of_it(saved_members, tmp_path):
    record = json.loads((saved_members[1] / "run.json").read_text())
    record["data"]["name"] = "other pairs"
    (saved_members[1] / "run.json").write_text(json.dumps(record))
    join_folders(saved_members, tmp_path / "joined")
    joined = json.loads((tmp_path / "joined" / "run.json").read_text())
    assert "data" not in joined and joined["hpo_release"] == "2025-01-16"
    assert [member["data"]["name"] for member in joined["members"]] == ["pairs", "other pairs"]


@pytest.mark.parametrize("name", ["run.json", "phenotypes.json", "training_index.parquet"])
def test_a_damaged_file_is_named_and_nothing_is_left(saved_members, tmp_path, name):
    (saved_members[1] / name).write_text("{")
    with pytest.raises(DataError, match=name):
        join_folders(saved_members, tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_a_joined_model_is_not_for_libraries_that_know_one_part(saved_members, tmp_path):
    join_folders(saved_members, tmp_path / "joined")
    with pytest.raises(ConfigurationError, match="must have one part, got 2: sentence-transformers has no layer"):
        export_sentence_transformers(tmp_path / "joined", tmp_path / "out")
    with pytest.raises(ConfigurationError, match="it is joined of 2 models: name one of them"):
        build_preset("mini", vision_path=tmp_path / "joined", random_init=True)
    config = PhenoLIPModel.from_pretrained(tmp_path / "joined").config
    with pytest.raises(ConfigurationError, match="`vision_config.num_parts` must be one of 1, got 2"):
        write_config(config, context_length=16, hf_model_name=None)
