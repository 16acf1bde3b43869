"""MIMIC-CXR-JPG as PhysioNet lays it out: studies, views, labels and the official split by patient."""

import re
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from phenolip.datasets_scripts.report_sources import SPLIT_NAMES, ReportSource, Study, StudyImage, check_patients
from phenolip.exceptions import DataError

_DICOM_ID = re.compile(r"[\w.-]{1,100}")


def read_mimic_cxr_jpg(source: str | Path, reports: str | Path | None = None) -> ReportSource:
    """MIMIC-CXR-JPG 2.x: images files/p10/p1000xxxx/sXXXXXXXX/*.jpg, split, views and labels as mimic-cxr-2.*.csv.gz.

    Parts of the set will do: patients of a folder files/pNN that is not there are left out and counted.

    Args:
        source: Folder that holds files/ and the tables.
        reports: Folder of the reports files/p10/p1000xxxx/sXXXXXXXX.txt, of MIMIC-CXR (mimic-cxr-reports.zip); by
            default `source` and its folder mimic-cxr-reports.

    Raises:
        DataError: A table is missing or broken, or a patient is in two splits.
    """
    source = Path(source)
    roots = [Path(reports)] if reports is not None else [source / "mimic-cxr-reports", source]
    split = _physionet_table(source, "split", ("dicom_id", "study_id", "subject_id", "split"), is_needed=True)
    views = _physionet_table(source, "metadata", ("dicom_id", "ViewPosition"))
    view_of = dict(zip(views["dicom_id"], views["ViewPosition"], strict=True)) if views else {}
    labels = _study_labels(source)
    left_out: Counter[str] = Counter()
    images: dict[tuple[str, str, str], list[StudyImage]] = defaultdict(list)
    there = {path.name for path in (source / "files").glob("p*") if path.is_dir()}
    for dicom, study, patient, part in zip(*split.values(), strict=True):
        if part not in SPLIT_NAMES or not (patient.isdecimal() and study.isdecimal() and _is_name(dicom)):
            left_out["unreadable row of the table of splits"] += 1
        elif f"p{patient[:2]}" not in there:
            left_out["not downloaded"] += 1
        else:
            row_id = f"p{patient}/s{study}/{dicom}"
            path = source / "files" / f"p{patient[:2]}" / f"p{patient}" / f"s{study}" / f"{dicom}.jpg"
            image = StudyImage(row_id, path, view_of.get(dicom) or None)
            images[SPLIT_NAMES[part], patient, study].append(image)
    check_patients((patient, part) for part, patient, _ in images)
    studies = []
    for (part, patient, study), own in sorted(images.items()):
        name = Path("files", f"p{patient[:2]}", f"p{patient}", f"s{study}.txt")
        places = (*(root / name for root in roots), *(root / Path(*name.parts[1:]) for root in roots))
        studies.append(
            Study(f"s{study}", tuple(own), places, None, f"p{patient}", part, labels.get((patient, study), ()))
        )
    return ReportSource(studies, left_out)


def _physionet_table(
    source: Path, name: str, columns: tuple[str, ...], *, is_needed: bool = False
) -> dict[str, list[str]] | None:
    """Columns of mimic-cxr-2.*-NAME.csv.gz, empty cells as empty texts; None where it is not there or not needed."""
    found = sorted((*source.glob(f"mimic-cxr-2.*-{name}.csv.gz"), *source.glob(f"mimic-cxr-2.*-{name}.csv")))
    if not found:
        if is_needed:
            raise DataError(f"{source} must hold mimic-cxr-2.0.0-{name}.csv.gz, as MIMIC-CXR-JPG has it.")
        return None
    options = pa_csv.ConvertOptions(include_columns=columns, column_types=dict.fromkeys(columns, pa.string()))
    try:
        table = pa_csv.read_csv(found[-1], convert_options=options)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{found[-1].name} cannot be read: {str(error).splitlines()[0]}.") from None
    return {column: [value or "" for value in table[column].to_pylist()] for column in columns}


def _study_labels(source: Path) -> dict[tuple[str, str], tuple[tuple[str, float], ...]]:
    """Labels of CheXpert's labeller by patient and study; empty without their table."""
    found = sorted(source.glob("mimic-cxr-2.*-chexpert.csv*"))
    if not found:
        return {}
    try:
        table = pa_csv.read_csv(found[-1])
        names = [name for name in table.column_names if name not in ("subject_id", "study_id")]
        values = [table[name].cast(pa.float64()).to_pylist() for name in names]
        keys = zip(*(map(str, table[name].to_pylist()) for name in ("subject_id", "study_id")), strict=True)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{found[-1].name} cannot be read: {str(error).splitlines()[0]}.") from None
    return {
        key: tuple((name, value) for name, value in zip(names, row, strict=True) if value is not None)
        for key, row in zip(keys, zip(*values, strict=True), strict=True)
    }


def _is_name(text: str) -> bool:
    return _DICOM_ID.fullmatch(text) is not None and not text.startswith(".")
