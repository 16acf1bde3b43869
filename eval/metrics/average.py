"""The paper's Average: the unweighted mean of its seven columns."""

from collections.abc import Mapping

SEVEN_COLUMNS = (
    "dermatology",
    "pathology",
    "radiology",
    "hematology",
    "histology",
    "ophthalmology",
    "phenobench",
)


def phenobench_average(accuracies: Mapping[str, float]) -> float:
    """Unweighted mean of zero-shot accuracies over six domains and PhenoBench (PhenoLIP, arXiv 2602.06184).

    A domain of 400 images weighs as much as one of 7,000, as there. Other keys are ignored.

    Args:
        accuracies: Name of a column -> its accuracy.

    Raises:
        ValueError: One of the seven is missing: an average of fewer is another number.

    Example:
        >>> phenobench_average(dict.fromkeys(SEVEN_COLUMNS, 0.5))
        0.5
    """
    missing = [name for name in SEVEN_COLUMNS if name not in accuracies]
    if missing:
        raise ValueError(f"`accuracies` must hold all seven columns, {', '.join(missing)} missing.")
    return sum(accuracies[name] for name in SEVEN_COLUMNS) / len(SEVEN_COLUMNS)
