"""Reviews that are good, hostile or incomplete; what is agreed; and a version that stays as it is."""

import csv
import json
import shutil
from collections import Counter
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
from PIL import Image

from phenolip.datasets_scripts.bench_build import draw_bench
from phenolip.datasets_scripts.bench_draw import DrawConfig
from phenolip.datasets_scripts.bench_folder import BenchFolder
from phenolip.datasets_scripts.bench_freeze import freeze_bench
from phenolip.datasets_scripts.bench_merge import merge_reviews
from phenolip.datasets_scripts.features import PHENOBENCH
from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.phenobench import prepare_phenobench
from phenolip.datasets_scripts.tables import data_revision
from phenolip.exceptions import ConfigurationError, DataError

SQUARE, ROUND = "HP:9900002", "HP:9900003"


def write_imagefolder(folder, records):
    folder.mkdir()
    with (folder / "metadata.jsonl").open("w") as lines:
        for number, record in enumerate(records):
            blocks = np.random.default_rng(number).integers(0, 256, (9, 9, 3), np.uint8)
            Image.fromarray(blocks).save(folder / f"{number}.png")
            lines.write(json.dumps({"file_name": f"{number}.png", **record}) + "\n")
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, ontology):
    """A source of six rows with two labels each, and a draw of it; tests work on copies."""
    base = tmp_path_factory.mktemp("drawn")
    records = [
        {
            "caption": f"Shape number {n}.", "hpo_ids": [SQUARE, ROUND], "pmcid": f"PMC{n}000", "version": "2",
            "license": None if n == 5 else "CC-BY-4.0", "license_url": "https://x", "title": "On shapes",
        }
        for n in range(6)
    ]  # fmt: skip
    source = write_imagefolder(base / "source", records)
    draw_bench(source, base / "bench", config=DrawConfig(per_phenotype=9, max_phash_distance=-1), ontology=ontology)
    return base


@pytest.fixture
def bench(tmp_path, drawn, ontology):
    """The draw, and functions to answer its questions."""
    source, folder = drawn / "source", tmp_path / "bench"
    shutil.copytree(drawn / "bench", folder)
    questions, sheet = BenchFolder(folder).questions(), BenchFolder(folder).drawn()["sheet"]

    def lines(name, verdicts, **changes):
        answers = zip(questions, verdicts, strict=False)
        return [
            {"sheet": sheet, "page": 1, "reviewer": name, "item": one.item, "verdict": verdict, "comment": ""}
            | changes
            for one, verdict in answers
        ]

    def write(name, records):
        path = tmp_path / name
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path

    return SimpleNamespace(
        folder=folder, source=source, questions=questions, sheet=sheet, lines=lines, write=write, ontology=ontology,
        merge=lambda *reviews, **settings: merge_reviews(folder, reviews, ontology=ontology, **settings),
    )  # fmt: skip


def verdicts(letters):
    return [{"r": "right", "w": "wrong", "u": "unsure"}[letter] for letter in letters]


#: A row has two letters: settled and kept, kept with one label, all wrong, not agreed, unsure, both unsure.
ONE, OTHER = "rr rw ww rr ru uu".replace(" ", ""), "rr rw ww rw rr uu".replace(" ", "")


@pytest.fixture
def reviews(bench):
    return [
        bench.write("review-ab.jsonl", bench.lines("ab", verdicts(ONE), comment="=cmd|' /C calc'!A0")),
        bench.write("review-cd.jsonl", bench.lines("cd", verdicts(OTHER))),
    ]


def test_what_is_agreed_is_kept(bench, reviews):
    facts = bench.merge(*reviews)
    assert facts["num_rows_kept"] == 2 and facts["num_rows_left_out"] == {"not_agreed": 3, "all_wrong": 1}
    assert facts["outcomes"] == {"right": 5, "wrong": 3, "open": 4, "unanswered": 0}
    assert facts["confusion"] == [{"reviewers": [1, 2], "counts": [[5, 1, 0], [0, 3, 0], [1, 0, 2]]}]
    assert facts["method"] == "Cohen's kappa" and facts["agreement"]["observed"] == pytest.approx(10 / 12)
    chance = (6 * 6 + 3 * 4 + 3 * 2) / 144
    assert facts["agreement"]["kappa"] == pytest.approx((10 / 12 - chance) / (1 - chance))
    assert facts["agreement_right_or_not"]["kappa"] == pytest.approx((10 / 12 - 0.5) / 0.5)
    assert facts["by_system"]["Odd shape"]["num_questions"] == 12 and facts["num_groups"] == 6
    assert bench.merge(*reversed(reviews), keep_open=True)["num_rows_kept"] == 4


def test_names_stay_in_the_reviewers_files_and_comments_are_no_formulas(bench, reviews):
    bench.merge(*reviews)
    for name in ("agreement.json", "verdicts.jsonl"):
        text = (bench.folder / name).read_text()
        assert '"ab"' not in text and '"cd"' not in text
    with (bench.folder / "verdicts.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert {row["comment 1"] for row in rows} == {"'=cmd|' /C calc'!A0"}
    assert [row["outcome"] for row in rows[:4]] == ["open"] * 4  # what to talk about comes first


def test_three_reviewers(bench, reviews):
    third = bench.write("review-ef.jsonl", bench.lines("ef", verdicts("rr" * 6)))
    facts = bench.merge(*reviews, third)
    assert facts["method"] == "Fleiss' kappa" and len(facts["confusion"]) == 3 and facts["num_rows_kept"] == 1
    both = [letters for letters in zip(ONE, OTHER, "rr" * 6, strict=True)]
    within = sum(sum(n * (n - 1) for n in Counter(letters).values()) / 6 for letters in both) / 12
    shares = [n / 36 for n in Counter("".join(map("".join, both))).values()]
    chance = sum(share**2 for share in shares)
    assert facts["agreement"]["kappa"] == pytest.approx((within - chance) / (1 - chance))


def test_pages_and_spreadsheets_of_one_reviewer_come_together(bench, reviews, tmp_path):
    expected = bench.merge(*reviews)
    whole = bench.lines("ab", verdicts(ONE))
    parts = [bench.write("review-ab-page-1.jsonl", whole[:5]), bench.write("review-ab-page-2.jsonl", whole[5:])]
    with (bench.folder / "sheet" / "review.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row, verdict in zip(rows, verdicts(OTHER), strict=True):
        row["verdict"] = f" {verdict.title()} "
    table = tmp_path / "review-cd.csv"
    with table.open("w", encoding="utf-8-sig", newline="") as lines:  # as Excel writes it where decimals have a comma
        writer = csv.DictWriter(lines, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    found = bench.merge(*parts, table)
    assert found["confusion"] == expected["confusion"] and found["num_reviewers"] == 2


def test_an_unanswered_question(bench, reviews):
    short = bench.write("short.jsonl", bench.lines("cd", verdicts(OTHER))[1:])
    with pytest.raises(DataError, match="cd .reviewer 2. must answer all 12 questions, got 11; `allow_missing`"):
        bench.merge(reviews[0], short)
    facts = bench.merge(reviews[0], short, allow_missing=True)
    assert facts["num_rows_left_out"] == {"not_agreed": 3, "unanswered": 1, "all_wrong": 1}
    assert facts["agreement"]["num_questions"] == 11 and facts["num_rows_kept"] == 1


HOSTILE = {
    "unknown": ({"item": "00099/HP:9900002"}, "line 1: `item` '00099/HP:9900002' is not on the sheet"),
    "list": ({"item": ["00001"]}, "line 1: `item` .* is not on the sheet"),
    "path": ({"item": "../../etc/passwd"}, "is not on the sheet"),
    "hash": ({"sheet": "s0000000000000000"}, "`sheet` must be s.*, got 's0000000000000000': another sheet's"),
    "no hash": ({"sheet": None}, "got None: another sheet's"),
    "verdict": ({"verdict": "perhaps"}, "`verdict` must be one of right, wrong, unsure, got 'perhaps'"),
    "no verdict": ({"verdict": ""}, "`verdict` must be one of"),
    "number": ({"verdict": 1}, "`verdict` must be one of right, wrong, unsure, got 1"),
    "name": ({"reviewer": "../cd"}, "`reviewer` must be 1 to 40 letters.*, got '../cd'"),
    "no name": ({"reviewer": None}, "`reviewer` must be"),
    "comment": ({"comment": {"a": 1}}, "`comment` must be text"),
    "long": ({"item": "x" * 10_000}, r"`item` 'x{59}… is not on the sheet"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_lines(bench, reviews, case):
    changes, message = HOSTILE[case]
    before = sorted(path.name for path in bench.folder.iterdir())
    with pytest.raises(DataError, match=message):
        bench.merge(reviews[0], bench.write("bad.jsonl", bench.lines("cd", verdicts(OTHER), **changes)))
    assert sorted(path.name for path in bench.folder.iterdir()) == before


def test_hostile_files(bench, reviews, tmp_path):
    good = bench.lines("cd", verdicts(OTHER))
    bad = tmp_path / "bad.jsonl"
    cases = [
        (json.dumps(good[0]) + "\n" + json.dumps(good[0]), "line 2: `item` .* comes twice"),
        (json.dumps(good[0]) + "\n" + json.dumps({**good[1], "reviewer": "xy"}), "one reviewer, got two: cd and xy"),
        ("{", "bad.jsonl line 1 is not JSON"),
        ("[" * 100_000, "bad.jsonl line 1 is not JSON"),
        ('["a"]', "must be a JSON object"),
        ("", "bad.jsonl holds no answer"),
        ("\0\xff", "is not JSON"),
    ]
    for text, message in cases:
        bad.write_text(text, encoding="latin-1")
        with pytest.raises(DataError, match=message):
            bench.merge(reviews[0], bad)
    table = tmp_path / "review-cd.csv"
    for data, message in [
        (b"a,b\n1,2\n", "must have the columns sheet, item and verdict"),
        ("sheet,item,verdict\ns,1,r\xe9ht".encode("latin-1"), "must be CSV in UTF-8"),
        (b"sheet,item,verdict\n", "holds no answer"),
        (f"sheet,item,verdict\n{bench.sheet},{good[0]['item']},right,x,y\n".encode() * 2, "`sheet` must be"),
        (f"sheet,item,verdict\n{bench.sheet}\n,,wrong".encode(), "`sheet` must be"),
    ]:
        table.write_bytes(data)
        with pytest.raises(DataError, match=message):
            bench.merge(reviews[0], table)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        bench.merge(reviews[0], tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        bench.merge(reviews[0], tmp_path)


def test_one_person_is_not_two(bench, reviews):
    with pytest.raises(ConfigurationError, match="files of at least two reviewers, got 1"):
        bench.merge(reviews[0])
    with pytest.raises(DataError, match="is the same file as another one"):
        bench.merge(reviews[0], reviews[0])
    again = bench.write("review-AB.jsonl", bench.lines("AB", verdicts(OTHER)))
    with pytest.raises(DataError, match="was answered in another file of the same reviewer already"):
        bench.merge(reviews[0], again)


# Freezing -----------------------------------------------------------------------------------------------------------


def test_a_frozen_version_is_loaded_and_never_replaced(bench, reviews, tmp_path):
    bench.merge(*reviews)
    output = tmp_path / "frozen"
    facts = freeze_bench(bench.folder, "1.0.0", output)
    rows = load_pairs(output, ontology=bench.ontology)
    plain = datasets.load_dataset(str(output), split="test")
    assert set(PHENOBENCH) < set(plain.column_names) and plain[0]["image"].size == (9, 9)
    assert sorted(rows["hpo_ids"]) == [[SQUARE], [SQUARE, ROUND]]
    assert data_revision(rows) == facts["data_revision"] and facts["num_labels"] == 3
    for row in rows:
        assert row["image"]["bytes"] == (bench.source / row["row_id"]).read_bytes()
        assert row["group_id"].startswith("PMC")
    card = (output / "README.md").read_text()
    assert "version 1.0.0" in card and "release 2025-01-16" in card and facts["data_revision"] in card
    assert "| right | 5 | 1 | 0 |" in card and "| CC-BY-4.0 | " in card and "2 reviewers" in card
    everything = card + (output / "manifest.json").read_text()
    assert str(tmp_path) not in everything and "review-ab" not in everything
    held = {path.name: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=r"holds the frozen version 1\.0\.0; a frozen version is never replaced"):
        freeze_bench(bench.folder, "1.1.0", output)
    with pytest.raises(DataError, match="was not written by `phenolip prepare`"):
        prepare_phenobench(output, output=output, ontology=bench.ontology)
    assert held == {path.name: path.read_bytes() for path in output.rglob("*") if path.is_file()}


def test_one_version_stands_for_one_set_of_rows(bench, reviews, tmp_path):
    bench.merge(*reviews)
    first = freeze_bench(bench.folder, "1.0.0", tmp_path / "a")
    again = freeze_bench(bench.folder, "1.0.0", tmp_path / "b")
    assert first["data_revision"] == again["data_revision"]
    bench.merge(*reviews, keep_open=True)
    with pytest.raises(DataError, match=r"`version` 1\.0\.0 of .* is frozen with other rows; name a higher one"):
        freeze_bench(bench.folder, "1.0.0", tmp_path / "c")
    assert not (tmp_path / "c").exists()
    freeze_bench(bench.folder, "1.1.0", tmp_path / "c")
    assert set(json.loads((bench.folder / "frozen.json").read_text())) == {"1.0.0", "1.1.0"}
    assert "phenotypes that were not agreed on are left out" in (tmp_path / "c" / "README.md").read_text()


def test_phenobench_is_prepared_from_it(bench, reviews, tmp_path):
    bench.merge(*reviews)
    freeze_bench(bench.folder, "1.0.0", tmp_path / "frozen")
    _, facts = prepare_phenobench(tmp_path / "frozen", output=tmp_path / "prepared", ontology=bench.ontology)
    assert facts["num_rows"] == 2 and facts["num_labels_dropped"] == 0


def test_what_cannot_be_frozen(bench, reviews, tmp_path):
    def freeze(version="1.0.0"):
        freeze_bench(bench.folder, version, tmp_path / "x")

    with pytest.raises(DataError, match="holds no merged reviews of its draw"):
        freeze()
    for version in ("1", "1.0", "v1.0.0", "1.0.0-rc1", "01.0.0", "1.0.0\n", "../1.0.0"):
        with pytest.raises(ConfigurationError, match="`version` must be three numbers such as 1.0.0, got"):
            freeze(version)
    bench.merge(*(bench.write(f"{name}.jsonl", bench.lines(name, verdicts("w" * 12))) for name in ("ab", "cd")))
    with pytest.raises(DataError, match="was agreed right, so there is nothing to freeze"):
        freeze()
    bench.merge(*reviews)
    text = (bench.folder / "verdicts.jsonl").read_text()
    (bench.folder / "verdicts.jsonl").write_text(text.replace('"wrong"', '"right"'))
    with pytest.raises(DataError, match="is not the one that was merged"):
        freeze()
    (bench.folder / "verdicts.jsonl").unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        freeze()
    assert not (tmp_path / "x").exists()
