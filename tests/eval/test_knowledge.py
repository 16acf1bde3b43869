"""Knowledge evaluator on an ontology of forty terms whose answers are known."""

import numpy as np
import pytest

from phenolip.eval.evaluators.knowledge import (
    KnowledgeEvaluator,
    cosines,
    related_pairs,
    sample_terms,
    uniform_pairs,
    without_name,
)
from phenolip.exceptions import ConfigurationError
from phenolip.ontology import PhenotypeOntology, PhenotypeTerm, Synonym, lin_similarities
from phenolip.ontology.text import held_out_synonyms, is_held_out

ROOT = "HP:0000118"
BRANCHES = ("HP:0000010", "HP:0000020", "HP:0000030")


def held_out_text(hpo_id):
    """A synonym that the protocol holds out."""
    return next(text for text in (f"alias {n} of {hpo_id}" for n in range(500)) if is_held_out(hpo_id, text))


@pytest.fixture(scope="module")
def ontology():
    terms = [PhenotypeTerm("HP:0000001", "All"), PhenotypeTerm(ROOT, "Root", parents=("HP:0000001",))]
    terms += [PhenotypeTerm(branch, f"Branch {branch}", parents=(ROOT,)) for branch in BRANCHES]
    for number in range(36):
        hpo_id = f"HP:00002{number:02d}"
        kind = "layperson" if number % 4 == 0 else None
        synonyms = (Synonym(held_out_text(hpo_id), "EXACT", kind),) if number % 2 == 0 else ()
        definition = f"Definition {number}" if number % 3 else None
        terms.append(
            PhenotypeTerm(
                hpo_id, f"Term {number}", definition=definition, synonyms=synonyms, parents=(BRANCHES[number % 3],)
            )
        )
    return PhenotypeOntology(terms, release="2000-01-01")


class Oracle:
    """Gives a term's name, synonyms and definition the vector of its branch plus a little of its own."""

    def __init__(self, ontology):
        self.vectors = {}
        for row, hpo_id in enumerate(ontology.term_ids()):
            vector = np.zeros(64, np.float32)
            for ancestor in ontology.ancestors(hpo_id, include_self=True):
                vector[int(ancestor[3:]) % 23] = 1
            vector[23 + row] = 1
            term = ontology[hpo_id]
            for text in (term.name, term.definition, *(synonym.text for synonym in term.synonyms)):
                self.vectors[text] = vector / np.linalg.norm(vector)

    def encode_texts(self, texts):
        return np.stack([self.vectors[text] for text in texts])


def test_an_encoder_that_knows_all_scores_one(ontology):
    metrics = KnowledgeEvaluator(ontology, num_pairs=500)(Oracle(ontology))
    assert metrics["synonym_to_name_hit_at_1"].value == 1.0 and metrics["synonym_to_name_hit_at_1"].n == 18
    assert metrics["layperson_to_name_hit_at_10"].n == 9
    assert metrics["definition_to_name_hit_at_1"].value == 1.0 and metrics["definition_to_name_hit_at_1"].n == 24
    assert metrics["synonym_to_name_hit_at_10"].chance == pytest.approx(10 / 40)
    assert metrics["spearman_lin_uniform"].value > 0.7
    assert metrics["parent_child_auc"].value > 0.9
    assert KnowledgeEvaluator.primary_metric in metrics
    assert not any("recall" in name for name in metrics)


def test_an_encoder_that_knows_nothing_is_near_chance(ontology, helpers):
    metrics = KnowledgeEvaluator(ontology, num_pairs=500)(helpers.HashEncoder(64))
    assert metrics["synonym_to_name_hit_at_1"].value < 0.2
    assert abs(metrics["spearman_lin_uniform"].value) < 0.3
    assert 0.2 < metrics["parent_child_auc"].value < 0.8


def test_related_pairs_follow_the_record(ontology):
    term_ids = ontology.term_ids()
    pairs = related_pairs(ontology, term_ids, 4000, 0)
    np.testing.assert_array_equal(pairs, related_pairs(ontology, term_ids, 4000, 0))
    inside = set(term_ids) - {ROOT}
    for first, second in {(term_ids[a], term_ids[b]) for a, b in pairs}:
        assert first != second
        ancestors = set(ontology.ancestors(first)) & inside
        assert ancestors & set(ontology.ancestors(second, include_self=True))
    # leaves alone have an ancestor below the root: each is first equally often, and its partner is uniform
    first, counts = np.unique(pairs[:, 0], return_counts=True)
    assert len(first) == 36 and counts.min() > 0.5 * 4000 / 36
    is_branch = np.isin(pairs[:, 1], [term_ids.index(branch) for branch in BRANCHES])
    assert is_branch.mean() == pytest.approx(1 / 12, abs=0.02)  # 11 other leaves and the branch itself


def test_uniform_pairs_cover_all_ordered_pairs_of_two():
    pairs = uniform_pairs(4, 4000, 0)
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(counts) == 12 and counts.min() > 250
    assert (pairs[:, 0] != pairs[:, 1]).all()


def test_a_sample_restricts_names_queries_and_pairs(ontology):
    evaluator = KnowledgeEvaluator(ontology, num_names=12, num_pairs=100)
    assert len(evaluator.term_ids) == len(evaluator.names) == 12
    assert len(evaluator.synonyms) == 6  # half of the sample has a held-out synonym
    assert all(ontology[evaluator.term_ids[row]].synonyms[0].text == text for text, row in evaluator.synonyms)
    assert evaluator.related.max() < 12 and evaluator.uniform.max() < 12
    assert evaluator(Oracle(ontology))["synonym_to_name_hit_at_1"].value == 1.0


@pytest.mark.parametrize("num_names", [2, 5, 30, 39])
def test_a_sample_is_seeded_and_of_the_size_asked(ontology, num_names):
    with_synonym = {synonym.hpo_id for synonym in held_out_synonyms(ontology)}
    sample = sample_terms(ontology, with_synonym, num_names, 0)
    assert len(set(sample)) == num_names and list(sample) == sorted(sample)
    assert sample == sample_terms(ontology, with_synonym, num_names, 0)
    assert sample != sample_terms(ontology, with_synonym, num_names, 1)


def test_definitions_are_sampled_or_all(ontology):
    assert len(KnowledgeEvaluator(ontology, num_definitions=None, num_pairs=10).definitions) == 24
    assert len(KnowledgeEvaluator(ontology, num_definitions=7, num_pairs=10).definitions) == 7


def test_names_are_encoded_once(ontology, helpers):
    encoder = helpers.HashEncoder()
    KnowledgeEvaluator(ontology, num_pairs=50)(encoder)
    assert encoder.num_texts == 40 + 18 + 24


def test_correlation_equals_its_parts(ontology):
    stats = pytest.importorskip("scipy.stats")
    evaluator, oracle = KnowledgeEvaluator(ontology, num_pairs=300), Oracle(ontology)
    names = oracle.encode_texts(evaluator.names)
    a, b = evaluator.related.T
    lin = lin_similarities(ontology, [evaluator.term_ids[i] for i in a], [evaluator.term_ids[i] for i in b])
    cosine = [float(names[i] @ names[j]) for i, j in evaluator.related]
    value = evaluator(oracle)["spearman_lin"].value
    assert value == pytest.approx(stats.spearmanr(np.round(cosine, 6), np.round(lin, 9)).statistic, abs=0.02)


def test_a_release_without_synonyms_cannot_be_asked():
    bare = PhenotypeOntology([PhenotypeTerm(ROOT, "Root")], release="2000-01-01")
    with pytest.raises(ConfigurationError, match="2000-01-01 has no held-out synonym"):
        KnowledgeEvaluator(bare)


def test_too_small_a_sample_is_named(ontology):
    with pytest.raises(ConfigurationError, match="`num_names` must be at least 2, got 1"):
        KnowledgeEvaluator(ontology, num_names=1)
    with pytest.raises(ConfigurationError, match="raise `num_names`"):
        related_pairs(ontology, ["HP:0000201", "HP:0000202"], 1, 0)


@pytest.mark.parametrize(
    ("definition", "name", "expected"),
    [
        ("A cataract is an opacity.", "Cataract", "A is an opacity."),
        ("CATARACT, bilateral cataract", "Cataract", ", bilateral"),
        ("Short\n palm, also short  palms", "Short palm", ", also short palms"),  # any white space; a plural stays
        ("Subcataract and cataract-like", "Cataract", "Subcataract and -like"),
        ("Fused (2-3) toes (2-3)", "toes (2-3)", "Fused (2-3)"),  # no letter of a name is a pattern
        ("C++ and c++", "C++", "and"),
        ("No mention  of it", "Cataract", "No mention  of it"),
        ("Tremor", "Tremor", ""),
        ("", "Tremor", ""),
    ],
)
def test_the_name_is_taken_out_of_a_definition(definition, name, expected):
    assert without_name(definition, name) == expected


def test_definitions_are_asked_without_the_name_and_empty_ones_not_at_all():
    definitions = ["Any lens cataract.", "An EAR TAG.", "Cleft of the lip.", "The "]
    names = ["Cataract", "Ear tag", "Harelip", "Nothing said"]
    terms = [PhenotypeTerm(ROOT, "Root")]
    for number, (name, definition) in enumerate(zip(names, definitions, strict=True)):
        hpo_id = f"HP:00002{number:02d}"
        synonyms = (Synonym(held_out_text(hpo_id), "EXACT", None),)
        terms.append(PhenotypeTerm(hpo_id, name, definition=definition, synonyms=synonyms, parents=(BRANCHES[0],)))
    terms.append(PhenotypeTerm(BRANCHES[0], "Branch", parents=(ROOT,)))
    evaluator = KnowledgeEvaluator(PhenotypeOntology(terms, release="2000-01-01"), num_pairs=10)
    asked = {evaluator.term_ids[row]: text for text, row in evaluator.definitions}
    assert asked == {"HP:0000200": "Any lens .", "HP:0000202": "Cleft of the lip."}
    assert evaluator.num_definitions_with_name == 1
    assert evaluator.queries["definition_to_name"].ids == tuple(asked)


def test_breakdown_equals_an_explicit_loop(ontology, helpers):
    synonym = Synonym(held_out_text("HP:0000300"), "EXACT", None)
    parents = ("HP:0000200", BRANCHES[1])
    second = PhenotypeTerm("HP:0000300", "Two systems", synonyms=(synonym,), parents=parents)
    ontology = PhenotypeOntology([*(ontology[i] for i in ontology), second], release="2000-01-01")
    evaluator = KnowledgeEvaluator(ontology, num_pairs=50)
    metrics = evaluator(helpers.HashEncoder(64))
    found = evaluator.breakdown(metrics)
    hits = metrics["synonym_to_name_hit_at_10"].per_query
    for entry in found["by_system"]:
        expected = []
        for value, (_, row) in zip(hits, evaluator.synonyms, strict=True):
            if entry["id"] in ontology.ancestors(evaluator.term_ids[row], include_self=True):
                expected.append(value)
        assert entry["n"] == len(expected) and entry["hit_at_10"]["value"] == pytest.approx(np.mean(expected))
        assert entry["name"] == f"Branch {entry['id']}"
        lower, upper = entry["hit_at_10"]["ci95"]
        assert lower <= entry["hit_at_10"]["value"] <= upper
    assert [entry["n"] for entry in found["by_system"]] == [7, 7, 6]  # one synonym counts in two systems
    assert [(entry["depth"], entry["n"]) for entry in found["by_depth"]] == [(2, 19)]
    assert found["definitions"] == {"n": 24, "name_taken_out": 0}


def test_queries_are_as_many_as_values_and_lay_ones_are_synonyms(ontology, helpers):
    evaluator = KnowledgeEvaluator(ontology, num_pairs=50)
    metrics = evaluator(helpers.HashEncoder())
    for family, queries in evaluator.queries.items():
        per_query = metrics[f"{family}_hit_at_10"].per_query
        assert len(set(queries.ids)) == len(queries.ids) == len(per_query)
        assert per_query.mean() == pytest.approx(metrics[f"{family}_hit_at_10"].value)
    synonyms, lay = evaluator.queries["synonym_to_name"], evaluator.queries["layperson_to_name"]
    assert set(lay.ids) < set(synonyms.ids) and lay.unit == synonyms.unit
    by_id = dict(zip(synonyms.ids, metrics["synonym_to_name_hit_at_1"].per_query, strict=True))
    assert [by_id[query] for query in lay.ids] == metrics["layperson_to_name_hit_at_1"].per_query.tolist()


def test_sparse_embeddings_give_the_same_metrics(ontology, helpers):
    sparse = pytest.importorskip("scipy.sparse")

    class SparseEncoder(helpers.HashEncoder):
        def encode_texts(self, texts):
            return sparse.csr_array(super().encode_texts(texts))

    evaluator = KnowledgeEvaluator(ontology, num_pairs=200)
    dense, found = evaluator(helpers.HashEncoder()), evaluator(SparseEncoder())
    assert {name: metric.value for name, metric in found.items()} == pytest.approx(
        {name: metric.value for name, metric in dense.items()}, abs=1e-3
    )
    embeds = helpers.HashEncoder().encode_texts(["a", "b", "c"])
    pairs = np.array([[0, 1], [2, 2]])
    np.testing.assert_allclose(cosines(sparse.csr_array(embeds), pairs), [embeds[0] @ embeds[1], 1], rtol=1e-5)
