"""Parquet files from strangers: pairs and records are read from them, and nothing that they name or pickle."""

import io
import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from phenolip.datasets_scripts.load import load_pairs_with_report
from phenolip.exceptions import DataError
from phenolip.phenokg.record_files import read_records
from phenolip.phenokg.records import CaptionedFigure


class _Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle ran')",)


def _png():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, "PNG")
    return buffer.getvalue()


def _file(columns, metadata=None):
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    if metadata is not None:
        table = table.replace_schema_metadata(metadata)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _extension(name, serialized):
    """A column whose metadata name an extension type, as a file from elsewhere has it."""
    metadata = {b"ARROW:extension:name": name, b"ARROW:extension:metadata": serialized}
    field = pa.field("caption", pa.string(), metadata=metadata)
    return _file(pa.Table.from_arrays([pa.array(["a"]), _IMAGES], schema=pa.schema([field, ("image", _IMAGES.type)])))


def _hub(features):
    """With the metadata by which `datasets` keeps the types of columns."""
    info = features if isinstance(features, bytes) else json.dumps({"info": {"features": features}}).encode()
    return _file({"image": _IMAGES, "caption": ["a"]}, {b"huggingface": info})


def _images(*, path=None, data=None):
    return pa.array([{"bytes": data, "path": path}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


_IMAGES = _images(data=_png())
_GOOD = _file({"image": _IMAGES, "caption": ["a"]})

REFUSED_PAIRS = {  # name -> file, what the message says
    "no Parquet": (b"PAR1 is no Parquet PAR1" * 9, "cannot be read"),
    "0 bytes": (b"", "cannot be read|no rows"),
    "the two marks alone": (b"PAR1PAR1", "cannot be read"),
    "a footer cut off": (_GOOD[:-20], "cannot be read"),
    "a footer of 2^32 bytes": (_GOOD[:-8] + b"\xff\xff\xff\xffPAR1", "cannot be read"),
    "a footer of noise": (_GOOD[:-60] + bytes(52) + _GOOD[-8:], "cannot be read"),
    "pages of noise": (_GOOD[:4] + b"\xff" * 60 + _GOOD[64:], "cannot be read|rows are bad|none of its"),
    "no rows": (_file({"image": _IMAGES[:0], "caption": pa.array([], pa.string())}), "no rows|cannot be read"),
    "no columns": (_file(pa.table({})), "no rows|column|cannot be read"),
    "other columns": (_file({"a": [1], "b": ["c"]}), "column"),
    "captions that are numbers": (_file({"image": _IMAGES, "caption": [7]}), "caption is empty"),
    "captions that are lists": (_file({"image": _IMAGES, "caption": [["a"]]}), "caption is empty"),
    "captions that are records": (_file({"image": _IMAGES, "caption": [{"a": {"b": 1}}]}), "caption is empty"),
    "captions that are bytes": (_file({"image": _IMAGES, "caption": [b"a"]}), "caption is empty"),
    "captions that are null": (_file({"image": _IMAGES, "caption": pa.nulls(1)}), "caption is empty|column"),
    "captions that are no UTF-8": (
        _file({"image": _IMAGES, "caption": pa.array([b"\xff\xfe"]).view(pa.binary()).cast(pa.string(), safe=False)}),
        "not valid Unicode|cannot be read"),
    "images that are numbers": (_file({"image": [1], "caption": ["a"]}), "image|column"),
    "images that are text": (_file({"image": _images(data=b"a"), "caption": ["a"]}), "not an image"),
    "images that are pickles": (
        _file({"image": _images(data=pickle.dumps(_Bomb())), "caption": ["a"]}), "not an image"),
    "images of this machine": (_file({"image": _images(path="/etc/passwd"), "caption": ["a"]}), "leaves the folder"),
    "images above the folder": (_file({"image": _images(path="../../a.png"), "caption": ["a"]}), "leaves the folder"),
    "images of an address": (
        _file({"image": _images(path="http://127.0.0.1:9/a.png"), "caption": ["a"]}), "leaves the folder|missing"),
    "images of this machine by a chain": (
        _file({"image": _images(path="zip://a.png::/etc/passwd"), "caption": ["a"]}), "leaves the folder|missing"),
    "images by a NUL": (_file({"image": _images(path="a\0b.png"), "caption": ["a"]}), "leaves the folder|missing"),
    "text paths of this machine": (_file({"image": ["/etc/passwd"], "caption": ["a"]}), "leaves the folder"),
    "labels that are numbers": (_file({"image": _IMAGES, "caption": ["a"], "hpo_ids": [[1.5]]}), "labels cannot be"),
    "labels that are code": (
        _file({"image": _IMAGES, "caption": ["a"], "hpo_ids": ["[__import__('os')]"]}), "labels cannot be"),
    "labels invented": (_file({"image": _IMAGES, "caption": ["a"], "hpo_ids": [["HP:9999999"]]}), "unknown HPO id"),
    "types that do not exist": (_hub({"caption": {"_type": "Evil"}, "image": {"_type": "Image"}}), "cannot be read"),
    "types that are noise": (_hub(b"{" * 9), "cannot be read"),
    "types nested 100,000 deep": (_hub(b"[" * 100_000), "cannot be read"),
}  # fmt: skip
HARMLESS_PAIRS = {  # name -> file of which one row remains
    "a pickle as the metadata of a type": _extension(b"arrow.py_extension_type", pickle.dumps(_Bomb())),
    "a type that nobody knows": _extension(b"evil.type", b"\xff" * 9),
    "a pickle as the metadata of the table": _file(
        {"image": _IMAGES, "caption": ["a"]}, {b"pandas": pickle.dumps(_Bomb())}
    ),
    "pixels as lists of numbers": _file({"image": [[[1, 2], [3, 4]]], "caption": ["a"]}),
    "types of other columns": _hub({"b": {"_type": "Value", "dtype": "string"}}),
    "captions from a dictionary": _file({"image": _IMAGES, "caption": pa.array(["a"]).dictionary_encode()}),
    "a column with the name of a method": _file({"image": _IMAGES, "caption": ["a"], "__class__": ["b"]}),
    "dates beyond all years": _file(
        {"image": _IMAGES, "caption": ["a"], "when": pa.array([2**60]).cast(pa.timestamp("ms"))}
    ),
}
_FIGURE = {"figure": ["f"], "caption": ["a"]}
REFUSED_RECORDS = {  # name -> file, what the message says
    "no Parquet": (b"a", "cannot be read"),
    "a footer cut off": (_file(_FIGURE)[:-9], "cannot be read"),
    "pages of noise": (_file(_FIGURE)[:4] + b"\xff" * 60 + _file(_FIGURE)[64:], "cannot be read|no CaptionedFigure"),
    "a column is missing": (_file({"figure": ["f"]}), "missing required field"),
    "captions that are lists": (_file({"figure": ["f"], "caption": [["a"]]}), "no CaptionedFigure"),
    "captions that are null": (_file({"figure": ["f"], "caption": pa.nulls(1)}), "no CaptionedFigure"),
    "captions of dates beyond all years": (
        _file({"figure": ["f"], "caption": pa.array([2**60]).cast(pa.timestamp("ms"))}), "cannot be read|no Capt"),
    "captions that are no UTF-8": (
        _file({"figure": ["f"], "caption": pa.array([b"\xff"]).cast(pa.string(), safe=False)}), "cannot be read"),
    "a column twice": (
        _file(pa.Table.from_arrays([pa.array(["f"]), pa.array(["a"]), pa.array([1])], ["figure", *["caption"] * 2])),
        "cannot be read|no CaptionedFigure"),
}  # fmt: skip
REFUSED = {f"pairs: {name}": each for name, each in REFUSED_PAIRS.items()} | {
    f"records: {name}": each for name, each in REFUSED_RECORDS.items()
}
HARMLESS = HARMLESS_PAIRS
LARGE = {name for name in REFUSED_PAIRS if not any(word in name for word in ("machine", "pickle", "NUL", "footer"))}


@pytest.fixture
def datasets_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", REFUSED_PAIRS)
def test_hostile_pairs_are_one_sentence(name, tmp_path, datasets_cache):
    data, message = REFUSED_PAIRS[name]
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        load_pairs_with_report(tmp_path / "a.parquet")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", HARMLESS_PAIRS)
def test_unusual_columns_are_read_as_they_are_stored(name, tmp_path, datasets_cache):
    (tmp_path / "a.parquet").write_bytes(HARMLESS_PAIRS[name])
    pairs, _ = load_pairs_with_report(tmp_path / "a.parquet")
    assert pairs["caption"][:] == ["a"]


@pytest.mark.parametrize("name", REFUSED_RECORDS)
def test_hostile_records_are_one_sentence(name, tmp_path, bounds):
    data, message = REFUSED_RECORDS[name]
    (tmp_path / "a.parquet").write_bytes(data)
    with bounds(), pytest.raises(DataError, match=message) as caught:
        list(read_records(tmp_path / "a.parquet", CaptionedFigure))
    assert len(str(caught.value).splitlines()) == 1
