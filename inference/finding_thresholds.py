"""finding_thresholds.json beside a model: from which cosine on a finding counts as seen, and its known words."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from phenolip.exceptions import DataError
from phenolip.inference.candidates import model_file
from phenolip.ontology.finding_template import TEMPLATE_VERSION
from phenolip.provenance import write_json

THRESHOLDS_FILE = "finding_thresholds.json"
MIN_POSITIVE = 5  # images that show a category, for a threshold to be more than chance; ours
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class FindingThreshold:
    """One category.

    Attributes:
        category: Name, as prompts write it.
        hpo_id: Its term; None if it has none.
        threshold: The category counts as seen where the cosine of image and category prompt is at least this.
        f1: On the data that the threshold was fitted on; too good by construction.
        num_positive: Images of that data that show the category.
        num_negative: Images that do not.
        severities: What may be said of its severity, commonest first.
        locations: What may be said of its place, commonest first.
    """

    category: str
    hpo_id: str | None
    threshold: float
    f1: float
    num_positive: int
    num_negative: int
    severities: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FindingThresholds:
    """What the file holds.

    Attributes:
        categories: One entry a category, by name.
        fitted_on: Name, revision and number of rows of the data.
        weights_sha256: Hashes of the weights that the thresholds are for, by file.
        template_version: Of the prompts' template.
    """

    categories: tuple[FindingThreshold, ...]
    fitted_on: dict[str, Any]
    weights_sha256: dict[str, str] | None = None
    template_version: int = TEMPLATE_VERSION


def write_thresholds(thresholds: FindingThresholds, path: str | Path) -> None:
    """Writes the file whole."""
    write_json(Path(path), {"format_version": FORMAT_VERSION, **asdict(thresholds)})


def read_thresholds(path: str | Path) -> FindingThresholds:
    """Reads a file.

    Raises:
        DataError: It is damaged, or of another version of the format or of the prompts' template.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        version, template = stored["format_version"], stored["template_version"]
        categories = tuple(_entry(entry) for entry in stored["categories"])
        found = FindingThresholds(categories, dict(stored["fitted_on"]), stored["weights_sha256"], template)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} must be a file that `phenolip thresholds` wrote: fit the thresholds anew.") from error
    if (version, template) != (FORMAT_VERSION, TEMPLATE_VERSION) or not categories:
        raise DataError(
            f"{path} must hold categories of format {FORMAT_VERSION} and template {TEMPLATE_VERSION}, got "
            f"{len(categories)} of {version} and {template}: fit the thresholds anew."
        )
    return found


def model_thresholds(model: str | Path, path: str | Path | None = None) -> FindingThresholds:
    """The thresholds in a model's folder or Hub repository, or of a file.

    Raises:
        DataError: There are none, or they cannot be read.
    """
    path = path or model_file(model, THRESHOLDS_FILE)
    if path is None:
        raise DataError(
            f"`model` {model} has no {THRESHOLDS_FILE}: fit it on validation pairs with findings by "
            f"`phenolip thresholds --model {model} --data DIR`."
        )
    return read_thresholds(path)


def _entry(stored: dict[str, Any]) -> FindingThreshold:
    stored = {**stored, "severities": tuple(stored["severities"]), "locations": tuple(stored["locations"])}
    entry = FindingThreshold(**stored)
    words = (entry.category, *entry.severities, *entry.locations)
    if not -1.01 <= float(entry.threshold) <= 1.01 or not all(isinstance(word, str) and word for word in words):
        raise ValueError("a threshold must be a cosine, and words must be text")
    return entry
