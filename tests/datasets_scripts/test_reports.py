"""Images and reports to pairs with findings: PhysioNet's layout, folders, tables, damage, going on after a stop."""

import gzip
import json
import logging
import time

import datasets
import pytest

from phenolip.cli import main
from phenolip.datasets_scripts import reports as module
from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.report_mimic import read_mimic_cxr_jpg
from phenolip.datasets_scripts.report_rows import ReportSettings
from phenolip.datasets_scripts.report_sections import pick_sections
from phenolip.datasets_scripts.report_sources import read_report_folder, read_report_table
from phenolip.datasets_scripts.reports import prepare_reports
from phenolip.exceptions import ConfigurationError, DataError

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 HISTORY:  ___ year old, zebra.

 FINDINGS:

 LUNGS: There is a small left pleural
 effusion. No pneumothorax.

 IMPRESSION:

 Mild cardiomegaly.
"""
TEXT = "LUNGS: There is a small left pleural effusion. No pneumothorax. Mild cardiomegaly."
STUDIES = [  # patient, study, split, views
    ("10000001", "50000001", "train", ("PA", "LATERAL")),
    ("10000001", "50000002", "train", ("AP",)),
    ("10000002", "50000003", "validate", ("PA",)),
    ("11000003", "50000004", "test", ("PA",)),
    ("19000004", "50000005", "train", ("PA",)),  # of a part that was not downloaded
]


@pytest.fixture
def mimic(tmp_path, helpers):
    """A copy of the layout of MIMIC-CXR-JPG with drawn images and one report for all."""
    root = tmp_path / "mimic"
    split, metadata = ["dicom_id,study_id,subject_id,split"], ["dicom_id,subject_id,study_id,ViewPosition"]
    for number, (patient, study, part, views) in enumerate(STUDIES):
        folder = root / "files" / f"p{patient[:2]}" / f"p{patient}"
        for place, view in enumerate(views):
            dicom = f"{study[-2:]}aa-{place}"
            split.append(f"{dicom},{study},{patient},{part}")
            metadata.append(f"{dicom},{patient},{study},{view}")
            if not patient.startswith("19"):
                (folder / f"s{study}").mkdir(parents=True, exist_ok=True)
                image = helpers.encoded(helpers.picture(10 * number + place), "JPEG")
                (folder / f"s{study}" / f"{dicom}.jpg").write_bytes(image)
                (folder / f"s{study}.txt").write_text(REPORT)
    chexpert = "subject_id,study_id,Cardiomegaly,Edema\n10000001,50000001,1.0,\n10000001,50000002,-1.0,0.0\n"
    for name, text in (
        ("split", "\n".join(split) + "\n"), ("metadata", "\n".join(metadata) + "\n"), ("chexpert", chexpert),
    ):  # fmt: skip
        (root / f"mimic-cxr-2.0.0-{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return root


def rows_of(folder, split):
    files = sorted(map(str, (folder / split).glob("*.parquet")))
    return list(datasets.load_dataset("parquet", data_files=files, split="train"))


def settings(layout="mimic_cxr_jpg", **given):
    return ReportSettings(layout=layout, **given)


def test_the_layout_of_physionet_by_the_command(mimic, tmp_path, capsys, caplog):
    output = tmp_path / "out"
    call = ["prepare", "reports", "--layout", "mimic_cxr_jpg", "--source", str(mimic), "--output", str(output)]
    assert main(call) == 0
    said = capsys.readouterr()
    assert "Reports: 3 train, 1 validation, 1 test; 5 images with a finding that is present" in said.out
    assert "1 not downloaded" in said.out
    first, lateral, other = rows_of(output, "train")
    assert first["caption"] == TEXT and first["sections"] == ["findings", "impression"]
    assert (first["patient_id"], first["study_id"], first["view"]) == ("p10000001", "s50000001", "PA")
    assert (lateral["view"], other["study_id"], first["modality"]) == ("LATERAL", "s50000002", "X-ray")
    assert first["labels"] == [{"name": "Cardiomegaly", "value": 1.0}]
    assert [label["value"] for label in other["labels"]] == [-1.0, 0.0]
    found = {finding["category"]: finding for finding in first["findings"]}
    assert found["pleural effusion"] == {
        "category": "pleural effusion", "severity": "small", "location": "left", "assertion": "present",
        "hpo_id": "HP:0002202",
    }  # fmt: skip
    assert found["pneumothorax"]["assertion"] == "absent"
    assert all(TEXT[link["start"] : link["end"]] == link["surface"] for link in first["phenotypes"])
    assert "PhysioNet Credentialed" in first["license_text"] and first["image"].size == (24, 20)
    card = (output / "README.md").read_text()
    assert "PhysioNet Credentialed Health Data License" in card and "| train | 3 | 1 |" in card
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["left_out"] == {"not downloaded": 1} and manifest["bad_rows"] == {}
    assert manifest["num_patients"] == {"train": 1, "validation": 1, "test": 1}
    assert "zebra" not in said.out + said.err + caplog.text + card
    assert [path.name for path in output.parent.iterdir() if path.name.startswith(".out")] == []


def test_prepared_reports_are_pairs_with_findings_of_a_patient(mimic, tmp_path):
    prepare_reports(mimic, tmp_path / "out", settings())
    pairs = load_pairs(tmp_path / "out", split="train")
    assert set(pairs["group_id"]) == {"p10000001"} and pairs[0]["findings"][0]["category"] == "pleural effusion"
    assert "HP:0002202" in pairs[0]["hpo_ids"] and "HP:0002107" not in pairs[0]["hpo_ids"]  # denied: pneumothorax


def test_views_sizes_and_sections(mimic, tmp_path):
    wanted = settings(views=("pa",), max_side=12, sections=("impression",))
    manifest = prepare_reports(mimic, tmp_path / "out", wanted)
    assert manifest["num_rows"] == {"train": 1, "validation": 1, "test": 1}
    assert manifest["left_out"] == {"not downloaded": 1, "other view": 2}
    (row,) = rows_of(tmp_path / "out", "train")
    assert row["caption"] == "Mild cardiomegaly." and max(row["image"].size) == 12


def test_a_run_that_was_stopped_goes_on(mimic, tmp_path, monkeypatch):
    written, write = [], module._write_shard

    def stopping(work, shard, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(shard.name)
        return write(work, shard, *rest)

    monkeypatch.setattr(module, "_write_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        prepare_reports(mimic, tmp_path / "out", settings(), images_per_shard=1)
    assert not (tmp_path / "out").exists() and len(written) == 2
    monkeypatch.setattr(
        module, "_write_shard", lambda work, shard, *rest: written.append(shard.name) or write(work, shard, *rest)
    )
    manifest = prepare_reports(mimic, tmp_path / "out", settings(), images_per_shard=1)
    assert len(written) == len(set(written)) == 4  # a study of two images is one shard
    whole = prepare_reports(mimic, tmp_path / "whole", settings(), images_per_shard=1)
    assert manifest == whole
    for path in (tmp_path / "whole").rglob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "out" / path.relative_to(tmp_path / "whole")).read_bytes()


def test_other_settings_begin_anew(mimic, tmp_path, monkeypatch):
    write = module._write_shard
    monkeypatch.setattr(module, "_write_shard", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare_reports(mimic, tmp_path / "out", settings())
    kept = tmp_path / ".out.incomplete" / "old"
    kept.write_text("")
    monkeypatch.setattr(module, "_write_shard", write)
    prepare_reports(mimic, tmp_path / "out", settings(max_side=10))
    assert not (tmp_path / "out" / "old").exists() and not kept.exists()


def test_damage_is_counted_listed_and_capped(mimic, tmp_path, caplog):
    study = mimic / "files" / "p10" / "p10000001" / "s50000001"
    (study / "01aa-0.jpg").unlink()
    (study / "01aa-1.jpg").write_bytes(b"no image")
    study.with_suffix(".txt").with_name("s50000002.txt").write_bytes(b"\xff\xfe zebra")
    (mimic / "files" / "p10" / "p10000002" / "s50000003.txt").unlink()
    listed = tmp_path / "bad.jsonl"
    with pytest.raises(DataError, match="3 of 5 images cannot be used .* more than `max_bad_fraction` 0.1 allows"):
        prepare_reports(mimic, tmp_path / "out", settings(), max_bad_fraction=0.1, bad_rows_path=listed)
    assert "zebra" not in listed.read_text() and not (tmp_path / "out").exists()
    with caplog.at_level(logging.WARNING):
        manifest = prepare_reports(mimic, tmp_path / "out", settings(), max_bad_fraction=1, bad_rows_path=listed)
    assert manifest["bad_rows"] == {
        "report is no text in UTF-8": 1, "image is missing": 1, "image cannot be decoded": 1, "report is missing": 1,
    }  # fmt: skip
    assert len(listed.read_text().splitlines()) == 4 and "zebra" not in caplog.text


def test_a_report_that_is_too_long_and_one_without_text(mimic, tmp_path):
    folder = mimic / "files" / "p10" / "p10000001"
    (folder / "s50000001.txt").write_text("x" * 1_000_001)
    (folder / "s50000002.txt").write_text("HISTORY: Cough.\n")
    manifest = prepare_reports(mimic, tmp_path / "out", settings(), max_bad_fraction=0.5)
    assert manifest["bad_rows"] == {"report is too long": 2}
    assert manifest["left_out"]["report without findings or impression"] == 1


def test_tables_of_physionet_are_checked(mimic):
    split = mimic / "mimic-cxr-2.0.0-split.csv.gz"
    head = "dicom_id,study_id,subject_id,split\n"
    split.write_bytes(gzip.compress(f"{head}../x,50,10000001,train\na,50,10000001,other\n".encode()))
    source = read_mimic_cxr_jpg(mimic)
    assert not source.studies and source.left_out == {"unreadable row of the table of splits": 2}
    split.write_bytes(gzip.compress(f"{head}a,50,10000001,train\nb,51,10000001,test\n".encode()))
    with pytest.raises(DataError, match="Patient 10000001 is in the splits train and test"):
        read_mimic_cxr_jpg(mimic)
    split.write_bytes(gzip.compress(b"dicom_id\na\n"))
    with pytest.raises(DataError, match="mimic-cxr-2.0.0-split.csv.gz cannot be read"):
        read_mimic_cxr_jpg(mimic)
    split.write_bytes(gzip.compress(f"{head}a,50,10000001,train\n".encode()))
    (mimic / "mimic-cxr-2.0.0-chexpert.csv.gz").write_bytes(b"broken")
    with pytest.raises(DataError, match="mimic-cxr-2.0.0-chexpert.csv.gz cannot be read"):
        read_mimic_cxr_jpg(mimic)
    split.unlink()
    with pytest.raises(DataError, match=r"must hold mimic-cxr-2.0.0-split.csv.gz"):
        read_mimic_cxr_jpg(mimic)


def test_a_folder_is_paired_by_name(tmp_path, helpers):
    root = tmp_path / "scans"
    for name in ("a.png", "s1/x.png", "s1/y.png", "s2/z.png", "lonely.png", ".hidden.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(helpers.encoded(helpers.picture(len(name))))
    for name in ("a.txt", "s1.txt", "s2/report.txt", "unused.txt"):
        (root / name).write_text("Mild left pleural effusion.")
    source = read_report_folder(root)
    pairs = {study.study_id: [image.row_id for image in study.images] for study in source.studies}
    assert pairs == {
        "a": ["a.png"], "s1": ["s1/x.png", "s1/y.png"], "s2/report": ["s2/z.png"], "lonely.png": ["lonely.png"],
    }  # fmt: skip
    assert source.left_out == {"report without an image": 1}
    manifest = prepare_reports(root, tmp_path / "out", settings("folder"), max_bad_fraction=0.5)
    assert manifest["num_rows"]["train"] == 4 and manifest["bad_rows"] == {"report is missing": 1}
    assert manifest["license"] is None and "not stated" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(DataError, match="must be a folder"):
        read_report_folder(root / "absent")


def test_a_table_says_report_patient_and_split(tmp_path, helpers):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(helpers.encoded(helpers.picture(number)))
    table = tmp_path / "list.csv"
    table.write_text(
        "image_path,report,patient_id,study_id,split,view\n"
        '0.png,"FINDINGS: Mild left pleural effusion.",p1,s1,train,PA\n'
        '1.png,"FINDINGS: Mild left pleural effusion.",p1,s1,train,LAT\n'
        "2.png,No effusion.,p2,s2,validate,PA\n"
        "../2.png,No effusion.,p3,s3,test,PA\n"
    )
    wanted = settings("table", license_text="mine", license_url="https://example.org")
    manifest = prepare_reports(table, tmp_path / "out", wanted, max_bad_fraction=0.3)
    assert manifest["num_rows"] == {"train": 2, "validation": 1, "test": 0}
    assert manifest["bad_rows"] == {"image is missing": 1}  # its path leaves the folder
    assert {row["license_text"] for row in rows_of(tmp_path / "out", "train")} == {"mine"}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "image_path\n0.png\n",
            ConfigurationError,
            "must have one of the columns report_path, report_file, report, t",
        ),
        ("text\nx\n", ConfigurationError, "must have one of the columns image, image_path, file_name, path; it has t"),
        ("image_path,text,split\na,b,dev\n", DataError, "`split` must be one of train, validation, test, got 'dev'"),
        ("image_path,text,study_id\na,b,s\nc,d,s\n", DataError, "row 2: study s has another report or split before"),
        ("image_path,text,patient_id,split\na,b,p,train\nc,d,p,test\n", DataError, "Patient p is in the splits train"),
    ],
)
def test_tables_that_are_wrong(tmp_path, text, error, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(error, match=message):
        read_report_table(tmp_path / "list.csv")


def test_wrong_calls(mimic, tmp_path):
    with pytest.raises(ConfigurationError, match="`layout` must be one of mimic_cxr_jpg, folder, table, got 'x'"):
        settings("x")
    with pytest.raises(ConfigurationError, match="`sections` must name one section at least"):
        settings(sections=())
    with pytest.raises(ConfigurationError, match="`reports` must be left out for `layout` table"):
        prepare_reports(mimic, tmp_path / "out", settings("table"), reports=mimic)
    with pytest.raises(DataError, match="`max_bad_fraction` must be between 0 and 1"):
        prepare_reports(mimic, tmp_path / "out", settings(), max_bad_fraction=2)
    with pytest.raises(DataError, match="has no image to prepare; left out: {'not downloaded': 1, 'other view': 5}"):
        prepare_reports(mimic, tmp_path / "out", settings(views=("XX",)))
    with pytest.raises(DataError, match="was not written by `phenolip prepare`"):
        prepare_reports(mimic, mimic, settings())
    for path in mimic.rglob("*.txt"):
        path.write_text("HISTORY: Cough.")
    with pytest.raises(DataError, match="No image of .* can be used; left out: {'not downloaded': 1, 'report without"):
        prepare_reports(mimic, tmp_path / "out", settings())


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (REPORT, (TEXT, ("findings", "impression"))),
        ("Clear lungs.", ("Clear lungs.", ("whole report",))),
        ("Findings: a. IMPRESSION: b.", ("a. b.", ("findings", "impression"))),
        ("FINDINGS AND IMPRESSION: a", ("a", ("findings",))),
        ("CONCLUSION: a", ("a", ("impression",))),
        ("WET READ: x\n FINAL REPORT\n HISTORY: y\n\n Clear: lungs.\n", ("Clear: lungs.", ("last paragraph",))),
        ("CLINICAL HISTORY: x", ("", ())),
        ("", ("", ())),
    ],
)
def test_sections(report, expected):
    assert pick_sections(report) == expected


def test_sections_of_long_texts_take_little_time():
    began = time.process_time()
    for text in ("A " * 100_000, " \n" * 100_000, "A (B " * 50_000 + "\n", "FINDINGS:" * 20_000):
        pick_sections(text)
    assert time.process_time() - began < 5  # were it quadratic, hours
