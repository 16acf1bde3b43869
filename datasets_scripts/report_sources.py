"""Where images and their reports lie: in a folder, by their names, or as a table says.

Only names are read here, and looked for on the disk; images and reports are opened by `report_rows.py`.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from phenolip.datasets_scripts.image_tables import read_rows
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import SUFFIXES
from phenolip.phenokg.split_pairs import SPLITS

#: Names of splits as data sets call them -> as we do.
SPLIT_NAMES = {"train": "train", "validate": "validation", "validation": "validation", "test": "test"}
_TABLE_COLUMNS = {  # of a table of reports: what -> columns that may say it, the first that is there counts
    "image": ("image", "image_path", "file_name", "path"),
    "report": ("report_path", "report_file"),
    "text": ("report", "text"),
    "patient": ("patient_id", "subject_id"),
    "study": ("study_id",),
    "split": ("split",),
    "view": ("view", "view_position"),
}


@dataclass(frozen=True, slots=True)
class StudyImage:
    """One image of a study: what it is called, where it lies, from where it was taken (such as "PA")."""

    row_id: str
    path: Path
    view: str | None = None


@dataclass(frozen=True, slots=True)
class Study:
    """A report and its images.

    Attributes:
        study_id: Names it.
        images: At least one.
        reports: Places where the report may lie; the first that is there counts.
        text: The report itself, where a table holds it.
        patient_id: Whose it is, where the data says so.
        split: One of train, validation, test.
        labels: What the data says of it beside the report, name -> 1, 0 or -1 (doubtful).
    """

    study_id: str
    images: tuple[StudyImage, ...]
    reports: tuple[Path, ...] = ()
    text: str | None = None
    patient_id: str | None = None
    split: str = "train"
    labels: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class ReportSource:
    """All studies of a source, and what was left out without any damage, by reason."""

    studies: list[Study]
    left_out: Counter[str] = field(default_factory=Counter)


def read_report_folder(source: str | Path, reports: str | Path | None = None) -> ReportSource:
    """Images and .txt files paired by name: `a/b.png` goes with `a/b.txt`, else with `a.txt`, else with the only .txt
    file in `a/`.

    Args:
        source: Folder of the images, searched through.
        reports: Folder of the reports, with the same names; by default `source`.
    """
    root, report_root = Path(source), Path(reports if reports is not None else source)
    texts = {path.with_suffix("").as_posix(): path for path in _files(report_root) if path.suffix.lower() == ".txt"}
    alone: dict[str, list[Path]] = defaultdict(list)
    for path in texts.values():
        alone[path.parent.as_posix()].append(path)
    images: dict[Path | None, list[StudyImage]] = defaultdict(list)
    for path in _files(root):
        if path.suffix.lower() in SUFFIXES:
            name, folder = path.with_suffix("").as_posix(), path.parent.as_posix()
            only = alone[folder][0] if len(alone[folder]) == 1 and folder != "." else None
            images[texts.get(name) or texts.get(folder) or only].append(StudyImage(path.as_posix(), root / path))
    # Images without a report are studies whose report is missing: counted with other damage.
    studies = [
        Study(report.with_suffix("").as_posix(), tuple(own), (report_root / report,))
        for report, own in images.items()
        if report is not None
    ]
    studies += [Study(image.row_id, (image,)) for image in images.get(None, ())]
    unused = len(texts) - sum(report is not None for report in images)
    return ReportSource(studies, Counter({"report without an image": unused} if unused else {}))


def read_report_table(source: str | Path) -> ReportSource:
    """A .csv, .tsv or .jsonl file with a row an image: its path, the report or the report's path, and if known
    patient_id, study_id, split and view. Paths are relative to the file.

    Raises:
        ConfigurationError: The table lacks the image or the report.
        DataError: It cannot be read, a split is unknown, or a patient is in two splits.
    """
    source = Path(source)
    rows = read_rows(source)
    present = set().union(*(row.keys() for row in rows[:100])) if rows else set()
    column = {what: next((name for name in names if name in present), None) for what, names in _TABLE_COLUMNS.items()}
    for needed in (("image",), ("report", "text")):
        if not any(column[what] for what in needed):
            names = ", ".join(name for what in needed for name in _TABLE_COLUMNS[what])
            raise ConfigurationError(
                f"{source.name} must have one of the columns {names}; it has {', '.join(sorted(map(str, present)))}."
            )
    studies: dict[str, Study] = {}
    for number, row in enumerate(rows, 1):
        study = _table_study(source.parent, row, column, number)
        known = studies.get(study.study_id)
        if known is not None and (known.reports, known.text, known.split) == (study.reports, study.text, study.split):
            study = Study(*_fields(known, images=(*known.images, *study.images)))
        elif known is not None:
            raise DataError(f"{source.name} row {number}: study {study.study_id} has another report or split before.")
        studies[study.study_id] = study
    check_patients((study.patient_id, study.split) for study in studies.values() if study.patient_id)
    return ReportSource(list(studies.values()))


def _table_study(root: Path, row: Mapping[str, Any], column: Mapping[str, str | None], number: int) -> Study:
    def said(what: str) -> str:
        name = column[what]
        return str(row.get(name) or "").strip() if name else ""

    part = SPLIT_NAMES.get(said("split") or "train", said("split"))
    if part not in SPLITS:
        raise DataError(f"Row {number}: `split` must be one of {', '.join(SPLITS)}, got '{part[:50]}'.")
    image, report = said("image"), said("report")
    path, report_path = _inside(root, image), _inside(root, report) if report else None
    return Study(
        study_id=said("study") or report or image or f"row {number}",
        images=(StudyImage(image or f"row {number}", path or Path(), said("view") or None),),
        reports=(report_path,) if report_path else (),
        text=said("text") or None,
        patient_id=said("patient") or None,
        split=part,
    )


def _fields(study: Study, **changed: Any) -> list[Any]:
    return [changed.get(name, getattr(study, name)) for name in Study.__dataclass_fields__]


def _inside(root: Path, name: str) -> Path | None:
    """The path of a file that a row names below a folder; None if the name could lead elsewhere."""
    is_open = "\0" in name or any(
        path.anchor or ".." in path.parts for path in (PurePosixPath(name), PureWindowsPath(name))
    )
    return root / name if name and not is_open else None


def _files(root: Path) -> Iterator[Path]:
    """Files below a folder, relative to it, in the order of their names; hidden ones are passed over."""
    if not root.is_dir():
        raise DataError(f"{root} must be a folder.")
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (Path(folder, name).relative_to(root) for name in sorted(files) if not name.startswith("."))


def check_patients(splits: Iterable[tuple[str, str]]) -> None:
    """Raises ``DataError`` if a patient is in two splits."""
    first: dict[str, str] = {}
    for patient, part in splits:
        if first.setdefault(patient, part) != part:
            raise DataError(
                f"Patient {patient} is in the splits {first[patient]} and {part}; a patient must be in one."
            )
