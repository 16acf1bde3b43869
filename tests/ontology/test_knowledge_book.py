"""The book: order of sources, provenance, overlays by id and by name, synonyms by chance, and its texts."""

import json
import logging

import numpy as np
import pytest

from phenolip.exceptions import ConfigurationError, UnknownTermError
from phenolip.ontology import PhenotypeOntology, PhenotypeTerm, Synonym, is_held_out
from phenolip.ontology.build_knowledge import build_knowledge_book
from phenolip.ontology.finding_template import TEMPLATE_VERSION
from phenolip.ontology.knowledge_book import SOURCES, Explanation, KnowledgeBook, KnowledgeEntry
from phenolip.ontology.knowledge_file import read_knowledge, write_knowledge

ROOT = PhenotypeTerm("HP:0000118", "Phenotypic abnormality")
EFFUSION = "HP:0002202"
COMMENT = "A swelling of the skin in which the pores make tiny dimples."


@pytest.fixture(scope="module")
def chain():
    """One term a source, under made-up ids but for the one that the package's list explains."""
    terms = [
        ROOT,
        PhenotypeTerm(EFFUSION, "Pleural effusion", "Fluid in the pleural cavity.", parents=(ROOT.id,)),
        PhenotypeTerm("HP:0000001", "Mass", "A lump of tissue.", COMMENT, parents=(ROOT.id,)),
        PhenotypeTerm("HP:0000002", "Bump", None, COMMENT, parents=(ROOT.id,)),
        PhenotypeTerm("HP:0000003", "Knob", None, "See ticket 12 on what it is.", parents=("HP:0000002", EFFUSION)),
        PhenotypeTerm("HP:0000004", "Dot", None, None, parents=(ROOT.id,)),
        PhenotypeTerm("HP:0000005", "Speck", None, None, parents=("HP:0000004",)),
        PhenotypeTerm("HP:0000006", "Deep knob", parents=("HP:0000003",)),
    ]  # fmt: skip
    return PhenotypeOntology(terms, release="2000-01-01")


@pytest.fixture(scope="module")
def whole(hpo):
    """The book of HPO 2025-01-16."""
    return build_knowledge_book(hpo)


def test_order_of_sources(chain):
    book = build_knowledge_book(chain)
    assert book.explain(EFFUSION).source == "curated" and "costophrenic" in book.explain(EFFUSION).text
    assert book.explain("HP:0000001") == Explanation("a lump of tissue", "hpo_def")
    assert book.explain("HP:0000002").source == "hpo_comment"
    assert book.explain("HP:0000004") == Explanation("", "name_only")
    assert book.explain("HP:0000005") == Explanation("", "name_only")  # its parent has no text either
    user = build_knowledge_book(chain, {EFFUSION: "Water.", "mass": "stuff"})
    assert user.explain(EFFUSION) == Explanation("water", "user")
    assert user.explain("HP:0000001") == Explanation("stuff", "user")
    assert user.explain("HP:0000002").source == "hpo_comment"


def test_a_parent_speaks_for_a_term_without_a_text(chain):
    # of Bump and Pleural effusion, which have as many terms below, the lower id
    told = build_knowledge_book(chain).explain("HP:0000003")
    assert told == Explanation(f"a type of bump: {COMMENT[0].lower()}{COMMENT[1:-1]}", "parent")
    user = build_knowledge_book(chain, {"HP:0000003": "a handle"})
    assert user.explain("HP:0000006") == Explanation("a type of knob: a handle", "parent")
    assert build_knowledge_book(chain).explain("HP:0000006").source == "name_only"  # no parent of a parent


@pytest.mark.parametrize("left_out", SOURCES[:-1])
def test_a_source_can_be_left_out(chain, left_out):
    sources = [source for source in SOURCES if source != left_out]
    book = build_knowledge_book(chain, {"HP:0000004": "a point"}, sources=sources)
    assert left_out not in {entry.source for entry in book.entries.values()}


def test_names_alone(chain):
    book = build_knowledge_book(chain, {"Dot": "a point"}, sources=["name_only"])
    assert book.coverage()["name_only"] == len(book) == len(chain)
    assert book.prompt("Dot", severity="mild") == "mild Dot"


def test_wrong_settings(chain):
    with pytest.raises(ConfigurationError, match="`sources` must be of user, curated.*got \\['hpo'\\]"):
        build_knowledge_book(chain, sources=["hpo"])
    with pytest.raises(ConfigurationError, match="`max_words` must be at least 1, got 0"):
        build_knowledge_book(chain, max_words=0)
    with pytest.raises(UnknownTermError, match="explains HP:9999999, which is not in HPO release 2000-01-01"):
        build_knowledge_book(chain, {"HP:9999999": "x"})
    book = build_knowledge_book(chain)
    with pytest.raises(ConfigurationError, match="`rng` must be given"):
        book.prompt("Dot", slot_dropout=0.5)
    with pytest.raises(ConfigurationError, match="`synonym_probability` must be from 0 to 1, got 2"):
        book.prompt("Dot", rng=np.random.default_rng(0), synonym_probability=2)
    with pytest.raises(UnknownTermError, match="no finding 'Masss'. Close: 'Mass'"):
        book.explain("Masss")


def test_findings_without_a_term(chain):
    book = build_knowledge_book(chain, {"Apical  cap": "A white rim.", "free air": "gas where none should be"})
    assert book.resolve("APICAL cap").id == "apical cap"
    assert book.explain("apical cap") == Explanation("a white rim", "user")
    assert book.explain("free air") == Explanation("gas where none should be", "user")  # before the package's list
    assert book.explain("flattened diaphragm").source == "curated"
    assert not any(key.startswith("hp:") or key.startswith("HP:0001") for key in book.entries)  # ids of other releases


def test_of_keys_that_mean_one_term_the_id_counts_then_the_name(caplog):
    wordings = (Synonym("Lump", "EXACT"), Synonym("Lumps", "EXACT"))
    terms = [ROOT, PhenotypeTerm("HP:0000001", "Mass", synonyms=wordings, parents=(ROOT.id,), alt_ids=("HP:0000009",))]
    ontology = PhenotypeOntology(terms, release="2000-01-01")

    def text(overlay):
        return build_knowledge_book(ontology, overlay).explain("Mass").text

    assert text({"lumps": "one", "lump": "two"}) == "one"
    assert text({"lump": "one", "MASS": "two"}) == "two"
    assert text({"mass": "one", "HP:0000009": "two", "lump": "three"}) == "two"
    assert "explains HP:0000001 as 'mass' and as 'HP:0000009'" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert text({"lump": "same", "lumps": "same"}) == "same"
    assert not caplog.records


def test_resolve(small):
    book = build_knowledge_book(small)
    assert book.resolve("hp_9900004").name == "Square shape"
    assert book.resolve(" square  FORM ").id == "HP:9900004"  # an EXACT synonym
    assert book.resolve("Blocky shape") is None  # a RELATED one
    assert book.resolve("HP:9900020").id == "HP:9900006"  # an alternative id
    assert book.resolve("HP:9900011").id == "HP:9900003"  # replaced twice
    assert book.resolve("HP:9900013") is None and book.resolve("") is None
    assert book.resolve("HP:9900009") is None  # a mode of something, no phenotype


def test_the_book_agrees_with_the_ontology_on_names(hpo, whole):
    book = whole
    ids = [*hpo.term_ids()[::37], *list(hpo.obsolete)[::37]]
    for term_id in ids:
        current = hpo.resolve(term_id) if term_id in hpo else None
        entry = book.resolve(term_id)
        assert (entry.id if entry else None) == (current if current and hpo.is_phenotype(current) else None)
    for term_id in hpo.term_ids()[::37]:
        assert book.resolve(hpo[term_id].name).id == hpo.find(hpo[term_id].name)


def test_coverage_of_the_release(whole):
    coverage = whole.coverage()
    assert sum(coverage.values()) - coverage["curated"] == 18_387 - 520
    assert coverage["curated"] == 553 and coverage["user"] == 0
    assert coverage["hpo_def"] > 15_300 and coverage["name_only"] < 750


def test_the_file_of_the_whole_release(whole, tmp_path):
    path = write_knowledge(whole, tmp_path)
    assert path.stat().st_size < 6_000_000
    read, keys = read_knowledge(path), list(whole.entries)[::23]
    assert [read.prompt(key) for key in keys] == [whole.prompt(key) for key in keys]
    stored = json.loads(path.read_text())
    assert stored["hpo_release"] == "2025-01-16" and stored["template_version"] == TEMPLATE_VERSION


def test_max_words_cuts_at_a_sentence():
    entry = KnowledgeEntry("x", "X", "a round shadow. It lies at the base of the lung", "user")
    book = KnowledgeBook({"x": entry}, max_words=6)
    assert book.explain("x") == Explanation("a round shadow", "user")
    assert book.explain("x", max_words=2) == Explanation("a round", "user")
    assert book.explain("x", max_words=50).text == entry.explanation
    assert book.prompt("X") == "X, where X is a round shadow."


def test_the_term_counts_before_the_category(chain):
    book = build_knowledge_book(chain)
    assert book.prompt("something", hpo_id="HP:0000001") == "Mass, where Mass is a lump of tissue."
    assert book.prompt("mass", hpo_id="HP:7777777") == "Mass, where Mass is a lump of tissue."
    assert book.prompt("unheard of", hpo_id="HP:7777777", location="left") == "left unheard of"
    assert book.prompt("mass", with_explanation=False) == "Mass"
    assert book.unknown(["mass", "unheard of", "unheard of"]) == {"unheard of": 2}


def test_without_chance_a_text_is_always_the_same(chain):
    one, other = build_knowledge_book(chain), build_knowledge_book(chain)
    assert [one.prompt(key, severity="mild") for key in one.entries] == [
        other.prompt(key, severity="mild") for key in other.entries
    ]
    drawn = [one.prompt("mass", rng=np.random.default_rng(3), slot_dropout=0.5) for _ in range(3)]
    assert len(set(drawn)) == 1


def test_synonyms_by_chance_are_exact_and_not_held_out(hpo, whole):
    rng, chosen = np.random.default_rng(0), 0
    for term_id in hpo.term_ids()[::100]:
        term = hpo[term_id]
        allowed = {s.text for s in term.synonyms if s.scope == "EXACT" and not is_held_out(term_id, s.text)}
        allowed = {" ".join(text.split()) for text in allowed | {term.name}}
        drawn = whole.prompt(term_id, rng=rng, synonym_probability=1.0, with_explanation=False)
        assert drawn in allowed
        chosen += drawn != " ".join(term.name.split())
    assert chosen > 20


def test_the_share_of_synonyms(hpo, whole):
    rng = np.random.default_rng(1)
    names = [whole.prompt("HP:0002107", rng=rng, synonym_probability=0.4, with_explanation=False) for _ in range(500)]
    own = hpo["HP:0002107"].name
    others = [s for s in hpo["HP:0002107"].synonyms if s.scope == "EXACT" and not is_held_out("HP:0002107", s.text)]
    assert others and abs(sum(name != own for name in names) / 500 - 0.4) < 0.07
