"""The TF-IDF baseline: unit rows, exact ties, the same ranking as a dense product, and a place on the command line."""

import json
import re

import numpy as np
import pytest

from phenolip.eval.baselines import TfidfEncoder
from phenolip.eval.knowledge_report import write_knowledge_report
from phenolip.eval.load_encoder import load_encoder
from phenolip.eval.metrics.ranking import rank_candidates
from phenolip.eval.report import percent
from phenolip.eval.run import evaluate
from phenolip.exceptions import ConfigurationError
from phenolip.ontology import PhenotypeOntology, PhenotypeTerm, Synonym
from phenolip.ontology.text import is_held_out

NAMES = ["Cataract", "Short palm", "Long palm", "short  PALM", "Cleft lip", "Tremor"]


@pytest.fixture(scope="module")
def encoder():
    return TfidfEncoder(NAMES)


def test_rows_are_of_unit_norm_or_unknown(encoder):
    embeds = encoder.encode_texts(["cataracts of both eyes", "Short palm", "123", ""]).toarray()
    np.testing.assert_allclose(np.linalg.norm(embeds, axis=1), [1, 1, 0, 0], atol=1e-6)
    assert embeds.dtype == np.float32


def test_a_typo_or_a_plural_still_finds_its_name(encoder):
    queries = encoder.encode_texts(["cataracts", "clefts of lips", "tremmor"])
    values = rank_candidates(queries, encoder.encode_texts(NAMES), [np.array([0]), np.array([4]), np.array([5])], [1])
    assert values.hits.tolist() == [[1.0]] * 3


def test_sparse_ranking_equals_dense_ranking_with_ties_and_chunks(encoder):
    queries = encoder.encode_texts(["palm", "short palm", "zzz", "lip tremor"] * 5)
    candidates = encoder.encode_texts(NAMES)
    relevant = [np.array([1]), np.array([3]), np.array([0]), np.array([4, 5])] * 5
    sparse = rank_candidates(queries, candidates, relevant, [1, 2, 50], chunk_rows=3)
    dense = rank_candidates(queries.toarray(), candidates.toarray(), relevant, [1, 2, 50])
    for field in ("hits", "recalls", "chance_hits", "chance_recalls"):
        np.testing.assert_allclose(getattr(sparse, field), getattr(dense, field))
    assert sparse.hits[1].tolist() == [0.5, 1.0, 1.0]  # two names are equal but for case and space
    assert sparse.hits[2].tolist() == pytest.approx([1 / 6, 2 / 6, 1])  # an unknown word ties with all


def test_sparse_embeddings_that_are_not_finite_are_named(encoder):
    queries = encoder.encode_texts(["palm"])
    queries.data[0] = np.nan
    with pytest.raises(ValueError, match="`queries` must be finite"):
        rank_candidates(queries, encoder.encode_texts(NAMES), [np.array([0])], [1])


@pytest.fixture(scope="module")
def hpo(tmp_path_factory):
    """A release of a root and twelve terms, six in each of two systems, each with a held-out synonym."""
    lines = ["format-version: 1.2", "data-version: hp/releases/2000-01-01", "", "[Term]", "id: HP:0000118", "name: R"]
    for number in range(14):
        hpo_id = f"HP:{number + 200:07d}"
        parent = "HP:0000118" if number < 2 else f"HP:{number % 2 + 200:07d}"
        synonym = next(text for n in range(500) if is_held_out(hpo_id, text := f"sign{number} v{n}"))
        name = f"Sign{number} <b>"
        lines += ["", "[Term]", f"id: {hpo_id}", f"name: {name}", f'def: "{name} of kind {number}." []']
        lines += [f'synonym: "{synonym}" EXACT []', f"is_a: {parent}"]
    path = tmp_path_factory.mktemp("hpo") / "hp.obo"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_evaluation_of_the_baseline_writes_a_breakdown_and_every_query(hpo, tmp_path):
    results = evaluate("tfidf", "knowledge", None, tmp_path, hpo=hpo).results
    assert results == json.loads((tmp_path / "results.json").read_text())
    assert results["model"] == "tfidf" and results["task_version"] == 2
    assert results["metrics"]["synonym_to_name_hit_at_1"]["value"] > 0.9
    assert sum(entry["n"] for entry in results["breakdown"]["by_depth"]) == results["n"] == 14
    assert {entry["id"] for entry in results["breakdown"]["by_system"]} == {"HP:0000200", "HP:0000201"}
    assert results["breakdown"]["definitions"] == {"n": 14, "name_taken_out": 14}
    assert (tmp_path / "per_query.parquet").is_file()


def test_the_baseline_knows_every_name_of_the_release_and_no_synonym():
    synonym = Synonym("xylophone", "EXACT", None)
    terms = [PhenotypeTerm("HP:0000118", "Root"), PhenotypeTerm("HP:0000200", "Cataract", synonyms=(synonym,),
                                                                parents=("HP:0000118",))]  # fmt: skip
    found = load_encoder("tfidf", PhenotypeOntology(terms, release="2000-01-01"), None)
    assert found.encode_texts(["Cataract", "root", "xyl"]).count_nonzero(axis=1).astype(bool).tolist() == [1, 1, 0]


def test_the_baseline_needs_its_package(hpo, tmp_path, monkeypatch):
    monkeypatch.setattr("phenolip.eval.load_encoder.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="`model` tfidf needs scikit-learn"):
        evaluate("tfidf", "knowledge", None, tmp_path, hpo=hpo)


def test_the_report_shows_every_part_and_escapes_what_is_data(hpo, tmp_path):
    results = evaluate("tfidf", "knowledge", None, tmp_path, hpo=hpo).results
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 2 and "<?xml" not in page
    assert "Sign0 <b>" not in page and "Sign0 &lt;b&gt; (7)" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page.replace('xlink:href="#', 'href="#'))
    assert "Depth 2" in page and percent(results["metrics"]["synonym_to_name_hit_at_1"]["value"]) in page
    write_knowledge_report(results, tmp_path / "again" / "r.html")
    assert (tmp_path / "again" / "r.html").read_text() == page


def test_a_report_without_lay_synonyms_or_systems_is_whole(hpo, tmp_path):
    results = evaluate("tfidf", "knowledge", None, tmp_path, hpo=hpo).results
    assert "layperson_to_name_hit_at_1" not in results["metrics"]
    results["breakdown"]["by_system"] = []
    results["metrics"]["spearman_lin"] |= {"value": None, "ci95": [None, None]}
    write_knowledge_report(results, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert page.count("<svg") == 1 and "— to —" in page
