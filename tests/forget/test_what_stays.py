"""What `phenolip forget` must leave alone: articles, pictures, pages and locks that nobody named."""

import hashlib
import json
from pathlib import Path

import datasets
import filelock
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from phenolip.cli import main


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets_cache")


def forget(*folders, ids=("row-0",), more=()):
    """The exit code."""
    return main(["forget", *map(str, folders), "--ids", *ids, *more])


def write_rows(folder, rows, name="rows.parquet"):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / name)
    return folder


def write_rows_of(folder, number=2):
    return write_rows(folder, [{"row_id": f"row-{row}", "caption": f"A hand, number {row}"} for row in range(number)])


def write_list(folder, colours, column="caption"):
    """An ImageFolder: name -> colour."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, colour in colours.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), colour).save(folder / name)
        rows.append({"file_name": name, column: f"A hand in {colour}, of {folder.name}"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


ARTICLE = "<article><front><article-meta>{}</article-meta></front></article>"


@pytest.mark.parametrize(
    ("kind", "value", "asked", "goes"),
    [
        ("pmid", "3456789", "PMC3456789", False),
        ("pmid", "3456789", "3456789", False),
        ("publisher-id", "7", "7", False),
        ("pmcaiid", "77", "PMC77", False),
        ("pmcid", "PMC3456789", "PMC3456789", True),
        ("pmc", "3456789", "PMC3456789", True),
        ("pmcaid", "3456789", "3456789", True),
        ("pmcid-ver", "PMC3456789.2", "PMC3456789", True),
        ("doi", "10.1/ABC", "10.1/abc", True),
    ],
)
def test_an_article_goes_by_its_pmc_id_or_doi_and_by_no_other_number(kind, value, asked, goes, tmp_path):
    path = tmp_path / "articles" / "some" / "a.xml"
    path.parent.mkdir(parents=True)
    path.write_text(ARTICLE.format(f'<article-id specific-use="x" pub-id-type="{kind}">{value}</article-id>'))
    forget(tmp_path / "articles", ids=[asked])
    assert path.exists() is not goes


def test_one_file_name_of_two_pictures_is_refused_and_the_hash_chooses(tmp_path, capsys):
    ward = write_list(tmp_path / "ward", {"images/0007.png": "red", "images/0008.png": "white"})
    other = write_list(tmp_path / "other", {"images/0007.png": "blue", "images/0009.png": "black"})
    before = {path: path.read_bytes() for path in (*ward.rglob("*.*"), *other.rglob("*.*"))}
    assert forget(ward, other, ids=["images/0007.png"]) == 2
    asked = capsys.readouterr().err
    gone = sha256(ward / "images" / "0007.png")
    assert "2 different pictures" in asked and gone in asked and sha256(other / "images" / "0007.png") in asked
    assert {path: path.read_bytes() for path in (*ward.rglob("*.*"), *other.rglob("*.*"))} == before

    assert forget(ward, other, ids=[gone]) == 0, "the other row's name is no trace"
    assert "1 names stay" in capsys.readouterr().out
    assert not (ward / "images" / "0007.png").exists()
    for path in other.rglob("*.*"):
        assert path.read_bytes() == before[path]


def test_a_copy_of_other_bytes_under_the_same_name_and_text_is_still_a_trace(tmp_path, capsys):
    """A picture scaled down: nothing but its name leads to it."""
    ward = write_list(tmp_path / "ward", {"images/0007.png": "red"})
    text = json.loads((ward / "metadata.jsonl").read_text())["caption"]
    write_rows(tmp_path / "small", [{"row_id": "images/0007.png", "caption": text, "sha256": "0" * 64}])
    assert forget(ward, tmp_path / "small", ids=[sha256(ward / "images" / "0007.png")]) == 1
    assert "still holds a name" in capsys.readouterr().out


def test_a_picture_that_no_table_lists_goes_by_its_name_with_its_copies(tmp_path):
    folder = tmp_path / "ward" / "images"
    folder.mkdir(parents=True)
    for name, colour in (("0007.png", "red"), ("00071.png", "blue"), ("copy.png", "red")):
        Image.new("RGB", (8, 8), colour).save(folder / name)
    assert forget(tmp_path / "ward", ids=["images/0007.png"]) == 0
    assert [path.name for path in folder.iterdir()] == ["00071.png"]


def test_pictures_of_one_bytes_in_folders_of_two_articles_go_with_the_named_one_alone(tmp_path):
    """Such as a journal's logo."""
    for name in ("PMC12345", "PMC67890"):
        folder = tmp_path / "articles" / name
        folder.mkdir(parents=True)
        (folder / "a.xml").write_text(ARTICLE.format(""))
        Image.new("RGB", (8, 8), "red").save(folder / "logo.png")
    assert forget(tmp_path / "articles", ids=["PMC12345"]) == 0
    assert sorted(path.name for path in (tmp_path / "articles").rglob("*.*") if path.suffix != ".json") == [
        *("a.xml", "logo.png")
    ]


def test_pages_of_somebody_else_stay_and_a_dry_run_names_what_goes(tmp_path, capsys):
    root = tmp_path / "root"
    write_rows_of(root / "data" / "tables")
    write_list(root / "ward", {"images/0007.png": "red"}, column="text")
    for place in (root, root / "data", root / "data" / "tables"):
        (place / "index.html").write_text("<p>my own notes</p>")
    (root / "data" / "report.html").write_text('<head><meta name="generator" content="phenolip"></head>')
    (root / "ours.html").write_text("<meta name=generator content=phenolip>")
    (root / "aside\x1b[2J.html").write_text("<p>A hand, number 0</p>")
    (root / "data" / "overlay.png").write_bytes(b"my own drawing")
    asked = [root], ["row-0", "images/0007.png"]
    assert forget(*asked[0], ids=asked[1], more=["--dry_run"]) == 0
    shown = capsys.readouterr().out
    for line in (
        "page goes: root/data/report.html",
        "page goes: root/ours.html",
        r"page goes: root/aside\x1b[2J.html",
    ):
        assert line in shown
    assert "picture goes: root/ward/images/0007.png" in shown and "index.html" not in shown and "\x1b" not in shown
    assert forget(*asked[0], ids=asked[1]) == 0
    left = {path.relative_to(root).as_posix() for path in (*root.rglob("*.html"), *root.rglob("overlay.png"))}
    assert left == {"index.html", "data/index.html", "data/tables/index.html", "data/overlay.png"}


def test_pages_that_we_write_say_so():
    """By which they are told from a user's own; every template, and the page that has none."""
    from phenolip.forget.made_files import _OUR_PAGE
    from phenolip.inference.search_page import search_page

    root = Path(__file__).parents[2]
    pages = [path.read_text() for path in root.glob("[a-z]*/**/*.html.jinja")]
    whole = [page for page in pages if page.startswith("<!doctype")]
    assert len(whole) > 7 and all(_OUR_PAGE.search(page[:512].encode()) for page in whole)
    assert _OUR_PAGE.search(search_page("title", {}, [], "note").encode())


def test_a_folder_and_one_below_it_are_one_place(tmp_path, capsys):
    for folder in (tmp_path / "runs", tmp_path / "runs" / "mini"):
        write_rows_of(folder)
        (folder / ".lock").touch()
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    assert forget(tmp_path / "runs" / "mini", tmp_path / "runs", tmp_path / "link") == 0, capsys.readouterr().err
    for folder in (tmp_path / "runs", tmp_path / "runs" / "mini"):
        assert pq.read_metadata(folder / "rows.parquet").num_rows == 1


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        (".lock", True),
        (".0123456789abcdef.lock", True),
        ("uv.lock", False),
        ("poetry.lock", False),
        (".x.lock", False),
    ],
)
def test_only_locks_of_ours_are_taken(name, is_ours, tmp_path):
    from phenolip.forget.removal import locked

    (tmp_path / name).touch()
    other = filelock.FileLock(tmp_path / name)
    with locked([tmp_path]):
        try:
            other.acquire(timeout=0)
        except filelock.Timeout:
            pass
        assert other.is_locked is not is_ours
    other.release()


def test_a_copy_of_other_data_in_the_cache_makes_no_name_ambiguous_and_goes(tmp_path):
    ours = {"row_id": "images/1.png", "file_name": "images/1.png", "sha256": "a" * 64, "caption": "A hand of ours, 1"}
    pairs = write_rows(tmp_path / "pairs", [ours, {**ours, "row_id": "2", "file_name": "2", "sha256": "c" * 64}])
    copy = tmp_path / "datasets_cache" / "parquet" / "default-0" / "0.0.0" / "parquet-train.arrow"
    copy.parent.mkdir(parents=True)
    table = pa.Table.from_pylist([{**ours, "sha256": "b" * 64}])
    with pa.OSFile(str(copy), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    kept = write_rows(tmp_path / "other", [{**ours, "sha256": "b" * 64}])
    assert forget(pairs, ids=["images/1.png"]) == 0
    assert pq.read_table(pairs / "rows.parquet")["row_id"].to_pylist() == ["2"] and not copy.exists()
    assert pq.read_table(kept / "rows.parquet").num_rows == 1
