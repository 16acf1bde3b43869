"""Image-text matching: MedFILIP's vectors, closed forms, gradients, masks, and what it becomes at its ends."""

import math

import pytest
import torch
import torch.nn.functional as F

from phenolip.train.losses.image_text_matching import ImageTextMatchingLoss
from phenolip.train.losses.owned_texts_contrastive import OwnedTextsContrastiveLoss
from phenolip.train.losses.paired_contrastive import PairedContrastiveLoss

TARGETS = torch.tensor(
    [[1, 1, math.cos(math.radians(20))], [math.cos(math.radians(20)), math.cos(math.radians(40)), 1]]
)
LOGITS = torch.tensor([[1, 0.5, 0.2], [0, -0.3, 0.9]])
ONE = torch.tensor(1.0)


def value(logits=LOGITS, targets=TARGETS, valid=None, scale=ONE, bias=None, **settings):
    return ImageTextMatchingLoss(**settings)(logits, scale, targets, valid, bias)


@pytest.mark.parametrize(
    ("settings", "part", "expected"),
    [
        ({"ce": "none"}, "mse", 0.471103),
        ({"ce": "bce"}, "ce", 0.536001),
        ({"ce": "soft_ce_row", "target_norm": "none"}, "ce", 3.29171),
        ({"ce": "soft_ce_row"}, "ce", 1.16700),
        ({"ce": "soft_ce_sym"}, "ce", 0.95986),
    ],
)
def test_the_vectors_of_two_images_and_three_texts(settings, part, expected):
    losses = value(**settings)
    assert losses[part].item() == pytest.approx(expected, abs=6e-6)
    assert losses["loss"].item() == pytest.approx(sum(losses[name].item() for name in losses if name != "loss"))


def test_columns_alone():
    both, rows = value(ce="soft_ce_sym")["ce"], value(ce="soft_ce_row")["ce"]
    assert (2 * both - rows).item() == pytest.approx(0.75271, abs=6e-6)


def test_weights_scale_and_bias():
    losses = value(scale=torch.tensor(2.0), bias=torch.tensor(-1.0), ce="bce", mse_weight=3.0, ce_weight=0.5)
    expected = F.binary_cross_entropy_with_logits(2 * LOGITS - 1, TARGETS)
    assert losses["ce"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert losses["mse"].item() == pytest.approx(((LOGITS - TARGETS) ** 2).mean().item(), rel=1e-6)
    assert losses["loss"].item() == pytest.approx(3 * losses["mse"].item() + 0.5 * losses["ce"].item(), rel=1e-6)
    scaled = value(scale=torch.tensor(2.0), mse_on="logits", ce="none")["mse"]
    assert scaled.item() == pytest.approx(((2 * LOGITS - TARGETS) ** 2).mean().item(), rel=1e-6)


def test_softmax_of_targets():
    losses = value(ce="soft_ce_row", target_norm="softmax", target_temperature=0.5)
    expected = -((TARGETS / 0.5).softmax(1) * LOGITS.log_softmax(1)).sum(1).mean()
    assert losses["ce"].item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(("target", "optimum"), [(0.0, -0.22), (0.25, 0.11), (0.5, 0.45), (0.75, 0.78), (1.0, 1.12)])
def test_on_the_same_logits_the_two_parts_pull_apart(target, optimum):
    def slope(logit):
        logit = torch.tensor([[logit]], requires_grad=True)
        value(logit, torch.tensor([[target]]), mse_on="logits", ce="bce")["loss"].backward()
        return logit.grad.item()

    assert slope(optimum - 0.01) < 0 < slope(optimum + 0.01)


FORMS = [
    {"mse_on": mse, "ce": ce, "target_norm": norm}
    for mse, ce, norm in [
        ("cosine", "none", "l1"), ("logits", "bce", "l1"), ("none", "bce", "l1"), ("cosine", "soft_ce_sym", "l1"),
        ("none", "soft_ce_row", "softmax"), ("none", "soft_ce_sym", "none"),
    ]
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(form.values()))
def test_gradients_masks_and_permutations(form, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    cosine = torch.rand(4, 5, generator=generator, dtype=torch.float64) * 2 - 1
    targets = torch.rand(4, 5, generator=generator, dtype=torch.float64)
    valid = torch.rand(4, 5, generator=generator) > 0.3
    valid[2] = False  # an image of which nothing is known
    scale, bias = torch.tensor(3.0, dtype=torch.float64), torch.tensor(-0.5, dtype=torch.float64)
    rows, columns = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 1, 0, 3, 2])
    loss = value(cosine, targets, valid, scale, bias, **form)["loss"]
    moved = [tensor[rows][:, columns] for tensor in (cosine, targets, valid)]
    assert value(*moved, scale, bias, **form)["loss"].item() == pytest.approx(loss.item(), rel=1e-6)
    changed = torch.where(valid, cosine, 0.77), torch.where(valid, targets, 0.33)
    again = value(*changed, valid, scale, bias, **form)["loss"]
    assert again.item() == pytest.approx(loss.item(), rel=1e-6)  # what is unknown has no say
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor.double())  # gradcheck wants float64
    inputs = [tensor.clone().requires_grad_() for tensor in (cosine, scale, bias)]

    def total(cosine, scale, bias):
        return value(cosine, targets, valid, scale, bias, **form)["loss"] + 0 * bias

    assert torch.autograd.gradcheck(total, inputs)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(form.values()))
def test_nothing_known_is_zero_with_a_gradient(form):
    for shape in ((3, 4), (3, 0)):
        cosine, scale = torch.zeros(shape, requires_grad=True), torch.tensor(2.0, requires_grad=True)
        losses = value(cosine, torch.ones(shape), torch.zeros(shape, dtype=torch.bool), scale, **form)
        losses["loss"].backward()
        assert losses["loss"].item() == 0 and not cosine.grad.any() and scale.grad == 0


def test_an_image_that_only_lacks_things_is_drawn_to_none_of_them():
    targets, valid = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.ones(2, 2, dtype=torch.bool)
    for norm in ("l1", "softmax"):
        cosine = torch.zeros(2, 2, requires_grad=True)
        value(cosine, targets, valid, mse_on="none", ce="soft_ce_row", target_norm=norm)["loss"].backward()
        assert not cosine.grad[1].any()


def unit(num_rows, seed):
    return F.normalize(torch.randn(num_rows, 4, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_with_one_text_an_image_both_losses_are_clips():
    images, texts, scale, eye = unit(5, 0), unit(5, 1), torch.tensor(4.0), torch.eye(5)
    expected = PairedContrastiveLoss()(images, texts, scale).item()
    everywhere = torch.ones(5, 5, dtype=torch.bool)
    contrastive = OwnedTextsContrastiveLoss()(images @ texts.T, scale, eye > 0, eye, everywhere)
    assert contrastive.item() == pytest.approx(expected, rel=1e-6)
    matching = value(images @ texts.T, eye, scale=scale, mse_on="none", ce="soft_ce_sym")
    assert matching["loss"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_several_texts_an_image_text_by_text(weight):
    owner, num_images = [0, 0, 2], 3
    cosine, scale = unit(3, 2) @ unit(3, 3).T, 2.0
    own = torch.tensor([[o == i for o in owner] for i in range(num_images)])
    targets = torch.tensor([[1.0, 1.0, 0.5], [0.2, 0.3, 0.4], [0.5, 0.1, 1.0]])
    valid = torch.tensor([[True, True, False], [True] * 3, [True] * 3])

    def direction(logits, own, targets, valid):
        losses = []
        for i in range(len(logits)):
            if not own[i].any():
                continue
            kept = [j for j in range(logits.shape[1]) if valid[i, j]]
            norm = math.log(sum(math.exp(logits[i, j]) for j in kept))
            total = sum(float(targets[i, j]) for j in kept)
            share = [
                (1 - weight) * float(own[i, j]) / own[i].sum() + weight * float(targets[i, j]) / total for j in kept
            ]
            losses.append(sum(s * (norm - float(logits[i, j])) for s, j in zip(share, kept, strict=True)))
        return sum(losses) / len(losses)

    logits = scale * cosine
    expected = (direction(logits, own, targets, valid) + direction(logits.T, own.T, targets.T, valid.T)) / 2
    found = OwnedTextsContrastiveLoss(weight)(cosine, torch.tensor(scale), own, targets, valid)
    assert found.item() == pytest.approx(float(expected), rel=1e-5)
