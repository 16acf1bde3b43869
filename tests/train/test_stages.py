import json
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import AutoTokenizer, PreTrainedConfig

from phenolip.exceptions import ConfigurationError
from phenolip.inference.encoder import Encoder
from phenolip.modeling_phenolip import PhenoLIPModel, PhenoLIPVisionModel
from phenolip.train import pair_inputs, stage1, stage2
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
    measured = json.loads((knowledge_dir / "knowledge_measured.json").read_text())["metrics"]
    assert set(measured["spearman_lin_uniform"]) == {"before", "after"}


def test_dropout_of_stage1_is_that_of_the_tower_alone(text_dir, slice_path, tmp_path, monkeypatch):
    AcceleratorState._reset_state(True)
    seen = []
    monkeypatch.setattr(stage1, "set_dropout", lambda module, probability: seen.append((module, probability)))
    call = f"--output_dir {tmp_path} --text_path {text_dir} --hpo {slice_path} --max_length 32 --max_steps 1"
    stage1.main([*call.split(), "--batch_size", "6", "--dropout", "0.3", "--evaluate", "false"])
    ((module, probability),) = seen
    assert probability == 0.3 and not any(name.startswith("projection") for name, _ in module.named_modules())


def test_relatives_are_pairs_of_ancestor_and_descendant(tiny_model_dir, ontology):
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


@pytest.fixture(scope="module")
def vision_dir(tiny_model_dir, tmp_path_factory):
    """The vision side of the small model, as a folder of its own."""
    folder = tmp_path_factory.mktemp("vision")
    PhenoLIPModel.from_pretrained(tiny_model_dir).vision_model.save_pretrained(folder)
    return folder


@pytest.fixture
def train_stage2(knowledge_dir, text_dir, vision_dir, slice_path, image_folder, tmp_path):
    """Function that trains the small model with some settings and returns its folder."""

    def train(settings, name="stage2"):
        AcceleratorState._reset_state(True)
        call = f"--data {image_folder} --hpo {slice_path} --output_dir {tmp_path / name}"
        call += f" --knowledge_encoder {knowledge_dir} --text_path {text_dir} --vision_path {vision_dir}"
        call += " --image_size 32 --max_length 32 --projection_dim 24 --max_steps 3 --batch_size 4 --log_steps 1"
        stage2.main([*call.split(), *settings.split()])
        return tmp_path / name

    return train


def first_line(output_dir):
    return json.loads((output_dir / "log.jsonl").read_text().splitlines()[0])


@pytest.mark.parametrize("freeze_text", ["true", "false"])
def test_stage2_leaves_a_model_that_predicts_and_knows_its_data(train_stage2, freeze_text):
    output_dir = train_stage2(f"--name_weight 1 --freeze_text {freeze_text}")
    encoder = Encoder.from_pretrained(output_dir, "cpu")
    assert encoder.encode_texts(["Red square"]).shape == (1, 24)
    assert {row["hpo_id"] for row in json.loads((output_dir / "phenotypes.json").read_text())} == {
        "HP:9900003", "HP:9900004", "HP:9900005",
    }  # fmt: skip
    index = pq.read_table(output_dir / "training_index.parquet")
    assert index.num_rows == 12 and all(index["hpo_ids"].to_pylist())
    assert {"sha256", "row_id", "group_id", "caption_sha256", "phash"} <= set(index.column_names)
    expected = {"loss", "image_text", "knowledge_contrastive", "image_name", "temperature"}
    assert expected <= set(first_line(output_dir))


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ("--distillation cosine --targets closure --closure_information 0.7 --caption_target_weight 0.3", {"cosine"}),
        (
            "--distillation anchors=0.5 responses --targets lin --caption_target_weight 1 --order siblings "
            "--freeze_text true",
            {"anchors", "responses"},
        ),
        ("--distillation names --order balanced --rows_per_phenotype 2 --share_scale true", {"names"}),
        (
            "--distillation contrastive relational=2 --order length --first_image_size 40 --num_first_epochs 1",
            {"contrastive", "relational"},
        ),
        ("--knowledge_weight 0 --name_weight 1 --targets closure --closure_information 0.7", set()),
    ],
)
def test_stage2_with_every_form_target_and_order(train_stage2, settings, parts):
    line = first_line(train_stage2(settings))
    assert {name for name in line if name.startswith("knowledge_")} == {f"knowledge_{part}" for part in parts}
    weights = {entry.split("=")[0]: float((entry.split("=") + ["1"])[1]) for entry in settings.split()}
    total = line["image_text"] + sum(0.3 * weights[part] * line[f"knowledge_{part}"] for part in parts)
    assert line["loss"] == pytest.approx(total + line.get("image_name", 0), rel=1e-4)


def test_projections_sizes_and_layers_of_the_saved_model(train_stage2, tmp_path):
    settings = "--text_projection residual --vision_projection mlp --vision_dropout 0.25 --inference_image_size 64"
    folder = train_stage2(f"{settings} --text_layers 1 --freeze_text true --max_minutes 60")
    config = json.loads((folder / "config.json").read_text())
    assert config["text_config"]["projection"] == "residual" and config["vision_config"]["projection"] == "mlp"
    assert config["vision_config"]["projection_dropout"] == 0.25
    assert config["text_config"]["tower_config"]["num_hidden_layers"] == 1
    encoder = Encoder.from_pretrained(folder, "cpu")
    assert encoder.image_processor.size["height"] == encoder.image_processor.size["width"] == 64
    assert json.loads((folder / "run.json").read_text())["num_steps"] == 3
    correction = load_file(folder / "model.safetensors")["text_model.projection.layers.correction.weight"]
    assert correction.abs().max() > 0  # it began as zero


def test_a_teacher_reads_captions_only_where_a_form_asks_for_them(train_stage2, monkeypatch):
    seen = []
    encode = pair_inputs.encode_texts
    monkeypatch.setattr(
        pair_inputs, "encode_texts", lambda *args, **kwargs: seen.append(args[2]) or encode(*args, **kwargs)
    )
    train_stage2("--distillation names --name_weight 1", "names")
    assert not any(text.startswith("a picture") for texts in seen for text in texts)
    train_stage2("--distillation names contrastive", "captions")
    assert any(text.startswith("a picture") for texts in seen for text in texts)


def tower_weights(folder):
    return PhenoLIPModel.from_pretrained(folder).vision_model.tower.state_dict()


def test_a_frozen_tower_with_cached_views_stays_and_resumes_to_the_bit(train_stage2, vision_dir):
    settings = "--cached_views 2 --vision_blocks 0 --order siblings --freeze_text true --num_epochs 3 --max_steps -1"
    whole = train_stage2(settings)
    pretrained = PhenoLIPVisionModel.from_pretrained(vision_dir).tower.state_dict()
    assert all(torch.equal(tensor, pretrained[name]) for name, tensor in tower_weights(whole).items())
    with pytest.raises(SystemExit) as stopped:
        train_stage2(f"{settings} --stop_after_steps 4", "parts")
    assert stopped.value.code == 75
    torch.rand(3)
    parts = train_stage2(f"{settings} --resume true", "parts")
    resumed = load_file(parts / "model.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in load_file(whole / "model.safetensors").items())
    with pytest.raises(ConfigurationError, match="was made with another settings"):
        train_stage2(f"{settings} --resume true --siblings_per_group 3", "parts")


def test_a_run_does_not_go_on_with_its_rows_in_another_order(train_stage2, image_folder, tmp_path):
    pairs = shutil.copytree(image_folder, tmp_path / "pairs")
    with pytest.raises(SystemExit):
        train_stage2(f"--data {pairs} --stop_after_steps 1")
    lines = (pairs / "metadata.jsonl").read_text().splitlines(keepends=True)
    (pairs / "metadata.jsonl").write_text("".join(lines[::-1]))
    with pytest.raises(ConfigurationError, match="was made with another row_order;"):
        train_stage2(f"--data {pairs} --resume true")


def test_only_the_last_blocks_move(train_stage2, vision_dir):
    trained = tower_weights(train_stage2("--vision_blocks 1"))
    pretrained = PhenoLIPVisionModel.from_pretrained(vision_dir).tower.state_dict()
    moved = {name for name, tensor in trained.items() if not torch.equal(tensor, pretrained[name])}
    assert moved and not any(name.startswith("embeddings") or ".0." in name for name in moved)


@pytest.mark.slow
def test_a_tower_from_random_weights_is_not_the_pretrained_one(train_stage2, vision_dir):
    first, again = (tower_weights(train_stage2("--random_vision true --max_steps 1", name)) for name in ("a", "b"))
    pretrained = PhenoLIPVisionModel.from_pretrained(vision_dir).tower.state_dict()
    name = "embeddings.patch_embeddings.projection.weight"
    assert torch.equal(first[name], again[name]) and not torch.allclose(first[name], pretrained[name], atol=1e-3)


def test_phenotypes_are_asked_for_where_a_loss_needs_them(train_stage2, image_folder, tmp_path):
    rows = [json.loads(line) for line in (image_folder / "metadata.jsonl").read_text().splitlines()]
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "images").symlink_to(image_folder / "images")
    bare = "".join(json.dumps({name: row[name] for name in ("file_name", "caption")}) + "\n" for row in rows)
    (tmp_path / "bare" / "metadata.jsonl").write_text(bare)
    for needy in ("--distillation responses", "--name_weight 1", "--caption_target_weight 0.1"):
        with pytest.raises(ConfigurationError, match="No row of .*bare has an HPO id; set `name_weight: 0`"):
            train_stage2(f"--data {tmp_path / 'bare'} {needy}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "--cached_views 1 --vision_blocks 0 --first_image_size 40 --num_first_epochs 1",
            "`first_image_size` must be",
        ),
        (
            "--max_minutes 5 --first_image_size 40 --num_first_epochs 1",
            "`max_minutes` must be 0 where `first_image_size` is given, got 5.0",
        ),
        ("--cutmix 1 --distillation anchors", "`distillation` must be without anchors, relational, responses where"),
        ("--cutmix 1 --batch_size 3", "`batch_size` must be even on each process where `cutmix` is above 0, got 3"),
        ("--cutmix 1 --micro_batch_size 3", "`micro_batch_size` must be even where `cutmix` is above 0, got 3"),
        ("--cutmix 1 --contrastive sigmoid", "`contrastive` must be softmax where `cutmix` is above 0, got 'sigmoid'"),
        ("--cutmix 1.5", "`cutmix` must be between 0 and 1, got 1.5"),
        ("--vision_blocks 3", "`vision_blocks` must be from 0 to 2 for this tower, got 3"),
    ],
)
def test_settings_that_do_not_go_together_are_named(train_stage2, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        train_stage2(settings)


def test_mixed_images_train_and_resume_to_the_bit(train_stage2):
    settings = "--cutmix 1 --name_weight 1 --distillation contrastive names --micro_batch_size 2"
    whole = train_stage2(settings)
    plain = train_stage2(settings.replace("cutmix 1", "cutmix 0"), "plain")
    assert first_line(whole)["image_text"] != first_line(plain)["image_text"]
    with pytest.raises(SystemExit):
        train_stage2(f"{settings} --stop_after_steps 1", "stopped")
    resumed = train_stage2(f"{settings} --resume true", "stopped")
    assert (whole / "model.safetensors").read_bytes() == (resumed / "model.safetensors").read_bytes()


def test_a_student_cannot_start_as_a_teacher_that_is_not_named(slice_path, image_folder, tmp_path):
    call = f"--data {image_folder} --hpo {slice_path} --output_dir {tmp_path} --knowledge_weight 0"
    with pytest.raises(ConfigurationError, match="`knowledge_encoder` must be given for `init_from_teacher`"):
        stage2.main([*call.split(), "--init_from_teacher", "true"])


@pytest.mark.slow
def test_a_wrong_call_ends_with_one_sentence_and_exit_code_2(tmp_path):
    call = [sys.executable, stage2.__file__, "--output_dir", str(tmp_path), "--data", "x", "--knowledge_weight", "-1"]
    ended = subprocess.run(call, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == "error: `knowledge_weight` must be 0 or above, got -1.0."
    assert "Traceback" not in ended.stderr
