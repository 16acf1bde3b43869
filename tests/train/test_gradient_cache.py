"""Gradient caching: the gradient of a large batch by micro-batches, dropout and all, and runs that use it."""

import contextlib
import json
import os
from types import SimpleNamespace

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch.nn.parallel import DistributedDataParallel

from phenolip.exceptions import ConfigurationError
from phenolip.modeling_phenolip import PhenoLIPModel
from phenolip.train.data import EpochPlan
from phenolip.train.faults import Preempted
from phenolip.train.gradient_cache import CachedObjective, cached_backward
from phenolip.train.objective_stage1 import KnowledgeObjective
from phenolip.train.targets.caption_fit import CaptionFit

from .test_loop import assert_same, train  # noqa: F401
from .test_matching_distributed import batch as findings_batch  # noqa: F401
from .test_matching_distributed import of_findings

ROWS = 15
ALL_FORMS = {"contrastive": 1.0, "cosine": 2.0, "relational": 0.5, "anchors": 0.7, "names": 0.3, "responses": 0.6}


def parts_of(batch, num_rows, size, constant=("name_", "knowledge_names")):
    return [
        {
            name: tensor if name.startswith(constant) else tensor[start : min(start + size, num_rows)]
            for name, tensor in batch.items()
        }
        for start in range(0, num_rows, size)
    ]


def gradients(objective):
    return {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}


def by_caching(objective, parts, **changes):
    accelerator = Accelerator(cpu=True)
    settings = {"synchronise": True, "divisor": 1} | changes
    losses = cached_backward(
        accelerator.prepare(CachedObjective(objective)), iter(parts * 2), len(parts), accelerator, **settings
    )
    return losses, gradients(objective)


def at_once(objective, parts):
    """The same rows with every graph kept; parts are encoded one by one, so that dropout draws the same."""
    made = [objective.encode(part) for part in parts]
    embeds = {name: torch.cat([part[name] for part in made]) for name in made[0]}
    whole = {name: torch.cat([part[name] for part in parts]) for name in objective.row_entries if name in parts[0]}
    losses = objective.losses(embeds, {**parts[-1], **whole})
    losses["loss"].backward()
    return losses, gradients(objective)


def assert_equal(found, expected):
    (losses, of_weights), (expected_losses, expected_of_weights) = found, expected
    assert losses.keys() == expected_losses.keys() and of_weights.keys() == expected_of_weights.keys()
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected_losses[name].item(), rel=1e-5)
    size = max(gradient.abs().max() for gradient in expected_of_weights.values())
    for name, gradient in of_weights.items():
        torch.testing.assert_close(gradient, expected_of_weights[name], rtol=1e-5, atol=1e-5 * float(size))


@pytest.fixture
def batch(pair_samples, pair_collator):
    """Fifteen rows with all that the forms of distillation look at."""
    pair_collator.constants["knowledge_names"] = torch.eye(3, 8)
    return pair_collator([pair_samples[(0, row)] for row in range(3, 18)])


CASES = {
    "captions, all forms of distillation": {"distillation": ALL_FORMS},
    "shared scale, by tiles": {"share_scale": True, "tiled_from": 2},
    "sigmoid, soft targets": {"sigmoid": True, "caption_target_weight": 0.3, "caption_fit": CaptionFit("multi_hot")},
    "mixed images": {"distillation": {"contrastive": 1.0, "names": 1.0}},
    "no teacher, no names": {"knowledge_weight": 0.0, "name_weight": 0.0},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_gradient_is_that_of_the_large_batch(build_objective, batch, case, dropout):
    if case == "mixed images":
        batch["own_share"] = torch.tensor([0.7, 0.7, 0.2, 0.2, 1.0, 1.0, 0.9, 0.9, 0.5, 0.5, 1.0, 1.0, 0.4, 0.4, 1.0])
    parts = parts_of(batch, ROWS, 4)  # the last has three
    built = [build_objective(dropout=dropout, **CASES[case]).train() for _ in range(2)]
    results = []
    for compute, objective in zip((by_caching, at_once), built, strict=True):
        torch.manual_seed(7)
        results.append(compute(objective, parts))
    assert_equal(*results)
    if not dropout:
        whole = build_objective(**CASES[case]).train()
        losses = whole(batch)
        losses["loss"].backward()
        assert_equal(results[0], (losses, gradients(whole)))


def test_dropout_draws_the_same_twice_and_leaves_the_generator_where_one_pass_does(build_objective, batch):
    parts, seen = parts_of(batch, ROWS, 4), []
    objective = build_objective(dropout=0.5).train()
    encode = objective.encode
    objective.encode = lambda part: seen.append(encode(part)) or seen[-1]
    torch.manual_seed(7)
    by_caching(objective, parts)
    state = torch.get_rng_state()
    for first, second in zip(seen[:4], seen[4:], strict=True):
        assert torch.equal(first["text_embeds"], second["text_embeds"].detach())
    again = build_objective(dropout=0.5).train()
    torch.manual_seed(7)
    at_once(again, parts)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("kind", ["ssm", "closure"])
def test_findings_as_texts_by_caching(build_objective, findings_batch, ontology, kind):  # noqa: F811
    parts = parts_of(findings_batch, 8, 3)
    settings = {"distillation": {"contrastive": 1.0, "cosine": 1.0, "names": 1.0}}
    results = []
    for compute in (by_caching, at_once):
        losses = of_findings(ontology, kind, 1.0, {"ce": "bce"})
        torch.manual_seed(7)
        results.append(compute(build_objective(dropout=0.3, findings=losses, **settings).train(), parts))
    assert_equal(*results)


def test_stage1_by_caching(tiny_model_dir, ontology):
    generator = torch.Generator().manual_seed(0)
    batch = {
        "input_ids": torch.randint(4, 100, (8, 9), generator=generator),
        "attention_mask": torch.ones(8, 9, dtype=torch.long),
        "concept_ids": torch.tensor([0, 0, 1, 1, 3, 3, 4, 4]),
    }
    results = []
    for compute in (by_caching, at_once):
        encoder = PhenoLIPModel.from_pretrained(tiny_model_dir).text_model.train()
        settings = {"temperature": 0.07, "learn_temperature": True, "mask_relatives": True, "chunk_size": 3}
        torch.manual_seed(7)
        objective = KnowledgeObjective(encoder, list(ontology.term_ids()), ontology, **settings)
        results.append(compute(objective, parts_of(batch, 8, 3)))
    assert_equal(*results)


@pytest.mark.slow
@pytest.mark.parametrize("tiled_from", [2, 2048])
def test_a_batch_of_512_with_dropout(build_objective, pair_collator, pair_samples, tiled_from):
    rows = [row % 18 for row in range(512)]
    batch = pair_collator([pair_samples[(epoch, row)] for epoch, row in enumerate(rows)])
    batch["group_ids"] = torch.arange(512)[:, None].expand(512, 3)
    parts = parts_of(batch, 512, 60)
    results = []
    for compute in (by_caching, at_once):
        torch.manual_seed(7)
        results.append(compute(build_objective(dropout=0.3, tiled_from=tiled_from).train(), parts))
    assert_equal(*results)


def test_gradients_are_exchanged_in_the_last_micro_batch_of_a_step_alone(build_objective, batch):
    parts, waiting, passes = parts_of(batch, ROWS, 4), [], []

    @contextlib.contextmanager
    def no_sync(_):
        waiting.append(True)
        yield
        waiting.pop()

    accelerator = SimpleNamespace(
        device=torch.device("cpu"),
        distributed_type=DistributedType.MULTI_CPU,
        no_sync=no_sync,
        unwrap_model=lambda module: module,
        backward=lambda loss: loss.backward(),
    )
    wrapped = CachedObjective(build_objective(distillation=ALL_FORMS).train())
    wrapped.register_forward_pre_hook(
        lambda module, _, given: passes.append((bool(waiting), given.get("reach_all", False))), with_kwargs=True
    )
    for synchronise in (False, True):  # two batches a step
        cached_backward(wrapped, iter(parts * 2), len(parts), accelerator, synchronise=synchronise, divisor=2)
    assert passes == [(True, False)] * 17 + [(False, True)]


def test_every_trainable_weight_is_reached_where_gradients_are_exchanged(build_objective, batch):
    wrapped = CachedObjective(build_objective(distillation=ALL_FORMS).train())
    total = sum(tensor.sum() for tensor in wrapped(batch, reach_all=True).values())
    of_weights = torch.autograd.grad(total, list(wrapped.parameters()))  # an error where one is not
    by_name = dict(zip((name for name, _ in wrapped.named_parameters()), of_weights, strict=True))
    assert not by_name["objective.model.logit_scale"].any()


def test_a_run_of_micro_batches_resumes_to_the_bit(train, tmp_path):  # noqa: F811
    settings = {"micro_batch_size": 3, "batch_size": 4, "num_epochs": 1}  # uneven micro-batches, two batches a step
    whole = train(tmp_path / "whole", **settings)
    with pytest.raises(Preempted):
        train(tmp_path / "parts", stop_after_steps=1, **settings)
    torch.rand(7)
    with pytest.raises(ConfigurationError, match="another micro_batch_size;"):
        train(tmp_path / "parts", resume=True, **(settings | {"micro_batch_size": 0}))
    assert_same(whole, train(tmp_path / "parts", resume=True, **settings))


def test_a_run_of_micro_batches_learns_what_the_plain_run_does(train, build_objective, tmp_path):  # noqa: F811
    settings = {"max_steps": 2, "log_steps": 1, "learning_rate": 1e-3}
    losses = []
    for size in (0, 3):
        train(tmp_path / str(size), objective=build_objective(), micro_batch_size=size, **settings)
        lines = (tmp_path / str(size) / "log.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5) and losses[0][0] != losses[0][1]


def test_a_loss_that_is_not_one_of_embeddings_is_refused(train, tmp_path):  # noqa: F811
    with pytest.raises(
        ConfigurationError, match="`micro_batch_size` must be 0 where the loss is no loss of embeddings"
    ):
        train(tmp_path, objective=torch.nn.Linear(2, 2), micro_batch_size=2)


def test_the_loader_gives_each_micro_batch_twice(pair_samples):
    plan = EpochPlan(18, 8, seed=0, world_size=2)
    keys = [key for key, _ in plan.batch(1)], plan.batch(1)
    loader = plan.loader(
        pair_samples, lambda samples: [sample["row"] for sample in samples],
        first_batch=1, num_batches=3, num_workers=0, micro_batch_size=3,
    )  # fmt: skip
    rows = [row for _, row in keys[1]]
    found = list(loader)
    assert found[:4] == [rows[:3], rows[3:], rows[:3], rows[3:]] and len(found) == len(loader) == 8


def run_process(rank, world_size, cases, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=world_size)
    accelerator = SimpleNamespace(
        device=torch.device("cpu"),
        num_processes=world_size,
        no_sync=lambda module: module.no_sync(),
        unwrap_model=lambda module: module.module,
        backward=lambda loss: loss.backward(),
    )
    results, wrappers = [], []
    for objective, batch in cases:
        exchanged = []
        wrappers.append(DistributedDataParallel(CachedObjective(objective)))
        wrappers[-1].register_comm_hook(exchanged, mean_over_processes)
        parts, num_exchanges = parts_of(parts_of(batch, 12, 6)[rank], 6, 4), []
        for synchronise in (False, True):  # two batches a step
            losses = cached_backward(
                wrappers[-1], iter(parts * 2), len(parts), accelerator, synchronise=synchronise, divisor=2
            )
            num_exchanges.append(len(exchanged))
        results.append((losses["loss"].detach(), gradients(objective), num_exchanges))
    if rank == 0:
        torch.save(results, folder / "results.pt")
    torch.distributed.barrier()
    os._exit(0)  # a wrapper freed after its gloo threads can wait for them for ever


def mean_over_processes(exchanged, bucket):
    exchanged.append(bucket.index())
    mean = bucket.buffer().div_(torch.distributed.get_world_size())
    return torch.distributed.all_reduce(mean, async_op=True).get_future().then(lambda done: done.value()[0])


@pytest.mark.slow
def test_two_processes_equal_one_and_exchange_gradients_once(build_objective, batch, tmp_path):
    batch = {name: tensor[:12] if len(tensor) == ROWS else tensor for name, tensor in batch.items()}
    cases = [(build_objective(**settings).train(), batch) for settings in CASES.values()]
    torch.multiprocessing.spawn(run_process, (2, cases, tmp_path), nprocs=2)
    together = torch.load(tmp_path / "results.pt", weights_only=True)
    for (objective, _), (loss, of_weights, num_exchanges) in zip(cases, together, strict=True):
        expected = objective(batch)
        expected["loss"].backward()
        assert_equal(({"loss": loss}, of_weights), ({"loss": expected["loss"]}, gradients(objective)))
        assert num_exchanges == [0, 1]
