"""A row that is forgotten is nowhere: not in a table, picture, index, cache or page, and no build brings it back."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from phenolip.cli import main
from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.prepare import prepare_split
from phenolip.exceptions import ConfigurationError
from phenolip.forget.selection import Selection
from phenolip.inference.embed_dataset import EmbedConfig, embed_dataset
from phenolip.inference.embedding_index import EmbeddingIndex
from phenolip.inference.encoder import Encoder
from phenolip.phenokg.backends.answer_cache import AnswerCache
from phenolip.train.text_feature_store import TextFeatureStore

GONE, NUM_ROWS = 3, 9
MARKER = "ZEBRAMARKER stripes on the left hand, as the mother said"


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path, monkeypatch):
    cache = tmp_path / "datasets_cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    return cache


def caption(row):
    return MARKER if row == GONE else f"A hand of patient {'x' * row} with long fingers"


def name(row):
    return "images/zebramarker_jones.png" if row == GONE else f"images/{row}.png"


def vector(texts):
    """A made-up encoder of texts."""
    return np.array([[len(text), sum(map(ord, text)) % 97, 1.0] for text in texts], np.float32)


def write_pairs(folder):
    """An ImageFolder, as a user has it."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for row in range(NUM_ROWS):
        pixels = np.random.default_rng(row).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 40), Image.Resampling.NEAREST).save(folder / name(row))
        rows.append({"file_name": name(row), "caption": caption(row), "patient_id": f"patient-{row // 2}"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


PLACES = ("pairs", "prepared", "index", "run", "eval", "models", "other")


@pytest.fixture(scope="module")
def template(tiny_model_dir, tmp_path_factory):
    """The pairs and all that is made of them."""
    tmp_path = tmp_path_factory.mktemp("places")
    pairs = write_pairs(tmp_path / "pairs")
    prepared, index, run = tmp_path / "prepared", tmp_path / "index", tmp_path / "run"
    prepare_split(pairs, prepared, validation_fraction=0.3)
    encoder = Encoder.from_pretrained(tiny_model_dir, "cpu")
    embed_dataset(encoder, pairs, index, EmbedConfig(rows_per_shard=4, batch_size=4, thumbnail_px=16))
    EmbeddingIndex(index).embeds()  # maps them
    store = TextFeatureStore(run / "features" / "text_embeds-1-32", vector, part_size=4)
    store.features([caption(row) for row in range(NUM_ROWS)])
    views = run / "features" / "image-abc"
    views.mkdir()
    np.save(views / "view_000.npy", np.zeros((NUM_ROWS, 4), np.float32))
    rows = load_pairs(pairs)
    trained = pa.table({"sha256": rows["sha256"][:], "row_id": rows["row_id"][:], "phash": np.zeros(NUM_ROWS)})
    pq.write_table(trained, run / "training_index.parquet")
    evaluated = tmp_path / "eval"
    evaluated.mkdir()
    queries = pa.table({"metric": ["i2t"] * NUM_ROWS, "query_id": rows["row_id"][:], "value": np.arange(9.0)})
    pq.write_table(queries, evaluated / "per_query.parquet")
    (evaluated / "report.html").write_text('<meta name="generator" content="phenolip"><p>pictures without a name</p>')
    answers = AnswerCache(tmp_path / "models" / "answers.sqlite")
    answers.put("1", json.dumps({"description": "Seen: " + MARKER.casefold()}), "model")
    answers.put("2", json.dumps({"description": "A hand of patient x with long fingers and more"}), "model")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "page.html").write_text(f"<p>{MARKER}</p>")
    (tmp_path / "other" / "kept.html").write_text("<p>a hand</p>")
    return tmp_path


@pytest.fixture
def places(template, tmp_path):
    """A copy of it: name -> folder."""
    for key in PLACES:
        shutil.copytree(template / key, tmp_path / key)
    return {key: tmp_path / key for key in PLACES}


def state(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


def holds_marker(folder):
    """Whether any file, read as what it is, still knows of the row; written apart from the command's own search."""
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        data = path.name.encode() + path.read_bytes()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            data += str(
                table.drop_columns([c for c in ("image", "thumbnail") if c in table.column_names]).to_pydict()
            ).encode()
        if b"zebramarker" in data.lower():
            return path
    return None


def test_a_row_is_gone_from_every_place_and_the_others_stay(places, tmp_path, capsys):
    folders = [str(folder) for folder in places.values()]
    before = EmbeddingIndex(places["index"])
    embeds, ids = np.array(before.embeds()), [row["row_id"] for row in before.rows(range(NUM_ROWS))]
    assert holds_marker(tmp_path) is not None
    states = {key: state(folder) for key, folder in places.items()}
    assert main(["forget", *folders, "--ids", name(GONE), "--dry_run"]) == 0
    assert {key: state(folder) for key, folder in places.items()} == states, "a dry run changes nothing"
    assert "ZEBRA" not in capsys.readouterr().out
    assert main(["forget", *folders, "--ids", name(GONE), "--check"]) == 1, "the search finds it before"
    capsys.readouterr()

    assert main(["forget", *folders, "--ids", name(GONE)]) == 0
    shown = capsys.readouterr().out
    assert "weights" in shown and "ZEBRA" not in shown and "No file of these folders holds" in shown
    for folder in places.values():
        assert holds_marker(folder) is None

    assert len(load_pairs(places["pairs"])) == NUM_ROWS - 1
    assert sum(len(load_pairs(places["prepared"] / part)) for part in ("train", "validation")) == NUM_ROWS - 1
    manifest = json.loads((places["prepared"] / "manifest.json").read_text())
    assert sum(manifest["num_rows"].values()) == NUM_ROWS - 1 and "data_revision" not in manifest
    index = EmbeddingIndex(places["index"])
    stay = [row for row, row_id in enumerate(ids) if row_id != name(GONE)]
    assert np.array_equal(index.embeds(), embeds[stay])
    assert [row["row_id"] for row in index.rows(range(len(index)))] == [ids[row] for row in stay]
    assert pq.read_metadata(places["run"] / "training_index.parquet").num_rows == NUM_ROWS - 1
    assert name(GONE) not in pq.read_table(places["eval"] / "per_query.parquet")["query_id"].to_pylist()
    assert not (places["eval"] / "report.html").exists() and not (places["other"] / "page.html").exists()
    assert (places["other"] / "kept.html").exists()
    assert set(AnswerCache(places["models"] / "answers.sqlite").get(["1", "2"])) == {"2"}
    assert not (places["run"] / "features" / "image-abc" / "view_000.npy").exists()
    asked = []
    store = TextFeatureStore(
        places["run"] / "features" / "text_embeds-1-32", lambda texts: asked.extend(texts) or vector(texts)
    )
    assert np.array_equal(store.features([caption(0), caption(5)]), vector([caption(0), caption(5)])) and not asked
    store.features([MARKER])
    assert asked == [MARKER], "its features are not stored any more"

    (receipt,) = places["pairs"].glob("forget-*.json")
    found = json.loads(receipt.read_text())
    assert found["num_models_trained_on_a_row"] == 1 and found["removed"]["pictures"] == 1
    assert hashlib.sha256(name(GONE).encode()).hexdigest() in found["asked_sha256"]
    assert sum(table["num_rows_removed"] for table in found["tables"]) == found["removed"]["rows of tables"]
    assert "zebra" not in receipt.read_text().lower()


def test_the_index_is_not_filled_up_again_from_data_that_still_hold_the_row(places, tiny_model_dir):
    main(["forget", str(places["index"]), "--ids", name(GONE)])
    encoder = Encoder.from_pretrained(tiny_model_dir, "cpu")
    with pytest.raises(ConfigurationError, match="data_fingerprint"):
        embed_dataset(
            encoder, places["pairs"], places["index"], EmbedConfig(rows_per_shard=4, batch_size=4, thumbnail_px=16)
        )


@pytest.mark.parametrize("how", ["hash", "group"])
def test_rows_by_the_hash_of_a_picture_and_by_patient(places, how):
    hashes = {name(row): hashlib.sha256((places["pairs"] / name(row)).read_bytes()).hexdigest() for row in range(9)}
    asked = ["--ids", hashes[name(GONE)]] if how == "hash" else ["--groups", f"patient-{GONE // 2}"]
    assert main(["forget", *map(str, places.values()), *asked]) == 0
    left = NUM_ROWS - (1 if how == "hash" else 2)
    assert len(load_pairs(places["pairs"])) == len(EmbeddingIndex(places["index"])) == left
    assert pq.read_metadata(places["eval"] / "per_query.parquet").num_rows == left


class KilledError(BaseException):
    """In place of a kill: nothing of ours catches it."""


def kill_at(monkeypatch, number):
    """The next rename, deletion or removal of a folder but `number` never happens; how many there were."""
    calls = []

    def counted(function):
        def call(*args, **kwargs):
            if len(calls) == number:
                raise KilledError
            calls.append(function)
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(os, "unlink", counted(os.unlink))
    monkeypatch.setattr(shutil, "rmtree", counted(shutil.rmtree))
    return calls


@pytest.mark.parametrize("number", [1, 6, 11, *(pytest.param(n, marks=pytest.mark.slow) for n in range(30))])
@pytest.mark.parametrize("asked", ["name", "hash"])
def test_a_run_that_is_cut_off_is_ended_by_the_same_call(places, monkeypatch, number, asked, tmp_path):
    """Killed before a rename or deletion; the same call ends what was begun, whatever is gone by then."""
    image = hashlib.sha256((places["pairs"] / name(GONE)).read_bytes()).hexdigest()
    call = ["forget", *map(str, places.values()), "--ids", name(GONE) if asked == "name" else image]
    call += ["--receipt", str(tmp_path / "receipt.json")]
    with monkeypatch.context() as patch:
        calls = kill_at(patch, number)
        try:
            assert main(call) == 0
        except KilledError:
            assert len(calls) == number
        else:
            assert number > 12, "there are this many chances to be killed"
    assert main(call) == 0
    for folder in places.values():
        assert holds_marker(folder) is None
        assert not list(folder.rglob(".forgetting"))
    assert len(load_pairs(places["pairs"])) == len(EmbeddingIndex(places["index"])) == NUM_ROWS - 1
    manifest = json.loads((places["prepared"] / "manifest.json").read_text())
    assert sum(manifest["num_rows"].values()) == NUM_ROWS - 1


def test_a_folder_in_use_is_left_alone(places, capsys):
    before = state(places["run"])
    code = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(flush=True); input()"
    call = [sys.executable, "-c", code, str(places["run"] / ".lock")]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert main(["forget", str(places["run"]), "--ids", name(GONE)]) == 2
        other.communicate(b"\n")
    assert "in use by another run" in capsys.readouterr().err
    assert state(places["run"]) == before
    assert main(["forget", str(places["run"]), "--ids", name(GONE)]) == 0


def test_the_copy_that_datasets_keeps_of_a_table_goes_too(places, datasets_cache):
    load_pairs(places["prepared"] / "train")
    load_pairs(places["prepared"] / "validation")
    held = [path for path in datasets_cache.rglob("*.arrow") if b"ZEBRAMARKER" in path.read_bytes()]
    assert held
    assert main(["forget", *map(str, places.values()), "--ids", name(GONE)]) == 0
    assert not [path for path in datasets_cache.rglob("*.arrow") if b"ZEBRAMARKER" in path.read_bytes()]
    assert any(datasets_cache.rglob("*.arrow")), "the other table stays"


def test_a_name_covers_what_lies_below_it_and_nothing_that_begins_alike():
    selection = Selection.of(["PMC12", "PMC7.1/F2", "ward/3.png"])
    assert all(map(selection.covers, ["PMC12", "PMC12.4", "PMC12.4/F1/s2", "PMC7.1/F2", "PMC7.1/F2/s1", "ward/3.png"]))
    assert not any(
        map(selection.covers, ["PMC123", "PMC123.1/F1", "PMC7.1/F21", "PMC7.1", "PMC7.2/F2", "ward/33.png"])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "must name at least one row"),
        (["--ids", " "], "must not be blank"),
        (["--ids", "/"], "must name rows"),
        (["--ids", "a", "--dry_run", "--check"], "give one of them"),
        (["--ids_file", "absent.txt"], "cannot be read as text"),
    ],
)
def test_wrong_calls_are_one_sentence(arguments, message, tmp_path, capsys):
    assert main(["forget", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_ids_of_a_file_and_a_folder_that_is_not_there(tmp_path, capsys):
    (tmp_path / "ids.txt").write_text("# remark\nrow-7\n\n")
    assert main(["forget", str(tmp_path / "absent"), "--ids_file", str(tmp_path / "ids.txt")]) == 2
    assert "must be a folder" in capsys.readouterr().err


def test_captions_of_rows_that_stay_are_not_torn_from_them(tmp_path, capsys):
    """Two rows of one caption: one goes, its caption is no trace, and its stored features stay for the other."""
    rows = [{"row_id": f"row-{row}", "caption": "the very same caption of two"} for row in range(2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    store = TextFeatureStore(tmp_path / "features" / "text_embeds-1", vector)
    store.features([rows[0]["caption"]])
    assert main(["forget", str(tmp_path), "--ids", "row-0"]) == 0
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == rows[1:]
    assert len(list((tmp_path / "features" / "text_embeds-1").glob("part_*.npy"))) == 1
    assert "1 texts stay" in capsys.readouterr().out


def test_csv_rows_keep_their_form(tmp_path):
    text = 'file_name,caption\r\na.png,"one, ""quoted"""\r\nb.png,two\r\n"c d.png",three\r\n'
    (tmp_path / "rows.csv").write_bytes(text.encode())
    assert main(["forget", str(tmp_path), "--ids", "b.png"]) == 0
    assert (tmp_path / "rows.csv").read_bytes() == b'file_name,caption\r\na.png,"one, ""quoted"""\r\nc d.png,three\r\n'
