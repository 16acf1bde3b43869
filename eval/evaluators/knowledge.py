"""What a text encoder knows of the ontology: names from synonyms and definitions, and similarity of terms."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenolip.eval.evaluators.base import MetricValue, SupportsEncoding, ranking_metrics
from phenolip.eval.metrics.association import auroc, spearman
from phenolip.eval.metrics.bootstrap import mean_intervals
from phenolip.eval.metrics.ranking import rank_candidates
from phenolip.eval.per_query import Queries, unique_ids
from phenolip.exceptions import ConfigurationError
from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology
from phenolip.ontology.similarity import lin_similarities
from phenolip.ontology.text import held_out_synonyms

KS = (1, 5, 10)
BREAKDOWN_KS = (1, 10)
SAYS_SOMETHING = re.compile(r"\b(?!(?:a|an|any|the)\b)\w", re.IGNORECASE)  # a word other than an article
MAX_ATTEMPTS_PER_PAIR = 1000


class KnowledgeEvaluator:
    """Retrieval of term names by held-out synonyms and by definitions, and agreement of cosine with the graph.

    Candidates are the names of all terms under HP:0000118 with the root. Queries are the held-out EXACT synonyms
    (protocol of record, `held_out_synonyms`), those of them marked layperson, and definitions out of which the term's
    name is taken (`without_name`), since some of them hold the answer. Agreement is Spearman's correlation of the
    cosine of two names with Lin's similarity, over pairs that share an ancestor below the root (`related_pairs`) and
    over uniform pairs, and the probability that an is_a edge has a larger cosine than a uniform pair. Names are
    encoded once. An encoder may return sparse arrays, as a bag of words does.

    With ``num_names`` the evaluator is a smaller task of its own: candidates, queries, pairs and edges are restricted
    to a seeded sample of terms, half of which (or all there are) have a held-out synonym, so that a small sample still
    asks many questions. Fewer candidates are easier: never compare across values of ``num_names``.

    Args:
        ontology: The ontology whose terms are asked for.
        num_names: Terms in the sample; None takes all.
        num_definitions: Definitions asked, drawn with ``seed``; None asks all. One that is empty without the name, but
            for an article, is never asked.
        num_pairs: Pairs of each kind for the correlations.
        seed: Seed of every draw; 0 is the protocol of record.

    Raises:
        ConfigurationError: The terms have no held-out synonym, or hardly any relatives.
    """

    primary_metric = "synonym_to_name_hit_at_1"
    greater_is_better = True

    def __init__(
        self,
        ontology: PhenotypeOntology,
        *,
        num_names: int | None = None,
        num_definitions: int | None = 2000,
        num_pairs: int = 20_000,
        seed: int = 0,
    ) -> None:
        self.ontology = ontology
        held_out = held_out_synonyms(ontology)
        self.term_ids = sample_terms(ontology, {synonym.hpo_id for synonym in held_out}, num_names, seed)
        rows = {hpo_id: row for row, hpo_id in enumerate(self.term_ids)}
        self.names = [ontology[hpo_id].name for hpo_id in self.term_ids]
        held_out = [synonym for synonym in held_out if synonym.hpo_id in rows]
        if not held_out:
            raise ConfigurationError(f"HPO release {ontology.release} has no held-out synonym: nothing can be asked.")
        self.synonyms = [(synonym.text, rows[synonym.hpo_id]) for synonym in held_out]
        self.layperson_synonyms = [(s.text, rows[s.hpo_id]) for s in held_out if s.layperson]
        self.definitions = self._definitions(num_definitions, seed)
        synonym_ids = unique_ids(f"{synonym.hpo_id} {synonym.text}" for synonym in held_out)
        lay_ids = tuple(i for i, synonym in zip(synonym_ids, held_out, strict=True) if synonym.layperson)
        self.queries = {
            "synonym_to_name": Queries("synonym", synonym_ids),
            "layperson_to_name": Queries("synonym", lay_ids),  # some of the synonyms, hence drawn with them
            "definition_to_name": Queries("definition", tuple(self.term_ids[row] for _, row in self.definitions)),
        }
        self.related = related_pairs(ontology, self.term_ids, num_pairs, seed)
        self.uniform = uniform_pairs(len(self.term_ids), num_pairs, seed)
        self.edges = np.array(
            [
                (row, rows[parent])
                for row, i in enumerate(self.term_ids)
                for parent in ontology.parents(i)
                if parent in rows
            ]
        ).reshape(-1, 2)

    def _definitions(self, num_definitions: int | None, seed: int) -> list[tuple[str, int]]:
        asked = []
        for row, hpo_id in enumerate(self.term_ids):
            definition = self.ontology[hpo_id].definition or ""
            text = without_name(definition, self.names[row])
            if SAYS_SOMETHING.search(text):
                asked.append((text, row))
        if num_definitions is None or num_definitions >= len(asked):
            return asked
        chosen = np.random.default_rng(seed).choice(len(asked), size=num_definitions, replace=False)
        return [asked[index] for index in sorted(chosen)]

    @property
    def num_definitions_with_name(self) -> int:
        """How many of the definitions asked held the term's name before it was taken out."""
        return sum(text != self.ontology[self.term_ids[row]].definition for text, row in self.definitions)

    def __call__(self, encoder: SupportsEncoding) -> dict[str, MetricValue]:
        """Hit rates ``{synonym,layperson,definition}_to_name_hit_at_{1,5,10}`` and agreement with the graph.

        Agreement is ``spearman_lin``, ``spearman_lin_uniform`` and ``parent_child_auc``. A kind of query that the
        terms do not offer is left out.
        """
        names = encoder.encode_texts(self.names)
        metrics: dict[str, MetricValue] = {}
        queries = {"synonym": self.synonyms, "layperson": self.layperson_synonyms, "definition": self.definitions}
        texts = list(dict.fromkeys(text for kind in queries.values() for text, _ in kind))
        if texts:
            embeds, places = encoder.encode_texts(texts), {text: place for place, text in enumerate(texts)}
        for kind, items in queries.items():
            if items:
                vectors = embeds[[places[text] for text, _ in items]]
                values = rank_candidates(vectors, names, [np.array([row]) for _, row in items], KS)
                found = ranking_metrics(f"{kind}_to_name", values, KS)
                # one right name a query: recall equals hit
                metrics |= {name: value for name, value in found.items() if "_hit_" in name}
        for name, pairs in (("spearman_lin", self.related), ("spearman_lin_uniform", self.uniform)):
            metrics[name] = self._lin_correlation(names, pairs)
        if len(self.edges):
            value, ci95 = auroc(cosines(names, self.edges), cosines(names, self.uniform))
            metrics["parent_child_auc"] = MetricValue(value, ci95, len(self.edges), 0.5)
        return metrics

    def breakdown(self, metrics: Mapping[str, MetricValue]) -> dict[str, Any]:
        """Hit rates of the synonyms by top-level system and by depth of their term, as JSON values.

        A term counts in each of its systems, the children of HP:0000118, and HP:0000118 itself in none; depth is the
        fewest is_a edges below HP:0000118.

        Args:
            metrics: What calling the evaluator returned.

        Returns:
            ``by_system`` (most queries first) with ``id`` and ``name``, ``by_depth`` with ``depth``; each entry with
            ``n`` and, for ``hit_at_1`` and ``hit_at_10``, ``value`` and ``ci95``. ``definitions`` says how many were
            asked and out of how many the name was taken.
        """
        hits = np.stack([metrics[f"synonym_to_name_hit_at_{k}"].per_query for k in BREAKDOWN_KS], axis=1)
        by_system, by_depth = defaultdict(list), defaultdict(list)
        for query, (_, row) in enumerate(self.synonyms):
            for system in self.ontology.systems(self.term_ids[row]):
                by_system[system].append(query)
            by_depth[self.ontology.depth(self.term_ids[row])].append(query)
        systems = sorted(by_system, key=lambda system: (-len(by_system[system]), system))
        return {
            "by_system": [
                {"id": system, "name": self.ontology[system].name, **_hit_rates(hits[by_system[system]])}
                for system in systems
            ],
            "by_depth": [{"depth": depth, **_hit_rates(hits[by_depth[depth]])} for depth in sorted(by_depth)],
            "definitions": {"n": len(self.definitions), "name_taken_out": self.num_definitions_with_name},
        }

    def _lin_correlation(self, names: NDArray, pairs: NDArray) -> MetricValue:
        first, second = ([self.term_ids[row] for row in column] for column in pairs.T)
        value, ci95 = spearman(cosines(names, pairs), lin_similarities(self.ontology, first, second))
        return MetricValue(value, ci95, len(pairs), 0.0)


def without_name(definition: str, name: str) -> str:
    """A definition with every mention of the name taken out, in any case, where it stands as whole words.

    Runs of white space become one space. Synonyms, parts of the name and other forms of it, such as a plural, stay:
    they are what a definition is made of.

    Example:
        >>> without_name("A cataract is an opacity of the lens.", "Cataract")
        'A is an opacity of the lens.'
        >>> without_name("Cataracts of both eyes", "Cataract")
        'Cataracts of both eyes'
    """
    words = r"\s+".join(re.escape(word) for word in name.split())
    found = re.sub(rf"(?<!\w){words}(?!\w)", " ", definition, flags=re.IGNORECASE)
    return " ".join(found.split()) if found != definition else definition


def _hit_rates(hits: NDArray) -> dict[str, Any]:
    """Shapes: hits (queries, cutoffs)."""
    rates = {
        f"hit_at_{k}": {"value": float(value), "ci95": [float(bound) for bound in ci95]}
        for k, value, ci95 in zip(BREAKDOWN_KS, hits.mean(axis=0), mean_intervals(hits), strict=True)
    }
    return {"n": len(hits), **rates}


def sample_terms(
    ontology: PhenotypeOntology, with_synonym: set[str], num_names: int | None, seed: int
) -> tuple[str, ...]:
    """All terms, or a seeded sample in id order, half of it from the terms with a held-out synonym where they suffice.

    Raises:
        ConfigurationError: ``num_names`` is below 2.
    """
    term_ids = ontology.term_ids()
    if num_names is None or num_names >= len(term_ids):
        return tuple(term_ids)
    if num_names < 2:
        raise ConfigurationError(f"`num_names` must be at least 2, got {num_names}.")
    rng = np.random.default_rng(seed)
    asked = [hpo_id for hpo_id in term_ids if hpo_id in with_synonym]
    others = [hpo_id for hpo_id in term_ids if hpo_id not in with_synonym]
    num_asked = min(len(asked), max(num_names // 2, num_names - len(others)))
    chosen = [*rng.permutation(asked)[:num_asked], *rng.permutation(others)[: num_names - num_asked]]
    return tuple(sorted(str(hpo_id) for hpo_id in chosen))


def related_pairs(ontology: PhenotypeOntology, term_ids: Sequence[str], num_pairs: int, seed: int) -> NDArray:
    """Pairs that share an ancestor below the root: the pairs of record when ``term_ids`` are all terms and seed is 0.

    The record says: the first term uniform over the terms; one of its ancestors, not itself nor HP:0000118, uniform;
    the second term uniform over that ancestor's descendants or itself, other than the first. It leaves open what
    happens to the root and its children, which have no such ancestor, and how the draws follow one another. Ours: a
    draw that cannot be completed is thrown away and begins anew with its first term; numpy's ``default_rng(seed)``
    gives one integer each for the first term, the ancestor (in id order) and the second term (in id order), pair by
    pair. Lin's similarity takes the most informative common ancestor, which need not be the one drawn. Untrained
    MiniLM has .572 at seed 0 (.566 and .560 at seeds 1 and 2). In a sample of terms the first and second term come
    from the sample, the ancestor from the whole ontology.

    Shapes: returns (num_pairs, 2) rows of ``term_ids``.

    Raises:
        ConfigurationError: Hardly any draw can be completed, as in a sample without relatives.
    """
    inside = set(ontology.term_ids()) - {PHENOTYPIC_ABNORMALITY}
    ancestors = [sorted(inside.intersection(ontology.ancestors(hpo_id))) for hpo_id in term_ids]
    below = defaultdict(list)  # ancestor -> rows of itself and its descendants, in the order of term_ids
    for row, hpo_id in enumerate(term_ids):
        for ancestor in (*ancestors[row], hpo_id):
            below[ancestor].append(row)
    position = {ancestor: {row: place for place, row in enumerate(rows)} for ancestor, rows in below.items()}
    rng = np.random.default_rng(seed)
    pairs: list[tuple[int, int]] = []
    for _ in range(num_pairs * MAX_ATTEMPTS_PER_PAIR):
        if len(pairs) == num_pairs:
            break
        first = int(rng.integers(len(term_ids)))
        if not ancestors[first]:
            continue
        ancestor = ancestors[first][rng.integers(len(ancestors[first]))]
        others = len(below[ancestor]) - 1
        if others:
            place = int(rng.integers(others))
            pairs.append((first, below[ancestor][place + (place >= position[ancestor][first])]))  # skips the first
    if len(pairs) < num_pairs:
        raise ConfigurationError(
            f"Only {len(pairs)} of {num_pairs} related pairs could be drawn from {len(term_ids)} terms: "
            "raise `num_names`."
        )
    return np.array(pairs)


def uniform_pairs(num_terms: int, num_pairs: int, seed: int) -> NDArray:
    """Pairs of two different terms, uniform. Shapes: returns (num_pairs, 2) rows."""
    rng = np.random.default_rng(seed)
    first = rng.integers(num_terms, size=num_pairs)
    second = rng.integers(num_terms - 1, size=num_pairs)
    return np.stack([first, second + (second >= first)], axis=1)


def cosines(embeds: Any, pairs: NDArray) -> NDArray:
    """Inner product of each pair of rows. Shapes: embeds (N, D), unit norm, may be CSR; pairs (P, 2); returns (P,)."""
    first, second = embeds[pairs[:, 0]], embeds[pairs[:, 1]]
    if hasattr(embeds, "tocsr"):
        return np.asarray(first.multiply(second).sum(axis=1)).ravel()
    return np.einsum("nd,nd->n", first, second)
