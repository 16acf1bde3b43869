"""The package's list: ids, names, lengths, and that it says more than the ontology does."""

import re
from collections import Counter

from phenolip.ontology.overlays import visual_explanations

LISTED = visual_explanations()
TERMS = [row for row in LISTED if row.key.startswith("HP:")]


def content_words(text):
    return [word for word in re.findall(r"[a-z]+", text.lower()) if len(word) > 3]


def test_size():
    assert len(TERMS) >= 520 and len(LISTED) - len(TERMS) >= 30


def test_every_id_is_current_and_every_name_the_releases(hpo):
    for row in TERMS:
        assert row.key in hpo and hpo.resolve(row.key) == row.key, row.key
        assert hpo.is_phenotype(row.key) and hpo[row.key].name == row.name, row.key


def test_the_rest_has_no_term(hpo):
    for row in LISTED:
        if row not in TERMS:
            assert row.key == row.name and hpo.find(row.key) is None, row.key


def test_form():
    for row in LISTED:
        assert 12 <= len(row.text.split()) <= 35, row.key
        assert re.match(r"[a-z]|[A-Z0-9]{2}", row.text), row.key  # it follows "is"
        assert row.text[-1] not in ".,;:" and not re.search(r"HP:|\d{5}|https?:", row.text), row.key
        assert row.sign and row.modality and row.sign != row.text, row.key


def test_no_two_say_the_same():
    assert max(Counter(row.text for row in LISTED).values()) == 1
    words = [set(content_words(row.text)) for row in LISTED]
    alike = [
        (len(one & other) / len(one | other), LISTED[i].name, LISTED[j].name)
        for i, one in enumerate(words)
        for j, other in enumerate(words[:i])
    ]
    assert max(alike)[0] < 0.7  # upslanted and downslanted


def test_none_restates_the_definition(hpo):
    shares = []
    for row in TERMS:
        if hpo[row.key].definition:
            words, known = content_words(row.text), set(content_words(hpo[row.key].definition))
            shares.append(sum(word in known for word in words) / len(words))
            assert shares[-1] < 0.5, row.key
    assert sum(shares) / len(shares) < 0.2


def test_none_copies_seven_words_of_the_release(hpo):
    def runs(text):
        words = re.findall(r"[a-z0-9]+", text.lower())
        return {tuple(words[i : i + 7]) for i in range(len(words) - 6)}

    ours = {run: row.key for row in LISTED for run in runs(row.text)}
    copied = {ours[run] for i in hpo for run in runs(hpo[i].definition or "") if run in ours}
    assert not copied
