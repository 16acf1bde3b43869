"""Ids of articles, from files as PubMed Central and users write them."""

import gzip

import pytest

from phenolip.exceptions import DataError
from phenolip.phenokg.articles.article_ids import parse_article_id, read_article_ids
from phenolip.phenokg.records import ArticleId, Drop


@pytest.mark.parametrize(("text", "pmcid", "version"), [("PMC1", "PMC1", None), (" pmc123.10\n", "PMC123", 10)])
def test_ids_are_read(text, pmcid, version):
    assert parse_article_id(text) == ArticleId(pmcid, version)
    assert str(parse_article_id(text)) == text.strip().upper()


@pytest.mark.parametrize(
    "text", ["", "123", "PMC", "PMC0", "PMC01", "PMC1.", "PMC1.0", "PMC1.2.3", "PMC1.99999", "PMC1234567890", "PMC١",
             "../PMC1", "PMC1/..", "PMC1\0", "P" * 10_000]
)  # fmt: skip
def test_what_is_no_id_is_refused(text):
    with pytest.raises(DataError, match="must"):
        parse_article_id(text)


@pytest.mark.parametrize(("pmcid", "version"), [("../x", None), ("PMC1\n", None), ("PMC1", 0), ("PMC1", 10_000)])
def test_a_record_holds_no_other_id(pmcid, version):
    with pytest.raises(DataError, match="must be"):
        ArticleId(pmcid, version)


TEXT = b"\xef\xbb\xbf# mine\nPMC1\n\n pmc2.3 \n123\nPMC4 PMC5\n\xff\xfe\nPMC6"
LISTS = {
    "ids.txt": (TEXT, ["PMC1", "PMC2.3", "PMC6"], [5, 6, 7]),
    "oa_file_list.csv": (
        b"File,Article Citation,Accession ID,Last Updated,PMID,License\n"
        b'oa_package/08/e0/PMC13900.tar.gz,"Breast, 2001; 3(1)",PMC13900,2019-11-05,11250746,NO-CC CODE\n'
        b"oa_package/b0/ac/PMC9.tar.gz,x,,2019,1,CC BY\n",
        ["PMC13900"],
        [3],
    ),
    "inventory.csv": (
        b'"pmc-oa-opendata","metadata/PMC9.2.json","1"\n"pmc-oa-opendata","PMC7.1/PMC7.1.xml","2"\n',
        ["PMC9.2", "PMC7.1"],
        [],
    ),
    "tabs.tsv": (b"id\tpmcid\n1\tPMC3\n", ["PMC3"], []),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("zipped", [False, True])
def test_lists_are_read_and_bad_lines_counted(tmp_path, name, zipped):
    data, ids, bad_lines = LISTS[name]
    path = tmp_path / (f"{name}.gz" if zipped else name)
    path.write_bytes(gzip.compress(data) if zipped else data)
    found = list(read_article_ids(path))
    assert [str(row) for row in found if isinstance(row, ArticleId)] == ids
    drops = [row for row in found if isinstance(row, Drop)]
    assert [(row.key, row.reason) for row in drops] == [(f"{path.name} line {line}", "bad_id") for line in bad_lines]


def test_a_line_without_end_costs_one_drop(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_bytes(b"PMC1\n" + b"1" * 1_000_000 + b"\nPMC2\n" + b'"' * 300_000)
    assert [getattr(row, "reason", None) or str(row) for row in read_article_ids(path)] == [
        "PMC1",
        "bad_id",
        "PMC2",
        "bad_id",
    ]


def test_a_list_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(DataError, match="absent.txt cannot be read"):
        list(read_article_ids(tmp_path / "absent.txt"))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"PMC1\n" * 999)[:20])
    with pytest.raises(DataError, match="cut.gz cannot be read"):
        list(read_article_ids(tmp_path / "cut.gz"))
