"""Decisions as people write them, and as nobody should."""

import time

import pytest

from phenolip.exceptions import DataError
from phenolip.phenokg.figures.cluster_decisions import Decisions, parse_decisions, read_decisions, write_decisions


def test_what_is_written_is_read(tmp_path):
    decisions = Decisions({0: "keep", 12: "drop", 3: "keep"}, "00123456789abcde")
    write_decisions(decisions, tmp_path / "decisions.yaml")
    assert read_decisions(tmp_path / "decisions.yaml") == decisions
    write_decisions(Decisions({}), tmp_path / "none.yaml")
    assert read_decisions(tmp_path / "none.yaml") == Decisions({})


def test_other_ways_to_write_the_same():
    wanted = Decisions({0: "keep", 1: "drop"})
    for text in (
        "0: keep\n1: drop",
        "{0: keep, 1: drop}",
        "# mine\n'0': \"keep\"\n\n1:   drop # gel\n",
        "---\n0: keep\n1: drop\n...",
    ):
        assert parse_decisions(text) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0: maybe", "line 1 must be `NUMBER: keep` or `NUMBER: drop`, got `0: maybe`"),
        ("0: keep\n0: drop", "line 2: cluster 0 is decided twice"),
        ("-1: keep", "line 1 must be"),
        ("1.0: keep", "line 1 must be"),
        ("0x1: keep", "line 1 must be"),
        ("٣: keep", "line 1 must be"),
        ("9999999999: keep", "line 1 must be"),
        ("true: keep", "line 1 must be"),
        ("0: KEEP", "line 1 must be"),
        ("0:", "line 1 must be"),
        ("- 0\n- 1", "line 1 must be"),
        ("keep", "line 1 must be"),
        ("0: keep\n1: [drop]", "line 2 must be .*, and nothing else"),
        ("a: &a {b: c}", "nothing else"),
        ("0: &a keep\n1: *a", "nothing else"),
        ("0: !!python/object/apply:os.system ['true']", "nothing else"),
        ("? [0]\n: keep", "nothing else"),
        ("0: keep\n---\n1: drop", "nothing else"),
        ("clustering: zz\n", "line 1 must be"),
        ("clustering: a\nclustering: b", "line 2 must be"),
        ("0: keep\n\t1: drop", "is no YAML"),
        ("{" * 500, "nothing else"),
        ("0: 'keep", "is no YAML"),
    ],
)
def test_hostile_files(text, message):
    with pytest.raises(DataError, match=message):
        parse_decisions(text)


def test_an_alias_bomb_is_not_followed():
    layers = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 40))
    begin = time.monotonic()
    with pytest.raises(DataError, match="nothing else"):
        parse_decisions("l0: &l0 [a]\n" + layers)
    assert time.monotonic() - begin < 1


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_decisions(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"0: keep # \xe9")
    with pytest.raises(DataError, match="must be UTF-8"):
        read_decisions(tmp_path / "latin.yaml")
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(5_000_000)
    with pytest.raises(DataError, match="at most 500,000 bytes, got 5,000,000"):
        read_decisions(tmp_path / "large.yaml")


def test_decisions_on_other_clusters_are_refused():
    Decisions({0: "keep", 4: "drop"}, "ab").check(5, "ab")
    Decisions({0: "keep"}).check(5, "ab")
    with pytest.raises(DataError, match="decides on cluster 5, but there are 5, from 0"):
        Decisions({5: "keep"}, "ab").check(5, "ab")
    with pytest.raises(DataError, match="of the clustering 'cd', but this one is 'ab'"):
        Decisions({0: "keep"}, "cd").check(5, "ab")
