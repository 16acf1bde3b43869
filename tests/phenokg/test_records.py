"""Records survive Parquet, and what is no record is refused by name."""

import pyarrow.parquet as pq
import pytest

from phenolip.exceptions import DataError
from phenolip.phenokg.records import Article, Figure, License, TypedText, from_row, from_table, to_row, to_table


def article():
    figures = (
        Figure("fig1", "Figure 1", "A hand.", "A hand. Long fingers.", ("a.jpg", "a.tif"), ("See Fig. 1.",)),
        Figure("fig2", "", "", "", (), kind="back", license=License("non-commercial", "CC-BY-NC-4.0", "text", "url")),
    )
    return Article(
        "PMC1.2", "a/b.xml", "00", "Title", "Journal", License(), figures, "PMC1", 2, dates=(TypedText("pub", "2019"),)
    )


def test_a_record_survives_parquet(tmp_path):
    pq.write_table(to_table([article(), article()], Article), tmp_path / "a.parquet")
    assert from_table(pq.read_table(tmp_path / "a.parquet"), Article) == [article(), article()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha": "1"}, "no field 'sha'"),
        ({"version": "2"}, "Expected `int | null`, got `str`"),
        ({"license": {"category": "free"}}, "Invalid enum value 'free'"),
    ],
)
def test_what_is_no_record_is_refused(change, message):
    with pytest.raises(DataError, match="^line 3: .*") as caught:
        from_row(to_row(article()) | change, Article, "line 3")
    assert message in str(caught.value)


def test_a_missing_field_is_named():
    row = to_row(article())
    del row["source"]
    with pytest.raises(DataError, match="missing required field `source`"):
        from_row(row, Article, "line 3")
