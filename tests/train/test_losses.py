import math

import pytest
import torch
import torch.nn.functional as F

from phenolip.train.losses.concept_contrastive import ConceptContrastiveLoss
from phenolip.train.losses.paired_contrastive import PairedContrastiveLoss
from phenolip.train.losses.phenotype_name import PhenotypeNameLoss


def unit(num_rows, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(num_rows, width, generator=generator, dtype=torch.float64), dim=1)


def test_paired_loss_of_two_orthogonal_pairs_in_closed_form():
    eye, scale = torch.eye(2), torch.tensor(3.0)
    expected = math.log(1 + math.exp(-3.0))
    assert PairedContrastiveLoss()(eye, eye, scale).item() == pytest.approx(expected, rel=1e-6)


def test_paired_loss_leaves_duplicates_out_row_by_row():
    left, right, scale = unit(5, seed=1), unit(5, seed=2), torch.tensor(4.0)
    groups = torch.tensor([[0, 0], [0, 1], [1, 2], [2, 2], [3, 3]])  # rows 0, 1 share a caption; 2, 3 an image
    duplicates = {(0, 1), (1, 0), (2, 3), (3, 2)}
    total = 0.0
    for a, b in ((left, right), (right, left)):
        for i in range(5):
            kept = [j for j in range(5) if (i, j) not in duplicates]
            logits = [4.0 * float(a[i] @ b[j]) for j in kept]
            total += math.log(sum(map(math.exp, logits))) - 4.0 * float(a[i] @ b[i])
    assert PairedContrastiveLoss()(left, right, scale, groups).item() == pytest.approx(total / 10, rel=1e-5)
    plain = PairedContrastiveLoss(mask_duplicates=False)(left, right, scale, groups)
    assert plain.item() == pytest.approx(PairedContrastiveLoss()(left, right, scale).item())
    assert plain.item() > total / 10


def test_concept_loss_equals_its_definition_with_uneven_groups_and_relatives():
    embeds, concepts = unit(7), torch.tensor([0, 0, 0, 1, 1, 2, 3])  # 2 and 3 have one text: no positive
    excluded = torch.zeros(7, 7, dtype=torch.bool)
    excluded[3:5, 5] = excluded[5, 3:5] = True  # concepts 1 and 2 are relatives
    per_text = []
    for i in range(5):
        positives = [j for j in range(7) if j != i and concepts[j] == concepts[i]]
        denominator = [j for j in range(7) if j != i and not (excluded[i, j] and j not in positives)]
        log_sum = math.log(sum(math.exp(5.0 * float(embeds[i] @ embeds[j])) for j in denominator))
        per_text.append(sum(log_sum - 5.0 * float(embeds[i] @ embeds[j]) for j in positives) / len(positives))
    value = ConceptContrastiveLoss()(embeds, concepts, torch.tensor(5.0), excluded)
    assert value.item() == pytest.approx(sum(per_text) / 5, rel=1e-5)


def test_concept_loss_of_single_texts_is_zero():
    assert ConceptContrastiveLoss()(unit(3), torch.arange(3), torch.tensor(1.0)).item() == 0


def test_name_loss_equals_its_definition_with_empty_and_double_labels():
    images, names, scale = unit(4, seed=3), unit(3, seed=4), torch.tensor(2.0)
    labels = torch.tensor([[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1]], dtype=torch.bool)
    annotated = [0, 1, 3]
    logits = 2.0 * images[annotated] @ names.T

    def mean_cross_entropy(logits, labels):
        rows = [i for i in range(len(labels)) if labels[i].any()]
        return sum(float(-logits[i].log_softmax(0)[labels[i]].mean()) for i in rows) / len(rows)

    shown = labels[annotated]
    expected = (mean_cross_entropy(logits, shown) + mean_cross_entropy(logits.T, shown.T)) / 2
    assert PhenotypeNameLoss()(images, names, scale, labels).item() == pytest.approx(expected, rel=1e-5)


def mixed_by_hand(left, right, scale, excluded, fit, fit_weight):
    """Cross-entropy of both directions against (1 - w) partner + w fit, pair by pair."""
    total, num_rows = 0.0, len(left)
    for a, b, share in ((left, right, fit), (right, left, fit.T)):
        for i in range(num_rows):
            kept = [j for j in range(num_rows) if (i, j) not in excluded[a is right]]
            logits = {j: scale * float(a[i] @ b[j]) for j in kept}
            norm = math.log(sum(map(math.exp, logits.values())))
            sum_fit = sum(float(share[i, j]) for j in kept)
            for j in kept:
                spread = float(share[i, j]) / sum_fit if sum_fit else float(i == j)
                total -= ((1 - fit_weight) * (i == j) + fit_weight * spread) * (logits[j] - norm)
    return total / (2 * num_rows)


FIT = torch.tensor(
    [[1, 0.5, 0, 0, 0.1], [1, 1, 0.2, 0, 0], [0, 0, 0, 0, 0], [0.3, 0, 0, 1, 0], [0, 0, 0, 0, 0]], dtype=torch.float64
)  # rows 2 and 4 have no phenotype; a caption fits other images than an image captions
KNOWN = torch.ones(5, 5, dtype=torch.bool)
KNOWN[1, 3] = KNOWN[4, 0] = KNOWN[4, 1] = False


@pytest.mark.parametrize("fit_weight", [0.25, 1.0])
@pytest.mark.parametrize("with_duplicates", [False, True])
def test_paired_loss_with_soft_matches_equals_its_definition(fit_weight, with_duplicates):
    left, right, scale = unit(5, seed=1), unit(5, seed=2), torch.tensor(4.0)
    groups = torch.tensor([[0], [1], [2], [2], [3]]) if with_duplicates else None
    unknown = {(1, 3), (4, 0), (4, 1)} | ({(2, 3), (3, 2)} if with_duplicates else set())
    excluded = (unknown, {(j, i) for i, j in unknown})
    expected = mixed_by_hand(left, right, 4.0, excluded, FIT, fit_weight)
    value = PairedContrastiveLoss()(left, right, scale, groups, FIT.float(), KNOWN, fit_weight)
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_paired_loss_without_weight_of_fit_leaves_the_unknown_out():
    left, right, scale = unit(5, seed=1), unit(5, seed=2), torch.tensor(4.0)
    unknown = {(1, 3), (4, 0), (4, 1)}
    expected = mixed_by_hand(left, right, 4.0, (unknown, {(j, i) for i, j in unknown}), torch.eye(5), 0.5)
    assert PairedContrastiveLoss()(left, right, scale, None, FIT.float(), KNOWN).item() == pytest.approx(expected)
    plain = PairedContrastiveLoss()(left, right, scale)
    identity = PairedContrastiveLoss()(left, right, scale, None, torch.eye(5), torch.ones_like(KNOWN), 0.7)
    assert identity.item() == pytest.approx(plain.item(), rel=1e-6)


def test_name_loss_with_soft_values_and_open_pairs_equals_its_definition():
    images, names, scale = unit(4, seed=3), unit(3, seed=4), torch.tensor(2.0)
    values = torch.tensor([[1, 0.2, 0], [0.5, 0, 1], [0, 0, 0], [1, 0, 0]])
    valid = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 1, 1]], dtype=torch.bool)
    halves = []
    annotated = [0, 1, 3]
    pairs, shown, valid_ = 2.0 * images[annotated] @ names.T, values[annotated], valid[annotated]
    for logits, value, known in ((pairs, shown, valid_), (pairs.T, shown.T, valid_.T)):
        per_row, weights = [], []
        for i in range(len(logits)):
            kept = [j for j in range(logits.shape[1]) if known[i, j]]
            total = sum(float(value[i, j]) for j in kept)
            if total:  # the last image's only label is left open: no target
                norm = math.log(sum(math.exp(float(logits[i, j])) for j in kept))
                per_row.append(sum(float(value[i, j]) / total * (norm - float(logits[i, j])) for j in kept))
                weights.append(max(float(value[i, j]) for j in kept))
        halves.append(sum(w * loss for w, loss in zip(weights, per_row, strict=True)) / sum(weights))
    result = PhenotypeNameLoss()(images, names, scale, values, valid)
    assert result.item() == pytest.approx(sum(halves) / 2, rel=1e-5)


def test_an_image_without_labels_is_no_negative_of_any_name():
    images, names, scale = unit(3, seed=3), unit(3, seed=4), torch.tensor(5.0)
    labels = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=torch.bool)
    two = PhenotypeNameLoss()(images[:2], names, scale, labels[:2])
    assert PhenotypeNameLoss()(images, names, scale, labels).item() == two.item()


def test_a_name_that_hardly_fits_any_image_hardly_counts():
    images, names, scale = unit(2, seed=3), unit(3, seed=4), torch.tensor(5.0)
    shown = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    alone = PhenotypeNameLoss()(images, names, scale, shown).item()
    distant = shown + torch.tensor([[0, 0, 0.001], [0, 0, 0]])
    assert PhenotypeNameLoss()(images, names, scale, distant).item() == pytest.approx(alone, rel=0.01)


@pytest.mark.parametrize("case", ["no label", "nothing known", "an empty column", "one caption", "no fit"])
def test_gradients_stay_finite_where_a_mask_empties_rows_or_columns(case):
    left, right, names = (unit(5, seed=seed).requires_grad_() for seed in (1, 2, 3))
    scale = torch.tensor(50.0, requires_grad=True)
    values, valid = torch.ones(5, 5), torch.ones(5, 5, dtype=torch.bool)
    fit, known, groups = torch.ones(5, 5), torch.ones(5, 5, dtype=torch.bool), torch.arange(5).view(5, 1)
    if case == "no label":
        values = torch.zeros(5, 5)
    elif case == "nothing known":
        valid, known = ~valid, ~known
    elif case == "an empty column":
        valid[:, 2], known[:, 2] = False, False
    elif case == "one caption":
        groups = torch.zeros(5, 1, dtype=torch.long)
    else:
        fit = torch.zeros(5, 5)
    losses = (
        PairedContrastiveLoss()(left, right, scale, groups, fit, known, 0.5),
        PhenotypeNameLoss()(left, names, scale, values, valid),
    )
    sum(losses).backward()
    assert all(torch.isfinite(loss) for loss in losses)
    assert all(torch.isfinite(tensor.grad).all() for tensor in (left, right, names, scale))
    if case in ("nothing known", "one caption"):
        assert losses[0].item() == 0  # no other row is left


def losses_of(embeds, other, scale):
    labels = torch.eye(len(embeds), 4, dtype=torch.bool)
    fit, known = torch.eye(6, dtype=torch.float64), torch.ones(6, 6, dtype=torch.bool)
    fit[0, 3], fit[2, 1], known[4, 5], known[1, 0] = 0.5, 0.2, False, False
    soft = torch.tensor([[1, 0.3, 0, 0]] * 6, dtype=torch.float64)
    return {
        "soft paired": PairedContrastiveLoss()(embeds, other, scale, None, fit, known, 0.4),
        "soft name": PhenotypeNameLoss()(embeds, other[:4], scale, soft, known[:, :4]),
        "paired": PairedContrastiveLoss()(embeds, other, scale, torch.tensor([[0], [0], [1], [2], [3], [4]])),
        "concept": ConceptContrastiveLoss()(embeds, torch.tensor([0, 0, 1, 1, 2, 2]), scale),
        "name": PhenotypeNameLoss()(embeds, other[:4], scale, labels),
    }


@pytest.mark.parametrize("name", ["paired", "soft paired", "concept", "name", "soft name"])
def test_gradients_agree_with_finite_differences(name, monkeypatch):
    # losses compute in float32; gradcheck wants float64
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    embeds, other = unit(6, seed=5).requires_grad_(), unit(6, seed=6).requires_grad_()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b, s: losses_of(a, b, s)[name], (embeds, other, scale))


def test_losses_do_not_depend_on_the_order_of_the_batch():
    left, right, scale = unit(6, seed=7), unit(6, seed=8), torch.tensor(3.0)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    concepts, groups = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([[0], [0], [1], [2], [3], [4]])
    labels = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0], [1, 0], [0, 1]], dtype=torch.bool)
    names = unit(2, seed=9)
    for loss, args in (
        (PairedContrastiveLoss(), (left, right, scale, groups)),
        (ConceptContrastiveLoss(), (left, concepts, scale)),
        (PhenotypeNameLoss(), (left, names, scale, labels)),
    ):
        moved = [arg[order] if arg.ndim and len(arg) == 6 else arg for arg in args]
        assert loss(*moved).item() == pytest.approx(loss(*args).item(), rel=1e-6)
