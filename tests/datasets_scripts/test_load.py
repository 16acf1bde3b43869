"""Every form of data gives the same pairs; every kind of bad row is counted, listed and left out up to the cap."""

import csv
import io
import json
import tarfile
from hashlib import sha256

import datasets
import pytest

from phenolip.datasets_scripts.caption_reader import CaptionReader
from phenolip.datasets_scripts.features import LOADED_PAIRS, PAIRS
from phenolip.datasets_scripts.load import load_pairs, load_pairs_with_report
from phenolip.datasets_scripts.tables import data_revision
from phenolip.exceptions import DataError

ROWS = [
    {"caption": "A square.", "hpo_ids": ["HP:9900002"]},
    {"caption": "A circle and a square.", "hpo_ids": ["HP:9900003", "HP:9900002"]},
    {"caption": "Nothing of note.", "hpo_ids": []},
]
NAMES = {"HP:9900002": "Square shape", "HP:9900003": "Round shape"}


@pytest.fixture
def folder(tmp_path, helpers):
    return helpers.write_imagefolder(tmp_path / "pairs", ROWS)


def assert_pairs_of(dataset, folder):
    assert dataset.features == LOADED_PAIRS
    assert [{key: row[key] for key in ("caption", "hpo_ids")} for row in dataset] == ROWS
    assert dataset["phenotypes"][:] == [[NAMES[hpo_id] for hpo_id in row["hpo_ids"]] for row in ROWS]
    files = [(folder / f"images/{number}.png").read_bytes() for number in range(3)]
    assert dataset["sha256"][:] == [sha256(data).hexdigest() for data in files]


def write_table(path, rows, delimiter=","):
    with path.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def embedded(folder):
    return [
        {"image": {"bytes": (folder / f"images/{number}.png").read_bytes(), "path": f"{number}.png"}, **row}
        for number, row in enumerate(ROWS)
    ]


def test_imagefolder_and_jsonl(folder, ontology):
    dataset = load_pairs(folder, ontology=ontology)
    assert_pairs_of(dataset, folder)
    assert dataset["row_id"][:] == ["images/0.png", "images/1.png", "images/2.png"]
    assert_pairs_of(load_pairs(str(folder / "metadata.jsonl"), ontology=ontology), folder)


@pytest.mark.parametrize("suffix, delimiter", [("csv", ","), ("tsv", "\t")])
def test_csv(folder, ontology, suffix, delimiter):
    rows = [
        {"image_path": f"images/{number}.png", "caption": row["caption"], "hpo_ids": "|".join(row["hpo_ids"])}
        for number, row in enumerate(ROWS)
    ]
    assert_pairs_of(load_pairs(write_table(folder / f"pairs.{suffix}", rows, delimiter), ontology=ontology), folder)


def test_official_csv(folder, ontology):
    matches = ["[('square SHAPE', 'x')]", "[['Circle-free', ''], ('Round shape', 1), ['Boxy form', 2]]", ""]
    rows = [
        {"image_path": f"images/{number}.png", "caption": row["caption"], "full_matches": matches[number]}
        for number, row in enumerate(ROWS)
    ]
    path = write_table(folder / "testdata.csv", rows)
    dataset, report = load_pairs_with_report(path, ontology=ontology)
    assert_pairs_of(dataset, folder)
    assert (report.num_labels, report.num_labels_dropped) == (3, 1)
    (folder / "metadata.jsonl").unlink()
    assert_pairs_of(load_pairs(folder, ontology=ontology), folder)  # the only table of a folder


@pytest.mark.parametrize("matches", ["__import__('os').system('true')", "[1", "[" * 90_000, "{'a': 1}", "[()]"])
def test_official_csv_with_a_hostile_literal_is_one_bad_row(folder, ontology, matches):
    rows = [{"image_path": "images/0.png", "caption": "A square.", "full_matches": matches}]
    path = write_table(folder / "testdata.csv", rows)
    with pytest.raises(DataError, match="1 of 1 rows are bad .labels cannot be read: 1"):
        load_pairs(path, ontology=ontology)


def test_parquet_file_and_folder(folder, ontology, tmp_path):
    features = datasets.Features({"image": datasets.Image(), **{key: LOADED_PAIRS[key] for key in ROWS[0]}})
    dataset = datasets.Dataset.from_list(embedded(folder), features=features)
    (tmp_path / "tables").mkdir()
    dataset.to_parquet(tmp_path / "tables" / "a.parquet")
    for data in (tmp_path / "tables", tmp_path / "tables" / "a.parquet"):
        loaded = load_pairs(data, ontology=ontology)
        assert_pairs_of(loaded, folder)
        assert loaded["row_id"][:] == ["0.png", "1.png", "2.png"]
    with pytest.raises(DataError, match="has no split 'test'; name one of train"):
        load_pairs(tmp_path / "tables", split="test", ontology=ontology)


def test_parquet_with_all_columns_of_pairs(folder, ontology, tmp_path):
    rows = []
    for number, row in enumerate(embedded(folder)):
        links = [{"hpo_id": hpo_id, "assertion": "present"} for hpo_id in row.pop("hpo_ids")]
        links.append({"hpo_id": "HP:9900001", "assertion": "absent"})
        empty = dict.fromkeys(PAIRS)
        link = dict.fromkeys(PAIRS["phenotypes"].feature)
        rows.append({**empty, **row, "phenotypes": [{**link, **one} for one in links], "subfigure_id": f"f{number}"})
    for number, row in enumerate(rows):
        row["split"] = "validation" if number == 1 else "train"
    (tmp_path / "tables").mkdir()
    datasets.Dataset.from_list(rows, features=PAIRS).to_parquet(tmp_path / "tables" / "pairs.parquet")
    dataset = load_pairs(tmp_path / "tables", ontology=ontology)
    assert_pairs_of(dataset, folder)
    assert dataset["row_id"][:] == ["f0", "f1", "f2"]
    assert load_pairs(tmp_path / "tables", split="validation", ontology=ontology)["row_id"][:] == ["f1"]


def test_webdataset_shards(folder, ontology, tmp_path):
    def add(archive, name, data):
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))

    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "00000.tar", "w") as archive:
        for number, row in enumerate(ROWS):
            add(archive, f"sample{number}.png", (folder / f"images/{number}.png").read_bytes())
            add(archive, f"sample{number}.txt", row["caption"].encode())
            add(archive, f"sample{number}.json", json.dumps({"hpo_ids": row["hpo_ids"]}).encode())
    for data in (tmp_path / "shards", tmp_path / "shards" / "00000.tar"):
        dataset = load_pairs(data, ontology=ontology)
        assert_pairs_of(dataset, folder)
        assert dataset["row_id"][:] == ["sample0", "sample1", "sample2"]


def test_splits_of_a_folder(tmp_path, ontology, helpers, caplog):
    helpers.write_imagefolder(tmp_path / "all" / "train", ROWS)
    helpers.write_imagefolder(tmp_path / "all" / "validation", ROWS[:1])
    assert len(load_pairs(tmp_path / "all", split="validation", ontology=ontology)) == 1
    with pytest.raises(DataError, match="holds the splits train, validation; name one"):
        load_pairs(tmp_path / "all", ontology=ontology)
    assert len(load_pairs(tmp_path / "all" / "train", split="test", ontology=ontology)) == 3
    assert "not divided into splits; all of it is used as 'test'" in caplog.text


def test_names_without_ids_and_ids_without_names(tmp_path, ontology, helpers):
    rows = [
        {"caption": "a", "phenotypes": ["Boxy form", "square shape"]},  # a synonym and the name of one term
        {"caption": "b", "hpo_ids": ["HP:9900020", "HP:9900004"]},  # an alternative id and a replaced one
        {"caption": "c", "phenotypes": ["Square shape", "Unheard of"], "hpo_ids": ["HP:9900002", None]},
    ]
    dataset, report = load_pairs_with_report(helpers.write_imagefolder(tmp_path / "x", rows), ontology=ontology)
    assert dataset["hpo_ids"][:] == [["HP:9900002"], ["HP:9900002", "HP:9900003"], ["HP:9900002"]]
    assert dataset["phenotypes"][:] == [["Square shape"], ["Square shape", "Round shape"], ["Square shape"]]
    assert (report.num_kept, report.num_labels, report.num_labels_dropped) == (3, 4, 1)
    assert report.hpo_release == ontology.release


def bad_folder(tmp_path, helpers):
    """Thirteen good rows and one of every bad kind."""
    folder = helpers.write_imagefolder(tmp_path / "pairs", helpers.captions(13), suffix="jpg")
    whole = helpers.encoded(helpers.picture(99, (64, 64)), "JPEG")
    (folder / "images" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "images" / "text.jpg").write_text("not an image")
    (tmp_path / "secret.jpg").write_bytes(whole)
    good = {"file_name": "images/0.jpg", "caption": "x"}
    bad = [
        ({**good, "caption": " \n"}, "caption is empty"),
        ({**good, "caption": None}, "caption is empty"),
        ({**good, "hpo_ids": ["HP:9999999"]}, "unknown HPO id"),
        ({**good, "hpo_ids": [7]}, "labels cannot be read"),
        ({**good, "file_name": "images/none.jpg"}, "image is missing"),
        ({**good, "file_name": None}, "image is missing"),
        ({**good, "file_name": "images/cut.jpg"}, "image cannot be decoded"),
        ({**good, "file_name": "images/text.jpg"}, "image cannot be decoded"),
        ({**good, "file_name": "../secret.jpg"}, "path leaves the folder"),
        ({**good, "file_name": str(tmp_path / "secret.jpg")}, "path leaves the folder"),
        ({**good, "file_name": "C:\\secret.jpg"}, "path leaves the folder"),
        ({**good, "file_name": "x" * 5000}, "image is missing"),
        ({**good, "caption": "\ud800"}, "text is not valid Unicode"),
        ({**good, "file_name": "\udfff.jpg"}, "text is not valid Unicode"),
    ]
    with (folder / "metadata.jsonl").open("a") as lines:
        lines.writelines(json.dumps(row) + "\n" for row, _ in bad)
        lines.write("{broken\n")
    return folder, [reason for _, reason in bad] + ["row is not a JSON object"]


def test_bad_rows_are_counted_listed_and_left_out(tmp_path, ontology, helpers, caplog):
    folder, reasons = bad_folder(tmp_path, helpers)
    listed = tmp_path / "lists" / "bad.jsonl"
    dataset, report = load_pairs_with_report(folder, ontology=ontology, max_bad_fraction=0.6, bad_rows_path=listed)
    assert len(dataset) == report.num_kept == 13
    assert report.num_rows == 28
    assert sorted(dataset["row_id"][:]) == sorted(f"images/{number}.jpg" for number in range(13))
    rows = [json.loads(line) for line in listed.read_text().splitlines()]
    assert [row["reason"] for row in rows] == reasons
    assert report.bad_rows == {reason: reasons.count(reason) for reason in reasons}
    assert all(row["row_id"] for row in rows)
    assert "15 of 28 rows are bad and left out" in caplog.text


def test_too_many_bad_rows_stop_with_the_list(tmp_path, ontology, helpers):
    folder, _ = bad_folder(tmp_path, helpers)
    listed = tmp_path / "bad.jsonl"
    with pytest.raises(DataError) as caught:
        load_pairs(folder, ontology=ontology, bad_rows_path=listed)
    message = str(caught.value)
    for part in ("15 of 28 rows are bad", str(listed), "`max_bad_fraction` 0.01", "images/0.jpg: caption is empty"):
        assert part in message
    assert len(listed.read_text().splitlines()) == 15


def test_a_set_without_one_good_row_is_an_error_at_any_cap(tmp_path, ontology, helpers):
    folder = helpers.write_imagefolder(tmp_path / "pairs", [{"caption": ""}])
    with pytest.raises(DataError, match="none of its 1 rows can be used"):
        load_pairs(folder, ontology=ontology, max_bad_fraction=1)


def test_embedded_rows_may_not_point_at_files(tmp_path, ontology, helpers):
    (tmp_path / "secret.png").write_bytes(helpers.encoded(helpers.picture(0)))
    features = datasets.Features({"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}})
    rows = datasets.Dataset.from_list(
        [{"image": {"bytes": None, "path": str(tmp_path / "secret.png")}}], features=features
    ).add_column("caption", ["x"])
    rows.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="path leaves the folder"):
        load_pairs(tmp_path / "rows.parquet", ontology=ontology)


def test_data_that_is_none(tmp_path, ontology):
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"has no metadata\.jsonl; write one there"):
        load_pairs(tmp_path, ontology=ontology)
    with pytest.raises(DataError, match="does not exist; give a folder"):
        load_pairs(tmp_path / "nowhere", ontology=ontology)
    with pytest.raises(DataError, match="no_such_set cannot be read by `datasets`"):
        load_pairs("no_such_set", ontology=ontology)
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"must be \.jsonl, .* got \.xlsx"):
        load_pairs(tmp_path / "a.xlsx", ontology=ontology)
    (tmp_path / "a.jsonl").write_text('{"file": "a.png"}\n')
    with pytest.raises(DataError, match="must have a column for the image"):
        load_pairs(tmp_path / "a.jsonl", ontology=ontology)
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(DataError, match="got no rows"):
        load_pairs(tmp_path / "a.jsonl", ontology=ontology)
    (tmp_path / "a.csv").write_bytes(b"image_path,caption\n\xff\xfe,x\n")
    with pytest.raises(DataError, match="not a CSV file in UTF-8"):
        load_pairs(tmp_path / "a.csv", ontology=ontology)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read by `datasets`"):
        load_pairs(tmp_path / "a.parquet", ontology=ontology)
    with pytest.raises(DataError, match="`max_bad_fraction` must be between 0 and 1, got 2"):
        load_pairs(tmp_path, ontology=ontology, max_bad_fraction=2)


def test_tables_without_a_caption_or_an_image(tmp_path, ontology):
    datasets.Dataset.from_dict({"image": ["a"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="must have a column `caption`, got image"):
        load_pairs(tmp_path / "a.parquet", ontology=ontology)
    datasets.Dataset.from_dict({"caption": ["a"]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match="must have a column of images, got caption"):
        load_pairs(tmp_path / "b.parquet", ontology=ontology)


def test_gallery(gallery):
    dataset, report = load_pairs_with_report(gallery)
    assert (report.num_rows, report.num_kept, report.bad_rows) == (2786, 2786, {})
    assert (report.num_labels, report.num_labels_dropped) == (3992, 26)
    assert dataset[0]["image"]["bytes"] is None


@pytest.mark.parametrize("column", ["group_id", "case_id", "pmcid"])
def test_the_case_or_article_of_a_row_is_kept(folder, ontology, column):
    rows = [
        {"image_path": f"images/{n}.png", "caption": f"A square {n}.", column: c}
        for n, c in enumerate(["MPX1", 7, None])
    ]
    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    assert load_pairs(folder / "rows.jsonl", ontology=ontology)["group_id"][:] == ["MPX1", "7", ""]


@pytest.mark.parametrize(
    "cells, group_id",
    [
        ({"study_id": "s1", "case_id": "c1", "patient_id": "p1"}, "p1"),
        ({"study_id": "s1", "case_id": "c1"}, "c1"),
        ({"patient_id": "p1", "article_id": "a1", "pmcid": "PMC1"}, "PMC1"),
        ({"patient_id": "p1", "article_id": "a1"}, "a1"),
        ({"pmcid": "PMC1", "group_id": "decided"}, "decided"),
        ({"patient_id": 0, "study_id": "s1"}, "0"),
        ({"patient_id": 7.0}, "7"),
        ({"patient_id": 7.5}, "7.5"),
        ({"patient_id": float("nan"), "study_id": "s1"}, "s1"),
        ({"patient_id": "NaN"}, ""),
        ({"group_id": "", "patient_id": "p1"}, "p1"),
        ({"group_id": "  ", "patient_id": " p1 "}, "p1"),
        ({"group_id": None, "pmcid": None, "patient_id": None}, ""),
    ],
)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_widest_group_that_a_row_fills_counts(tmp_path, ontology, helpers, cells, group_id, form):
    row = {"caption": "A square.", **cells}
    if form == "jsonl":
        helpers.picture(0).save(tmp_path / "0.png")
        (tmp_path / "rows.jsonl").write_text(json.dumps({"file_name": "0.png", **row}))
    else:
        image = {"bytes": helpers.encoded(helpers.picture(0)), "path": None}
        table = datasets.Dataset.from_list([{"image": image, **row}]).cast_column("image", datasets.Image())
        table.to_parquet(tmp_path / "rows.parquet")
    assert load_pairs(tmp_path / f"rows.{form}", ontology=ontology)["group_id"][:] == [group_id]


def test_two_studies_of_a_patient_are_one_group_in_a_csv(folder, ontology):
    rows = [
        {"image_path": f"images/{n}.png", "caption": f"A square {n}.", "study_id": f"s{n}", "patient_id": patient}
        for n, patient in enumerate(["0", "0", ""])
    ]
    path = write_table(folder / "rows.csv", rows)
    assert load_pairs(path, ontology=ontology)["group_id"][:] == ["0", "0", "s2"]


def test_a_table_whose_rows_are_numbered_keeps_the_numbers(folder, ontology, tmp_path):
    rows = [{**row, "row_id": number} for number, row in enumerate(embedded(folder))]
    dataset = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    dataset.to_parquet(tmp_path / "numbered.parquet")
    assert load_pairs(tmp_path / "numbered.parquet", ontology=ontology)["row_id"][:] == ["0", "1", "2"]


def test_captions_label_the_rows_that_have_no_label(tmp_path, ontology, helpers):
    records = [{"caption": "A square.", "hpo_ids": ["HP:9900002"]}, {"caption": "A circle."}, {"caption": "Nothing."}]
    folder = helpers.write_imagefolder(tmp_path / "pairs", records)
    asked = []

    def name_phenotypes(caption):
        asked.append(caption)
        return ["HP:9900003"] if "circle" in caption else []

    labelled, report = load_pairs_with_report(
        folder, ontology=ontology, captions=CaptionReader(phenotypes=name_phenotypes)
    )
    assert labelled["hpo_ids"][:] == [["HP:9900002"], ["HP:9900003"], []]
    assert asked == ["A circle.", "Nothing."] and report.num_labels == 2


FINDING = {"category": "square", "severity": "mild", "location": None, "assertion": "present", "hpo_id": "HP:9900002"}


def test_captions_give_findings_to_rows_that_have_none(tmp_path, ontology, helpers):
    own = {**FINDING, "severity": "severe"}
    records = [{"caption": "A square.", "findings": [own]}, {"caption": "A mild square."}, {"caption": "Nothing."}]
    folder = helpers.write_imagefolder(tmp_path / "pairs", records)
    reader = CaptionReader(findings=lambda text: [FINDING] * ("square" in text))
    found = load_pairs(folder, ontology=ontology, captions=reader)
    assert found["findings"][:] == [[own], [FINDING], []]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_findings_of_rows_come_through_and_count_as_content(tmp_path, helpers, ontology, form):
    said = [[FINDING], [], [{**FINDING, "hpo_id": None, "assertion": None}]]
    given = [{**row, "findings": one} for row, one in zip(ROWS, said, strict=True)]
    folder = helpers.write_imagefolder(tmp_path / "pairs", given)
    source = folder
    if form == "csv":
        rows = [{"file_name": f"images/{n}.png", "caption": row["caption"], "hpo_ids": "|".join(row["hpo_ids"]),
                 "findings": json.dumps(row["findings"])} for n, row in enumerate(given)]  # fmt: skip
        source = write_table(folder / "pairs.csv", rows)
    elif form == "parquet":
        source = tmp_path / "pairs.parquet"
        loaded = load_pairs(folder, ontology=ontology)
        images = [{"bytes": (folder / f"images/{n}.png").read_bytes(), "path": f"{n}.png"} for n in range(3)]
        columns = {"image": images, "caption": loaded["caption"][:], "findings": loaded["findings"][:]}
        columns["hpo_ids"] = loaded["hpo_ids"][:]
        features = datasets.Features({name: LOADED_PAIRS[name] for name in columns})
        datasets.Dataset.from_dict(columns, features=features).to_parquet(source)
    pairs = load_pairs(source, ontology=ontology)
    assert pairs["findings"][:] == said
    plain = load_pairs(helpers.write_imagefolder(tmp_path / "plain", ROWS), ontology=ontology)
    assert data_revision(pairs) != data_revision(plain) == data_revision(plain.remove_columns("findings"))


@pytest.mark.parametrize(
    ("findings", "reason"),
    [
        ("none of it", "findings cannot be read"),
        ([{"category": 3}], "findings cannot be read"),
        (["mild"], "findings cannot be read"),
        ([{**FINDING, "hpo_id": "HP:1234567"}], "unknown HPO id of a finding"),
        ([{**FINDING, "location": "\ud800"}], "text is not valid Unicode"),
    ],
)
def test_findings_that_cannot_be_used_make_a_bad_row(tmp_path, helpers, ontology, findings, reason):
    folder = helpers.write_imagefolder(tmp_path / "pairs", [{**ROWS[0], "findings": findings}, *ROWS[1:]])
    pairs, report = load_pairs_with_report(folder, ontology=ontology, max_bad_fraction=0.5)
    assert len(pairs) == 2 and report.bad_rows == {reason: 1}
