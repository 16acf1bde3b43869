"""Whether the numbers of a published table can be: sums, differences, k of n, and what one metric says of another.

Printed values are rounded, so every check allows what rounding can do. A check that fails says that a printed number
and a stated rule do not go together; it does not say which of the two is wrong. All checks are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass

from phenolip.eval.published import arithmetic, claims
from phenolip.eval.published.tables import Outcome, PublishedTable


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check of one table found.

    Attributes:
        table: Name of the table.
        check: Kind of the check.
        question: What was asked, with the paper's words where it says so.
        closes: Whether every number agrees.
        details: Each number that does not agree, or what the agreement rests on.
    """

    table: str
    check: str
    question: str
    closes: bool
    details: tuple[str, ...] = ()


def run_checks(table: PublishedTable) -> list[Finding]:
    """All checks that the table's file asks for, in their order."""
    findings = []
    for check in table.checks:
        options = {key: value for key, value in check.items() if key != "kind"}
        question, closes, details = CHECKS[check["kind"]](table, **options)
        findings.append(Finding(table.name, check["kind"], question, closes, tuple(details)))
    return findings


CHECKS: dict[str, Callable[..., Outcome]] = {
    check.__name__: check
    for check in (
        *(claims.mean, claims.difference, claims.highest, claims.beats, claims.above),
        *(claims.at_most, claims.same_row, claims.same_words),
        *(arithmetic.ordered, arithmetic.k_of_n, arithmetic.harmonic),
        *(arithmetic.share_of_positives, arithmetic.precision_by_rank),
    )
}
