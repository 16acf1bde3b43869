"""The tree of wordings against a search of all of them; how words may stand to each other."""

import random
from collections import Counter

import pytest

from phenolip.phenokg.linking.lexicon import Lexicon, Wording, content_words
from phenolip.phenokg.linking.match_wordings import WordingMatcher, _Node


def lexicon_of(*names, substitutes=None):
    wordings = tuple(
        Wording(f"HP:{number:07d}", "name", 1.0, content_words(name)) for number, name in enumerate(names)
    )
    names = {wording.hpo_id: name for wording, name in zip(wordings, names, strict=True)}
    return Lexicon("2000-01-01", "0", 1, names, wordings, substitutes or {}, {})


def found_in(text, *names, min_score=0.8, **options):
    lexicon = lexicon_of(*names, **options)
    worded, found = WordingMatcher(lexicon, min_score).mentions(text)
    return {
        (lexicon.names[mention.wording.hpo_id], tuple(worded.words[place] for place in mention.places))
        for mention in found
    }


@pytest.mark.parametrize("seed", range(20))
def test_the_tree_finds_the_wordings_that_a_search_of_all_finds(seed):
    chance = random.Random(seed)
    letters = "abcdefghij"
    wordings = {
        words: [Wording(str(number), "name", 1.0, words)]
        for number in range(60)
        for words in [tuple(chance.sample(letters, chance.randint(2, 4)))]
    }
    tree = _Node.of(wordings.values(), Counter(word for words in wordings for word in words))
    present = set(chance.sample(letters, 5))
    expected = sorted(words for words in wordings if set(words) <= present)
    assert sorted(group.words for group in tree.within(present)) == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a short fifth finger", "Short finger"),
        ("The fingers were short.", "Short finger"),
        ("The fingers were markedly short.", "Short finger"),
        ("hypoplasia of the nails", "Nail hypoplasia"),
        ("aplastic or hypoplastic nails", "Aplastic nail"),
        ("aplastic or hypoplastic nails", "Hypoplastic nail"),
        ("short arms and legs", "Short leg"),
        ("red, dry and scaly skin", "Red skin"),
        ("red, dry and scaly skin", "Dry skin"),
        ("pre-auricular pits", "Preauricular pit"),
        ("preauricular pits", "Preauricular pit"),
        ("tumours of the ear", "Ear tumor"),
    ],
)  # fmt: skip
def test_forms_of_a_name(text, name):
    assert name in {found for found, _ in found_in(text, name)}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("broad nose and short philtrum", "Broad philtrum"),
        ("broad nose and short philtrum", "Short nose"),
        ("long philtrum, thin lips", "Thin philtrum"),
        ("short stature and facial anomalies", "Short face"),
        ("aortic valve without stenosis", "Aortic stenosis"),
        ("fever. Rash", "Fever rash"),
        ("short (left) finger", "Short finger"),
        ("short finger", "Short fingertip"),
        ("the canal stenosis", "Anal stenosis"),
        ("face characterized by a small chin", "Small face"),
        ("delayed, and spastic development", "Delayed development"),
        ("gingivitis", "Gingiva"),
    ],
)  # fmt: skip
def test_words_that_do_not_belong_together(text, name):
    assert found_in(text, name) == set()


def test_a_wall_is_crossed_only_by_a_wording_that_has_it():
    wording = Wording("HP:0000000", "name", 1.0, content_words("Seizures with fever"), ("with",))
    lexicon = Lexicon("2000-01-01", "0", 1, {"HP:0000000": "x"}, (wording,), {}, {})
    assert WordingMatcher(lexicon, 0.8).mentions("seizures with fever")[1]
    assert not WordingMatcher(lexicon, 0.8).mentions("seizures by fever")[1]
    assert not found_in("seizures with fever", "Seizures fever")


def test_wordings_of_the_same_words_keep_their_own_walls():
    words = content_words("Seizures fever")
    wordings = (Wording("HP:0000001", "name", 1.0, words), Wording("HP:0000002", "name", 0.9, words, ("with",)))
    lexicon = Lexicon("2000-01-01", "0", 1, {"HP:0000001": "x", "HP:0000002": "y"}, wordings, {}, {})
    _, crossed = WordingMatcher(lexicon, 0.8).mentions("seizures with fever")
    assert [mention.wording.hpo_id for mention in crossed] == ["HP:0000002"]
    _, plain = WordingMatcher(lexicon, 0.8).mentions("seizures fever")
    assert sorted(mention.wording.hpo_id for mention in plain) == ["HP:0000001", "HP:0000002"]


def test_costs_add_up():
    lexicon = lexicon_of("Kidney tumor", substitutes={"renal": (("kidney", 0.1),)})
    scores = {}
    for text in ("kidney tumor", "renal tumor", "tumor of the kidney", "tumor kidney", "kidney soft tumor"):
        (mention,) = WordingMatcher(lexicon, 0.5).mentions(text)[1]
        scores[text] = round(mention.score, 6)
    assert list(scores.values()) == [1.0, 0.9, 0.97, 0.9, 0.9]


def test_every_mention_of_a_name_is_found():
    found = found_in("Short finger. Then fingers that looked short; a short finger again.", "Short finger")
    assert len(found) >= 1
    lexicon = lexicon_of("Short finger")
    _, mentions = WordingMatcher(lexicon, 0.8).mentions("Short finger. Another short finger, short toe, long finger.")
    assert sorted(mention.places for mention in mentions) == [(0, 1), (3, 4)]


def test_a_text_of_one_sentence_is_read_in_linear_time():
    words = "short finger blue " * 60_000
    _, mentions = WordingMatcher(lexicon_of("Short finger"), 0.8).mentions(words)
    assert len(mentions) > 59_000


def test_a_missing_part_is_not_a_missing_finding_of_it():
    assert found_in("No clavicle was seen.", "No clavicle")
    assert not found_in("No clavicle fracture was seen.", "No clavicle")


@pytest.mark.parametrize(
    ("adjective", "noun"),
    [("microcephalic", "Microcephaly"), ("hypotonic", "Hypotonia"), ("cyanotic", "Cyanosis"), ("autistic", "Autism")],
)
def test_an_adjective_names_its_noun_with_less_certainty(adjective, noun):
    (mention,) = WordingMatcher(lexicon_of(noun), 0.8).mentions(f"He was {adjective}.")[1]
    assert mention.score == pytest.approx(0.9)
    assert not WordingMatcher(lexicon_of(noun), 0.95).mentions(f"He was {adjective}.")[1]
