import math

import pytest
import torch
import torch.nn.functional as F

from phenolip.train.losses.adasp import AdaSPLoss
from phenolip.train.losses.distance_margin import DistanceMarginLoss
from phenolip.train.losses.similarity_correlation import SimilarityCorrelationLoss
from phenolip.train.losses.similarity_targets import SimilarityTargetLoss

CONCEPTS = [0, 0, 0, 1, 1, 2, 3, 3]  # uneven groups; concept 2 has one text


def unit(num_rows, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(num_rows, width, generator=generator, dtype=torch.float64), dim=1)


def symmetric(num_concepts, seed, highest):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(num_concepts, num_concepts, generator=generator, dtype=torch.float64) * highest
    return (values + values.T) / 2


def pairwise_of(concepts, seed=1, highest=1.0):
    matrix = symmetric(max(concepts) + 1, seed, highest)
    matrix[matrix < 0.3 * highest] = 0.0  # unrelated
    return matrix[concepts][:, concepts]


def counted_of(concepts, withheld=(3,)):
    return torch.tensor([[a not in withheld and b not in withheld for b in concepts] for a in concepts])


def adasp_by_loops(embeds, concepts, scale, excluded=None):
    dot = [[scale * float(a @ b) for b in embeds] for a in embeds]
    texts = {concept: [n for n, c in enumerate(concepts) if c == concept] for concept in concepts}
    terms = []
    for concept, own in texts.items():
        if len(own) < 2:
            continue
        exponents = [[math.exp(-dot[n][m]) for m in own if m != n] for n in own]
        hardest = -math.log(sum(sum(row) for row in exponents))
        least_hard = math.log(sum(1 / sum(row) for row in exponents))
        low, high = hardest / scale, least_hard / scale
        weight = min(1.0, max(0.0, 2 * low * high / (low + high))) if low > 0 and high > 0 else 0.0
        positive = math.exp(weight * hardest + (1 - weight) * least_hard)
        negatives = sum(
            math.exp(dot[n][m])
            for n in own
            for m in range(len(concepts))
            if concepts[m] != concept and not (excluded is not None and excluded[n, m])
        )
        terms.append(-math.log(positive / (positive + negatives)))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("scale", [0.7, 6.0, 25.0])
@pytest.mark.parametrize("alike", [0.0, 4.0])  # without and with positives that are alike: both sides of the blend
def test_adasp_equals_its_definition(scale, alike):
    concepts = torch.tensor(CONCEPTS)
    embeds = F.normalize(unit(8) + alike * unit(4, seed=3)[concepts], dim=1)
    excluded = torch.zeros(8, 8, dtype=torch.bool)
    excluded[3:5, 5] = excluded[5, 3:5] = True  # concepts 1 and 2 are relatives
    for mask in (None, excluded):
        value = AdaSPLoss()(embeds, concepts, torch.tensor(scale), mask)
        assert value.item() == pytest.approx(adasp_by_loops(embeds, CONCEPTS, scale, mask), rel=1e-4)


def test_adasp_of_two_orthogonal_concepts_in_closed_form():
    # s = 4 within, 0 between: hardest = 4 - ln 2, least hard = 4 + ln 2, negatives = ln 4
    low, high = (4 - math.log(2)) / 4, (4 + math.log(2)) / 4
    weight = min(1.0, 2 * low * high / (low + high))
    positive = weight * (4 - math.log(2)) + (1 - weight) * (4 + math.log(2))
    embeds = torch.eye(2).repeat_interleave(2, dim=0)
    value = AdaSPLoss()(embeds, torch.tensor([0, 0, 1, 1]), torch.tensor(4.0))
    assert value.item() == pytest.approx(math.log(1 + math.exp(math.log(4) - positive)), rel=1e-5)


def test_adasp_without_pairs_or_negatives_is_zero_and_finite_at_the_largest_scale():
    assert AdaSPLoss()(unit(3), torch.arange(3), torch.tensor(1.0)).item() == 0
    assert AdaSPLoss()(unit(3), torch.zeros(3, dtype=torch.long), torch.tensor(1.0)).item() == 0
    embeds = -torch.eye(4).repeat_interleave(2, dim=0).requires_grad_()
    loss = AdaSPLoss()(embeds * torch.tensor([1.0, -1] * 4)[:, None], torch.arange(8) // 2, torch.tensor(100.0))
    loss.backward()
    assert loss.isfinite()


def pearson_by_loops(triples):
    total = sum(weight for _, _, weight in triples)
    mean_x, mean_y = (sum(t[k] * t[2] for t in triples) / total for k in (0, 1))
    covariance = sum(w * (x - mean_x) * (y - mean_y) for x, y, w in triples)
    variance_x, variance_y = (
        sum(t[2] * (t[k] - mean) ** 2 for t in triples) for k, mean in ((0, mean_x), (1, mean_y))
    )
    return covariance / math.sqrt(variance_x * variance_y)


@pytest.mark.parametrize("num_bins", [1, 3, 10])
@pytest.mark.parametrize("withheld", [(), (3,)])
def test_correlation_loss_equals_its_definition(withheld, num_bins):
    embeds, similarity = unit(8, seed=4), pairwise_of(CONCEPTS, seed=5)
    similarity[0, 3] = similarity[3, 0] = 1.0  # the last range includes its end
    pairs = [
        (float(embeds[i] @ embeds[j]), float(similarity[i, j]))
        for i in range(8)
        for j in range(8)
        if CONCEPTS[i] != CONCEPTS[j] and not {CONCEPTS[i], CONCEPTS[j]} & set(withheld)
    ]
    related = [pair for pair in pairs if pair[1] > 0]
    assert 0 < len(related) < len(pairs)
    places = [min(int(y * num_bins), num_bins - 1) for _, y in related]
    counts = {place: max(places.count(place), len(related) / num_bins**2, 1) for place in places}
    weighted = [(x, y, 1 / counts[place]) for (x, y), place in zip(related, places, strict=True)]
    expected = 1 - (pearson_by_loops([(x, y, 1) for x, y in pairs]) + pearson_by_loops(weighted)) / 2
    counted = counted_of(CONCEPTS, withheld) if withheld else None
    loss = SimilarityCorrelationLoss(num_bins)
    value = loss(embeds, torch.tensor(CONCEPTS), torch.tensor(1.0), similarity, counted)
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_correlation_loss_ignores_shift_and_stretch_and_knows_its_extremes():
    embeds, concepts, one = unit(5, seed=5), torch.arange(5), torch.tensor(1.0)
    cosine = embeds @ embeds.T
    assert SimilarityCorrelationLoss()(embeds, concepts, one, 3 + 0.2 * cosine).item() == pytest.approx(0, abs=1e-5)
    assert SimilarityCorrelationLoss()(embeds, concepts, one, 3 - 0.2 * cosine).item() == pytest.approx(2, abs=1e-5)
    constant = SimilarityCorrelationLoss()(embeds, concepts, one, torch.zeros(5, 5))
    assert constant.item() == 1  # nothing to correlate with


@pytest.mark.parametrize("withheld", [(), (3,), (0, 1, 2, 3)])
def test_soft_targets_equal_their_definition(withheld):
    embeds, similarity = unit(8, seed=6), pairwise_of(CONCEPTS, seed=2)
    per_text = []
    for i in range(8):
        others = [j for j in range(8) if CONCEPTS[i] != CONCEPTS[j] and not {CONCEPTS[i], CONCEPTS[j]} & set(withheld)]
        if not others:
            continue
        targets = [math.exp(float(similarity[i, j]) / 0.3) for j in others]
        scores = [math.exp(5.0 * float(embeds[i] @ embeds[j])) for j in others]
        targets, scores = ([value / sum(values) for value in values] for values in (targets, scores))
        per_text.append(sum(t * math.log(t / s) for t, s in zip(targets, scores, strict=True)))
    expected = sum(per_text) / len(per_text) if per_text else 0.0
    loss = SimilarityTargetLoss(target_temperature=0.3)
    value = loss(embeds, torch.tensor(CONCEPTS), torch.tensor(5.0), similarity, counted_of(CONCEPTS, withheld))
    assert value.item() == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("withheld", [(), (3,), (0, 1, 2, 3)])
def test_distance_margin_equals_its_definition(withheld):
    embeds, distance = unit(8, seed=7), pairwise_of(CONCEPTS, seed=3, highest=9.0).round()
    hinges = []
    for i in range(8):
        positives = [j for j in range(8) if j != i and CONCEPTS[j] == CONCEPTS[i]]
        for j in range(8):
            if CONCEPTS[i] == CONCEPTS[j] or not positives or {CONCEPTS[i], CONCEPTS[j]} & set(withheld):
                continue
            own = sum(float(embeds[i] @ embeds[p]) for p in positives) / len(positives)
            gap = 0.8 * min(float(distance[i, j]), 5) / 5
            hinges.append(max(0.0, float(embeds[i] @ embeds[j]) - own + gap))
    expected = sum(hinges) / len(hinges) if hinges else 0.0
    loss = DistanceMarginLoss(margin=0.8, max_distance_edges=5)
    value = loss(embeds, torch.tensor(CONCEPTS), torch.tensor(1.0), distance, counted_of(CONCEPTS, withheld))
    assert value.item() == pytest.approx(expected, rel=1e-5, abs=1e-9)


def losses_of(embeds, scale):
    concepts = torch.tensor(CONCEPTS)
    similarity = pairwise_of(CONCEPTS)
    return {
        "adasp": AdaSPLoss()(embeds, concepts, scale),
        "correlation": SimilarityCorrelationLoss()(embeds, concepts, scale, similarity, counted_of(CONCEPTS)),
        "targets": SimilarityTargetLoss(0.2)(embeds, concepts, scale, similarity, counted_of(CONCEPTS)),
        "margin": DistanceMarginLoss(0.9, 3)(embeds, concepts, scale, 5 * similarity, counted_of(CONCEPTS)),
    }


@pytest.mark.parametrize("name", ["correlation", "targets", "margin"])
def test_gradients_agree_with_finite_differences(name, monkeypatch):
    # losses compute in float32; gradcheck wants float64
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    embeds = unit(8, seed=8).requires_grad_()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e, s: losses_of(e, s)[name] + 0 * s, (embeds, scale))


def test_adasp_gradient_agrees_with_finite_differences_where_its_detached_weight_is_0(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    embeds, scale = unit(8, seed=9).requires_grad_(), torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e, s: losses_of(e, s)["adasp"], (embeds, scale))


@pytest.mark.parametrize("name", ["adasp", "correlation", "targets", "margin"])
def test_losses_do_not_depend_on_the_order_of_the_batch(name):
    embeds, scale, concepts = unit(8, seed=10), torch.tensor(3.0), torch.tensor(CONCEPTS)
    order = torch.tensor([3, 1, 5, 0, 2, 4, 7, 6])
    pairwise = pairwise_of(CONCEPTS, highest=3.0)
    if name == "adasp":
        calls = [(embeds, concepts, scale), (embeds[order], concepts[order], scale)]
    else:
        calls = [
            (embeds, concepts, scale, pairwise),
            (embeds[order], concepts[order], scale, pairwise[order][:, order]),
        ]
    loss = {
        "adasp": AdaSPLoss(),
        "correlation": SimilarityCorrelationLoss(),
        "targets": SimilarityTargetLoss(0.2),
        "margin": DistanceMarginLoss(0.9, 3),
    }[name]
    first, second = (loss(*call).item() for call in calls)
    assert first > 0 and second == pytest.approx(first, rel=1e-5)


def test_margins_out_of_range_are_refused():
    with pytest.raises(ValueError, match="`margin` must be above 0 and at most 2, got 0"):
        DistanceMarginLoss(margin=0.0, max_distance_edges=3)
    with pytest.raises(ValueError, match="`max_distance_edges` must be 1 or more, got 0"):
        DistanceMarginLoss(margin=1.0, max_distance_edges=0)


def test_fewer_than_one_range_of_similarity_is_refused():
    with pytest.raises(ValueError, match="`num_bins` must be 1 or more, got 0"):
        SimilarityCorrelationLoss(num_bins=0)


def test_a_target_temperature_of_0_is_refused():
    with pytest.raises(ValueError, match="`target_temperature` must be above 0, got 0"):
        SimilarityTargetLoss(0.0)
