"""Losses tile by tile: value and gradient of their plain definitions, whatever the tiles, on one process or two."""

import pytest
import torch
import torch.distributed
import torch.multiprocessing
import torch.nn.functional as F

from phenolip.train.losses.paired_contrastive import PairedContrastiveLoss, duplicate_mask
from phenolip.train.losses.sigmoid_contrastive import SigmoidContrastiveLoss
from phenolip.train.losses.tiled_contrastive import TiledContrastiveLoss
from phenolip.train.targets.caption_fit import CaptionFit
from phenolip.train.targets.ssm import SemanticSimilarity

N = 11


def unit(num_rows, width, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(num_rows, width, generator=generator, dtype=dtype), dim=1)


def pairs(dtype=torch.float32, num_rows=N, width=5, scale=6.0):
    sides = [unit(num_rows, width, seed, dtype).requires_grad_() for seed in (1, 2)]
    return [*sides, torch.tensor(scale, dtype=dtype, requires_grad=True)]


def rules(num_rows=N, dtype=torch.float32):
    """Groups, soft fit with an empty row and an empty column, and some unknown pairs."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.randint(0, num_rows - 3, (num_rows, 2), generator=generator)
    fit = torch.rand(num_rows, num_rows, generator=generator, dtype=dtype).round(decimals=1) * (
        torch.eye(num_rows) + 1
    )
    fit = fit.clamp(max=1) * (torch.rand(num_rows, num_rows, generator=generator) < 0.5)
    fit[2], fit[:, 3] = 0, 0
    return groups, fit, torch.rand(num_rows, num_rows, generator=generator) < 0.8


def tiles_of(fit, known):
    return lambda rows, columns: (fit[rows, columns], known[rows, columns])


def plain_sigmoid(left, right, scale, bias, groups, fit, known, fit_weight):
    logits = scale * left @ right.T + bias
    own = torch.eye(len(left), dtype=torch.bool)
    targets = (fit_weight * fit if fit_weight else torch.zeros_like(logits)).masked_fill(own, 1.0)
    kept = (known & ~duplicate_mask(groups)) | own
    return F.binary_cross_entropy_with_logits(logits, targets, kept.to(logits.dtype), reduction="sum") / len(left)


def value_and_gradients(loss, inputs):
    value = loss(*inputs)
    return value, torch.autograd.grad(2.5 * value, inputs)


@pytest.mark.parametrize("side", [1, 4, 16])
@pytest.mark.parametrize("fit_weight", [None, 0.0, 0.3, 1.0])
def test_infonce_by_tiles_equals_the_plain_loss(side, fit_weight):
    groups, fit, known = rules()
    plain_rules = (groups, None, None) if fit_weight is None else (groups, fit, known, fit_weight)
    tile_rules = (groups,) if fit_weight is None else (groups, tiles_of(fit, known), fit_weight)
    expected, gradients = value_and_gradients(lambda *x: PairedContrastiveLoss()(*x, *plain_rules), pairs())
    value, found = value_and_gradients(lambda *x: TiledContrastiveLoss(side=side)(*x, *tile_rules), pairs())
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    for one, other in zip(found, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("side", [1, 4, 16])
@pytest.mark.parametrize("fit_weight", [0.0, 0.3])
def test_sigmoid_by_tiles_equals_its_definition(side, fit_weight):
    groups, fit, known = rules()
    inputs = [*pairs(), torch.tensor(-2.0, requires_grad=True)]
    expected, gradients = value_and_gradients(lambda *x: plain_sigmoid(*x, groups, fit, known, fit_weight), inputs)
    loss = SigmoidContrastiveLoss(bias_init=-2.0, side=side)
    value = loss(*inputs[:3], groups, tiles_of(fit, known), fit_weight)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    for one, other in zip(torch.autograd.grad(2.5 * value, [*inputs[:3], loss.logit_bias]), gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_a_large_batch_equals_the_plain_loss():
    groups = torch.randint(0, 900, (1000, 3), generator=torch.Generator().manual_seed(3))
    inputs = pairs(num_rows=1000, width=64, scale=30.0)
    expected, gradients = value_and_gradients(lambda *x: PairedContrastiveLoss()(*x, groups), inputs)
    value, found = value_and_gradients(lambda *x: TiledContrastiveLoss(side=192)(*x, groups), inputs)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    for one, other in zip(found, gradients, strict=True):
        assert (one - other).norm() <= 1e-6 * other.norm()


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("fit_weight", [0.0, 0.4])
def test_gradients_agree_with_finite_differences(kind, fit_weight, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # gradcheck wants float64
    groups, fit, known = rules(7, torch.float64)
    loss = TiledContrastiveLoss(side=3) if kind == "softmax" else SigmoidContrastiveLoss(bias_init=-1.0, side=3)
    inputs = pairs(torch.float64, num_rows=7)
    assert torch.autograd.gradcheck(lambda *x: loss.double()(*x, groups, tiles_of(fit, known), fit_weight), inputs)


@pytest.mark.parametrize("loss", [TiledContrastiveLoss(side=4), SigmoidContrastiveLoss(side=4)])
def test_the_order_of_the_batch_permutes_the_gradient(loss):
    groups, fit, known = rules()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(5))
    left, right, scale = pairs()
    value, gradients = value_and_gradients(
        lambda *x: loss(*x, groups, tiles_of(fit, known), 0.3), [left, right, scale]
    )
    moved = tiles_of(fit[order][:, order], known[order][:, order])
    sides = [side.detach()[order].requires_grad_() for side in (left, right)]
    again, of_moved = value_and_gradients(lambda *x: loss(*x, groups[order], moved, 0.3), [*sides, scale])
    assert again.item() == pytest.approx(value.item(), rel=1e-6)
    for one, other in zip(of_moved[:2], gradients[:2], strict=True):
        torch.testing.assert_close(one, other[order])


@pytest.mark.parametrize("loss", [TiledContrastiveLoss(side=4), SigmoidContrastiveLoss(side=4)])
@pytest.mark.parametrize("case", ["one caption", "nothing known", "no fit", "a hundredfold scale"])
def test_gradients_stay_finite_where_rows_are_emptied(loss, case):
    groups, fit, known = torch.arange(N)[:, None], torch.ones(N, N), torch.ones(N, N, dtype=torch.bool)
    left, right, scale = pairs(scale=100.0 if case == "a hundredfold scale" else 6.0)
    groups = groups * 0 if case == "one caption" else groups
    known = ~known if case == "nothing known" else known
    fit = fit * 0 if case == "no fit" else fit
    value, gradients = value_and_gradients(
        lambda *x: loss(*x, groups, tiles_of(fit, known), 0.5), [left, right, scale]
    )
    assert torch.isfinite(value) and all(torch.isfinite(gradient).all() for gradient in gradients)
    if isinstance(loss, TiledContrastiveLoss) and case in ("one caption", "nothing known"):
        assert value.item() == pytest.approx(0, abs=1e-6)  # no other row is left


def test_a_frozen_side_gets_no_gradient():
    left, right, scale = pairs()
    for loss in (TiledContrastiveLoss(side=4), SigmoidContrastiveLoss(side=4)):
        loss(left, right.detach(), scale).backward()
    assert left.grad is not None and right.grad is None


def test_fit_of_captions_by_tiles_is_the_whole_matrix_cut():
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(N, 6, generator=generator) < 0.3
    batch = {
        "group_ids": torch.zeros(N, 1), "target_embeds": unit(N, 4, 0), "labels": labels,
        "label_values": torch.rand(N, 6, generator=generator), "label_valid": torch.rand(N, 6) < 0.5,
    }  # fmt: skip
    for fits in (CaptionFit("identity"), CaptionFit("ssm", SemanticSimilarity()), CaptionFit("closure")):
        for whole, part in zip(fits(batch), fits.tile(batch, slice(2, 7), slice(5, 11)), strict=True):
            torch.testing.assert_close(part, whole[2:7, 5:11])


def run_process(rank, world_size, folder):
    from phenolip.train.gather import gather_rows, own_rows

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=world_size)
    left, right, scale = pairs(num_rows=12)
    groups, fit, known = rules(12)
    mine, results = own_rows(12), []
    for loss in (TiledContrastiveLoss(side=4), SigmoidContrastiveLoss(side=4)):
        sides = [side.detach()[mine].requires_grad_() for side in (left, right)]
        gathered = [gather_rows(side) for side in sides]
        value = loss(*gathered, scale, groups, tiles_of(fit, known), 0.3, own=mine)
        weights = [*sides, scale, *loss.parameters()]
        gradients = torch.autograd.grad(value, weights)
        whole = [gather_rows(gradient) / world_size for gradient in gradients[:2]]  # the mean over processes
        whole += [gather_rows(gradient[None]).mean() for gradient in gradients[2:]]
        results.append([gather_rows(value.detach()[None]), *whole])
    if rank == 0:
        torch.save(results, folder / "results.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_processes_compute_their_own_rows_and_the_gradient_of_the_whole_batch(tmp_path):
    torch.multiprocessing.spawn(run_process, (2, tmp_path), nprocs=2)
    groups, fit, known = rules(12)
    losses = (TiledContrastiveLoss(side=5), SigmoidContrastiveLoss(side=5))
    for loss, (values, *found) in zip(losses, torch.load(tmp_path / "results.pt", weights_only=True), strict=True):
        inputs = pairs(num_rows=12)
        value = loss(*inputs, groups, tiles_of(fit, known), 0.3)
        torch.testing.assert_close(values, value.detach().expand(2), rtol=1e-6, atol=0)
        for one, other in zip(found, torch.autograd.grad(value, [*inputs, *loss.parameters()]), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
