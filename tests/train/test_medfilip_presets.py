"""Presets of MedFILIP and of what it is compared with: each trains from random weights; settings must fit together."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoTokenizer, PreTrainedConfig

from phenolip.exceptions import ConfigurationError
from phenolip.inference.encoder import Encoder
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.ontology.knowledge_file import read_knowledge
from phenolip.train import stage2
from phenolip.train.arguments import RunArguments, parse
from phenolip.train.matching_arguments import LATER_SETTINGS, without_later_defaults
from phenolip.train.optimizer import build_optimizer, restarted_factor
from phenolip.train.teacher import load_text_model

CONFIGS = Path(stage2.__file__).parent / "configs"
PRESETS = ("medfilip_paper", "medfilip_code", "medfilip_mini", "convirt", "medclip")
KINDS = (stage2.ModelArguments, stage2.DataArguments, stage2.LossArguments, RunArguments)
SQUARE, RED_SQUARE = "HP:9900004", "HP:9900006"


@pytest.fixture(scope="module")
def towers(tiny_model_dir, tmp_path_factory):
    """Folders of a text model of transformers, of the knowledge encoder and of the vision side; random weights."""
    folder = tmp_path_factory.mktemp("towers")
    model = PhenoLIPModel.from_pretrained(tiny_model_dir)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir, config=PreTrainedConfig())
    model.text_model.tower.save_pretrained(folder / "bert")
    model.text_model.save_pretrained(folder / "text")
    model.vision_model.save_pretrained(folder / "vision")
    for name in ("bert", "text"):
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Six pairs; findings that are graded, denied, doubted, without a term, and none at all."""
    folder = tmp_path_factory.mktemp("pairs")
    said = [
        [{"category": "square", "severity": "mild", "location": "left", "hpo_id": SQUARE}],
        [{"category": "red square", "hpo_id": RED_SQUARE}, {"category": "hatching", "severity": "severe"}],
        [{"category": "square", "assertion": "absent", "hpo_id": SQUARE}],
        [],
        [{"category": "hatching"}, {"category": "square", "assertion": "uncertain", "hpo_id": SQUARE}],
        [{"category": "square", "severity": "severe", "hpo_id": SQUARE}],
    ]
    lines = []
    for row, findings in enumerate(said):
        pixels = np.random.default_rng(row).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row}.png")
        lines.append({"file_name": f"{row}.png", "caption": f"picture {row}", "findings": findings})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def train(towers, pairs, slice_path, tmp_path):
    """Function that takes two steps of two rows with a preset over small towers and returns the folder."""

    def run(preset, settings=""):
        call = f"--config {CONFIGS / preset}.yaml --data {pairs} --hpo {slice_path} --output_dir {tmp_path / preset}"
        call += f" --text_path {towers / 'bert'} --vision_path {towers / 'vision'} --image_size 32 --max_length 64"
        call += " --batch_size 2 --max_steps 2 --log_steps 1 --num_threads 1"
        stage2.main([*call.split(), *settings.split()])
        return tmp_path / preset

    return run


@pytest.mark.parametrize(
    ("preset", "settings", "parts"),
    [
        ("medfilip_paper", "--ssm_model {bert}", {"matching_mse", "matching_ce"}),
        ("medfilip_code", "--ssm_model {bert}", {"matching_mse", "matching_ce"}),
        ("medfilip_mini", "--knowledge_encoder {text}", {"image_text", "matching_mse", "matching_ce"}),
        ("convirt", "", {"image_text"}),
        ("gloria", "", {"image_text", "local_region_word"}),
        ("medclip", "", {"matching_ce"}),
    ],
)
def test_a_preset_takes_two_steps_from_random_weights(train, towers, preset, settings, parts):
    folder = train(preset, settings.format(bert=towers / "bert", text=towers / "text"))
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert {name for name in lines[0] if name.startswith(("image_", "matching_", "local_"))} == parts
    assert Encoder.from_pretrained(folder, "cpu").encode_texts(["square"]).shape[0] == 1
    if preset in ("convirt", "gloria"):
        assert not (folder / "targets.json").exists() and not (folder / "knowledge.json").exists()
        return
    histogram = json.loads((folder / "targets.json").read_text())
    assert sum(histogram["counts"]) > 0 and histogram["num_batches"] == 3
    prompt = read_knowledge(folder / "knowledge.json").prompt("square", severity="mild", location="left")
    assert prompt.startswith("mild left ")


def settings_of(preset, *argv):
    parsed = parse(KINDS, ["--config", str(CONFIGS / f"{preset}.yaml"), "--data", "x", *argv], description="x")
    return {name: value for part in parsed for name, value in vars(part).items()}


def test_the_papers_preset_says_what_the_paper_says():
    paper, code = settings_of("medfilip_paper"), settings_of("medfilip_code")
    assert (paper["optimizer"], paper["learning_rate"], paper["schedule"]) == ("sgd", 0.006, "cosine_restarts")
    assert (paper["image_size"], paper["grayscale"], paper["num_epochs"]) == (448, True, 100)
    assert (code["learning_rate"], code["num_epochs"], code["ssm_gate"]) == (1e-4, 20, "category")
    assert (code["matching_mse"], code["matching_ce"]) == ("logits", "bce")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("--fine_grained true", "`text_unit` must be entity where `fine_grained` is on, got 'report'"),
        ("--knowledge hpo", "`text_unit` must be entity for `knowledge: hpo`, got 'report'"),
        ("--text_unit entity --knowledge flat", "`knowledge_file` must be given for `knowledge: flat`, got None"),
        ("--text_unit entity --knowledge_file x", "`knowledge_file` must be left out for `knowledge: none`"),
        ("--targets ssm --ssm_gate category", "`ssm_gate` must be none where `text_unit` is report"),
        ("--text_unit entity --ssm_gate category", "`ssm_gate` must be none unless `targets` is ssm"),
        ("--ssm_model x", "`ssm_model` must be left out unless `targets` is ssm, got 'x'"),
        ("--targets ssm", "`ssm_model` must be given for `targets: ssm`, got None"),
        (
            "--targets identity --caption_target_weight 0.3",
            "`caption_target_weight` must be 0 where `targets` is iden",
        ),
        ("--matching_weight 1 --matching_mse none --matching_ce none", "`matching_weight` must be 0 where"),
        ("--matching_weight nan", "`matching_weight` must be 0 or above, got nan"),
        ("--contrastive_weight 0", "`contrastive_weight` must be above 0 where every other weight is 0, got 0.0"),
        ("--text_unit entity --local_weight 1", "`local_weight` must be 0 for `text_unit: entity`, got 1.0"),
        ("--local_weight -1", "`local_weight` must be 0 or above, got -1.0"),
        ("--text_unit entity --slot_dropout 1.5", "`slot_dropout` must be from 0 to 1, got 1.5"),
        ("--synonym_probability 0.2", "`synonym_probability` must be 0 where `text_unit` is report, got 0.2"),
        ("--max_findings 0", "`max_findings` must be 1 or above, got 0"),
        ("--matching_target_temperature 0", "`matching_target_temperature` must be above 0, got 0.0"),
        ("--momentum 1", "`momentum` must be at least 0 and below 1, got 1.0"),
        ("--restart_epochs 0", "`restart_epochs` must be above 0, got 0.0"),
        ("--restart_growth 0", "`restart_growth` must be 1 or above, got 0"),
    ],
)
def test_settings_that_do_not_go_together_end_with_one_sentence(settings, message):
    call = "--data x --output_dir y --knowledge_weight 0"
    with pytest.raises(ConfigurationError, match=message) as raised:
        parse(KINDS, [*call.split(), *settings.split()], description="x")
    assert "\n" not in str(raised.value)


def test_forms_that_need_captions_are_refused_for_findings():
    call = "--data x --output_dir y --knowledge_encoder z --text_unit entity --distillation relational"
    with pytest.raises(ConfigurationError, match="`distillation` must be without relational and responses where"):
        parse(KINDS, call.split(), description="x")


def test_the_local_term_needs_towers_that_are_read_anew(train):
    with pytest.raises(
        ConfigurationError, match="`local_weight` must be 0 where `cached_views` or `freeze_text` is g"
    ):
        train("gloria", "--freeze_text true")


def test_texts_that_change_by_chance_resume_to_the_bit(train, towers):
    chances = "--slot_dropout 0.5 --synonym_probability 0.5 --fine_grained true --knowledge hpo"
    settings = f"{chances} --knowledge_encoder {towers / 'text'} --freeze_text false --max_steps 5"
    whole = load_file(train("medfilip_mini", settings) / "model.safetensors")
    with pytest.raises(SystemExit):
        train("medfilip_mini", f"{settings} --stop_after_steps 2 --overwrite true")
    resumed = load_file(train("medfilip_mini", f"{settings} --resume true --num_workers 1") / "model.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    plain = load_file(train("medfilip_mini", settings[len(chances) :] + " --overwrite true") / "model.safetensors")
    assert not all(torch.equal(tensor, plain[name]) for name, tensor in whole.items())
    with pytest.raises(ConfigurationError, match="`slot_dropout` must be 0 where `freeze_text` is given, got 0.5"):
        train("medfilip_mini", f"{settings} --freeze_text true")


def test_rows_without_findings_are_refused(train, pairs, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for line in (pairs / "metadata.jsonl").read_text().splitlines():
        row = json.loads(line)
        (bare / row["file_name"]).symlink_to(pairs / row["file_name"])
        with open(bare / "metadata.jsonl", "a") as file:
            file.write(json.dumps({"file_name": row["file_name"], "caption": row["caption"]}) + "\n")
    with pytest.raises(ConfigurationError, match="`text_unit: entity` needs rows with findings that are present"):
        train("medclip", f"--data {bare}")


def test_a_text_model_that_is_none_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="`ssm_model` must be a Stage 1 folder, or a folder or Hub id of"):
        load_text_model(tmp_path, 16)


def test_a_text_model_averages_its_tokens_whatever_the_padding(towers):
    model, tokenize = load_text_model(towers / "bert", 32)
    alone, padded = model(**tokenize(["ab"])), model(**tokenize(["ab", "a longer text"]))
    torch.testing.assert_close(alone["text_embeds"][0], padded["text_embeds"][0], rtol=1e-5, atol=1e-6)
    assert alone["text_embeds"].norm().item() == pytest.approx(1)


def test_runs_of_earlier_versions_keep_their_identity():
    plain = {"preset": "mini", "targets": "multi_hot"}
    assert without_later_defaults({**plain, **LATER_SETTINGS}) == plain
    assert without_later_defaults({**plain, "matching_weight": 0.5}) == {**plain, "matching_weight": 0.5}


def test_restarts_begin_anew_and_sgd_has_its_groups():
    factors = [restarted_factor(step, 4, 1, 0.1) for step in range(8)]
    assert factors[:4] == factors[4:] and factors[0] == 1 and factors[2] == pytest.approx(0.55)
    grown = [restarted_factor(step, 2, 3, 0.0) for step in range(8)]
    assert [step for step, factor in enumerate(grown) if factor == 1] == [0, 2]
    run = parse(
        (RunArguments,), "--output_dir x --optimizer sgd --momentum 0.9 --weight_decay 0.1".split(), description=""
    )
    optimizer = build_optimizer(torch.nn.Linear(2, 2), run[0])
    assert isinstance(optimizer, torch.optim.SGD)
    assert [(group["weight_decay"], group["momentum"]) for group in optimizer.param_groups] == [(0.1, 0.9), (0.0, 0.9)]
