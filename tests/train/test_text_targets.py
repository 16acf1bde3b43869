"""Findings as texts and their target matrices: every kind, what reports deny and doubt, duplicates, empty rows."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from phenolip.train.findings import number_findings
from phenolip.train.target_histogram import target_histogram
from phenolip.train.targets.caption_fit import CaptionFit
from phenolip.train.targets.categories import relate_categories
from phenolip.train.targets.ssm import SemanticSimilarity
from phenolip.train.targets.text_targets import TextTargets
from phenolip.train.text_slots import TextSlots

ODD_SHAPE, ROUND, SQUARE, RED_SQUARE, SMALL, PALE, RED, ODD_COLOUR = (
    f"HP:990000{number}" for number in (1, 3, 4, 6, 7, 8, 5, 2)
)


def finding(category, assertion="present", severity=None, hpo_id=None):
    return {"category": category, "assertion": assertion, "severity": severity, "location": None, "hpo_id": hpo_id}


def write(one):
    return " ".join(filter(None, (one["severity"], one["category"])))


def of_terms(*rows):
    """Rows of (id, assertion) as findings called by their ids."""
    return [[finding(hpo_id, assertion, hpo_id=hpo_id) for hpo_id, assertion in row] for row in rows]


# The vector of the equations: two findings of the first image, one of the second.
PAPER = [[finding("pneumonia", severity="mild"), finding("effusion")], [finding("Pneumonia", severity="severe")]]


def build(rows, ontology, kind="multi_hot", similarity=None, features=None, max_findings=4, **settings):
    findings = number_findings(rows, write, max_findings=max_findings)
    related_by = kind if kind in ("closure", "lin") else "multi_hot"
    relations = relate_categories(findings.categories, ontology, related_by, min_information=0.7)
    if similarity is not None:
        similarity = SemanticSimilarity(similarity, related=relations.related)
    slots = TextSlots(findings, {"target_embeds": features} if features is not None else {})
    return findings, slots, TextTargets(kind, relations, similarity, **settings)


def matrix(rows, ontology, kind="multi_hot", order=None, groups=None, **settings):
    _, slots, targets = build(rows, ontology, kind, **settings)
    order = list(range(len(rows))) if order is None else order
    groups = torch.arange(len(rows))[:, None] if groups is None else groups
    return targets({**slots(order), "group_ids": groups[order]})


@pytest.mark.parametrize(
    ("kind", "expected"), [("multi_hot", [[1, 1, 1], [1, 0, 1]]), ("identity", [[1, 1, 0], [0, 0, 1]])]
)
def test_three_texts_of_two_images(ontology, kind, expected):
    targets, valid = matrix(PAPER, ontology, kind)
    assert targets.tolist() == expected and valid.all()


@pytest.mark.parametrize(("gate", "between"), [("none", 0.7660), ("category", 0.0)])
def test_three_texts_by_their_likeness(ontology, gate, between):
    angles = np.deg2rad([0.0, 60.0, 20.0])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    targets, valid = matrix(PAPER, ontology, "ssm", similarity=gate, features=features)
    expected = torch.tensor([[1, 1, 0.9397], [0.9397, between, 1]])
    torch.testing.assert_close(targets, expected, rtol=0, atol=5e-5)
    assert valid.all()


def test_findings_become_numbers_and_what_is_left_out_is_counted():
    rows = [
        [finding("mass"), finding("Mass "), finding("mass", "absent"), finding("scar", "historical"), finding(" ")],
        [],
        [finding("cyst", "uncertain"), finding("scar", None), finding("mass"), finding("rib"), finding("mass")],
    ]
    found = number_findings(rows, write, max_findings=2)
    assert found.texts == ["mass", "Mass ", "scar"] and found.categories == ["mass", "cyst", "scar"]
    assert found.text_ids.tolist() == [[0, 1], [-1, -1], [2, 0]]
    assert found.category_ids.tolist() == [[0, 0], [-1, -1], [2, 0]]
    assert found.absent_ids.tolist() == [[0], [-1], [-1]] and found.uncertain_ids.tolist() == [[-1], [-1], [1]]
    assert found.dropped == {
        "assertion historical": 1, "no category": 1, "more than 2 in a row": 1, "text twice in a row": 1,
    }  # fmt: skip


def test_closure_says_true_open_and_false(ontology):
    rows = of_terms([(SQUARE, None)], [(RED_SQUARE, None)], [(RED, None)], [(ODD_SHAPE, None)], [])
    targets, valid = matrix(rows, ontology, "closure")
    assert targets[:4].tolist() == [[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    # a square may be red; a red thing may be a square; an odd shape may be either; an odd shape is too general
    assert valid.tolist() == [
        [True, False, True, False], [True, True, True, False], [True, False, True, True],
        [False, False, True, True], [False] * 4,
    ]  # fmt: skip


def test_lin_is_the_best_similarity_of_any_finding(ontology):
    from phenolip.ontology.similarity import lin

    rows = of_terms([(SQUARE, None), (SMALL, None)], [(RED_SQUARE, None)])
    targets, valid = matrix(rows, ontology, "lin")
    best = max(lin(ontology, SQUARE, RED_SQUARE), lin(ontology, SMALL, RED_SQUARE)) ** 4
    assert targets[0, 2].item() == pytest.approx(best, abs=1e-6) and valid.all()


def test_denied_findings_are_zero_with_all_below_them_and_doubted_ones_open(ontology):
    rows = of_terms(
        [(PALE, "present"), (SQUARE, "absent")],
        [(SQUARE, "present")],
        [(RED_SQUARE, "present")],
        [(ROUND, "present"), (SQUARE, "uncertain")],
        [(RED_SQUARE, "absent"), (SQUARE, "present")],
        [(SQUARE, "absent")],  # no finding of its own: what it lacks is all that is known of it
        [(ROUND, "present"), (ROUND, "absent"), (ROUND, "uncertain")],  # present counts before both
    )
    ones = np.tile(np.float32([1, 0]), (4, 1))  # every text alike
    targets, valid = matrix(rows, ontology, "ssm", similarity="none", features=ones)
    pale, square, red_square, round_, square_again, round_again = range(6)
    assert targets[0].tolist() == [1, 0, 0, 1, 0, 1] and valid[0].all()
    assert not valid[3, [square, red_square, square_again]].any() and valid[3, [pale, round_, round_again]].all()
    assert targets[4].tolist() == [1, 1, 0, 1, 1, 1] and valid[4].all()
    assert valid[5].tolist() == [False, True, True, False, True, False] and not targets[5].any()
    assert targets[6].tolist() == [1] * 6 and valid[6].all()


def test_duplicates_are_left_out_where_they_are_to_be(ontology):
    rows = [[finding("mass")], [finding("mass")], [finding("cyst")]]
    groups = torch.tensor([[0], [1], [1]])
    assert matrix(rows, ontology, "identity")[1].tolist() == [
        [True, False, True], [False, True, True], [True, True, True],
    ]  # fmt: skip
    assert matrix(rows, ontology, groups=groups)[1].tolist() == [[True] * 3, [True, True, False], [True, False, True]]
    assert matrix(rows, ontology, "identity", groups=groups, mask_duplicates=False)[1].all()


MIXED = of_terms(
    [(SQUARE, "present"), (SMALL, "uncertain")], [(RED_SQUARE, "present"), (PALE, "present")], [],
    [(ROUND, "present"), (RED, "absent"), (SMALL, "present")], [(SMALL, "present"), (SQUARE, "absent")],
)  # fmt: skip


@pytest.mark.parametrize("kind", ["identity", "multi_hot", "closure", "lin", "ssm"])
def test_moves_with_the_rows(ontology, kind):
    features = F.normalize(torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), dim=1).numpy()
    settings = {"similarity": "hpo_ancestor", "features": features} if kind == "ssm" else {}
    targets, valid = matrix(MIXED, ontology, kind, **settings)
    owner = [0, 1, 1, 3, 3, 4]
    order = [3, 2, 0, 4, 1]
    moved, moved_valid = matrix(MIXED, ontology, kind, order=order, **settings)
    columns = [text for row in order for text in range(6) if owner[text] == row]
    torch.testing.assert_close(moved, targets[order][:, columns], rtol=0, atol=1e-6)
    assert torch.equal(moved_valid, valid[order][:, columns])
    assert (targets >= 0).all() and (targets <= 1).all()


def test_a_batch_without_any_finding_has_no_target(ontology):
    targets, valid = matrix([[], []], ontology)
    assert targets.shape == valid.shape == (2, 0)


def test_related_categories_need_an_informative_ancestor(ontology):
    categories = [SQUARE, "opacity", RED_SQUARE, ODD_SHAPE]
    relations = relate_categories(categories, ontology, "multi_hot", min_information=0.7)
    assert relations.related.nonzero()[0].tolist() == [0, 2] and relations.related[0, 2]  # odd shape is too general
    assert relations.descends[0].tolist() == [True, False, True, False] and relations.descends[3, 0]
    assert relations.values.tolist() == np.eye(4).tolist() and relations.valid.all()


def test_captions_fit_by_identity_and_by_likeness():
    embeds = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    batch = {"group_ids": torch.zeros(2, 3), "target_embeds": embeds}
    assert CaptionFit("identity")(batch)[0].tolist() == [[1, 0], [0, 1]]
    fit, known = CaptionFit("ssm", SemanticSimilarity())(batch)
    torch.testing.assert_close(fit, torch.tensor([[1, 0.6], [0.6, 1]]))
    assert known.all()


def test_the_histogram_counts_what_is_known(ontology):
    _, slots, targets = build(PAPER, ontology)

    def entries(rows):
        return {**slots(rows), "group_ids": torch.tensor(rows)[:, None]}

    found = target_histogram([[0, 1], [1, 0]], entries, targets, device=torch.device("cpu"))
    assert found["counts"][0] == 2 and found["counts"][-1] == 10 and sum(found["counts"]) == 12
    assert found["mean_row_mass"] == 2.5 and found["share_one"] == pytest.approx(10 / 12)
