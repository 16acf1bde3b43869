"""Archives from strangers: WebDataset shards, `.npz`, gzip. Nothing is unpacked to a path that they name."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from phenolip.datasets_scripts.load import load_pairs_with_report
from phenolip.datasets_scripts.medmnist_file import read_member
from phenolip.exceptions import DataError
from phenolip.phenokg.articles.article_ids import read_article_ids


def _png():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, "PNG")
    return buffer.getvalue()


def _tar(*members):
    """A shard: members are a name and what it holds, or a TarInfo, which may be a link or a device."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def _zip(members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def _npy(array=None, header=None):
    if header is not None:
        text = header.encode().ljust(118 - 1) + b"\n"
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


class _Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle ran')",)


_ROW = (("a.png", _png()), ("a.txt", b"a cataract"))
_OBJECTS = _npy(np.array([_Bomb()], dtype=object))


def _header(shape, dtype="|u1"):
    return _npy(header=f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}")


REFUSED_SHARDS = {  # name -> tar, what the message says
    "no tar": (b"no tar" * 300, "cannot be read"),
    "0 bytes": (b"", "cannot be read"),
    "cut off in the first member": (_tar(*_ROW)[:700], "cannot be read|none of its|rows are bad"),
    "links to files of this machine": (
        _tar(_special("a.png", tarfile.SYMTYPE, "/etc/passwd"), ("a.txt", b"a")), "cannot be read|column"),
    "hard links to files of this machine": (
        _tar(_special("a.png", tarfile.LNKTYPE, "/etc/passwd"), ("a.txt", b"a")), "cannot be read|column"),
    "devices": (_tar(_special("a.png", tarfile.CHRTYPE), ("a.txt", b"a")), "cannot be read|column"),
    "pipes": (_tar(_special("a.png", tarfile.FIFOTYPE), ("a.txt", b"a")), "cannot be read|column"),
    "a picture that is a pickle": (_tar(("a.png", _OBJECTS), ("a.txt", b"a")), "not an image"),
    "a picture that is a bomb": (
        _tar(("a.png", _png()[:16] + (60_000).to_bytes(4, "big") * 2 + _png()[24:]), ("a.txt", b"a")), "rows are bad"),
    "an array of objects beside the picture": (
        _tar(*_ROW, ("a.npy", _OBJECTS)), "cannot be read"),
    "JSON nested 100,000 deep": (_tar(("a.png", _png()), ("a.json", b"[" * 100_000)), "cannot be read"),
}  # fmt: skip
HARMLESS_SHARDS = {  # name -> tar of which one row remains
    "a name that leads up": _tar(("../../a.png", _png()), ("../../a.txt", b"a cataract")),
    "an absolute name": _tar(("/tmp/evil/a.png", _png()), ("/tmp/evil/a.txt", b"a cataract")),
    "a pickle beside the picture": _tar(*_ROW, ("a.pkl", _OBJECTS), ("a.pyd", _OBJECTS)),
    "a device beside the picture": _tar(*_ROW, _special("b", tarfile.BLKTYPE)),
}
REFUSED_ARRAYS = {  # name -> .npz, what the message says
    "no zip": (b"PK\x03\x04" * 9, "must be an .npz file"),
    "0 bytes": (b"", "must be an .npz file"),
    "cut off": (_zip([("a.npy", _npy(np.zeros(9000)))])[:-30], "must be an .npz file"),
    "a name that leads up": (_zip([("../a.npy", _npy(np.zeros(2)))]), "must hold the array a"),
    "Python objects": (_zip([("a.npy", _OBJECTS)]), "never loaded"),
    "a shape beyond the file": (_zip([("a.npy", _header((10**15,)))]), "cannot be read"),
    "a shape below 0": (_zip([("a.npy", _header((-9,)))]), "cannot be read"),
    "a shape beyond 64 bits": (_zip([("a.npy", _header((2**40, 2**40)))]), "cannot be read"),
    "a header that is code": (_zip([("a.npy", _npy(header="__import__('os').abort()"))]), "cannot be read"),
    "a header of brackets": (_zip([("a.npy", _npy(header="(" * 110))]), "cannot be read"),
    "an unknown version": (_zip([("a.npy", b"\x93NUMPY\x09\x00")]), "not known"),
    "a bomb": (_zip([("a.npy", _header((70_000_000,)) + bytes(70_000_000))], zipfile.ZIP_DEFLATED), "unpacked"),
    "a checksum that is wrong": (
        _zip([("a.npy", _npy(np.arange(999)))], zipfile.ZIP_DEFLATED).replace(b"\x93", b"\x94"), "cannot be read"),
    "encrypted": (_zip([("a.npy", _npy(np.zeros(2)))], zipfile.ZIP_DEFLATED).replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"), "cannot be read"),
}  # fmt: skip
HARMLESS_ARRAYS = {
    "two arrays of one name": _zip([("a.npy", _npy(np.zeros(2))), ("a.npy", _npy(np.ones(2)))]),
    "an array without elements": _zip([("a.npy", _header((0, 2**31)))]),
    "a link": _zip([("a.npy", _npy(np.zeros(2))), ("/etc/passwd", b"a")]),
}
REFUSED_LISTS = {  # name -> gzip of article ids
    "no gzip": b"PMC1\n",
    "cut off": gzip.compress(b"PMC1\n" * 9000)[:-12],
    "damaged": gzip.compress(bytes(range(256)) * 90)[:60] + b"\xff" * 60,
    "a checksum that is wrong": gzip.compress(b"PMC1\n")[:-8] + b"\0" * 8,
}
HARMLESS_LISTS = {
    "20 MB on one line": gzip.compress(b"PMC1\n" + b"a" * 20_000_000),
    "two members": gzip.compress(b"PMC1\n") * 2,
}
REFUSED = REFUSED_SHARDS | REFUSED_ARRAYS | REFUSED_LISTS
HARMLESS = HARMLESS_SHARDS | HARMLESS_ARRAYS | HARMLESS_LISTS
LARGE = {"a bomb", "20 MB on one line"}


@pytest.fixture
def datasets_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def _shard(folder, data):
    (folder / "shard").mkdir()
    (folder / "shard" / "a.tar").write_bytes(data)
    return folder / "shard"


@pytest.mark.parametrize("name", REFUSED_SHARDS)
def test_a_hostile_shard_is_one_sentence(name, tmp_path, datasets_cache):
    data, message = REFUSED_SHARDS[name]
    with pytest.raises(DataError, match=message) as caught:
        load_pairs_with_report(_shard(tmp_path, data))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", HARMLESS_SHARDS)
def test_names_within_a_shard_are_names_alone(name, tmp_path, datasets_cache):
    pairs, _ = load_pairs_with_report(_shard(tmp_path, HARMLESS_SHARDS[name]))
    assert pairs["caption"][:] == ["a cataract"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "shard"]


@pytest.mark.parametrize("name", REFUSED_ARRAYS)
def test_a_hostile_file_of_arrays_is_one_sentence(name, tmp_path, bounds):
    data, message = REFUSED_ARRAYS[name]
    (tmp_path / "a.npz").write_bytes(data)
    with bounds(), pytest.raises(DataError, match=message) as caught:
        read_member(tmp_path / "a.npz", "a")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", HARMLESS_ARRAYS)
def test_the_array_of_the_name_is_read(name, tmp_path, bounds):
    (tmp_path / "a.npz").write_bytes(HARMLESS_ARRAYS[name])
    with bounds():
        assert read_member(tmp_path / "a.npz", "a").size in (0, 2)


@pytest.mark.parametrize("name", REFUSED_LISTS)
def test_a_hostile_gzip_is_one_sentence(name, tmp_path, bounds):
    (tmp_path / "a.gz").write_bytes(REFUSED_LISTS[name])
    with bounds(), pytest.raises(DataError, match="cannot be read") as caught:
        list(read_article_ids(tmp_path / "a.gz"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", HARMLESS_LISTS)
def test_a_long_line_costs_no_memory(name, tmp_path, bounds):
    (tmp_path / "a.gz").write_bytes(HARMLESS_LISTS[name])
    with bounds():
        assert len(list(read_article_ids(tmp_path / "a.gz"))) in (1, 2)
