"""What a run of `phenolip forget` did, in counts and hashes: as private as the data, as a hash hides no short id."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from phenolip import __version__
from phenolip.forget.findings import Findings
from phenolip.forget.selection import Selection, hashed


def describe(roots: list[Path], found: Findings, selection: Selection, left: dict[Path, str]) -> dict[str, Any]:
    """The receipt.

    Args:
        roots: Folders that were looked through.
        found: What was removed.
        selection: What was asked for; only hashes of it are written.
        left: What the search afterwards found; only its number is written, as names of files may be private.
    """
    return {
        "written_by": f"phenolip forget {__version__}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "num_folders": len(roots),
        "asked_sha256": hashed(selection.asked),
        "names_sha256": hashed(selection.names | selection.learned),
        "image_sha256_sha256": hashed(selection.hashes),
        "num_texts": len(selection.texts),
        "num_texts_of_rows_that_stay": len(found.texts_kept),
        "removed": found.places(),
        "tables": _by_table(found),
        "num_files_that_still_hold_a_trace": len(left),
        "num_models_trained_on_a_row": len(found.models),
        "not_removed": "Weights of a model that was trained on a row, backups, and copies outside the folders.",
    }


def _by_table(found: Findings) -> list[dict[str, Any]]:
    """What each table lost; it is named by its hash and ending: its path may be private."""
    return [
        {
            "path_sha256": hashlib.sha256(path.as_posix().encode("utf-8", "surrogateescape")).hexdigest(),
            "form": path.suffix,
            "num_rows_before": found.num_rows[path],
            "num_rows_removed": len(found.rows.get(path, ())),
            "num_figures_removed": sum(map(len, found.figures.get(path, {}).values())),
        }
        for path in sorted({**found.rows, **found.figures})
    ]
