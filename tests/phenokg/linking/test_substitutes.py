"""Which words stand for each other is read off the wordings of terms."""

from phenolip.phenokg.linking.substitutes import find_substitutes
from phenolip.phenokg.linking.words import stem


def test_pairs_need_three_terms_that_vouch_for_them():
    organs = ["hand", "foot", "ear"]
    wordings = {f"HP:{i}": [(stem("broad"), organ), (stem("wide"), organ)] for i, organ in enumerate(organs)}
    wordings |= {f"HP:1{i}": [("flat", organ), ("low", organ)] for i, organ in enumerate(organs[:2])}
    found = find_substitutes(wordings)
    assert dict(found["broad"]) == {"wide": 0.1} and dict(found["wide"]) == {"broad": 0.1}
    assert "flat" not in found


def test_words_that_stand_side_by_side_are_no_synonyms():
    wordings = {
        f"HP:{i}": [("broken", organ), ("bone", organ), ("broken", "bone", organ)]
        for i, organ in enumerate(["hand", "foot", "ear"])
    }
    assert ("bone", 0.1) not in find_substitutes(wordings).get("broken", ())


def test_organs_and_their_adjectives_are_known_without_a_release():
    found = find_substitutes({})
    assert dict(found[stem("renal")])[stem("kidney")] == 0.1
    assert stem("abnormality") in dict(found[stem("manifestations")])


def test_a_word_that_denies_stands_for_no_other():
    organs = ["hand", "foot", "ear"]
    found = find_substitutes({f"HP:{i}": [("no", organ), ("absent", organ)] for i, organ in enumerate(organs)})
    assert "no" not in found and dict(found["absent"]) == {"no": 0.1}
