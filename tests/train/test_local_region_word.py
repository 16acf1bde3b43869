"""GLoRIA's local term against its formula in plain loops, and what must not change it: padding, order, empty texts."""

import math

import pytest
import torch
import torch.nn.functional as F

from phenolip.train.losses.local_region_word import LocalRegionWordLoss


def batch(num_rows=4, num_regions=5, num_tokens=6, width=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    regions = torch.randn(num_rows, num_regions, width, generator=generator, dtype=torch.float64)
    words = torch.randn(num_rows, num_tokens, width, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([3, 6, 1, 4])[:num_rows]
    return regions, words, torch.arange(num_tokens) < lengths[:, None]


def similarity_in_loops(loss, regions, words, is_word):
    table = torch.zeros(len(regions), len(words), dtype=regions.dtype)
    for image, image_regions in enumerate(F.normalize(regions, dim=-1)):
        for text, text_words in enumerate(F.normalize(words, dim=-1)):
            total = 0.0
            for word in text_words[is_word[text]]:
                weights = torch.softmax(image_regions @ word / loss.attention_temperature, dim=0)
                context = (weights[:, None] * image_regions).sum(dim=0)
                total += math.exp(F.cosine_similarity(context, word, dim=0) / loss.word_temperature)
            table[image, text] = loss.word_temperature * math.log(total)
    return table


def test_similarity_is_the_formula():
    loss = LocalRegionWordLoss(attention_temperature=0.3, word_temperature=0.7)
    regions, words, is_word = batch()
    expected = similarity_in_loops(loss, regions, words, is_word)
    torch.testing.assert_close(loss.similarity(regions, words, is_word).double(), expected, rtol=1e-5, atol=1e-6)


def test_the_loss_is_cross_entropy_both_ways():
    loss = LocalRegionWordLoss(temperature=0.5)
    regions, words, is_word = batch()
    logits = similarity_in_loops(loss, regions, words, is_word) / 0.5
    own = torch.arange(4)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    assert loss(regions, words, is_word).item() == pytest.approx(expected.item(), rel=1e-5)


def test_one_region_and_one_word_are_infonce_of_cosines():
    sides = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    loss = LocalRegionWordLoss(temperature=0.5)(sides[:, None], sides[:, None], torch.ones(2, 1, dtype=torch.bool))
    assert loss.item() == pytest.approx(math.log(1 + math.exp((0.6 - 1) / 0.5)))


def test_padding_does_not_count():
    regions, words, is_word = batch()
    loss = LocalRegionWordLoss()
    plain = loss(regions, words, is_word)
    words[~is_word] = 100.0
    torch.testing.assert_close(loss(regions, words, is_word), plain)
    longer = F.pad(words, (0, 0, 0, 9), value=-7.0)
    torch.testing.assert_close(loss(regions, longer, F.pad(is_word, (0, 9))), plain)


def test_a_text_without_words_is_left_out():
    regions, words, is_word = batch()
    is_word[2] = False
    loss, kept = LocalRegionWordLoss(), torch.tensor([0, 1, 3])
    torch.testing.assert_close(loss(regions, words, is_word), loss(regions[kept], words[kept], is_word[kept]))
    nothing = loss(regions.requires_grad_(), words, torch.zeros_like(is_word))
    assert nothing.item() == 0
    nothing.backward()


def test_excluded_pairs_are_no_negatives():
    regions, words, is_word = batch(num_rows=2)
    both = torch.tensor([[False, True], [True, False]])
    assert LocalRegionWordLoss()(regions, words, is_word, both).item() == 0


def test_the_order_of_the_batch_does_not_matter():
    regions, words, is_word = batch()
    excluded = torch.zeros(4, 4, dtype=torch.bool)
    excluded[0, 3] = excluded[3, 0] = True
    order = torch.tensor([2, 0, 3, 1])
    loss = LocalRegionWordLoss()
    moved = loss(regions[order], words[order], is_word[order], excluded[order][:, order])
    torch.testing.assert_close(moved, loss(regions, words, is_word, excluded))


def test_gradient(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor.double())  # gradcheck wants float64
    regions, words, is_word = batch(num_rows=3, num_regions=4, num_tokens=3)
    loss = LocalRegionWordLoss(temperature=0.5)
    inputs = (regions.requires_grad_(), words.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, is_word[:3]), inputs)


def test_regions_that_cancel_give_finite_numbers():
    regions = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]] * 2, requires_grad=True)
    words = torch.tensor([[[0.0, 1.0]]] * 2)
    loss = LocalRegionWordLoss()(regions, words, torch.ones(2, 1, dtype=torch.bool))
    loss.backward()
    assert loss.isfinite() and regions.grad.isfinite().all()
