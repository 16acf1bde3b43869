"""Checks of what one printed number allows another to be: k of n, cutoffs, F1 with precision, recall or accuracy."""

from math import ceil, floor
from typing import Any

from phenolip.eval.published.tables import EPSILON, Outcome, PublishedTable, load_published


def ordered(table: PublishedTable, columns: list[str], because: str) -> Outcome:
    """Do values not fall from column to column?"""
    bad = []
    for row in table.rows:
        values = [table.cell(row, name) for name in columns]
        if any(b < a for a, b in zip(values, values[1:], strict=False)):
            bad.append(f"{row}: {', '.join(map(table.shown, values))}")
    return f"{' ≤ '.join(columns)}, since {because}", not bad, bad


def can_be_share(percent: float, n: int, half_unit: float) -> bool:
    """Whether some k of n is this percentage after rounding.

    Example:
        >>> can_be_share(33.33, 3, 0.005), can_be_share(33.30, 3, 0.005)
        (True, False)
    """
    low, high = (percent - half_unit) * n / 100, (percent + half_unit) * n / 100
    return ceil(low - EPSILON) <= floor(high + EPSILON)


def k_of_n(table: PublishedTable, columns: list[str], n: int, because: str) -> Outcome:
    """Can each percentage be k of n? A value drawn blindly is one with probability of about n x (a printed unit)."""
    names = table.match(columns)
    bad, blind = [], min(1.0, n * 2 * table.half_unit / 100)
    for row in table.rows:
        wrong = [
            table.cell(row, name) for name in names if not can_be_share(table.cell(row, name), n, table.half_unit)
        ]
        if wrong:
            bad.append(f"{row}: {', '.join(map(table.shown, wrong))}")
    total = len(names) * len(table.rows)
    num_bad = sum(line.count(",") + 1 for line in bad)
    question = f"{', '.join(columns)} are k of {n:,} ({because}): {total - num_bad} of {total} can be"
    return f"{question}, blindly {100 * blind:.0f} %", not bad, bad


def harmonic(table: PublishedTable, precision: str, recall: str, f1: str) -> Outcome:
    """Is F1 that of the printed precision and recall?

    A mean over images of F1 lies at or below the harmonic mean of the mean precision and the mean recall, since the
    harmonic mean is concave (Jensen). Rows on the line and rows below it were made by different rules.
    """
    on, below, over = [], [], []
    for row in table.rows:
        p, r, printed = (table.cell(row, name) for name in (precision, recall, f1))
        line = 2 * p * r / (p + r)
        text = f"{row} {table.shown(printed)} ({line:.2f})"
        part = on if abs(printed - line) <= 2 * table.half_unit + EPSILON else below if printed < line else over
        part.append(text)
    details = [f"equal to it: {', '.join(on)}"] * bool(on) + [
        f"below, as a mean over images is: {', '.join(below)}"
    ] * (bool(below))
    details += [f"above, which no mean of F1 can be: {', '.join(over)}"] * bool(over)
    question = f"`{f1}` is the harmonic mean of `{precision}` and `{recall}` (in brackets)"
    return question, not below and not over, details


def share_of_positives(
    table: PublishedTable, accuracy: list[str], f1: list[str], others: list[dict[str, Any]] | None = None
) -> Outcome:
    """Is there a share of positive images under which every row's accuracy and highest F1 can be?

    With errors e = 1 - accuracy, F1 = 2 TP / (2 TP + e) gives the true positives TP = F1 e / (2 (1 - F1)), as a share
    of all images; the positives are TP to TP + e. Answering "yes" to all has an F1 of 2 p / (1 + p), which the highest
    F1 cannot be below: p <= F1 / (2 - F1). All rows are of the same images, so one p must do for all.
    """
    lowest, highest_ = (0.0, ""), (1.0, "")
    columns = [(table, *pair) for pair in zip(accuracy, f1, strict=True)]
    for other in others or ():
        second = load_published(other["table"])
        columns += [(second, *pair) for pair in zip(other["accuracy"], other["f1"], strict=True)]
    for source, first, second in columns:
        for row in source.rows:
            low, high = positive_share(source.cell(row, first), source.cell(row, second), source.half_unit)
            where = f"{row} {source.cell(row, first)} / {source.cell(row, second)}"
            where += f" of {source.name}" if source is not table else ""
            lowest, highest_ = max(lowest, (low, where)), min(highest_, (high, where))
    details = [
        f"at least {100 * lowest[0]:.1f} % by {lowest[1]}",
        f"at most {100 * highest_[0]:.1f} % by {highest_[1]}",
    ]
    question = "one share of positive images allows every accuracy with its highest F1"
    return question, lowest[0] <= highest_[0], details


def positive_share(accuracy: float, f1: float, half_unit: float = 0.0) -> tuple[float, float]:
    """Least and greatest share of positive images for a printed accuracy and highest F1 in percent.

    Example:
        >>> [round(share, 4) for share in positive_share(75, 50)]
        [0.125, 0.3333]
    """
    errors = [1 - (accuracy + sign * half_unit) / 100 for sign in (1, -1)]
    shares = [(f1 + sign * half_unit) / 100 for sign in (-1, 1)]
    true_positives = [share * error / (2 * (1 - share)) for share, error in zip(shares, errors, strict=True)]
    return true_positives[0], min(true_positives[1] + errors[1], shares[1] / (2 - shares[1]))


def precision_by_rank(table: PublishedTable, columns: dict[int, str]) -> Outcome:
    """Is precision, from one cutoff to the next, as high near the top as below it?"""
    bad, cutoffs = [], sorted(columns)
    for row in table.rows:
        values = [table.cell(row, columns[k]) for k in cutoffs]
        sums = [k * value for k, value in zip(cutoffs, values, strict=True)]
        parts = [sums[0]] + [(sums[i] - sums[i - 1]) / (cutoffs[i] - cutoffs[i - 1]) for i in range(1, len(cutoffs))]
        if any(b > a + 2 * table.half_unit for a, b in zip(parts, parts[1:], strict=False)):
            shown = (
                f"ranks {a + 1}-{b}: {part:.1f} %" for a, b, part in zip([0, *cutoffs], cutoffs, parts, strict=False)
            )
            bad.append(f"{row}: {', '.join(shown)}".replace("ranks 1-1:", "rank 1:"))
    question = "lower ranks are not right more often than higher ones, which precision at k of a ranker would say"
    return question, not bad, bad
