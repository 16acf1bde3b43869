"""Trees of predictions: one line a term, chains folded, the most probable way up."""

from phenolip.inference.prediction_tree import format_tree, prediction_tree

ROOT, MODE, EYE, LENS = "HP:0000118", "HP:0000005", "HP:0000478", "HP:0000517"
CATARACT, NUCLEAR, OPACITY, HEAD, LOW_EARS = "HP:0000518", "HP:0100018", "HP:0000001", "HP:0000152", "HP:0000369"


def test_chains_are_folded_and_branches_shown(diamond):
    probabilities = {EYE: 0.7, LENS: 0.6, OPACITY: 0.5, CATARACT: 0.4, NUCLEAR: 0.3, HEAD: 0.1, LOW_EARS: 0.1}
    trees = prediction_tree(diamond, [NUCLEAR, LOW_EARS], probabilities)
    assert format_tree(trees).splitlines() == [
        "0.700  Abnormality of the eye  HP:0000478",
        "0.300  └─ * Nuclear cataract  HP:0100018",
        "0.100  Abnormality of head or neck  HP:0000152",  # the more probable of two parents
        "0.100  └─ * Low-set ears  HP:0000369",
    ]
    trees = prediction_tree(diamond, [NUCLEAR, CATARACT, OPACITY], probabilities)
    assert format_tree(trees).splitlines() == [
        "0.700  Abnormality of the eye  HP:0000478",
        "0.500  ├─ * Ocular opacity  HP:0000001",
        "0.400  └─ * Cataract  HP:0000518",  # its parent, the lens, is folded; a predicted link of a chain is not
        "0.300     └─ * Nuclear cataract  HP:0100018",
    ]


def test_terms_without_a_system_stand_alone(diamond):
    (mode,) = prediction_tree(diamond, [MODE], {MODE: 1.0})
    assert (mode.name, mode.predicted, mode.children) == ("Mode of inheritance", True, [])
    (root,) = prediction_tree(diamond, [ROOT], {})
    assert (root.hpo_id, root.probability) == (ROOT, 0.0)
    assert prediction_tree(diamond, [], {}) == [] and format_tree([]) == ""
