"""Terms that a model must not have met in training: with their descendants, and every mention of either in a text."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.name_search import NameSearch


@dataclass(frozen=True)
class HeldOutTerms:
    """Held-out terms of a release.

    Attributes:
        ontology: The release.
        hpo_ids: The terms, under their current ids; none of them is above another.
        closure: Their ids and those of all their descendants.

    Raises:
        ConfigurationError: There is none, one is no phenotype, or one is above another.
    """

    ontology: PhenotypeOntology
    hpo_ids: tuple[str, ...]
    closure: frozenset[str] = field(init=False)
    _search: NameSearch = field(init=False, repr=False)

    def __post_init__(self) -> None:
        current = tuple(dict.fromkeys(self.ontology.resolve(hpo_id) for hpo_id in self.hpo_ids))
        if not current:
            raise ConfigurationError("`held_out` must name at least one term, got none.")
        for hpo_id in current:
            if not self.ontology.is_phenotype(hpo_id):
                raise ConfigurationError(f"`held_out` must hold terms under HP:0000118, got {hpo_id}.")
            if above := set(self.ontology.ancestors(hpo_id)) & set(current):
                raise ConfigurationError(f"`held_out` must not hold {hpo_id} beside its ancestor {min(above)}.")
        below = (self.ontology.descendants(hpo_id, include_self=True) for hpo_id in current)
        object.__setattr__(self, "hpo_ids", current)
        object.__setattr__(self, "closure", frozenset(one for ids in below for one in ids))
        object.__setattr__(self, "_search", NameSearch(self.ontology, sorted(self.closure)))

    def shown(self, labels: Iterable[str]) -> tuple[str, ...]:
        """The held-out terms that labels make true, by the true-path rule: the term itself or one below it."""
        closed = {self.ontology.resolve(label) for label in labels}
        closed |= {ancestor for label in closed for ancestor in self.ontology.ancestors(label)}
        return tuple(hpo_id for hpo_id in self.hpo_ids if hpo_id in closed)

    def mentioned(self, text: str) -> tuple[str, ...]:
        """Held-out terms and their descendants whose name or synonym stands in a text, denied or not."""
        return self._search.find(text)


def draw_held_out(
    ontology: PhenotypeOntology,
    labels: Sequence[Sequence[str]],
    num_terms: int,
    *,
    min_rows: int = 5,
    max_rows: int = 30,
    seed: int = 0,
) -> tuple[str, ...]:
    """Terms to hold out, drawn by hash among the labels of a data set; none above or below another.

    Args:
        ontology: The release.
        labels: Ids of each row.
        num_terms: How many.
        min_rows: Fewest rows that show a term or one below it, to be measured on.
        max_rows: Most such rows, so that training keeps its commonest terms.
        seed: Which of the possible draws.

    Raises:
        DataError: The data has too few such terms.
    """
    if num_terms < 1:
        raise ConfigurationError(f"`hold_out` must be at least 1 term, got {num_terms}.")
    counts: dict[str, int] = {}
    named = {ontology.resolve(label) for row in labels for label in row}
    for row in labels:
        current = {ontology.resolve(label) for label in row}
        for hpo_id in current | {above for label in current for above in ontology.ancestors(label)}:
            counts[hpo_id] = counts.get(hpo_id, 0) + 1
    usable = [hpo_id for hpo_id in named if ontology.is_phenotype(hpo_id) and min_rows <= counts[hpo_id] <= max_rows]
    chosen: list[str] = []
    for hpo_id in sorted(usable, key=lambda one: hashlib.sha256(f"{seed}\t{one}".encode()).hexdigest()):
        related = {*ontology.ancestors(hpo_id), *ontology.descendants(hpo_id)}
        if related.isdisjoint(chosen):
            chosen.append(hpo_id)
        if len(chosen) == num_terms:
            return tuple(sorted(chosen))
    raise DataError(
        f"`hold_out` asks for {num_terms} terms that {min_rows} to {max_rows} rows show; the data has {len(chosen)}."
    )
