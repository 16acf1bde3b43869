"""Hostile YAML at every reader of YAML: no object is made, no alias grows, and the error is one sentence."""

import pytest
import yaml

from phenolip.eval.tasks.registry import load_task
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.hub.card import _read as read_card_settings
from phenolip.ontology.overlays import read_overlay
from phenolip.phenokg.build_config import make_build, read_settings
from phenolip.phenokg.figures.cluster_decisions import read_decisions
from phenolip.plain_yaml import read_yaml
from phenolip.train.arguments import RunArguments, parse

_LEVELS = "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 12))

FILES = {  # name -> a file that no reader takes
    "a tag that runs code": b"!!python/object/apply:os.system ['touch ran']",
    "a tag that makes an object": b"a: !!python/object/new:pathlib.Path ['/']",
    "a tag that names a function": b"a: !!python/name:os.system",
    "a tag that imports": b"a: !!python/module:antigravity",
    "an unknown tag": b"a: !evil {b: c}",
    "a tag of an address": b"a: !<tag:127.0.0.1,2026:evil> b",
    "a tower of aliases": b"b0: &b0 [a, a, a, a, a, a, a, a, a]\n" + _LEVELS.encode(),
    "a tower of merges": b"b0: &b0 {a: 1}\n"
    + b"".join(b"b%d: &b%d {<<: [%s]}\n" % (n, n, b", ".join([b"*b%d" % (n - 1)] * 20)) for n in range(1, 9)),
    "an alias of what it stands in": b"&a [*a]",
    "a key that stands for itself": b"&a {*a : 1}",
    "an alias of nothing": b"a: *b",
    "brackets nested 100,000 deep": b"[" * 100_000,
    "lists nested 5,000 deep": b"- " * 5000,
    "a key of a list": b"? [a, b]\n: c",
    "a list": b"- a\n- b",
    "a text": b"text",
    "nothing": b"",
    "a date that is none": b"a: 2000-99-99",
    "NUL": b"a: b\0c",
    "a control character": b"a: b\x1bc",
    "no UTF-8": b"a: \xff",
    "UTF-16": "a: b".encode("utf-16"),
    "UTF-32": "a: b".encode("utf-32"),
    "2 MB": b"a: " + b"b" * 2_000_000,
    "cut off in a quote": b'a: "b',
    "tabs": b"a:\n\t- b",
    "two documents": b"a: b\n---\nc: d",
    "a binary": b"a: !!binary ////",
    "a set": b"a: !!set {b}",
    "an ordered map": b"a: !!omap [b: c]",
    "an integer of 5,000 digits": b"a: " + b"9" * 5000,
    "an integer of 5,000 hexadecimal digits": b"a: 0x" + b"f" * 5000,
    "an integer to the base 60": b"a: " + b"59:" * 5000 + b"59",
}


def _plain(read):
    """A reader that hands on what the file holds: it must be plain, and its callers say whether they take it."""

    def of_file(path):
        try:
            found = read(path)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DataError(" ".join(str(error).split())) from None
        assert isinstance(found, dict | list | str | None) and len(repr(found)) < 1_000_000
        raise DataError("Plain values.")

    return of_file


READERS = {
    "plain values": _plain(read_yaml),
    "settings of training": lambda path: parse((RunArguments,), ["--config", str(path)], description="a"),
    "a task": load_task,
    "a build": lambda path: make_build(read_settings(path)),
    "an overlay": read_overlay,
    "decisions": read_decisions,
    "the settings beside a model": _plain(read_card_settings),
}
#: What overlays take, since they read every value as text, decisions, since the file may say nothing yet.
TAKEN = {("an overlay", name) for name in ("a date that is none", "a tag of an address", "a binary")} | {
    ("decisions", "nothing")
}
REFUSED = {
    f"{reader}: {name}": (reader, data)
    for reader in READERS
    for name, data in FILES.items()
    if (reader, name) not in TAKEN
}
LARGE = {name for name, (_, data) in REFUSED.items() if len(data) > 50_000}
HARMLESS = {f"{reader}: {name}": (reader, FILES[name]) for reader, name in sorted(TAKEN)}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_file_is_one_sentence(name, tmp_path, monkeypatch, bounds):
    reader, data = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.yaml"
    path.write_bytes(data)
    with bounds(), pytest.raises((ConfigurationError, DataError)) as caught:
        READERS[reader](path)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 1500
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_text_there_is_text(name, tmp_path, bounds):
    reader, data = HARMLESS[name]
    (tmp_path / "a.yaml").write_bytes(data)
    with bounds():
        found = READERS[reader](tmp_path / "a.yaml")
    values = found.values() if isinstance(found, dict) else found.by_cluster.values()
    assert all(isinstance(value, str) for value in values)
