"""PhenotypeOntology: the terms of one release and the questions that its is_a graph answers.

Terms are numbered by their place among the sorted ids (their *row*). The transitive closure is kept as flat integer
arrays, computed on first use, so that loading stays fast and the similarity functions can work without Python loops.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from phenolip.exceptions import OntologyError, UnknownTermError
from phenolip.ontology.term import ObsoleteTerm, PhenotypeTerm

PHENOTYPIC_ABNORMALITY = "HP:0000118"
TERM_ID = re.compile(r"HP:\d{7}")


@dataclass(frozen=True, slots=True)
class Closure:
    """For every row, the rows that a transitive relation reaches, itself included: a ragged array in two flat ones.

    Attributes:
        offsets: (num_terms + 1,), where the members of each row begin.
        members: (num_pairs,), ascending within a row.
    """

    offsets: np.ndarray
    members: np.ndarray

    def of(self, row: int) -> np.ndarray:
        """The members of one row."""
        return self.members[self.offsets[row] : self.offsets[row + 1]]

    def expand(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The members of many rows, end to end, and for each the position in `rows` that it belongs to."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        owners = np.repeat(np.arange(len(rows)), lengths)
        first = np.cumsum(lengths) - lengths  # where each row's run begins in the result
        return owners, self.members[np.arange(len(owners)) - first[owners] + starts[owners]]

    def reversed(self) -> "Closure":
        """The closure of the opposite relation: descendants from ancestors."""
        num_terms = len(self.offsets) - 1
        sources = np.repeat(np.arange(num_terms), np.diff(self.offsets))
        order = np.argsort(self.members, kind="stable")
        counts = np.bincount(self.members, minlength=num_terms)
        return Closure(np.concatenate(([0], np.cumsum(counts))), sources[order])


class PhenotypeOntology:
    """The current terms of one release and their is_a graph.

    Wherever an id is asked for, an alternative id, or an obsolete one that the release replaces, means its current
    term. Ids come back sorted, so that a seeded choice among them is the same on every machine.

    Args:
        terms: The current terms, in any order.
        obsolete: The retired terms.
        release: Date or version of the release, such as "2025-01-16".
        sha256: Hash of the file that the terms were read from.
        source: Name of that file.

    Raises:
        OntologyError: If two terms share an id, a parent is missing, is_a has a cycle, or HP:0000118 is absent.

    Example:
        >>> from phenolip.ontology import PhenotypeTerm
        >>> eye = PhenotypeTerm("HP:0000478", "Abnormality of the eye", parents=("HP:0000118",))
        >>> ontology = PhenotypeOntology([PhenotypeTerm("HP:0000118", "Abnormality"), eye], release="2000-01-01")
        >>> ontology.children("HP:0000118")
        ('HP:0000478',)
    """

    def __init__(
        self,
        terms: Iterable[PhenotypeTerm],
        *,
        obsolete: Iterable[ObsoleteTerm] = (),
        release: str,
        sha256: str = "",
        source: str = "",
    ) -> None:
        self.release = release
        self.sha256 = sha256
        self.source = source
        self._terms = sorted(terms, key=lambda term: term.id)
        self._ids = [term.id for term in self._terms]
        self._rows = {term_id: row for row, term_id in enumerate(self._ids)}
        self.obsolete = {term.id: term for term in sorted(obsolete, key=lambda term: term.id)}
        if len(self._rows) < len(self._ids):
            twice = next(a for a, b in zip(self._ids, self._ids[1:], strict=False) if a == b)
            raise OntologyError(f"{self._where} defines the term {twice} twice; each id may name one term only.")
        self._parents = [self._parent_rows(term) for term in self._terms]
        self._children: list[list[int]] = [[] for _ in self._ids]
        for row, parents in enumerate(self._parents):
            for parent in parents:
                self._children[parent].append(row)
        self._order = self._parents_first()
        if PHENOTYPIC_ABNORMALITY not in self._rows:
            raise OntologyError(
                f"{self._where} has no term {PHENOTYPIC_ABNORMALITY} (Phenotypic abnormality), the root of all "
                "phenotypes: give an HPO release, hp.obo or hp.json."
            )
        self._aliases = {old: term.id for term in self._terms for old in term.alt_ids}
        self._aliases |= {old: term.replaced_by[0] for old, term in self.obsolete.items() if term.replaced_by}

    def __repr__(self) -> str:
        return f"PhenotypeOntology({len(self):,} terms, release {self.release!r}, source {self.source!r})"

    def __len__(self) -> int:
        """Number of current terms, modifiers and inheritance modes included."""
        return len(self._ids)

    def __iter__(self) -> Iterator[str]:
        """Ids of the current terms, sorted."""
        return iter(self._ids)

    def __contains__(self, term_id: object) -> bool:
        return isinstance(term_id, str) and self._current(term_id) is not None

    def __getitem__(self, term_id: str) -> PhenotypeTerm:
        return self._terms[self.row(term_id)]

    def resolve(self, term_id: str) -> str:
        """The current id that an id means today.

        What an obsolete term says of its replacement comes before what a current term claims as an alternative id
        (HPO 2025-01-16 contradicts itself so twice); one that several terms replace stands for the first of them.

        Raises:
            UnknownTermError: If the id is in no current, alternative or replaced term.
        """
        current = self._current(term_id)
        if current is None:
            raise UnknownTermError(self._why_unknown(term_id))
        return current

    def find(self, text: str) -> str | None:
        """Id of the term with this name or, failing that, this EXACT synonym; case and spacing do not matter."""
        return self._by_text.get(_fold(text))

    def row(self, term_id: str) -> int:
        """Place of a term among the sorted ids."""
        row = self._rows.get(term_id)
        return self._rows[self.resolve(term_id)] if row is None else row

    def rows(self, term_ids: Iterable[str]) -> np.ndarray:
        """Places of terms among the sorted ids, (n,) int64."""
        return np.fromiter((self.row(term_id) for term_id in term_ids), dtype=np.int64)

    def parents(self, term_id: str) -> tuple[str, ...]:
        """Ids of the terms that this one is_a."""
        return self._named(self._parents[self.row(term_id)])

    def children(self, term_id: str) -> tuple[str, ...]:
        """Ids of the terms that are directly below this one."""
        return self._named(self._children[self.row(term_id)])

    def ancestors(self, term_id: str, include_self: bool = False) -> tuple[str, ...]:
        """Ids of all terms above this one, up to the root of the release."""
        return self._reached(self.ancestor_closure, term_id, include_self)

    def descendants(self, term_id: str, include_self: bool = False) -> tuple[str, ...]:
        """Ids of all terms below this one."""
        return self._reached(self.descendant_closure, term_id, include_self)

    def leaves(self, root: str = PHENOTYPIC_ABNORMALITY) -> tuple[str, ...]:
        """Ids of the terms at or below `root` that have no children."""
        return self._named(row for row in self.descendant_closure.of(self.row(root)) if not self._children[row])

    def term_ids(self, root: str = PHENOTYPIC_ABNORMALITY) -> tuple[str, ...]:
        """Ids of `root` and of all terms below it."""
        return self.descendants(root, include_self=True)

    def is_phenotype(self, term_id: str) -> bool:
        """Whether the term is HP:0000118 or below it, and not, say, a mode of inheritance."""
        return bool(self.phenotype_mask[self.row(term_id)])

    def depth(self, term_id: str) -> int:
        """Fewest is_a edges between HP:0000118 and the term.

        Raises:
            OntologyError: If the term is not at or below HP:0000118.
        """
        return int(self._depths[self._phenotype_row(term_id)])

    def information_content(self, term_id: str) -> float:
        """How specific a term is, in nats: -ln of the share of all phenotypes that are at or below it.

        IC(t) = -ln(|descendants or self of t| / |descendants or self of HP:0000118|). It counts terms, not annotations
        in a corpus; Seco, Veale and Hayes 2004 (ECAI) give the same, divided by the logarithm of the number of terms.

        Raises:
            OntologyError: If the term is not at or below HP:0000118.
        """
        return float(self.information[self._phenotype_row(term_id)])

    def lca(self, term_a: str, term_b: str) -> str:
        """The lowest common ancestor; either term can be it.

        In a graph with several parents a term there may be several lowest ones: this is the one with the fewest
        descendants, hence the most informative one, and the first by id among equals. Phenotypes meet in a
        phenotype, even where both have another ancestor outside HP:0000118.

        Raises:
            OntologyError: If no term is above both.
        """
        row_a, row_b = self.row(term_a), self.row(term_b)
        shared = np.intersect1d(self.ancestor_closure.of(row_a), self.ancestor_closure.of(row_b), assume_unique=True)
        if self.phenotype_mask[row_a] and self.phenotype_mask[row_b]:
            shared = shared[self.phenotype_mask[shared]]
        if not len(shared):
            raise OntologyError(f"{term_a} and {term_b} have no common ancestor in {self._where}.")
        num_descendants = np.diff(self.descendant_closure.offsets)[shared]
        return self._ids[shared[np.argmin(num_descendants)]]

    def systems(self, term_id: str) -> tuple[str, ...]:
        """Ids of the children of HP:0000118, such as "Abnormality of the eye", that are the term or above it."""
        above = set(self.ancestor_closure.of(self.row(term_id)).tolist())
        return self._named(row for row in self._children[self._rows[PHENOTYPIC_ABNORMALITY]] if row in above)

    @cached_property
    def ancestor_closure(self) -> Closure:
        """For every row, the rows of its ancestors and its own."""
        above: list[set[int]] = [set() for _ in self._ids]
        for row in self._order:
            above[row] = {row}.union(*(above[parent] for parent in self._parents[row]))
        lengths = np.fromiter(map(len, above), dtype=np.int64, count=len(above))
        members = np.fromiter(chain.from_iterable(map(sorted, above)), dtype=np.int64, count=int(lengths.sum()))
        return Closure(np.concatenate(([0], np.cumsum(lengths))), members)

    @cached_property
    def descendant_closure(self) -> Closure:
        """For every row, the rows of its descendants and its own."""
        return self.ancestor_closure.reversed()

    @cached_property
    def phenotype_mask(self) -> np.ndarray:
        """For every row, whether it is HP:0000118 or below it, (num_terms,) bool."""
        mask = np.zeros(len(self), dtype=bool)
        mask[self.descendant_closure.of(self._rows[PHENOTYPIC_ABNORMALITY])] = True
        return mask

    @cached_property
    def information(self) -> np.ndarray:
        """Information content of every row in nats, (num_terms,) float64; NaN outside HP:0000118."""
        num_below = np.diff(self.descendant_closure.offsets)
        content = np.log(num_below[self._rows[PHENOTYPIC_ABNORMALITY]] / num_below)
        return np.where(self.phenotype_mask, content, np.nan)

    @cached_property
    def _depths(self) -> np.ndarray:
        depths = np.full(len(self), -1, dtype=np.int64)
        level, depth = [self._rows[PHENOTYPIC_ABNORMALITY]], 0
        while level:
            depths[level] = depth
            depth += 1
            level = [row for row in {child for row in level for child in self._children[row]} if depths[row] < 0]
        return depths

    @cached_property
    def _by_text(self) -> dict[str, str]:
        names = {_fold(term.name): term.id for term in reversed(self._terms)}
        exact = {
            _fold(synonym.text): term.id
            for term in reversed(self._terms)  # the first id wins where two terms share a wording
            for synonym in term.synonyms
            if synonym.scope == "EXACT"
        }
        return exact | names

    @property
    def _where(self) -> str:
        return f"{self.source or 'The ontology'} (release {self.release})"

    def _parent_rows(self, term: PhenotypeTerm) -> list[int]:
        try:
            return [self._rows[parent] for parent in term.parents]
        except KeyError as error:
            raise OntologyError(
                f"{self._where}: {term.id} has the parent {error.args[0]}, which is no current term of the file; it "
                "may be truncated: download the release again."
            ) from None

    def _parents_first(self) -> list[int]:
        """Rows in an order where parents precede children; a cycle leaves rows over."""
        waiting = [len(parents) for parents in self._parents]
        order = [row for row, count in enumerate(waiting) if count == 0]
        for row in order:  # grows while it is walked
            for child in self._children[row]:
                waiting[child] -= 1
                if waiting[child] == 0:
                    order.append(child)
        if len(order) < len(self._ids):
            left = next(row for row, count in enumerate(waiting) if count)
            raise OntologyError(f"{self._where}: is_a has a cycle at or above {self._ids[left]}; it must have none.")
        return order

    def _current(self, term_id: str) -> str | None:
        seen = set()
        while term_id not in self._rows:
            if term_id in seen:  # replacements that point at each other
                return None
            seen.add(term_id)
            if term_id not in self._aliases:
                return None
            term_id = self._aliases[term_id]
        return term_id

    def _why_unknown(self, term_id: str) -> str:
        release = f"HPO release {self.release}"
        if term_id in self.obsolete:
            consider = self.obsolete[term_id].consider
            remedy = f"consider {' or '.join(consider)}" if consider else "choose a current term"
            return f"{term_id} is obsolete in {release} and no current term replaces it: {remedy}."
        if (named := self.find(str(term_id))) is not None:
            return f"An id is asked for, such as {named}, got its name {term_id!r}."
        if not TERM_ID.fullmatch(str(term_id)):
            return f"An id must be 'HP:' plus seven digits and in {release}, got {term_id!r}."
        return f"{term_id} is not in {release}: correct the id, or load the release that holds it."

    def _phenotype_row(self, term_id: str) -> int:
        row = self.row(term_id)
        if not self.phenotype_mask[row]:
            raise OntologyError(
                f"A term must be at or below {PHENOTYPIC_ABNORMALITY} to have a depth and an information content, got "
                f"{term_id} ({self._terms[row].name})."
            )
        return row

    def _reached(self, closure: Closure, term_id: str, include_self: bool) -> tuple[str, ...]:
        row = self.row(term_id)
        return self._named(other for other in closure.of(row).tolist() if include_self or other != row)

    def _named(self, rows: Iterable[int]) -> tuple[str, ...]:
        return tuple(self._ids[row] for row in rows)


def _fold(text: str) -> str:
    return " ".join(text.split()).casefold()
