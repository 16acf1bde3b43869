"""Conversion both ways against what open_clip recorded, and every trap on the way.

Where open_clip is installed, against open_clip itself:
.venv-open-clip/bin/python -m pytest -m slow tests/hub/test_convert.py
"""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from phenolip.cli import main
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.hub.convert import from_open_clip, to_open_clip
from phenolip.hub.convert_check import verify
from phenolip.hub.convert_inputs import clip_tokenizer
from phenolip.inference.encoder import Encoder
from phenolip.modeling_phenolip import PhenoLIPModel

FIXTURES = Path(__file__).parents[1] / "fixtures" / "converted"
MODELS = sorted(file.parent.name for file in FIXTURES.glob("*/recorded.json"))
WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"
needs_open_clip = pytest.mark.skipif(find_spec("open_clip") is None, reason="make venv-open-clip")


def changed(checkpoint, folder, *, model_cfg=None, vision_cfg=None, text_cfg=None, weights=None):
    """A checkpoint with other settings or tensors; None takes away."""
    shutil.copytree(checkpoint, folder)
    settings = json.loads((folder / CONFIG).read_text())
    model = settings["model_cfg"]
    for part, values in ((model, model_cfg), (model["vision_cfg"], vision_cfg), (model["text_cfg"], text_cfg)):
        part.update(values or {})
    (folder / CONFIG).write_text(json.dumps(settings))
    if weights:
        tensors = load_file(folder / WEIGHTS) | weights
        save_file({name: value for name, value in tensors.items() if value is not None}, folder / WEIGHTS)
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_a_converted_model_gives_what_open_clip_recorded(name, converted, recorded, fixtures):
    encoder, found = Encoder.from_pretrained(converted[name], "cpu"), recorded(name)
    images, texts = encoder.encode_images(fixtures.made_pictures()), encoder.encode_texts(fixtures.TEXTS)
    np.testing.assert_allclose(images, found["image_embeds"], atol=5e-6)
    np.testing.assert_allclose(texts, found["text_embeds"], atol=5e-6)
    np.testing.assert_allclose(images @ texts.T, found["image_embeds"] @ found["text_embeds"].T, atol=1e-5)
    np.testing.assert_allclose(encoder.logit_scale * images @ texts.T, found["logits_per_image"], atol=1e-4)
    ids = encoder.tokenizer(fixtures.TEXTS, padding="max_length", truncation=True)["input_ids"]
    np.testing.assert_array_equal(ids, found["tokens"])
    # inputs must matter, else any model would pass
    assert np.ptp(found["logits_per_image"], axis=0).min() > 1e-2 < np.ptp(found["logits_per_image"], axis=1).min()


@pytest.mark.parametrize("name", MODELS)
def test_there_and_back_holds_the_same_tensors(name, checkpoints, converted, tmp_path):
    done = to_open_clip(converted[name], tmp_path / "back", text_tower=None)
    before, after = load_file(checkpoints[name] / WEIGHTS), load_file(tmp_path / "back" / WEIGHTS)
    assert done.num_tensors == len(after)
    if name == "timm_head_custom_text":  # written in the plain form: the head beside the trunk, the text at the root
        before = {key.removeprefix("text."): value for key, value in before.items()}
        for kind in ("weight", "bias"):
            before[f"visual.head.proj.{kind}"] = before.pop(f"visual.trunk.head.{kind}")
    if name == "timm_mean_mlp":
        assert not after.pop("visual.head.mlp.fc2.bias").any()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key].reshape(after[key].shape), after[key]) for key in before)


@pytest.mark.parametrize("name", MODELS)
def test_once_more_from_what_came_back(name, checkpoints, converted, tmp_path):
    to_open_clip(converted[name], tmp_path / "back")
    tower = checkpoints[name] / "text"
    from_open_clip(tmp_path / "back", tmp_path / "again", text_tower=str(tower) if tower.exists() else None)
    one, two = (PhenoLIPModel.from_pretrained(path) for path in (converted[name], tmp_path / "again"))
    first, second = one.state_dict(), two.state_dict()
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    assert verify(tmp_path / "again") < 1e-6


@needs_open_clip
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_open_clip_itself_agrees_both_ways(name, checkpoints, tmp_path):
    source = checkpoints[name]
    if (source / "text").exists():  # open_clip takes a path as it stands
        source = changed(source, tmp_path / "source", text_cfg={"hf_model_name": str(source / "text")})
    tower = str(checkpoints[name] / "text") if (source / "text").exists() else None
    there = from_open_clip(source, tmp_path / "there", text_tower=tower)
    back = to_open_clip(tmp_path / "there", tmp_path / "back", text_tower=tower)
    assert there.difference is not None and there.difference < 1e-5
    assert back.difference is not None and back.difference < 1e-5
    assert verify(tmp_path / "back") < 1e-6


def test_the_record_and_its_check(converted, tmp_path, capsys):
    folder = tmp_path / "folder"
    shutil.copytree(converted["biomedclip"], folder)
    record = json.loads((folder / "conversion.json").read_text())
    assert np.array(record["check"]["logits_per_image"]).shape == (3, 5)
    assert record["source"]["format"] == "open_clip" and WEIGHTS in record["source"]["sha256"]
    assert main(["convert", "check", str(folder)]) == 0 and "as recorded" in capsys.readouterr().out
    record["check"]["logits_per_image"][0][0] += 0.01
    (folder / "conversion.json").write_text(json.dumps(record))
    assert main(["convert", "check", str(folder)]) == 1
    assert "must give the cosines written in it" in capsys.readouterr().err
    record["check"]["inputs_sha256"] = "0"
    (folder / "conversion.json").write_text(json.dumps(record))
    with pytest.raises(ConfigurationError, match="logits of this version's inputs"):
        verify(folder)
    with pytest.raises(ConfigurationError, match="must hold a conversion.json"):
        verify(tmp_path)


def test_missing_and_left_over_tensors_are_named(checkpoints, tmp_path):
    name, source = "visual.trunk.blocks.3.attn.qkv.weight", checkpoints["biomedclip"]
    lacking = changed(source, tmp_path / "lacking", weights={name: None})
    with pytest.raises(ConfigurationError, match=f"lacks 1 tensors: {name}"):
        from_open_clip(lacking, tmp_path / "out")
    pooler = {"text.transformer.pooler.dense.weight": torch.zeros(32, 32)}
    more = changed(source, tmp_path / "more", weights=pooler)
    with pytest.raises(ConfigurationError, match="no place for, 1 tensors: text.transformer.pooler.dense.weight"):
        from_open_clip(more, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
    from_open_clip(more, tmp_path / "out", drop=["text.transformer.pooler"])
    with pytest.raises(ConfigurationError, match="`--drop` must name tensors"):
        from_open_clip(source, tmp_path / "other", drop=["nothing"])
    with pytest.raises(ConfigurationError, match="must be a new or empty folder"):
        from_open_clip(source, tmp_path / "out")
    wide = changed(source, tmp_path / "wide", weights={"visual.trunk.norm.bias": torch.zeros(3)})
    with pytest.raises(ConfigurationError, match="size mismatch for vision_model.tower.layernorm.bias"):
        from_open_clip(wide, tmp_path / "new")


def test_constants_of_old_checkpoints(checkpoints, tmp_path):
    ids = "text.transformer.embeddings.position_ids"
    fine = changed(checkpoints["biomedclip"], tmp_path / "fine", weights={ids: torch.arange(30)[None]})
    from_open_clip(fine, tmp_path / "out")
    bad = changed(checkpoints["biomedclip"], tmp_path / "bad", weights={ids: torch.arange(30)[None] + 2})
    with pytest.raises(ConfigurationError, match="must count from 0"):
        from_open_clip(bad, tmp_path / "new")
    mask = torch.full((24, 24), float("-inf")).triu(1)
    from_open_clip(
        changed(checkpoints["clip_quick_gelu"], tmp_path / "mask", weights={"attn_mask": mask}), tmp_path / "masked"
    )
    with pytest.raises(ConfigurationError, match="must be causal"):
        from_open_clip(
            changed(checkpoints["clip_quick_gelu"], tmp_path / "open", weights={"attn_mask": mask.T.contiguous()}),
            tmp_path / "new",
        )


def test_a_scale_in_a_list_and_half_precision(checkpoints, converted, tmp_path):
    weights = {name: value.half() for name, value in load_file(checkpoints["clip_quick_gelu"] / WEIGHTS).items()}
    weights["logit_scale"] = weights["logit_scale"].reshape(1)
    from_open_clip(changed(checkpoints["clip_quick_gelu"], tmp_path / "half", weights=weights), tmp_path / "out")
    model = PhenoLIPModel.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.float32 and model.logit_scale.shape == ()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "clip_quick_gelu",
            {"vision_cfg": {"attentional_pool": True}},
            "vision_cfg.attentional_pool` must be left out",
        ),
        ("clip_quick_gelu", {"vision_cfg": {"no_ln_pre": True}}, "vision_cfg.no_ln_pre` must be left out"),
        ("clip_quick_gelu", {"vision_cfg": {"layers": [1, 1, 1, 1]}}, "only ViTs are converted"),
        ("clip_quick_gelu", {"vision_cfg": {"pool_type": "avg"}}, "vision_cfg.pool_type` must be one of 'tok'"),
        ("clip_quick_gelu", {"vision_cfg": {"image_size": [32, 40]}}, "vision_cfg.image_size` must be square"),
        ("clip_quick_gelu", {"text_cfg": {"no_causal_mask": True}}, "text_cfg.no_causal_mask` must be left out"),
        ("clip_quick_gelu", {"text_cfg": {"pool_type": "last"}}, "text_cfg.pool_type` must be one of 'argmax', 'eos'"),
        ("clip_quick_gelu", {"text_cfg": {"pool_type": "eos"}}, "must end a text with token 2"),
        (
            "clip_quick_gelu",
            {"text_cfg": {"tokenizer_kwargs": {"strip_sep_token": True}}},
            "tokenizer_kwargs` must be",
        ),
        ("clip_quick_gelu", {"model_cfg": {"init_logit_bias": -10}}, "model_cfg.init_logit_bias` must be left out"),
        ("biomedclip", {"vision_cfg": {"timm_model_name": "resnet50"}}, "must be a plain ViT, got 'resnet50'"),
        ("biomedclip", {"vision_cfg": {"image_size": 224}}, "image_size` must be 160"),
        (
            "biomedclip",
            {"vision_cfg": {"timm_proj": "", "timm_pool": "avg"}},
            "must be 'token' where `timm_proj` is ''",
        ),
        ("biomedclip", {"vision_cfg": {"timm_pool": "map"}}, "timm_pool` must be one of"),
        ("biomedclip", {"text_cfg": {"hf_pooler_type": "max_pooler"}}, "hf_pooler_type` must be one of"),
        ("biomedclip", {"model_cfg": {"vision_cfg": None}}, "must hold `model_cfg` with"),
    ],
)
def test_configs_that_cannot_be_said_in_phenolip(name, change, message, checkpoints, tmp_path):
    folder = changed(checkpoints[name], tmp_path / "changed", **change)
    with pytest.raises(ConfigurationError, match=message):
        from_open_clip(folder, tmp_path / "out")


def test_files_that_are_wrong(checkpoints, tmp_path):
    with pytest.raises(ConfigurationError, match="must have an open_clip_config.json"):
        from_open_clip(tmp_path, tmp_path / "out")
    broken = changed(checkpoints["biomedclip"], tmp_path / "broken")
    (broken / WEIGHTS).write_bytes(b"x" * 50)
    with pytest.raises(ConfigurationError, match="must hold tensors alone"):
        from_open_clip(broken, tmp_path / "out")
    (broken / WEIGHTS).unlink()
    with pytest.raises(ConfigurationError, match="must hold open_clip_model.safetensors; there is none"):
        from_open_clip(broken, tmp_path / "out")
    (broken / CONFIG).write_text("{")
    with pytest.raises(ConfigurationError, match="must hold JSON"):
        from_open_clip(broken, tmp_path / "out")


def test_a_training_checkpoint_behind_a_flag(checkpoints, converted, tmp_path):
    weights = {f"module.{name}": value for name, value in load_file(checkpoints["biomedclip"] / WEIGHTS).items()}
    file = tmp_path / "epoch_3.pt"
    torch.save({"epoch": 3, "state_dict": weights, "optimizer": {}}, file)
    place = {
        "config": checkpoints["biomedclip"] / CONFIG,
        "tokenizer": str(checkpoints["biomedclip"]),
        "text_tower": str(checkpoints["biomedclip"] / "text"),
    }
    with pytest.raises(ConfigurationError, match="must hold safetensors, got a pickled file; --allow_pickle"):
        from_open_clip(file, tmp_path / "out", **place)
    from_open_clip(file, tmp_path / "out", **place, allow_pickle=True)
    one, two = (load_file(path / "model.safetensors") for path in (converted["biomedclip"], tmp_path / "out"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    torch.save({"state_dict": {"a": 3}}, file)
    with pytest.raises(ConfigurationError, match="names and tensors alone"):
        from_open_clip(file, tmp_path / "new", **place, allow_pickle=True)
    file.write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(ConfigurationError, match="must hold tensors alone"):
        from_open_clip(file, tmp_path / "new", **place, allow_pickle=True)


def test_config_of_a_text_tower(checkpoints, tmp_path):
    """A path that a config names is followed inside the folder alone; without a config, heads are 64 wide."""
    outside = str(checkpoints["biomedclip"] / "text")
    folder = changed(checkpoints["biomedclip"], tmp_path / "outside", text_cfg={"hf_model_name": outside})
    from_open_clip(folder, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())["text_config"]["tower_config"]
    assert config["num_attention_heads"] == 1  # 32 wide: not the 2 of the config, which was not read
    (folder / "text" / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 64}))
    with pytest.raises(ConfigurationError, match="must have `vocab_size` 80, got 30522"):
        from_open_clip(folder, tmp_path / "new", text_tower=str(folder / "text"))
    with pytest.raises(ConfigurationError, match="`--text_tower` .* must have a config"):
        from_open_clip(folder, tmp_path / "new", text_tower=str(tmp_path / "nothing"))


def test_models_that_open_clip_does_not_have(tiny_model_dir, converted, tmp_path):
    with pytest.raises(ConfigurationError, match="ViT that timm has a name for"):
        to_open_clip(tiny_model_dir, tmp_path / "out")
    shutil.copytree(converted["biomedclip"], tmp_path / "model")
    (tmp_path / "model" / "conversion.json").unlink()
    with pytest.raises(ConfigurationError, match="`--text_tower` must name the Hub id"):
        to_open_clip(tmp_path / "model", tmp_path / "out")


def test_a_difference_to_open_clip_is_an_error(checkpoints, tmp_path, monkeypatch):
    from phenolip.hub import convert_check

    monkeypatch.setattr(convert_check, "open_clip_cosines", lambda path: (np.zeros((3, 5), np.float32), "3.3.0"))
    with pytest.raises(DataError, match="must give the cosines of its source"):
        from_open_clip(checkpoints["biomedclip"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bpe_of_open_clip(tmp_path):
    file = tmp_path / "bpe.txt"
    file.write_text("#version\nl o\nlo w</w>\nc a\nca t</w>\nto o\n")
    tokenizer = clip_tokenizer(file, 514 + 4, 8)
    assert tokenizer("low  Cat").input_ids == [516, 513, 515, 517] and tokenizer.eos_token_id == 517
    assert tokenizer("low " * 20, truncation=True).input_ids == [516, *[513] * 6, 517]
    with pytest.raises(ConfigurationError, match="must hold 9 merges"):
        clip_tokenizer(file, 514 + 9, 8)
    with pytest.raises(ConfigurationError, match="must be a file of merges"):
        clip_tokenizer(tmp_path / "none.gz", 600, 8)


@needs_open_clip
@pytest.mark.slow
def test_ids_equal_those_of_open_clips_own_tokenizer(fixtures):
    import open_clip

    from phenolip.hub.convert_check import TEXTS
    from phenolip.hub.convert_inputs import _bpe_file

    ours, theirs = clip_tokenizer(_bpe_file(None), 49408, 77), open_clip.tokenizer.SimpleTokenizer()
    texts = [*TEXTS, *fixtures.TEXTS, "Café-au-lait spot, 3 × 4 cm; T2*-weighted μm", "it's the patient's left eye"]
    expected = [[token for token in row if token] for row in theirs(texts).tolist()]
    assert ours(texts, truncation=True)["input_ids"] == expected


def test_on_the_command_line(checkpoints, converted, tmp_path, capsys):
    arguments = ["convert", "open_clip", str(checkpoints["clip_quick_gelu"]), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--template", "an image of {}"]) == 0
    printed = capsys.readouterr().out
    assert "62 tensors, none left over" in printed
    assert main(["convert", "phenolip", str(tmp_path / "out"), "--output", str(tmp_path / "back")]) == 0
    assert main(arguments) == 2 and "must be a new or empty folder" in capsys.readouterr().err
    assert Encoder.from_pretrained(tmp_path / "out", "cpu").prompt_template == "an image of {}"
