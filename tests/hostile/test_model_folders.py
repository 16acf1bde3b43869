"""Model folders from strangers: each attack is one sentence, and nothing of the folder runs."""

import json
import pickle
import shutil
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from phenolip.exceptions import ConfigurationError, PhenoLIPError
from phenolip.inference.adapters.registry import load_model
from phenolip.inference.encoder import Encoder
from phenolip.inference.model_check import check_model, check_weights

WEIGHTS = "model.safetensors"
TRAP = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\nclass PhenoLIPModel: ...\nclass T: ...\n"


class _Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle ran')",)


def _json(folder, name, **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _weights(folder, change):
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def _pickled(name):
    def attack(folder):
        (folder / WEIGHTS).unlink()
        (folder / name).write_bytes(pickle.dumps(_Bomb()))

    return attack


def _index(shard):
    def attack(folder):
        shutil.move(folder / WEIGHTS, folder.parent / "outside.safetensors")
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))

    return attack


def _bytes(change):
    def attack(folder):
        path = folder / WEIGHTS
        path.write_bytes(change(path.read_bytes()))

    return attack


def _header(text):
    return struct.pack("<Q", len(text)) + text


def _tower(**sizes):
    def attack(folder):
        config = json.loads((folder / "config.json").read_text())
        config["text_config"]["tower_config"] |= sizes
        (folder / "config.json").write_text(json.dumps(config))

    return attack


def _config(**changes):
    return lambda folder: _json(folder, "config.json", **changes)


def _text(content):
    return lambda folder: (folder / "config.json").write_text(content)


def _cut_first(weights):
    name = max(weights, key=lambda key: weights[key].numel())
    weights[name] = weights[name][:1].clone()


def _drop_first(weights):
    weights.pop(max(weights, key=lambda key: weights[key].numel()))


ATTACKS = {
    "pickle .bin": (_pickled("pytorch_model.bin"), "pytorch_model.bin, which could run code"),
    "pickle .pt": (_pickled("model.pt"), "there is none"),
    "pickle .pkl": (_pickled("model.pkl"), "there is none"),
    "pickle named safetensors": (_bytes(lambda _: pickle.dumps(_Bomb())), "header of at most|truncated or damaged"),
    "index leads up": (_index("../outside.safetensors"), "must name files beside it"),
    "index is absolute": (_index("/etc/passwd"), "must name files beside it"),
    "index names a pickle": (_index("pytorch_model.bin"), "lacks pytorch_model.bin"),
    "index map is a list": (
        lambda folder: (_index("a")(folder), (folder / f"{WEIGHTS}.index.json").write_text('{"weight_map": [1]}')),
        "must name files beside it",
    ),
    "header of 2^62 bytes": (_bytes(lambda data: struct.pack("<Q", 2**62) + data[8:]), "header of at most"),
    "header of 64 MiB": (_bytes(lambda data: _header(b" " * (64 << 20))), "header of at most"),
    "header is no JSON": (_bytes(lambda data: _header(b"{" * 40)), "truncated or damaged"),
    "header nested 10,000 deep": (_bytes(lambda data: _header(b'{"a":' * 10_000)), "truncated or damaged"),
    "offsets beyond the file": (
        _bytes(lambda data: _header(b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}')), "truncated",
    ),
    "offsets turned round": (
        _bytes(lambda data: _header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}') + b"aaaa"), "truncated",
    ),
    "weights cut off": (_bytes(lambda data: data[: len(data) // 2]), "truncated or damaged"),
    "weights of 0 bytes": (_bytes(lambda data: b""), "truncated or damaged"),
    "weights of 4 bytes": (_bytes(lambda data: data[:4]), "truncated or damaged|header of at most"),
    "a wrong shape": (lambda folder: _weights(folder, _cut_first), "cannot be loaded"),
    "a tensor is missing": (lambda folder: _weights(folder, _drop_first), "lack"),
    "width of 10^9": (_tower(hidden_size=10**9), "`hidden_size` must be at most"),
    "10^9 layers": (_tower(num_hidden_layers=10**9), "`num_hidden_layers` must be at most"),
    "negative vocabulary": (_tower(vocab_size=-5), "`vocab_size` must be at most"),
    "width is text": (_tower(hidden_size="wide"), "cannot be loaded"),
    "config is a list": (_text("[]"), "must"),
    "config nested 100,000 deep": (_text("[" * 100_000), "must be|not JSON|no JSON"),
    "config is no UTF-8": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe{"), "must|not JSON"),
    "config of 17 MB": (_config(note="a" * (17 << 20)), "at most 16,777,216 bytes"),
    "unknown model type": (_config(model_type="../../evil"), "must be one of"),
    "model type is a number": (_config(model_type=7), "must be one of"),
    "tower of unknown type": (_tower(model_type="evil"), "cannot be loaded"),
}  # fmt: skip


@pytest.fixture
def folder(tiny_model_dir, tmp_path):
    return shutil.copytree(tiny_model_dir, tmp_path / "model")


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_folder_is_one_sentence(name, folder, tmp_path):
    attack, message = ATTACKS[name]
    attack(folder)
    with pytest.raises(ConfigurationError, match=message) as caught:
        Encoder.from_pretrained(folder, "cpu")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_without_finite_numbers_give_no_embedding(value, folder):
    _weights(
        folder, lambda weights: [tensor.fill_(value) for tensor in weights.values() if tensor.is_floating_point()]
    )
    with pytest.raises(PhenoLIPError, match="finite"):
        Encoder.from_pretrained(folder, "cpu").encode_texts(["cataract"])


@pytest.mark.parametrize("target", ["evil.PhenoLIPModel", "other/repository--evil.PhenoLIPModel", "../evil.T"])
def test_auto_map_names_code_that_never_runs(target, folder):
    classes = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoProcessor", "AutoImageProcessor")
    (folder / "evil.py").write_text(TRAP)
    for name in ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json"):
        if (folder / name).exists():
            _json(folder, name, auto_map={kind: target for kind in classes} | {"AutoTokenizer": [target, target]})
    Encoder.from_pretrained(folder, "cpu").encode_texts(["cataract"])
    assert not (folder / "ran").exists()


def test_the_code_of_the_folder_is_replaced_by_the_installed_classes(folder):
    for code in folder.glob("*.py"):
        code.write_text(TRAP)
    encoder = load_model(folder, "cpu")
    assert type(encoder.model).__module__ == "phenolip.modeling_phenolip" and not (folder / "ran").exists()


def test_whole_folders_pass(folder):
    check_model(folder)
    assert len(check_weights(folder / WEIGHTS)) == len(load_file(folder / WEIGHTS))
    assert torch.isfinite(torch.tensor(Encoder.from_pretrained(folder, "cpu").encode_texts(["a"]))).all()
