"""open_clip: what its folders may ask for, the recorded numbers, and the adapter where the package is installed.

.venv-open-clip/bin/python -m pytest -m slow tests/inference/adapters/test_open_clip.py
"""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from transformers import AutoTokenizer, BertConfig, CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from phenolip.cli import main
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.adapters.clip import ClipEncoder
from phenolip.inference.adapters.open_clip import OpenClipEncoder, check_config
from phenolip.inference.adapters.registry import find_family, load_model

FIXTURES = Path(__file__).parents[2] / "fixtures" / "open_clip"
MODELS = ("clip", "coca")
TEXTS = json.loads((FIXTURES / "texts.json").read_text())
TERMS = {"HP:0000256": "Macrocephaly", "HP:0000518": "Cataract", "HP:0011510": "Drusen"}
installed = find_spec("open_clip") is not None
needs_open_clip = pytest.mark.skipif(not installed, reason="open_clip_torch is not installed: make venv-open-clip")


def recorded(model):
    return load_file(FIXTURES / model / "recorded.safetensors")


def pictures(model):
    return [Image.fromarray(pixels) for pixels in recorded(model)["pixels"]]


def as_transformers_clip(folder):
    """The plain CLIP of a folder as the CLIP of transformers: the same layers under other names."""
    settings = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    weights = {name: torch.from_numpy(value.astype(np.float32)) for name, value in load_file(
        folder / "open_clip_model.safetensors").items()}  # fmt: skip
    text, vision = settings["text_cfg"], settings["vision_cfg"]
    both = {"hidden_act": "gelu", "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        projection_dim=settings["embed_dim"],
        text_config={
            **both, "hidden_size": 32, "intermediate_size": 128, "vocab_size": text["vocab_size"],
            "max_position_embeddings": text["context_length"], "eos_token_id": 55,
        },
        vision_config={
            **both, "hidden_size": 32, "intermediate_size": 128, "image_size": vision["image_size"], "patch_size": 8,
        },
    )  # fmt: skip
    found = {
        "logit_scale": weights["logit_scale"],
        "text_projection.weight": weights["text_projection"].T,
        "visual_projection.weight": weights["visual.proj"].T,
        "text_model.embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": weights["positional_embedding"],
        "vision_model.embeddings.class_embedding": weights["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": weights["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": weights["visual.positional_embedding"],
    }
    norms = {"ln_final": "text_model.final_layer_norm", "visual.ln_pre": "vision_model.pre_layrnorm"}
    norms["visual.ln_post"] = "vision_model.post_layernorm"
    for block in range(2):
        for theirs, ours in (("transformer", "text_model"), ("visual.transformer", "vision_model")):
            source, target = f"{theirs}.resblocks.{block}", f"{ours}.encoder.layers.{block}"
            norms |= {f"{source}.ln_1": f"{target}.layer_norm1", f"{source}.ln_2": f"{target}.layer_norm2"}
            norms |= {f"{source}.mlp.c_fc": f"{target}.mlp.fc1", f"{source}.mlp.c_proj": f"{target}.mlp.fc2"}
            norms |= {f"{source}.attn.out_proj": f"{target}.self_attn.out_proj"}
            for kind in ("weight", "bias"):
                parts = weights[f"{source}.attn.in_proj_{kind}"].chunk(3)
                for name, part in zip("qkv", parts, strict=True):
                    found[f"{target}.self_attn.{name}_proj.{kind}"] = part
    found |= {
        f"{ours}.{kind}": weights[f"{name}.{kind}"] for name, ours in norms.items() for kind in ("weight", "bias")
    }
    model = CLIPModel(config)
    model.load_state_dict(found, strict=True)
    return model


def test_the_fixtures_are_small_and_whole():
    for model in MODELS:
        found = recorded(model)
        images, texts, logits = (found[name] for name in ("image_embeds", "text_embeds", "logits_per_image"))
        np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-6)
        scale = np.exp(load_file(FIXTURES / model / "open_clip_model.safetensors")["logit_scale"].astype(np.float32))
        np.testing.assert_allclose(scale * images @ texts.T, logits, atol=1e-5)
    assert sum(file.stat().st_size for file in FIXTURES.rglob("*") if file.is_file()) < 400_000


def test_our_clip_adapter_gives_what_open_clip_recorded():
    """The same weights through the code of another library: transform, tokenizer, pooling and norm must all agree."""
    folder = FIXTURES / "clip"
    settings = json.loads((folder / "open_clip_config.json").read_text())["preprocess_cfg"]
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32},
        image_mean=settings["mean"], image_std=settings["std"],
    )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = ClipEncoder(as_transformers_clip(folder), tokenizer, processor, name="clip", weights={})
    found = recorded("clip")
    np.testing.assert_allclose(encoder.encode_images(pictures("clip")), found["image_embeds"], atol=2e-6)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), found["text_embeds"], atol=2e-6)
    assert encoder.counts.num_truncated == 1


def test_the_folder_is_known_without_the_package():
    assert find_family(FIXTURES / "coca") == "open_clip"


@pytest.mark.skipif(installed, reason="open_clip_torch is installed")
def test_what_is_missing_is_said_in_one_sentence():
    for spelling in (FIXTURES / "clip", f"open_clip:{FIXTURES / 'clip'}"):
        with pytest.raises(ConfigurationError, match="needs the package open_clip_torch: run `make venv-open-clip`"):
            load_model(spelling, "cpu")


def test_configs_that_cannot_be_used(tmp_path):
    tower = {"width": 32}
    for settings, message in (
        (None, "with `model_cfg`; there is none"),
        ({"model_cfg": []}, "with `model_cfg`; there is none"),
        ({"model_cfg": {"vision_cfg": tower}}, "must have a text tower"),
        ({"model_cfg": {"text_cfg": tower}}, "must have an image tower"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            check_config("x", settings)
    evil = {"tokenizer_kwargs": {"trust_remote_code": True}}
    with pytest.raises(ConfigurationError, match="settings without `trust_remote_code`"):
        check_config("x", {"model_cfg": {"vision_cfg": tower, "text_cfg": evil}})
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Evil"}}')
    with pytest.raises(ConfigurationError, match="needs no code of its own"):
        check_config("x", {"model_cfg": {"vision_cfg": tower, "text_cfg": {"hf_model_name": str(tmp_path)}}})


def test_pickled_weights_are_not_read(tmp_path):
    (tmp_path / "open_clip_config.json").write_bytes((FIXTURES / "clip" / "open_clip_config.json").read_bytes())
    (tmp_path / "open_clip_pytorch_model.bin").touch()
    with pytest.raises(ConfigurationError, match=r"got open_clip_pytorch_model\.bin, which could run code"):
        load_model(tmp_path, "cpu")


@needs_open_clip
@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_embeddings_and_logits_equal_those_of_open_clip(model):
    encoder = load_model(FIXTURES / model, "cpu")
    assert isinstance(encoder, OpenClipEncoder)
    found = recorded(model)
    for size in (1, 3, 32):
        images = encoder.encode_images(pictures(model), batch_size=size)
        texts = encoder.encode_texts(TEXTS, batch_size=size)
        np.testing.assert_allclose(images, found["image_embeds"], atol=1e-6)
        np.testing.assert_allclose(texts, found["text_embeds"], atol=1e-6)
        np.testing.assert_allclose(
            encoder.logit_scale * images @ texts.T, found["logits_per_image"], rtol=1e-5, atol=1e-5
        )
    half = load_model(FIXTURES / model, "cpu", dtype=torch.bfloat16)
    assert (half.encode_images(pictures(model)) * found["image_embeds"]).sum(axis=1).min() > 0.995
    assert (half.encode_texts(TEXTS) * found["text_embeds"]).sum(axis=1).min() > 0.995


@needs_open_clip
@pytest.mark.slow
def test_description_of_an_open_clip_model():
    encoder = load_model(f"open_clip:local-dir:{FIXTURES / 'coca'}", "cpu")
    encoder.encode_texts([*TEXTS, "b" * 22, "c" * 23])
    found = json.loads(json.dumps(encoder.describe()))
    assert (found["family"], found["model_type"], found["context_length"]) == ("open_clip", "CoCa", 24)
    assert found["image_size"] == [32, 32] and found["dtype"] == "float32" and found["logit_bias"] == 0
    assert found["preprocessing"]["interpolation"] == "bicubic" and found["preprocessing"]["mean"] == [0.5, 0.4, 0.3]
    assert (found["num_texts"], found["num_texts_truncated"]) == (7, 2)
    assert found["package"].startswith("open_clip_torch ")
    weights = FIXTURES / "coca" / "open_clip_model.safetensors"
    assert found["weights_sha256"] == {weights.name: hashlib.sha256(weights.read_bytes()).hexdigest()}


@needs_open_clip
@pytest.mark.slow
def test_open_clips_own_tokenizer_is_counted(tmp_path):
    from open_clip import create_model
    from safetensors.torch import save_file

    config = json.loads((FIXTURES / "clip" / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= {"vocab_size": 49408, "context_length": 8}
    del config["model_cfg"]["text_cfg"]["hf_tokenizer_name"]
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    model = create_model(f"local-dir:{tmp_path}", load_weights=False)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()},
              tmp_path / "open_clip_model.safetensors")  # fmt: skip
    encoder = load_model(tmp_path, "cpu")
    encoder.encode_texts(["a cat of the six", "a cat of the six words long"])  # one word, one token
    assert (encoder.counts.num_texts, encoder.counts.num_truncated) == (2, 1)
    assert encoder.describe()["tokenizer"]["vocab_size"] == 49408


@needs_open_clip
@pytest.mark.slow
def test_a_tower_of_timm_and_one_of_transformers(tmp_path):
    """The architecture of BiomedCLIP: a ViT of timm, a BERT of transformers, a tokenizer beside the weights."""
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from safetensors.torch import save_file

    bert = tmp_path / "bert"
    BertConfig(vocab_size=80, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
               max_position_embeddings=24, pad_token_id=0).save_pretrained(bert)  # fmt: skip
    text = {"hf_model_name": str(bert), "hf_tokenizer_name": "anything", "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 24}  # fmt: skip
    vision = {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear", "image_size": 160}
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}}
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((FIXTURES / "clip" / name).read_bytes())
    source = f"local-dir:{folder}"
    model = open_clip.create_model(source, load_weights=False, pretrained_text=False).eval()
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer(source)(TEXTS)
        transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
        pixels = torch.stack([transform(picture) for picture in pictures("clip")])
        images, texts = model.encode_image(pixels, normalize=True), model.encode_text(tokens, normalize=True)
    encoder = load_model(folder, "cpu")
    np.testing.assert_allclose(encoder.encode_images(pictures("clip"), batch_size=3), images, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS, batch_size=2), texts, atol=1e-6)
    assert encoder.counts.num_truncated == 1 and encoder.describe()["image_size"] == [160, 160]


@needs_open_clip
@pytest.mark.slow
def test_damaged_weights_are_one_sentence(tmp_path):
    for file in (FIXTURES / "clip").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "open_clip_model.safetensors")
    from safetensors.numpy import save_file

    save_file(weights | {"text_projection": weights["text_projection"] * np.float16("nan")},
              tmp_path / "open_clip_model.safetensors")  # fmt: skip
    with pytest.raises(DataError, match="NaN, infinite or zero embeddings"):
        load_model(tmp_path, "cpu").encode_texts(TEXTS)
    del weights["text_projection"]
    save_file(weights, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(ConfigurationError, match="cannot be loaded by open_clip"):
        load_model(tmp_path, "cpu")


@needs_open_clip
@pytest.mark.slow
def test_two_families_in_one_table(model_dirs, tmp_path, capsys):
    rng = np.random.default_rng(1)
    rows = []
    for number in range(9):
        hpo_id = list(TERMS)[number % 3]
        Image.fromarray(rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "caption": f"number {number} {TERMS[hpo_id]}", "hpo_ids": [hpo_id]})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    models = {
        "clip": model_dirs["clip"],
        "siglip": model_dirs["siglip"],
        "open_clip": f"open_clip:{FIXTURES / 'clip'}",
    }
    for name, model in models.items():
        arguments = ["--model", str(model), "--data", str(tmp_path), "--output", str(tmp_path / name)]
        assert main(["eval", "--task", "phenobench", "--device", "cpu", *arguments]) == 0, capsys.readouterr().err
        assert json.loads((tmp_path / name / "results.json").read_text())["encoder"]["family"] == name
    assert main(["compare", *(str(tmp_path / name) for name in models), "--output", str(tmp_path / "t.json")]) == 0
    assert len(json.loads((tmp_path / "t.json").read_text())["rows"]) == 3
