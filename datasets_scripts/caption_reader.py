"""What the rows of a source lack and their captions say: phenotypes, as a linker names them, and findings."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from phenolip.datasets_scripts.sources import RawRow

#: A caption -> ids of the phenotypes that it names, such as those that `PhenotypeLinker.link` finds present.
NamePhenotypes = Callable[[str], Iterable[str]]
#: A caption -> its findings in the form of ``features.FINDINGS``, such as those of `RuleExtractor.extract`.
FindFindings = Callable[[str], Iterable[dict[str, str | None]]]


@dataclass(frozen=True)
class CaptionReader:
    """Completes rows from their captions. What is None here stays as it is, and so does what a row has itself.

    Attributes:
        phenotypes: Asked for the labels of rows that have none.
        findings: Asked for the findings of rows that have none.
    """

    phenotypes: NamePhenotypes | None = None
    findings: FindFindings | None = None

    def complete(self, row: RawRow) -> RawRow:
        """The row with what its caption adds; a row that cannot be used is not read."""
        if row.problem:
            return row
        if self.phenotypes is not None and not row.labels:
            row = replace(row, labels=tuple((None, hpo_id) for hpo_id in self.phenotypes(row.caption)))
        if self.findings is not None and not row.findings:
            row = replace(row, findings=tuple(self.findings(row.caption)))
        return row


#: Leaves every row as it is.
READS_NOTHING = CaptionReader()
