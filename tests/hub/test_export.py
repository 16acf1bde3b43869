"""Exports: what onnxruntime and sentence-transformers give must be what the model gives."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from phenolip.cli import main
from phenolip.configuration_phenolip import PhenoLIPTextConfig
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.encoder import Encoder
from phenolip.modeling_phenolip import PhenoLIPTextModel

needs_onnx = pytest.mark.skipif(
    find_spec("onnxruntime") is None or find_spec("onnxscript") is None, reason="pip install 'phenolip[onnx]'"
)
needs_sentence_transformers = pytest.mark.skipif(
    find_spec("sentence_transformers") is None, reason="pip install sentence-transformers"
)
TEXTS = ["long fingers", "a", "low set ears and a cataract of the lens " * 3]


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("name", ["biomedclip", "clip_quick_gelu", "timm_mean_mlp", "vit_bert_mean", "tiny"])
def test_onnx_gives_the_embeddings_of_pytorch(name, converted, tiny_model_dir, fixtures, tmp_path, capsys):
    from phenolip.hub.onnx_encoder import OnnxEncoder

    model = tiny_model_dir if name == "tiny" else converted[name]
    assert main(["export", "onnx", str(model), "--output", str(tmp_path / "out"), "--int8"]) == 0
    assert "two ONNX files" in capsys.readouterr().out
    exported, encoder = OnnxEncoder(tmp_path / "out"), Encoder.from_pretrained(model, "cpu")
    pictures = fixtures.made_pictures()
    for size in (1, 3):
        found = exported.encode_texts(TEXTS, size), exported.encode_images(pictures, size)
        np.testing.assert_allclose(found[0], encoder.encode_texts(TEXTS), atol=1e-5)
        np.testing.assert_allclose(found[1], encoder.encode_images(pictures), atol=1e-5)
    settings = json.loads((tmp_path / "out" / "onnx.json").read_text())
    assert settings["max_difference_to_pytorch"] < 1e-4 and settings["prompt_template"] == "{}"
    assert settings["logit_scale"] == pytest.approx(encoder.logit_scale)
    assert settings["int8"]["num_pairs"] == 96 and settings["int8"]["cosine_with_float32"]["texts"]["mean"] > 0.9
    sizes = settings["int8"]["bytes"]
    assert sizes["text_model_int8.onnx"] < sizes["text_model.onnx"]
    assert "image_embeds" in (tmp_path / "out" / "README.md").read_text()


@needs_onnx
def test_retrieval_that_quantisation_changes():
    from phenolip.hub.export_onnx import measure_int8

    class Fixed:
        def __init__(self, images):
            self.images = np.array(images, np.float32)

        def encode_images(self, images):
            return self.images

        def encode_texts(self, texts):
            return np.eye(2, dtype=np.float32)[[0, 1] * 6][: len(texts)]

    pairs = ([None] * 12, ["text"] * 12)
    right, wrong = np.eye(2)[[0, 1] * 6], np.eye(2)[[1, 0] * 6]
    found = measure_int8(Fixed(right), Fixed(wrong), pairs)
    assert found["num_pairs"] == 12 and found["cosine_with_float32"]["images"] == {"mean": 0.0, "min": 0.0}
    at_1 = {"i2t_hit_at_1": 0.0, "t2i_hit_at_1": 0.0}  # equal scores stand before the own
    assert found["float32"] == {"i2t_hit_at_10": 1.0, "t2i_hit_at_10": 1.0, **at_1}  # six alike, one of them the own
    assert found["int8"] == {"i2t_hit_at_10": 0.0, "t2i_hit_at_10": 0.0, **at_1}
    assert all(ms >= 0 for spent in found["processor_ms_each"].values() for ms in spent.values())
    assert found["cosine_with_float32"]["texts"]["mean"] == pytest.approx(1.0)


@needs_onnx
def test_a_text_model_is_not_for_onnx(tiny_model_dir, tmp_path):
    PhenoLIPTextModel.from_pretrained(tiny_model_dir).save_pretrained(tmp_path / "text")
    for file in tiny_model_dir.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "text")
    assert main(["export", "onnx", str(tmp_path / "text"), "--output", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


@needs_onnx
def test_a_difference_to_pytorch_is_an_error(tiny_model_dir):
    from phenolip.hub.export_onnx import _compare

    class Other:
        def encode_images(self, images, size):
            return np.zeros((len(images), 16), np.float32)

        def encode_texts(self, texts, size):
            return np.zeros((len(texts), 16), np.float32)

    with pytest.raises(DataError, match="must give PyTorch's embeddings"):
        _compare(Encoder.from_pretrained(tiny_model_dir, "cpu"), Other())


def text_model(folder, tiny_model_dir, **settings):
    """A knowledge encoder of two layers with another pooling or projection."""
    torch.manual_seed(0)
    tower = PhenoLIPTextModel.from_pretrained(tiny_model_dir).config.tower_config.to_dict()
    model = PhenoLIPTextModel(PhenoLIPTextConfig(tower_config=tower, **settings)).eval()
    model.save_pretrained(folder)
    for file in tiny_model_dir.glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


CASES = {
    "mean": {"projection_dim": 16},
    "cls_mlp": {"pooling": "cls", "projection": "mlp", "projection_dim": 16},
    "pooler": {"pooling": "pooler", "projection": "none"},
    "max": {"pooling": "max", "projection": "linear", "projection_bias": True, "projection_dim": 16},
    "eos_mlp": {"pooling": "eos", "projection": "mlp", "projection_bias": False, "projection_hidden_size": 8},
}


def by_hand(folder, texts):
    """What modules.json says, by transformers and matrix products."""
    tower, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    limit = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
    with torch.inference_mode():
        tokens, mask = tower(**inputs).last_hidden_state, inputs["attention_mask"].bool()
    modes = json.loads((folder / "1_Pooling" / "config.json").read_text())
    (mode,) = [name.removeprefix("pooling_mode_") for name, chosen in modes.items() if chosen is True]
    if mode == "mean_tokens":
        values = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    elif mode == "max_tokens":
        values = tokens.masked_fill(~mask[..., None], -1e9).amax(1)
    else:
        values = tokens[range(len(texts)), mask.sum(1) - 1 if mode == "lasttoken" else 0]
    activations = {"Tanh": torch.tanh, "GELU": torch.nn.functional.gelu, "Identity": lambda value: value}
    for module in json.loads((folder / "modules.json").read_text()):
        if module["type"].endswith("Dense"):
            weights = load_file(folder / module["path"] / "model.safetensors")
            config = json.loads((folder / module["path"] / "config.json").read_text())
            values = torch.nn.functional.linear(values, weights["linear.weight"], weights.get("linear.bias"))
            values = activations[config["activation_function"].rpartition(".")[2]](values)
    assert module["type"].endswith("Normalize")
    return torch.nn.functional.normalize(values, dim=-1).numpy()


@pytest.mark.parametrize("case", CASES)
def test_a_sentence_transformers_folder_says_what_the_model_does(case, tiny_model_dir, tmp_path, monkeypatch):
    from phenolip.hub import export_sentence_transformers as module

    monkeypatch.setattr(module, "_compare", lambda folder, encoder: None)
    folder = text_model(tmp_path / "text", tiny_model_dir, **CASES[case])
    assert module.export_sentence_transformers(folder, tmp_path / "out") is None
    expected = Encoder.from_pretrained(folder, "cpu").encode_texts(TEXTS)
    np.testing.assert_allclose(by_hand(tmp_path / "out", TEXTS), expected, atol=1e-5)


@needs_sentence_transformers
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_sentence_transformers_itself_gives_the_same(case, tiny_model_dir, tmp_path, capsys):
    from sentence_transformers import SentenceTransformer

    folder = text_model(tmp_path / "text", tiny_model_dir, **CASES[case])
    assert main(["export", "sentence_transformers", str(folder), "--output", str(tmp_path / "out")]) == 0
    assert "greatest difference of an embedding" in capsys.readouterr().out
    found = SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(found, Encoder.from_pretrained(folder, "cpu").encode_texts(TEXTS), atol=1e-5)


@needs_sentence_transformers
@pytest.mark.slow
def test_text_side_of_a_whole_model_for_sentence_transformers(tiny_model_dir, converted, tmp_path):
    from phenolip.hub.export_sentence_transformers import export_sentence_transformers

    assert export_sentence_transformers(tiny_model_dir, tmp_path / "tiny") < 1e-5
    assert export_sentence_transformers(converted["biomedclip"], tmp_path / "biomedclip") < 1e-5


def test_what_sentence_transformers_does_not_have(converted, tiny_model_dir, tmp_path):
    from phenolip.hub.export_sentence_transformers import export_sentence_transformers

    with pytest.raises(ConfigurationError, match="must have a text tower of bert, roberta, modernbert"):
        export_sentence_transformers(converted["clip_quick_gelu"], tmp_path / "out")
    folder = text_model(tmp_path / "text", tiny_model_dir, projection="residual", projection_dim=16)
    with pytest.raises(ConfigurationError, match="`projection` must be none, linear or mlp"):
        export_sentence_transformers(folder, tmp_path / "out")
