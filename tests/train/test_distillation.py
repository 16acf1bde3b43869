import math

import pytest
import torch
import torch.nn.functional as F

from phenolip.train.distillation import CAPTION_FORMS, FORMS, NAME_FORMS, KnowledgeDistillation
from phenolip.train.losses.cosine import CosineLoss
from phenolip.train.losses.relational import RelationalLoss

N, C, D, K = 6, 3, 5, 7
SCALE, OWN_SCALE = torch.tensor(4.0), torch.tensor(9.0)


def unit(num_rows, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(num_rows, width, generator=generator, dtype=torch.float64), dim=1)


def batch_of(width=K):
    """Rows 1 and 4 share a caption, 0 and 2 an image; row 3 has no label; C is open for row 5."""
    labels = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.bool)
    teacher = unit(N, width, seed=1)
    teacher[4] = teacher[1]
    return {
        "group_ids": torch.tensor([[0, 0, 0], [1, 1, 1], [2, 0, 2], [3, 3, 3], [1, 4, 4], [5, 5, 5]]),
        "knowledge_embeds": teacher,
        "knowledge_names": unit(C, width, seed=2),
        "labels": labels,
    }


def test_every_form_says_what_it_needs_of_the_teacher():
    assert FORMS.keys() == CAPTION_FORMS | NAME_FORMS


def students(seed=3):
    return unit(N, D, seed), unit(N, D, seed + 1), unit(C, D, seed + 2)


def run(forms, batch, images, texts, names, own_scale=OWN_SCALE, seed=0):
    torch.manual_seed(seed)
    width = batch["knowledge_embeds"].shape[1]
    module = KnowledgeDistillation(forms, width=D, knowledge_dim=width, log_scale=math.log(10)).double()
    return module, *module(images, texts, names, batch, scale=SCALE.double(), own_scale=own_scale.double())


def log_sum(values):
    return math.log(sum(math.exp(value) for value in values))


def by_hand_contrastive(left, right, scale, skip=()):
    """InfoNCE of both directions, pair by pair; `skip` holds (i, j) that are no negatives."""
    total = 0.0
    for a, b in ((left, right), (right, left)):
        for i in range(len(a)):
            logits = [scale * float(a[i] @ b[j]) for j in range(len(b)) if (i, j) not in skip]
            total += log_sum(logits) - scale * float(a[i] @ b[i])
    return total / (2 * len(left))


def by_hand_anchors(images, names, scale, values, valid):
    """Cross-entropy over what is known, mean over images and over names, each weighted by its largest value."""
    annotated = values.bool().any(dim=1)
    images, values, valid = images[annotated], values[annotated], valid[annotated]
    halves = []
    for rows, columns, value, known in ((images, names, values, valid), (names, images, values.T, valid.T)):
        losses, weights = [], []
        for i in range(len(rows)):
            kept = [j for j in range(len(columns)) if known[i, j]]
            total = sum(float(value[i, j]) for j in kept)
            if not total:
                continue
            norm = log_sum([scale * float(rows[i] @ columns[j]) for j in kept])
            losses.append(sum(float(value[i, j]) / total * (norm - scale * float(rows[i] @ columns[j])) for j in kept))
            weights.append(max(float(value[i, j]) for j in kept))
        weighted = sum(loss * weight for loss, weight in zip(losses, weights, strict=True))
        halves.append(weighted / sum(weights) if weights else 0.0)
    return sum(halves) / 2


def by_hand_relational(images, texts, teacher, scale, temperature=0.07):
    total = 0.0
    for a, b in ((images, texts), (texts, images)):
        for i in range(len(a)):
            said = [float(teacher[i] @ teacher[j]) / temperature for j in range(len(a))]
            own = [scale * float(a[i] @ b[j]) for j in range(len(a))]
            p = [value - log_sum(said) for value in said]
            q = [value - log_sum(own) for value in own]
            total += sum(math.exp(p[j]) * (p[j] - q[j]) for j in range(len(a)))
    return total / (2 * len(images))


def by_hand_responses(images, captions, names, scale, temperature=0.05):
    total = 0.0
    for image, caption in zip(images, captions, strict=True):
        said = [float(caption @ name) / temperature for name in names]
        own = [scale * float(image @ name) for name in names]
        for p, q in zip([s - log_sum(said) for s in said], [o - log_sum(own) for o in own], strict=True):
            total += math.exp(p) * (p - q)
    return total / len(images)


def expected_loss(form, module, batch, images, texts, names, own_scale=9.0):
    with torch.no_grad():
        to_teacher = [F.normalize(module.projection(side), dim=1) for side in (images, texts, names)]
    teacher, anchors = batch["knowledge_embeds"], batch["knowledge_names"]
    values = batch.get("label_values", batch["labels"])
    valid = batch.get("label_valid", torch.ones_like(batch["labels"]))
    if form == "contrastive":
        return by_hand_contrastive(to_teacher[1], teacher, own_scale, skip={(1, 4), (4, 1)})
    if form == "cosine":
        return 1 - sum(float(to_teacher[1][i] @ teacher[i]) for i in range(N)) / N
    if form == "relational":
        return by_hand_relational(images, texts, teacher, 4.0)
    if form == "anchors":
        return by_hand_anchors(to_teacher[0], anchors, own_scale, values, valid)
    if form == "responses":
        return by_hand_responses(to_teacher[0], teacher, anchors, own_scale)
    return by_hand_contrastive(to_teacher[2], anchors, own_scale)


@pytest.mark.parametrize("width", [D, K])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_equals_its_definition_in_the_teachers_space(form, width):
    batch = batch_of(width)
    module, total, losses = run({form: 1.0}, batch, *students())
    assert isinstance(module.projection, torch.nn.Linear) == (width != D and form != "relational")
    expected = expected_loss(form, module, batch, *students())
    assert losses.keys() == {form}
    assert total.item() == pytest.approx(expected, rel=1e-5) == losses[form].item()


def test_forms_add_up_with_their_weights():
    batch = batch_of()
    weights = {"contrastive": 1.0, "cosine": 2.5, "relational": 0.25, "anchors": 3.0, "responses": 0.75, "names": 0.5}
    module, total, losses = run(weights, batch, *students())
    expected = {form: expected_loss(form, module, batch, *students()) for form in weights}
    for form, value in losses.items():
        assert value.item() == pytest.approx(expected[form], rel=1e-5)
    assert total.item() == pytest.approx(sum(weights[form] * expected[form] for form in weights), rel=1e-5)


def test_anchors_follow_soft_values_and_leave_open_pairs_out():
    batch = batch_of()
    batch["label_values"] = batch["labels"].double().clamp(min=0.1)
    batch["label_valid"] = torch.ones_like(batch["labels"])
    batch["label_valid"][5, 2] = batch["label_valid"][3, 0] = False
    module, _, losses = run({"anchors": 1.0}, batch, *students())
    expected = expected_loss("anchors", module, batch, *students())
    assert losses["anchors"].item() == pytest.approx(expected, rel=1e-5)
    assert losses["anchors"].item() != pytest.approx(run({"anchors": 1.0}, batch_of(), *students())[1].item())


def test_a_shared_scale_is_that_of_the_student():
    shared = KnowledgeDistillation({"contrastive": 1.0}, width=D, knowledge_dim=D, log_scale=None)
    assert not list(shared.parameters())
    own = KnowledgeDistillation({"contrastive": 1.0}, width=D, knowledge_dim=D, log_scale=2.0)
    assert own.log_scale.item() == 2.0


def test_no_parameter_is_without_a_use():
    for form in FORMS:  # an unused parameter would stop DistributedDataParallel
        module = KnowledgeDistillation({form: 1.0}, width=D, knowledge_dim=K, log_scale=1.0).double()
        own_scale = SCALE if module.log_scale is None else module.log_scale.exp()
        images, *others = students()
        total, _ = module(images.requires_grad_(), *others, batch_of(), scale=SCALE.double(), own_scale=own_scale)
        if list(module.parameters()):
            total.backward()
        assert all(parameter.grad is not None for parameter in module.parameters()), form


@pytest.mark.parametrize("form", FORMS)
def test_gradients_agree_with_finite_differences(form, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor.double())  # gradcheck wants float64
    batch = batch_of()
    module = KnowledgeDistillation({form: 1.0}, width=D, knowledge_dim=K, log_scale=None).double()
    embeds = [side.requires_grad_() for side in students()]
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)

    def loss(images, texts, names, scale):
        return module(images, texts, names, batch, scale=scale, own_scale=scale)[0]

    assert torch.autograd.gradcheck(loss, (*embeds, scale))


@pytest.mark.parametrize("case", ["no labels", "one caption", "nothing known"])
def test_hostile_batches_give_finite_gradients(case):
    batch = batch_of()
    if case == "no labels":
        batch["labels"][:] = False
    elif case == "one caption":
        batch["group_ids"][:] = 0
        batch["knowledge_embeds"][:] = batch["knowledge_embeds"][0].clone()
    else:
        batch["label_values"] = batch["labels"].double()
        batch["label_valid"] = torch.zeros_like(batch["labels"])
    embeds = [side.requires_grad_() for side in students()]
    module, total, losses = run(dict.fromkeys(FORMS, 1.0), batch, *embeds)
    total.backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    for tensor in (*embeds, *module.parameters()):
        assert tensor.grad is None or torch.isfinite(tensor.grad).all()
    if case != "one caption":
        assert losses["anchors"].item() == 0
    else:
        assert losses["contrastive"].item() == pytest.approx(0, abs=1e-12)  # no negative is left


def test_cosine_is_zero_at_the_teacher_and_two_opposite_it():
    teacher = unit(4, 5, seed=0)
    assert CosineLoss()(teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    assert CosineLoss()(-teacher, teacher).item() == pytest.approx(2)
    half_distance = ((unit(4, 5, 1) - teacher) ** 2).sum(1).mean() / 2
    assert CosineLoss()(unit(4, 5, 1), teacher).item() == pytest.approx(half_distance.item(), rel=1e-6)


def test_relational_becomes_infonce_as_the_teacher_grows_certain():
    images, texts, teacher = unit(5, 4, 0), unit(5, 4, 1), unit(5, 9, 2)
    certain = RelationalLoss(temperature=1e-3)(images, texts, teacher, SCALE)
    assert certain.item() == pytest.approx(by_hand_contrastive(images, texts, 4.0), rel=1e-5)
    assert RelationalLoss()(images, images, images, torch.tensor(1 / 0.07)).item() == pytest.approx(0, abs=1e-6)


def test_forms_do_not_depend_on_the_order_of_the_rows():
    batch, (images, texts, names) = batch_of(), students()
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    moved = {name: tensor if name == "knowledge_names" else tensor[order] for name, tensor in batch.items()}
    forms = dict.fromkeys(FORMS, 1.0)
    _, _, losses = run(forms, batch, images, texts, names)
    _, _, again = run(forms, moved, images[order], texts[order], names)
    for form in FORMS:
        assert again[form].item() == pytest.approx(losses[form].item(), rel=1e-6)
