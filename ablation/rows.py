"""The rows of an ablation table, read from a YAML file."""

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from phenolip.exceptions import ConfigurationError, near_matches

DATA = ("originals", "compounds", "crops")
MINI_ROWS = Path(__file__).resolve().parents[1] / "train" / "configs" / "ablation" / "rows.yaml"
CONFIG_FOLDER = "mini"  # beside the file of rows


@dataclass(frozen=True, slots=True)
class AblationRow:
    """One line of the table.

    Attributes:
        id: Name of the row and of its folder.
        title: What a reader sees.
        group: Title of its group.
        config: YAML of the run, for train/stage2.py; None where `model` names another row's runs.
        reference: Row that the difference is taken to, or None.
        changes: Settings in which the config differs from the reference's.
        data: What is trained on: the originals, or compounds or crops made of them.
        steps_of: Row whose number of optimiser steps is taken, or None for the config's own.
        model: Row whose trained models are evaluated, or None.
        variant: Way to score phenotypes (a variant of the task phenobench_ontology), or None for the plain one.
        fine_tuned: The vision tower is trained too, which takes minutes.
    """

    id: str
    title: str
    group: str
    config: Path | None
    reference: str | None = None
    changes: tuple[str, ...] | None = None
    data: str = "originals"
    steps_of: str | None = None
    model: str | None = None
    variant: str | None = None
    fine_tuned: bool = False

    @property
    def trained_row(self) -> str:
        """Id of the row whose runs this one shows."""
        return self.model or self.id


def load_rows(path: str | Path = MINI_ROWS) -> dict[str, AblationRow]:
    """Rows by id, in the order of the table.

    Raises:
        ConfigurationError: The file cannot be read, or a row is unclear; the message names both.
    """
    path = Path(path)
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        groups = [(group["title"], bool(group.get("fine_tuned")), group["rows"]) for group in loaded["groups"]]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}.") from None
    except (KeyError, TypeError):
        raise ConfigurationError(f"{path} must hold `groups`, each with a `title` and `rows`.") from None
    rows: dict[str, AblationRow] = {}
    for group, fine_tuned, entries in groups:
        for entry in entries:
            row = _read_row(entry, group, fine_tuned, path)
            if row.id in rows:
                raise ConfigurationError(f"{path} has two rows '{row.id}'; ids must differ.")
            rows[row.id] = row
    for row in rows.values():
        _check_row(row, rows, path)
    return rows


def _read_row(entry: Any, group: str, fine_tuned: bool, path: Path) -> AblationRow:
    known = {field.name for field in fields(AblationRow)} - {"group", "fine_tuned"}
    if not isinstance(entry, dict) or not {"id", "title"} <= entry.keys():
        raise ConfigurationError(f"{path}: each row must hold `id` and `title`, got {entry!r}.")
    if unknown := entry.keys() - known:
        name = str(min(unknown, key=str))
        raise ConfigurationError(
            f"{path}: row '{entry['id']}' has the unknown key '{name}'.{near_matches(name, known)}"
        )
    defaults = {field.name: field.default for field in fields(AblationRow) if field.default is not MISSING}
    values = defaults | entry | {"group": group, "fine_tuned": fine_tuned}
    values["config"] = path.parent / CONFIG_FOLDER / f"{entry.get('config', entry['id'])}.yaml"
    if values["model"] is not None:
        values["config"] = None
    if values["changes"] is not None:
        values["changes"] = tuple(values["changes"])
    return AblationRow(**values)


def _check_row(row: AblationRow, rows: dict[str, AblationRow], path: Path) -> None:
    for name in ("reference", "steps_of", "model"):
        other = getattr(row, name)
        if other is not None and other not in rows:
            raise ConfigurationError(f"{path}: `{name}` of '{row.id}' must be a row.{near_matches(str(other), rows)}")
    if row.data not in DATA:
        raise ConfigurationError(f"{path}: `data` of '{row.id}' must be {', '.join(DATA)}, got {row.data!r}.")
    if row.model is not None and rows[row.model].model is not None:
        raise ConfigurationError(f"{path}: `model` of '{row.id}' must be a row that is trained, got '{row.model}'.")
    if row.variant is not None and row.model is None:
        raise ConfigurationError(f"{path}: '{row.id}' has a `variant`, so `model` must name the row that it scores.")
    if row.config is not None and not row.config.is_file():
        raise ConfigurationError(f"{path}: the config of '{row.id}' must exist, and {row.config} does not.")
    if row.reference is not None and (rows[row.reference].variant is None) != (row.variant is None):
        raise ConfigurationError(f"{path}: `reference` of '{row.id}' must be measured in the same way, by `variant`.")
