"""What the entry scripts share: how they fail, and the record that they leave beside a model."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from transformers.utils.logging import disable_progress_bar

from phenolip.command_line import printable
from phenolip.exceptions import ConfigurationError, PhenoLIPError
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.provenance import git_commit, hardware, package_versions, write_json
from phenolip.train.faults import Preempted, on_terminate


def run_entry_point(main: Callable[[], None]) -> None:
    """Runs a script: a user's mistake ends it with one sentence and exit code 2 (the call) or 1 (the work).

    SIGTERM ends it with 75, before and after the loop too, where there is nothing to save.
    """
    disable_progress_bar()  # of transformers: loading weights takes milliseconds; the loop's own bar stays
    try:
        with on_terminate(_leave):
            main()
    except PhenoLIPError as error:
        if "--debug" in sys.argv:
            raise
        rank = os.environ.get("RANK", "0")
        sys.stderr.write(f"error{f' (process {rank})' if rank != '0' else ''}: {printable(str(error))}\n")
        raise SystemExit(2 if isinstance(error, ConfigurationError) else 1) from None


def _leave() -> None:
    raise Preempted


def write_run_record(
    output_dir: Path,
    stage: str,
    settings: dict[str, Any],
    ontology: PhenotypeOntology | None = None,
    data: dict[str, Any] | None = None,
    *,
    num_steps: int,
) -> None:
    """Writes run.yaml, the resolved settings, and run.json, their provenance.

    Args:
        output_dir: The model folder.
        stage: "stage1", "stage2" or "detector".
        settings: Every field of the run; a valid `--config` file.
        ontology: The release that was used, if any was.
        data: Name, revision and row count of the training data.
        num_steps: Optimiser steps that were taken.
    """
    with open(output_dir / "run.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump(settings, file, sort_keys=False)
    record = {
        "stage": stage,
        "num_steps": num_steps,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **({"hpo_release": ontology.release, "hpo_sha256": ontology.sha256} if ontology else {}),
        "data": data or {},
        "git_commit": git_commit(),
        "packages": package_versions(),
        "hardware": hardware(),
    }
    write_json(output_dir / "run.json", record)
