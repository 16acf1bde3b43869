"""Captions without the names of their labels: what goes, what stays, and that no text makes it slow."""

import time

import pytest

from phenolip.eval.evaluators.masking import mask_captions, mask_wordings
from phenolip.ontology import PhenotypeOntology, PhenotypeTerm, Synonym

ROOT = "HP:0000118"


@pytest.mark.parametrize(
    ("text", "wordings", "masked"),
    [
        ("Bilateral Cataracts (arrow).", ["cataract"], "Bilateral (arrow)."),
        ("Anal stenosis and anal-stenosis", ["Anal stenosis"], "and"),
        ("Spinal canal stenosis", ["Anal stenosis"], "Spinal canal stenosis"),
        ("Atrial septal defect", ["Septal defect", "Atrial septal defect"], "image"),
        ("all ALL", ["ALL"], "all"),
        ("nothing  here", ["Cataract"], "nothing  here"),
        ("(+) stays", ["(+)"], "(+) stays"),
        ("Café-au-lait spots", ["Café au lait spot"], "image"),
        ("text", [], "text"),
    ],
)
def test_wordings_go_as_whole_words(text, wordings, masked):
    assert mask_wordings(text, wordings) == masked


def test_only_a_rows_own_labels_go_and_counts_tell_words_from_letters(helpers):
    terms = [
        PhenotypeTerm(ROOT, "Root"),
        PhenotypeTerm("HP:0000000", "Cataract", synonyms=(Synonym("Clouded lens", "EXACT"),), parents=(ROOT,)),
        PhenotypeTerm("HP:0000001", "Anal stenosis", parents=(ROOT,)),
    ]
    captions = ["A clouded lens and anal stenosis.", "Canal stenosis", "Cataract", "cataract of a cat"]
    labels = [["Cataract"], ["Anal stenosis"], [], ["Cataract"]]
    pairs = helpers.make_pairs(list("abcd"), captions, labels, ["Cataract", "Anal stenosis"])
    masked = mask_captions(pairs, PhenotypeOntology(terms, release="2000-01-01"))
    assert masked.captions == ("A and anal stenosis.", "Canal stenosis", "Cataract", "of a cat")
    assert masked.named.tolist() == [True, False, False, True]
    assert masked.spelled.tolist() == [False, True, False, True]


def test_hostile_text_takes_no_long():
    began = time.perf_counter()
    mask_wordings("a - - " * 20_000 + "((" * 5_000, ["a a a a b", "-", "a" * 500])
    assert time.perf_counter() - began < 2
