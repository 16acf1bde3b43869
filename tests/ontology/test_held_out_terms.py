"""Held-out terms: closure, mentions, draws."""

import pytest

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.ontology import PhenotypeOntology, PhenotypeTerm, Synonym
from phenolip.ontology.held_out_terms import HeldOutTerms, draw_held_out
from phenolip.ontology.name_search import NameSearch

ROOT, EYE, CATARACT, NUCLEAR, EAR = "HP:0000118", "HP:0000478", "HP:0000518", "HP:0100018", "HP:0000598"


@pytest.fixture(scope="module")
def small():
    return PhenotypeOntology(
        [
            PhenotypeTerm(ROOT, "Phenotypic abnormality"),
            PhenotypeTerm(EYE, "Abnormality of the eye", parents=(ROOT,)),
            PhenotypeTerm(
                CATARACT,
                "Cataract",
                synonyms=(Synonym("Cloudy lens", "EXACT"), Synonym("CAT", "RELATED")),
                parents=(EYE,),
                alt_ids=("HP:9000000",),
            ),
            PhenotypeTerm(NUCLEAR, "Nuclear cataract", parents=(CATARACT,)),
            PhenotypeTerm(EAR, "Abnormality of the ear", parents=(ROOT,)),
            PhenotypeTerm("HP:0000005", "Mode of inheritance"),
        ],
        release="2000-01-01",
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("No CATARACTS were seen.", (CATARACT,)),
        ("a cloudy-lens", (CATARACT,)),
        ("cloudy old lens", ()),
        ("a nuclear cataract", (CATARACT, NUCLEAR)),
        ("CAT scan", (CATARACT,)),
        ("a cat", ()),  # short wordings count in their own case alone
        ("cataractous", ()),
        ("", ()),
    ],
)
def test_names_and_synonyms_are_found_as_whole_words(small, text, found):
    assert NameSearch(small).find(text) == found


def test_a_name_search_agrees_with_comparing_every_wording_at_every_place(small):
    texts = ["cataract nuclear cataract", "lens cloudy lens cloudy", "the eye; abnormality of the eyes"]
    search = NameSearch(small)
    for text in texts:
        words = [word.strip(";").removesuffix("s") if word != "lens" else "len" for word in text.split()]
        expected = set()
        for hpo_id in small.term_ids():
            for wording in (small[hpo_id].name, *(synonym.text for synonym in small[hpo_id].synonyms[:1])):
                parts = [part.lower() if part != "lens" else "len" for part in wording.split()]
                starts = range(len(words) - len(parts) + 1)
                if any(words[start : start + len(parts)] == parts for start in starts):
                    expected.add(hpo_id)
        assert set(search.find(text)) == expected


def test_a_held_out_term_takes_its_descendants_and_their_mentions(small):
    terms = HeldOutTerms(small, ("HP:9000000",))
    assert terms.hpo_ids == (CATARACT,)
    assert terms.closure == {CATARACT, NUCLEAR}
    assert terms.shown([NUCLEAR, EAR]) == (CATARACT,)
    assert terms.shown([EYE]) == ()
    assert terms.mentioned("no nuclear cataract") == (CATARACT, NUCLEAR)
    assert terms.mentioned("ear") == ()


@pytest.mark.parametrize(
    ("ids", "message"),
    [((), "at least one term"), (("HP:0000005",), "under HP:0000118"), ((CATARACT, EYE), "beside its ancestor")],
)
def test_terms_that_cannot_be_held_out_are_refused(small, ids, message):
    with pytest.raises(ConfigurationError, match=message):
        HeldOutTerms(small, ids)


def test_terms_are_drawn_among_labels_of_few_rows_and_none_is_above_another(small):
    labels = [[NUCLEAR]] * 3 + [[CATARACT]] * 2 + [[EAR]] * 9
    assert draw_held_out(small, labels, 1, min_rows=3, max_rows=5) in {(NUCLEAR,), (CATARACT,)}
    assert draw_held_out(small, labels, 1, min_rows=6, max_rows=9) == (EAR,)
    with pytest.raises(DataError, match="asks for 2 terms"):
        draw_held_out(small, labels, 2, min_rows=3, max_rows=5)
    with pytest.raises(ConfigurationError, match="at least 1 term"):
        draw_held_out(small, labels, 0)
