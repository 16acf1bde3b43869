"""Spellings on the command line, what a folder is, and whole evaluations of two families in one table."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import BertConfig, BertModel, SiglipVisionConfig, SiglipVisionModel

from phenolip.cli import main
from phenolip.exceptions import ConfigurationError
from phenolip.inference.adapters.registry import FAMILIES, describe_model, find_family, load_model, split_family
from phenolip.inference.encoder import Encoder

TERMS = {"HP:0000256": "Macrocephaly", "HP:0000518": "Cataract", "HP:0011510": "Drusen"}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Nine noise images with captions, and a release of four terms."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(1)
    rows = []
    for number in range(9):
        hpo_id = list(TERMS)[number % 3]
        Image.fromarray(rng.integers(0, 256, (40, 34 + number, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        caption = f"number {number} shows {TERMS[hpo_id]}" + " at length" * (number == 0)
        rows.append({"file_name": f"{number}.png", "caption": caption, "hpo_ids": [hpo_id]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    terms = "".join(f"\n[Term]\nid: {key}\nname: {name}\nis_a: HP:0000118\n" for key, name in TERMS.items())
    head = "format-version: 1.2\ndata-version: hp/releases/2000-01-01\n\n[Term]\nid: HP:0000118\nname: All\n"
    (folder / "hp.obo").write_text(head + terms)
    return folder


def evaluate(model, pairs, output):
    arguments = ["eval", "--model", str(model), "--task", "phenobench", "--data", str(pairs), "--output", str(output)]
    return main([*arguments, "--hpo", str(pairs / "hp.obo"), "--device", "cpu"])


@pytest.fixture(scope="module")
def runs(model_dirs, tiny_model_dir, pairs, tmp_path_factory):
    """Name of a model -> output folder of its evaluation."""
    models = {"clip": f"clip:{model_dirs['clip']}", "siglip": model_dirs["siglip"], "ours": tiny_model_dir}
    folder = tmp_path_factory.mktemp("runs")
    for name, model in models.items():
        assert evaluate(model, pairs, folder / name) == 0
    return {name: folder / name for name in models}


def test_two_families_and_ours_in_one_table(runs, tmp_path, capsys):
    folders = list(map(str, runs.values()))
    assert main(["compare", *folders, "--output", str(tmp_path / "table.json")]) == 0
    printed = capsys.readouterr().out
    assert all(folder in printed for folder in folders)
    table = json.loads((tmp_path / "table.json").read_text())
    assert len(table["rows"]) == 3
    for name, family in (("clip", "clip"), ("siglip", "siglip"), ("ours", "phenolip")):
        found = json.loads((runs[name] / "results.json").read_text())
        assert found["encoder"]["family"] == family and found["n"] == 9
        assert set(found["encoder"]) >= {
            "context_length", "image_size", "preprocessing", "tokenizer", "dtype", "num_parameters", "weights_sha256",
            "num_texts", "num_texts_truncated",
        }  # fmt: skip
        assert len(found["encoder"]["weights_sha256"]["model.safetensors"]) == 64
    clip, ours = (json.loads((runs[name] / "results.json").read_text())["encoder"] for name in ("clip", "ours"))
    assert clip["num_texts_truncated"] > 0 and ours["num_texts_truncated"] == 0  # 24 letters against 64
    assert clip["num_texts"] == ours["num_texts"]


def test_metrics_of_a_run_follow_from_the_logits_of_transformers(model_dirs, pairs, runs):
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    folder = model_dirs["clip"]
    rows = [json.loads(line) for line in (pairs / "metadata.jsonl").read_text().splitlines()]
    images = [Image.open(pairs / row["file_name"]) for row in rows]
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=images, return_tensors="pt")
    texts = AutoTokenizer.from_pretrained(folder)(
        [row["caption"] for row in rows], padding=True, truncation=True, return_tensors="pt"
    )
    logits = AutoModel.from_pretrained(folder).eval()(**pixels, **texts).logits_per_image.detach().numpy()
    ranks = (logits > np.diag(logits)[:, None]).sum(axis=1)
    metrics = json.loads((runs["clip"] / "results.json").read_text())["metrics"]
    for k in (1, 5):
        assert metrics[f"i2t_hit_at_{k}"]["value"] == pytest.approx((ranks < k).mean())


def test_prefixes(model_dirs, tmp_path, monkeypatch):
    assert split_family("org/name") == (None, "org/name")
    assert split_family("siglip:org/name") == ("siglip", "org/name")
    assert split_family(Path("clip:x")) == (None, "clip:x")
    (tmp_path / "odd:name").mkdir()
    monkeypatch.chdir(tmp_path)
    assert split_family("odd:name") == (None, "odd:name")  # a folder of that name comes first
    with pytest.raises(ConfigurationError, match=r"Unknown model family 'opn_clip'.*Close: 'open_clip'"):
        split_family("opn_clip:org/name")
    with pytest.raises(ConfigurationError, match=r"Known: align, altclip"):
        split_family("zzz:org/name")
    with pytest.raises(ConfigurationError, match="after 'clip:', got nothing"):
        split_family("clip:")
    with pytest.raises(ConfigurationError, match="of the family clip, as its prefix says, got one of siglip"):
        load_model(f"clip:{model_dirs['siglip']}", "cpu")
    assert load_model(f"siglip:{model_dirs['siglip2']}", "cpu").family == "siglip2"
    assert {"phenolip", "text", "clip", "siglip", "open_clip"} <= set(FAMILIES)


def test_folders_that_are_no_model(tmp_path):
    with pytest.raises(ConfigurationError, match=r"must be a folder with weights and a config\.json"):
        find_family(tmp_path)
    file = tmp_path / "weights.safetensors"
    file.touch()
    with pytest.raises(ConfigurationError, match="must be a folder or a Hub id, got the file"):
        find_family(file)
    config = tmp_path / "config.json"
    for content, message in (
        ("{", "is not JSON"),
        ("[]", "must hold an object, got a list"),
        ('{"model_type": "siglib"}', r"unknown model type 'siglib'\. Close: 'siglip'"),
        ('{"model_type": ["clip"]}', "unknown model type"),
        ('{"model_type": "dinov2"}', "must have a text tower, got the model type 'dinov2'"),
    ):
        config.write_text(content)
        with pytest.raises(ConfigurationError, match=message):
            find_family(tmp_path)


def test_an_image_tower_alone_is_refused(tmp_path):
    wide = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    SiglipVisionModel(SiglipVisionConfig(image_size=32, patch_size=8, **wide)).save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match="must have a text tower, got the model type 'siglip_vision_model'"):
        load_model(tmp_path, "cpu")


def test_text_encoders_are_known_and_give_no_table_of_images(model_dirs, pairs, tmp_path, capsys):
    folder = tmp_path / "bert"
    config = BertConfig(
        vocab_size=128, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=24
    )
    BertModel(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((model_dirs["clip"] / name).read_bytes())
    encoder = load_model(f"text:{folder}", "cpu")
    assert isinstance(encoder, Encoder) and not encoder.has_images
    encoder.encode_texts(["a", "b" * 40, "b" * 22])
    found = describe_model(encoder)
    assert (found["family"], found["text_tower"], found["num_texts_truncated"]) == ("text", "bert", 1)
    assert evaluate(folder, pairs, tmp_path / "output") == 2
    assert "encodes text only" in capsys.readouterr().err
    assert not (tmp_path / "output" / "results.json").exists()


def test_layers_of_a_sentence_encoder_that_would_be_left_out_are_refused(model_dirs, tmp_path):
    config = BertConfig(vocab_size=128, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    BertModel(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((model_dirs["clip"] / name).read_bytes())
    modules = [{"type": f"sentence_transformers.models.{name}"} for name in ("Transformer", "Pooling", "Normalize")]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert load_model(tmp_path, "cpu").encode_texts(["a"]).shape == (1, 16)
    (tmp_path / "modules.json").write_text(json.dumps([*modules, {"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(ConfigurationError, match="Dense"):
        load_model(tmp_path, "cpu")


def test_an_encoder_that_says_nothing_of_itself():
    assert describe_model(object()) is None
