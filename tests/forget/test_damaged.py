"""`phenolip forget` over damaged tables, files of somebody else, and what a run that was cut off left."""

import sqlite3
from contextlib import closing

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenolip.cli import main
from phenolip.forget import removal
from phenolip.phenokg.backends.answer_cache import AnswerCache

CAPTION = "A hand with long fingers and stripes on it"


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets_cache")


@pytest.fixture
def place(tmp_path):
    return write_rows(tmp_path / "place")


def write_rows(folder, prefix="row"):
    folder.mkdir()
    rows = [{"row_id": f"{prefix}-{row}", "caption": CAPTION if row == 0 else "Another hand"} for row in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    return folder


def num_rows(folder):
    return pq.read_metadata(folder / "rows.parquet").num_rows


def forget(*folders, asked="row-0"):
    """The exit code."""
    return main(["forget", *map(str, folders), "--ids", asked])


def no_parquet(path):
    path.write_bytes(b"PAR1 nothing of the kind PAR1")


def no_utf8(path):
    texts = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")]
    )
    pq.write_table(pa.table({"row_id": texts}), path)


def cut_off(path):
    pq.write_table(pa.table({"row_id": [str(row) for row in range(999)]}), path)
    path.write_bytes(path.read_bytes()[:-99])


@pytest.mark.parametrize("damage", [no_parquet, no_utf8, cut_off])
def test_a_damaged_table_is_one_sentence_and_nothing_is_touched(damage, place, capsys):
    damage(place / "damaged.parquet")
    assert forget(place) == 1
    said = capsys.readouterr().err
    assert "damaged.parquet cannot be read" in said and "repair or delete it" in said and "Traceback" not in said
    assert num_rows(place) == 3


def test_arrays_and_databases_of_somebody_else_are_left_alone(place):
    np.save(place / "part_1.npy", np.zeros((3, 4)))
    np.save(place / "part_2.npy", np.zeros(3, [("key", "<i8")]))
    np.save(place / "part_3.npy", np.array([{}], object), allow_pickle=True)
    (place / "part_4.npy").write_bytes(b"")
    with closing(sqlite3.connect(place / "other #1?.sqlite")) as database:
        database.execute("CREATE TABLE answers (key, answer)")
        database.execute("INSERT INTO answers VALUES (1, 2), ('a', NULL), (?, ?)", (b"b", CAPTION.encode()))
        database.commit()
    before = {path: path.read_bytes() for path in place.iterdir() if path.suffix in (".npy", ".sqlite")}
    forget(place)
    assert num_rows(place) == 2
    assert {path: path.read_bytes() for path in before} == before


def test_half_of_a_sign_in_a_caption_does_not_end_it_where_features_are_stored(tmp_path):
    folder = tmp_path / "ward"
    folder.mkdir()
    (folder / "rows.jsonl").write_text(r'{"row_id": "row-0", "caption": "A hand \ud800 with long fingers"}' + "\n")
    np.save(folder / "part_1.npy", np.zeros(3, [("key", "V16"), ("row", "<f4", (2,))]))
    assert forget(folder) == 0
    assert (folder / "rows.jsonl").read_text() == ""


def test_a_database_that_cannot_be_written_is_one_sentence(place, capsys):
    path = place / "answers.sqlite"
    AnswerCache(path).put("1", CAPTION, "model")
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TRIGGER held BEFORE DELETE ON answers BEGIN SELECT RAISE(ABORT, 'held'); END")
        database.commit()
    assert forget(place) == 1
    assert "answers.sqlite cannot be changed (held)" in capsys.readouterr().err


class KilledError(BaseException):
    """In place of a kill: nothing of ours catches it."""


def killed(*_):
    raise KilledError


def test_a_run_that_was_cut_off_is_ended_only_over_all_of_its_folders(place, tmp_path, monkeypatch, capsys):
    other = write_rows(tmp_path / "other")
    with monkeypatch.context() as patch:
        patch.setattr(removal, "_remove_rows", killed)
        with pytest.raises(KilledError):
            forget(place, other)
    assert (place / removal.JOURNAL).exists()
    assert forget(place, asked="row-1") == 2
    assert f"must name {other} too" in capsys.readouterr().err
    assert num_rows(place) == num_rows(other) == 3
    assert forget(tmp_path, asked="row-1") == 0, "a folder above both is enough"
    assert num_rows(place) == num_rows(other) == 1
    assert not (place / removal.JOURNAL).exists()
