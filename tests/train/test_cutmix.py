"""CutMix: which pixels are exchanged, and losses of mixed images against loops over single rows."""

import numpy as np
import pytest
import torch

from phenolip.train.cutmix import CutMix, mixed_captions, mixed_values, partners
from phenolip.train.losses.paired_contrastive import PairedContrastiveLoss, duplicate_mask
from phenolip.train.losses.phenotype_name import PhenotypeNameLoss


def samples(num_rows, size=16, epoch=0):
    """Each image is one colour, its row's."""
    return [
        {"row": row, "epoch": epoch, "image": np.full((size, size, 3), row % 250 + 1, np.uint8)}
        for row in range(num_rows)
    ]


def only_images(given):
    return {"images": torch.from_numpy(np.stack([sample["image"] for sample in given]))}


def test_neighbours_exchange_one_rectangle_and_the_share_is_its_area():
    given = samples(40)
    batch = CutMix(only_images, probability=1.0, seed=3)(given)
    sizes = set()
    for row in range(40):
        own = (batch["images"][row, ..., 0] == row + 1).numpy()
        assert ((batch["images"][row, ..., 0] == (row ^ 1) + 1).numpy() == ~own).all()
        assert batch["own_share"][row] == pytest.approx(own.mean())
        assert (own == (batch["images"][row ^ 1, ..., 0] == (row ^ 1) + 1).numpy()).all()  # the same place of both
        filled = np.argwhere(~own)
        if len(filled):
            height, width = filled.max(0) - filled.min(0) + 1
            assert len(filled) == height * width
        sizes.add(len(filled))
        assert (given[row]["image"] == row + 1).all()  # what was given is left alone
    assert len(sizes) > 10


def test_the_chance_is_that_of_a_pair():
    shares = CutMix(only_images, probability=0.3, seed=0)(samples(4000, size=8))["own_share"]
    assert (shares[::2] == shares[1::2]).all()
    mixed = (shares[::2] < 1).float().mean().item()
    assert abs(mixed - 0.3) < 0.05
    assert (CutMix(only_images, probability=0.0, seed=0)(samples(10))["own_share"] == 1).all()


def test_parts_of_whole_pairs_are_mixed_as_the_batch_is_and_epochs_differ():
    mix = CutMix(only_images, probability=0.7, seed=5)
    whole = mix(samples(12))
    parts = [mix(samples(12)[start : start + 4]) for start in (0, 4, 8)]
    for name in ("images", "own_share"):
        assert torch.equal(whole[name], torch.cat([part[name] for part in parts]))
    assert not torch.equal(whole["own_share"], mix(samples(12, epoch=1))["own_share"])
    assert not torch.equal(whole["own_share"], CutMix(only_images, probability=0.7, seed=6)(samples(12))["own_share"])


def test_an_odd_row_at_the_end_stays_whole():
    batch = CutMix(only_images, probability=1.0, seed=0)(samples(5))
    assert batch["own_share"][4] == 1 and (batch["images"][4] == 5).all()
    assert partners(5, torch.device("cpu")).tolist() == [1, 0, 3, 2, 4]


@pytest.fixture
def rows():
    """Embeddings of eight rows; 0 and 5 share a caption, 2 and its partner 3 a case; two pairs are mixed."""
    generator = torch.Generator().manual_seed(0)
    images, texts, names = (
        torch.nn.functional.normalize(torch.randn(count, 6, generator=generator, dtype=torch.float64), dim=-1)
        for count in (8, 8, 5)
    )
    groups = torch.tensor([[0, 10], [1, 11], [2, 12], [3, 12], [4, 14], [0, 15], [6, 16], [7, 17]])
    share = torch.tensor([0.7, 0.7, 0.4, 0.4, 1.0, 1.0, 0.9, 0.9], dtype=torch.float64)
    labels = torch.zeros(8, 5, dtype=torch.bool)
    for row, columns in enumerate([[0], [1, 2], [3], [], [4], [0], [], [2]]):
        labels[row, columns] = True
    return images, texts, names, groups, share, labels


def loop_over_rows(logits, share, duplicates, images_along_rows):
    """Cross-entropy of each row by hand."""
    total = 0.0
    for row in range(8):
        other = row ^ 1
        keeps = []
        for column in range(8):
            image, caption = (row, column) if images_along_rows else (column, row)
            is_pair = image // 2 == caption // 2
            left_out = duplicates[image, caption]
            if share[image] < 1 and not is_pair:  # the caption of a duplicate of what was pasted
                left_out = left_out or duplicates[image ^ 1, caption]
            keeps.append(not left_out)
        logs = [value for value, keep in zip(logits[row].tolist(), keeps, strict=True) if keep]
        norm = np.log(np.sum(np.exp(logs)))
        own = norm - logits[row, row].item()
        if share[row] == 1 or not keeps[other]:  # a duplicate as partner: all is its own
            total += own
        else:
            total += share[row].item() * own + (1 - share[row].item()) * (norm - logits[row, other].item())
    return total / 8


def test_captions_of_mixed_images_against_a_loop(rows):
    images, texts, _, groups, share, _ = rows
    duplicates = duplicate_mask(groups)
    assert duplicates[2, 3] and duplicates[0, 5]
    fit, known = mixed_captions(share, duplicates)
    scale = torch.tensor(4.0)
    loss = PairedContrastiveLoss()(images, texts, scale, groups, fit, known, 1 - share)
    logits = 4.0 * images @ texts.T
    expected = [
        loop_over_rows(logits, share, duplicates, True),
        loop_over_rows(logits.T, share, duplicates, False),
    ]
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_whole_images_have_the_plain_loss(rows):
    images, texts, _, groups, share, _ = rows
    whole = torch.ones_like(share)
    mixed = PairedContrastiveLoss()(
        images, texts, torch.tensor(4.0), groups, *mixed_captions(whole, duplicate_mask(groups)), 1 - whole
    )
    assert mixed.item() == pytest.approx(PairedContrastiveLoss()(images, texts, torch.tensor(4.0), groups).item())


def test_phenotypes_of_mixed_images(rows):
    images, _, names, _, share, labels = rows
    values, valid = mixed_values(labels, None, share)
    assert valid is None
    expected = np.zeros((8, 5))
    expected[0, [0, 1, 2]] = 0.7, 0.3, 0.3
    expected[1, [0, 1, 2]] = 0.3, 0.7, 0.7
    expected[2, 3] = 0.4  # its partner has no phenotypes: 3 stays without, 2 with its own share
    expected[4, 4] = expected[5, 0] = 1.0
    expected[7, 2] = 0.9
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-6)
    whole = torch.ones_like(share)
    plain = PhenotypeNameLoss()(images, names, torch.tensor(3.0), labels)
    assert PhenotypeNameLoss()(images, names, torch.tensor(3.0), mixed_values(labels, None, whole)[0]) == plain


def test_what_either_row_leaves_open_is_open(rows):
    *_, share, labels = rows
    valid = torch.ones_like(labels)
    valid[0, 4] = valid[5, 1] = False
    _, mixed = mixed_values(labels, valid, share)
    assert mixed.logical_not().nonzero().tolist() == [[0, 4], [1, 4], [5, 1]]
