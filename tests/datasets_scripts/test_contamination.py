"""Two tables that share known rows in known ways, and random ones against the plain double loop."""

import json
import re

import datasets
import numpy as np
import pytest
from PIL import Image

from phenolip.datasets_scripts import contamination
from phenolip.datasets_scripts.audit_report import summarize, write_audit
from phenolip.datasets_scripts.contamination import AuditedTable, Contamination
from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.near_captions import jaccard, shingles
from phenolip.exceptions import ConfigurationError
from phenolip.near_copies import fold_caption

LONG = "Axial CT of the chest with contrast shows a large mass in the left upper lobe and enlarged hilar lymph nodes"


def table(rows, name="table"):
    """Rows of (row_id, group_id, caption, sha256, hash)."""
    row_ids, groups, captions, files, hashes = map(list, zip(*rows, strict=True))
    empty = datasets.Dataset.from_dict({"image": [None] * len(rows)})
    return AuditedTable(name, row_ids, groups, captions, files, np.array(hashes, dtype=np.uint64), empty)


def touched(found):
    return {name: np.flatnonzero(number).tolist() for name, number in found.num_partners.items()}


TRAIN = [
    ("a.png", "PMC7700", LONG, "f0", 0),
    ("b.png", "", "Another caption.", "f1", 2**64 - 1),
    ("synpic46283.png", "", "A third caption.", "f2", 0xFFFF_0000_0000_0000),
    ("3.png", "", "A fourth caption.", "f3", 0xFFFF_0000_FFFF_0000),
]


def test_each_criterion_finds_its_row_and_no_other():
    bench = [
        ("pmc_7700/fig2.png", "", "New words one.", "g0", 0x0F0F_0F0F_0F0F_0F0F),  # same article, by the path
        ("synpic46283.png", "", "New words two.", "g1", 0x3333_3333_3333_3333),  # same id
        ("3.png", "", "New words three.", "g2", 0x5555_5555_5555_5555),  # a mere number is no id
        ("d", "", " another  CAPTION.", "g3", 0xF0F0_0F0F_F0F0_0F0F),  # same caption
        ("e", "", LONG + " today", "g4", 0x00FF_FF00_00FF_FF00),  # near caption: 17 of 18 runs
        ("f", "", "New words four.", "f3", 0x0FF0_0FF0_0FF0_0FF0),  # same file
        ("g", "", "New words five.", "g6", 0b1111),  # four bits from the first
        ("h", "", "New words six.", "g7", 0b11111),  # five bits
    ]
    found = Contamination(table(TRAIN), table(bench))
    assert touched(found) == {
        "same_article": [0],
        "same_row_id": [1],
        "same_caption": [3],
        "near_caption": [3, 4],
        "same_image": [5],
        "near_image": [6],
    }
    matches = {(match.bench_row, match.train_row): match for match in found.matches()}
    assert {pair: match.criteria for pair, match in matches.items()} == {
        (0, 0): ("same_article",),
        (1, 2): ("same_row_id",),
        (3, 1): ("same_caption", "near_caption"),
        (4, 0): ("near_caption",),
        (5, 3): ("same_image",),
        (6, 0): ("near_image",),
    }
    assert matches[4, 0].jaccard == pytest.approx(17 / 18) and matches[6, 0].num_bits == 4
    summary = summarize(found)
    assert summary["any"] == {"num_bench_rows": 6, "bench_fraction": 6 / 8, "num_train_rows": 4}
    assert summary["criteria"]["near_caption"]["num_train_rows"] == 2


def test_within_one_table_no_row_is_its_own_partner_and_articles_are_no_finding():
    rows = [*TRAIN, ("b.png", "PMC7700", LONG + " today", "f1", 2**64 - 2), ("c", "PMC7700", "Alone.", "f9", 0x33)]
    found = Contamination(table(rows))
    assert touched(found) == {
        "same_row_id": [],  # the second b.png is that of an article
        "same_caption": [],
        "near_caption": [0, 4],
        "same_image": [1, 4],
        "near_image": [0, 1, 4, 5],
    }
    assert summarize(found)["criteria"]["near_image"]["num_pairs"] == 2
    assert [(match.bench_row, match.train_row) for match in found.matches()] == [
        (0, 4), (0, 5), (1, 4), (4, 0), (4, 1), (5, 0),
    ]  # fmt: skip


def random_table(number, seed):
    rng = np.random.default_rng(seed)
    words = LONG.split()
    rows = []
    for _ in range(number):
        kept = [word for word in words if rng.random() > 0.02]
        flips = sum(1 << int(bit) for bit in rng.choice(64, rng.integers(0, 5), replace=False))
        centre = int(rng.choice([0, 0xFFFF, 0xFFFF_FFFF]))
        group = rng.choice(["", "PMC1000", f"case {rng.integers(5)}"])
        rows.append((f"r{rng.integers(1e7, 2e7)}", group, " ".join(kept), f"f{rng.integers(20)}", centre ^ flips))
    return table(rows, f"table {seed}")


def holds(name, one, other):
    row_id, group, caption, file, image = range(5)
    return {
        "same_article": one[group] == other[group] != "",
        "same_row_id": (one[group], one[row_id]) == (other[group], other[row_id]),
        "same_caption": fold_caption(one[caption]) == fold_caption(other[caption]),
        "near_caption": jaccard(shingles(one[caption]), shingles(other[caption])) >= 0.8,
        "same_image": one[file] == other[file],
        "near_image": (one[image] ^ other[image]).bit_count() <= 4,
    }[name]


def rows_of(table):
    columns = (table.row_ids, table.groups, table.captions, table.file_hashes, table.image_hashes.tolist())
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("is_one_table", [False, True])
def test_counts_equal_the_plain_double_loop(is_one_table):
    train, bench = random_table(80, 1), random_table(60, 2)
    found = Contamination(train) if is_one_table else Contamination(train, bench)
    rows = rows_of(train if is_one_table else bench)
    for name, numbers in found.num_partners.items():
        pairs = [
            [holds(name, one, other) and not (is_one_table and i == j) for j, other in enumerate(rows_of(train))]
            for i, one in enumerate(rows)
        ]
        assert numbers.tolist() == np.sum(pairs, axis=1).tolist(), name
        assert found.train_rows()[name].tolist() == np.any(pairs, axis=0).tolist(), name
        if name != "same_row_id":
            assert sum(map(sum, pairs)) > 10
    for match in found.matches():
        expected = [
            name for name in found.criteria if holds(name, rows[match.bench_row], rows_of(train)[match.train_row])
        ]
        assert list(match.criteria) == expected


def test_lists_are_capped_and_hold_the_closest(monkeypatch):
    monkeypatch.setattr(contamination, "MAX_PARTNERS", 2)
    train = table([(f"row {row}", "", f"Caption number {row}.", f"t{row}", (1 << row) - 1) for row in range(5)])
    found = Contamination(train, table([("x", "", "Else.", "b", 0b111)]))
    assert found.num_partners["near_image"].tolist() == [5]
    assert [(match.train_row, match.num_bits) for match in found.matches()] == [(2, 1), (3, 0)]


def test_without_image_hashes_only_files_are_compared():
    bare = table(TRAIN)
    bare = AuditedTable(bare.name, bare.row_ids, bare.groups, bare.captions, bare.file_hashes, None, bare.pairs)
    found = Contamination(bare, bare, max_phash_distance=-1)
    assert "near_image" not in found.criteria and touched(found)["same_image"] == [0, 1, 2, 3]
    assert all(match.num_bits is None for match in found.matches())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_phash_distance": 65}, "`max_phash_distance` must be between -1 and 64 bits, got 65"),
        ({"min_jaccard": 0}, "`min_jaccard` must be above 0 and at most 1, got 0"),
        ({"min_jaccard": float("nan")}, "`min_jaccard` must be above 0 and at most 1, got nan"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        Contamination(table(TRAIN), **settings)


def test_report(tmp_path, helpers, ontology):
    hostile = "<script>alert('x')</script> " + LONG
    train = helpers.write_imagefolder(tmp_path / "train", [{"caption": hostile}, *helpers.captions(3)])
    bench = helpers.write_imagefolder(tmp_path / "bench", [{"caption": f"New {row}."} for row in range(2)])
    (bench / "images" / "1.png").write_bytes(helpers.encoded(helpers.picture(0, (22, 18)), "PNG"))  # a scaled copy
    with Image.open(bench / "images" / "0.png") as picture:
        (bench / "images" / "0.png").write_bytes(helpers.encoded(picture.rotate(90)))
    (bench / "metadata.jsonl").write_text(
        "".join(
            json.dumps({"file_name": f"images/{row}.png", "caption": caption}) + "\n"
            for row, caption in enumerate([hostile + " again", "Unlike all."])
        )
    )
    tables = [AuditedTable.read(load_pairs(path, ontology=ontology), path.name) for path in (train, bench)]
    summary = write_audit(Contamination(*tables), tmp_path / "audit", note="kept")
    assert json.loads((tmp_path / "audit" / "audit.json").read_text()) == summary and summary["note"] == "kept"
    counts = {name: criterion["num_bench_rows"] for name, criterion in summary["criteria"].items()}
    assert counts == {
        "same_article": 0, "same_row_id": 0, "same_caption": 0, "near_caption": 1, "same_image": 0, "near_image": 1,
    }  # fmt: skip
    lines = {
        name: [json.loads(line) for line in (tmp_path / "audit" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("pairs", "bench_rows", "train_rows")
    }
    assert [(pair["bench_id"], pair["train_id"], pair["criteria"]) for pair in lines["pairs"]] == [
        ("images/0.png", "images/0.png", ["near_caption"]), ("images/1.png", "images/0.png", ["near_image"]),
    ]  # fmt: skip
    assert [line["row"] for line in lines["bench_rows"]] == [0, 1]
    assert lines["train_rows"] == [
        {"row": 0, "id": "images/0.png", "criteria": {"near_caption": True, "near_image": True}}
    ]
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert len(re.findall('<img src="data:image/jpeg;base64,', page)) == 4
