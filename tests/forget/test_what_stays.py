"""What `phenolip forget` must leave alone: articles, pictures, pages and locks that nobody named."""

import hashlib
import json

import datasets
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
