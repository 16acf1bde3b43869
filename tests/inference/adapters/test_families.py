"""Every family of transformers: logits of the library itself, in any order and batch."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, SiglipTokenizer

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.adapters.registry import TRANSFORMERS, load_model

FAMILIES = [adapter.family for adapter in TRANSFORMERS]
LONG = "cataract of the lens " * 9
TEXTS = ["arachnodactyly", "a", "low set ears", "a", LONG, "cataract"]


@pytest.fixture(scope="module")
def encoders(model_dirs):
    return {family: load_model(folder, "cpu") for family, folder in model_dirs.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_those_of_transformers(encoders, model_dirs, pictures, family):
    encoder, folder = encoders[family], model_dirs[family]
    assert encoder.family == family
    model = AutoModel.from_pretrained(folder).eval()
    images = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=pictures, return_tensors="pt")
    padding = "max_length" if "siglip" in family else True
    texts = AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=padding, truncation=True, max_length=24, return_tensors="pt"
    )
    names = ("input_ids",) if "siglip" in family else ("input_ids", "attention_mask")  # no mask, as it was trained
    with torch.no_grad():
        expected = model(**images, **{name: texts[name] for name in names}).logits_per_image.numpy()
    cosines = encoder.encode_images(pictures, batch_size=3) @ encoder.encode_texts(TEXTS, batch_size=2).T
    np.testing.assert_allclose(cosines, (expected - encoder.logit_bias) / encoder.logit_scale, atol=1e-6)
    assert np.ptp(cosines, axis=0).min() > 1e-3 and np.ptp(cosines, axis=1).min() > 1e-3  # inputs do matter


@pytest.mark.parametrize("family", FAMILIES)
def test_batches_change_nothing_and_order_is_kept(encoders, pictures, family):
    encoder = encoders[family]
    images, texts = encoder.encode_images(pictures), encoder.encode_texts(TEXTS)
    assert images.dtype == texts.dtype == np.float32 and images.shape[1] == texts.shape[1]
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(texts[1], texts[3])
    for size in (1, 2, 7):
        np.testing.assert_allclose(encoder.encode_images(pictures, batch_size=size), images, atol=2e-6)
        np.testing.assert_allclose(encoder.encode_texts(TEXTS, batch_size=size), texts, atol=2e-6)
    np.testing.assert_allclose(encoder.encode_images(pictures[::-1]), images[::-1], atol=2e-6)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS[::-1]), texts[::-1], atol=2e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_lower_precision_gives_like_embeddings(encoders, model_dirs, pictures, family):
    half = load_model(model_dirs[family], "cpu", dtype=torch.bfloat16)
    assert half.describe()["dtype"] == "bfloat16"
    for exact, rounded in (
        (encoders[family].encode_images(pictures), half.encode_images(pictures)),
        (encoders[family].encode_texts(TEXTS), half.encode_texts(TEXTS)),
    ):
        assert rounded.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rounded, axis=1), 1, atol=1e-6)
        assert (exact * rounded).sum(axis=1).min() > 0.995


@pytest.mark.parametrize("family", FAMILIES)
def test_description_holds_what_decides_the_numbers(model_dirs, pictures, family):
    encoder = load_model(model_dirs[family], "cpu")
    encoder.encode_texts(TEXTS)
    encoder.encode_texts([LONG, "more"])
    encoder.encode_images(pictures[:1])
    found = json.loads(json.dumps(encoder.describe()))
    assert found["family"] == family and found["context_length"] == 24 and found["dtype"] == "float32"
    assert (found["num_texts"], found["num_texts_truncated"]) == (6, 1)  # different texts, one of them long
    weights = model_dirs[family] / "model.safetensors"
    assert found["weights_sha256"] == {weights.name: hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert found["num_parameters"] == sum(value.numel() for value in encoder.model.parameters())
    assert found["image_size"] == (None if family == "siglip2" else [32, 32])
    settings = found["preprocessing"]
    assert len(settings["image_mean"]) == len(settings["image_std"]) == 3
    assert settings["resample"] in ("bilinear", "bicubic") or family == "align"
    assert found["tokenizer"]["vocab_size"] == len(encoder.tokenizer)
    assert found["tokenizer"]["padding"] == ("context length" if "siglip" in family else "longest of the batch")


def test_siglip_with_a_tokenizer_of_sentencepiece(model_dirs, tmp_path, encoders):
    """As the checkpoints of SigLIP have it: lower case, no punctuation, padded with the end token, no mask."""
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = copy(model_dirs["siglip"], tmp_path)
    lines = [f"the {word} of a lens and low set ears" for word in ("cataract", "image", "finger")] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(tmp_path / "spiece"), vocab_size=24, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer.json").unlink()
    special = {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>", "model_max_length": 24}
    tokenizer = SiglipTokenizer(vocab_file=str(tmp_path / "spiece.model"), **special)
    tokenizer.save_pretrained(folder)
    encoder = load_model(folder, "cpu")
    assert type(encoder.tokenizer).__name__ == "SiglipTokenizer"
    ids = torch.full((1, 24), 1)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model")).encode("the cataract")
    ids[0, : len(pieces)] = torch.tensor(pieces)
    with torch.no_grad():
        expected = encoder.model.get_text_features(input_ids=ids).pooler_output[0].numpy()
    embeds = encoder.encode_texts(["The, Cataract!", "the cataract", "low set ears " * 20])
    np.testing.assert_allclose(embeds[:2], np.tile(expected / np.linalg.norm(expected), (2, 1)), atol=1e-6)
    assert (encoder.counts.num_texts, encoder.counts.num_truncated) == (3, 1)


def test_a_text_of_exactly_the_context_is_not_cut(encoders):
    encoder = encoders["clip"]
    before = encoder.counts.num_truncated
    encoder.encode_texts(["b" * 22])  # and two special tokens
    assert encoder.counts.num_truncated == before
    encoder.encode_texts(["b" * 23])
    assert encoder.counts.num_truncated == before + 1


def test_a_tokenizer_without_a_limit_leaves_it_to_the_tower(model_dirs):
    for family in ("clip", "altclip", "align"):
        encoder = load_model(model_dirs[family], "cpu")
        encoder.tokenizer.model_max_length = int(1e30)
        assert encoder.context_length == 24
        assert np.isfinite(encoder.encode_texts([LONG])).all()


def copy(folder, target, *, change=None, **config):
    """A folder with other weights or another config."""
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    if change:
        weights = load_file(target / "model.safetensors")
        save_file(change(weights), target / "model.safetensors", metadata={"format": "pt"})
    if config:
        (target / "config.json").write_text(json.dumps(json.loads((target / "config.json").read_text()) | config))
    return target


def test_nan_weights_give_no_table(model_dirs, tmp_path, pictures):
    def spoil(weights):
        return {name: value * float("nan") if "text_projection" in name else value for name, value in weights.items()}

    encoder = load_model(copy(model_dirs["clip"], tmp_path, change=spoil), "cpu")
    assert np.isfinite(encoder.encode_images(pictures)).all()
    with pytest.raises(DataError, match="NaN, infinite or zero embeddings for 6 of 6 texts"):
        encoder.encode_texts(TEXTS)


@pytest.mark.parametrize("tower", ["text", "vision"])
def test_a_checkpoint_without_a_tower_is_refused(model_dirs, tmp_path, tower):
    def drop(weights):
        return {name: value for name, value in weights.items() if not name.startswith(f"{tower}_model.")}

    with pytest.raises(ConfigurationError, match=f"those of the {'image' if tower == 'vision' else tower} tower"):
        load_model(copy(model_dirs["siglip"], tmp_path, change=drop), "cpu")


def test_a_checkpoint_without_a_projection_is_refused(model_dirs, tmp_path):
    def drop(weights):
        return {name: value for name, value in weights.items() if name != "visual_projection.weight"}

    with pytest.raises(ConfigurationError, match=r"1 are missing, such as visual_projection\.weight"):
        load_model(copy(model_dirs["clip"], tmp_path, change=drop), "cpu")


def test_pickled_weights_are_not_read(model_dirs, tmp_path):
    folder = copy(model_dirs["clip"], tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match=r"got pytorch_model\.bin, which could run code"):
        load_model(folder, "cpu")
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(ConfigurationError, match=r"as model\.safetensors; there is none"):
        load_model(folder, "cpu")


def test_an_index_does_not_lead_out_of_the_folder(model_dirs, tmp_path):
    folder = copy(model_dirs["clip"], tmp_path)
    (folder / "model.safetensors").unlink()
    for shard, message in (("../x.safetensors", "must name files beside it"), ("x.safetensors", "lacks x.safetens")):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
        with pytest.raises(ConfigurationError, match=message):
            load_model(folder, "cpu")


def test_shards_are_hashed_one_by_one(model_dirs, tmp_path, pictures, encoders):
    encoders["clip"].model.save_pretrained(tmp_path, max_shard_size="100KB")
    for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((model_dirs["clip"] / name).read_bytes())
    encoder = load_model(tmp_path, "cpu")
    assert len(encoder.weights) > 1
    np.testing.assert_array_equal(encoder.encode_images(pictures), encoders["clip"].encode_images(pictures))


@pytest.mark.parametrize("lacking", ["preprocessor_config.json", "tokenizer.json"])
def test_missing_files_are_one_sentence(model_dirs, tmp_path, lacking):
    folder = copy(model_dirs["siglip"], tmp_path)
    (folder / lacking).unlink()
    with pytest.raises(ConfigurationError, match=r"cannot be loaded"):
        load_model(folder, "cpu")


def test_tokenizers_that_do_not_fit_are_refused(model_dirs, tmp_path):
    folder = copy(model_dirs["clip"], tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    for change in ({"pad_token": None}, {"model_max_length": 0}):
        (folder / "tokenizer_config.json").write_text(json.dumps(settings | change))
        with pytest.raises(ConfigurationError, match="a padding token and a limit of at least 1"):
            load_model(folder, "cpu")
    encoder = load_model(model_dirs["clip"], "cpu")
    encoder.tokenizer.add_tokens([f"token{number}" for number in range(90)])
    with pytest.raises(ConfigurationError, match="got token 165, and knows 128"):
        encoder.encode_texts(["token89"])


def test_code_of_a_folder_is_not_run(model_dirs, tmp_path, monkeypatch, pictures, encoders):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    folder = copy(model_dirs["clip"], tmp_path, auto_map={"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"})
    (folder / "evil.py").write_text("raise SystemExit('code of the folder was run')")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings["auto_map"] = {"AutoImageProcessor": "evil.Evil"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["auto_map"] = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    encoder = load_model(folder, "cpu")
    np.testing.assert_array_equal(encoder.encode_images(pictures), encoders["clip"].encode_images(pictures))


def test_nothing_to_encode(encoders):
    with pytest.raises(DataError, match="At least one image"):
        encoders["clip"].encode_images([])
    with pytest.raises(DataError, match="At least one text"):
        encoders["clip"].encode_texts([])
