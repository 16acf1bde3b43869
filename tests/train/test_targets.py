import numpy as np
import pytest
import torch

from phenolip.ontology.similarity import lin
from phenolip.train.targets.closure import ClosureTargets
from phenolip.train.targets.lin import LinTargets
from phenolip.train.targets.multi_hot import MultiHotTargets
from phenolip.train.targets.phenotype_targets import PhenotypeTargets, caption_targets

ODD_SHAPE, ROUND, SQUARE, RED_SQUARE, SMALL, PALE, RED, ODD_COLOUR = (
    f"HP:990000{number}" for number in (1, 3, 4, 6, 7, 8, 5, 2)
)
ROWS = [
    [SQUARE],
    [RED_SQUARE],
    [],
    [PALE, ROUND],
    [ODD_SHAPE],  # below a floor of 0.7 nats: true of its own row only
    [ODD_SHAPE, RED_SQUARE],
    [SQUARE, SMALL],  # one makes true what the other leaves open: "red square"
    ["HP:0000118"],
]


def closure_by_hand(ontology, rows, floor):
    """Candidates, values and validity, from what each label of a row says of each candidate."""

    def informative(term):
        return ontology.is_phenotype(term) and ontology.information_content(term) >= floor

    labels = {label for row in rows for label in row}
    above = {a for label in labels for a in ontology.ancestors(label)}
    candidates = sorted(labels | {a for a in above if informative(a)})
    values = np.zeros((len(rows), len(candidates)), dtype=np.float32)
    valid = np.ones(values.shape, dtype=bool)
    for i, row in enumerate(rows):
        for j, candidate in enumerate(candidates):
            says = set()
            for label in row:
                if candidate == label or (candidate in ontology.ancestors(label) and informative(candidate)):
                    says.add("true")
                elif candidate in ontology.ancestors(label) or candidate in ontology.descendants(label):
                    says.add("open")
            values[i, j] = "true" in says
            valid[i, j] = "true" in says or "open" not in says
    return candidates, values, valid


@pytest.mark.parametrize("floor", [0.0, 0.7, 1.2, 5.0])
def test_closure_equals_the_rule_applied_label_by_label(ontology, floor):
    targets = ClosureTargets(ROWS, ontology, min_information=floor)
    candidates, values, valid = closure_by_hand(ontology, ROWS, floor)
    order = [7, 0, 3, 6, 1, 2, 5, 4]
    batch = targets(order)
    assert targets.candidate_ids == candidates
    assert np.array_equal(batch["label_values"].numpy(), values[order])
    assert np.array_equal(batch["label_valid"].numpy(), valid[order])
    own = [[candidate in ROWS[row] for candidate in candidates] for row in order]
    assert batch["labels"].tolist() == own


def test_closure_says_true_open_and_false(ontology):
    targets = ClosureTargets(ROWS, ontology, min_information=0.7)
    batch = targets(range(len(ROWS)))

    def said(row, hpo_id):
        column = targets.candidate_ids.index(hpo_id)
        value, valid = batch["label_values"][row, column].item(), batch["label_valid"][row, column].item()
        return ("true" if value else "false") if valid else "open"

    assert said(1, SQUARE) == said(1, RED) == "true"  # ancestors above the floor
    assert said(0, RED_SQUARE) == said(0, SMALL) == "open"  # descendants
    assert said(1, ODD_SHAPE) == "open"  # too general, though another row's label
    assert said(5, ODD_SHAPE) == "true"  # its own label
    assert said(0, ROUND) == said(0, PALE) == said(2, SQUARE) == "false"
    assert said(6, RED_SQUARE) == said(6, RED) == "true" and said(0, RED_SQUARE) == "open"
    assert ODD_COLOUR not in targets.candidate_ids


def test_lin_is_the_best_similarity_of_any_label(ontology):
    targets = LinTargets(ROWS, ontology, sharpness=2.0)
    batch = targets([5, 3, 2])
    assert targets.candidate_ids == sorted({label for row in ROWS for label in row})
    for place, row in enumerate((5, 3, 2)):
        for column, candidate in enumerate(targets.candidate_ids):
            expected = max((lin(ontology, label, candidate) ** 2 for label in ROWS[row]), default=0.0)
            assert batch["label_values"][place, column].item() == pytest.approx(expected, abs=1e-6)
    assert batch["label_valid"].all()
    assert (batch["label_values"][batch["labels"]] == 1).all()  # HP:0000118 included


def test_lin_of_great_sharpness_is_multi_hot(ontology):
    sharp, plain = LinTargets(ROWS, ontology, sharpness=1e5), MultiHotTargets(ROWS)
    rows = range(len(ROWS))
    assert sharp.is_hard and plain.is_hard and sharp.candidate_ids == plain.candidate_ids
    assert torch.equal(sharp(rows)["labels"], plain(rows)["labels"])
    assert not LinTargets(ROWS, ontology).is_hard and not ClosureTargets(ROWS, ontology).is_hard


def test_targets_without_any_label():
    batch = MultiHotTargets([[], []])([1, 0])
    assert batch["labels"].shape == (2, 0)


def test_targets_take_the_largest_value_and_the_strictest_silence():
    values = np.array([[1, 0.5, 0, 0], [0.2, 1, 0, 0]])
    valid = np.array([[True, True, False, True], [True, True, True, False]])
    targets = PhenotypeTargets([["a"], ["a", "b"], []], ["a", "b", "c", "d"], values, valid)
    batch = targets([0, 1, 2])
    np.testing.assert_allclose(batch["label_values"], [[1, 0.5, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    assert batch["label_valid"].tolist() == [[True, True, False, True], [True, True, False, False], [True] * 4]


@pytest.mark.parametrize("kind", ["closure", "lin", "multi_hot"])
def test_captions_fit_images_as_the_loop_over_their_phenotypes_says(ontology, kind):
    if kind == "closure":
        targets = ClosureTargets(ROWS, ontology, min_information=0.7)
    else:
        targets = LinTargets(ROWS, ontology) if kind == "lin" else MultiHotTargets(ROWS)
    batch = targets(range(len(ROWS)))
    labels = batch["labels"]
    values, valid = batch.get("label_values", labels), batch.get("label_valid", torch.ones_like(labels))
    fit, known = caption_targets(labels, values, valid)
    assert fit.shape == known.shape == (len(ROWS), len(ROWS))
    for image in range(len(ROWS)):
        for caption in range(len(ROWS)):
            named = [column for column in range(labels.shape[1]) if labels[caption, column]]
            fits = [float(values[image, column]) for column in named]
            expected = sum(fits) / len(fits) if fits else 0.0
            assert fit[image, caption].item() == pytest.approx(expected, abs=1e-6)
            is_open = any(not valid[image, column] for column in named)
            assert known[image, caption].item() == (expected > 0 or not is_open)
    has_label = labels.any(dim=1)
    assert (fit.diagonal()[has_label] == 1).all() and known.diagonal().all()
    if kind == "closure":
        assert fit[1, 0] == 1 and not known[0, 1]  # a red square is a square; a square may be red
