import faulthandler
import os
from datetime import timedelta

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel

from phenolip.train.data import EpochPlan
from phenolip.train.hierarchy import build_hierarchy
from phenolip.train.losses.adasp import AdaSPLoss
from phenolip.train.objective_stage1 import KnowledgeObjective
from phenolip.train.targets.closure import ClosureTargets

BATCH_SIZE = 8


def gradients(objective):
    return {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}


def split_batch(batch, rank, world_size, constant=("name_input_ids", "name_attention_mask", "knowledge_names")):
    share = {}
    for name, tensor in batch.items():
        size = len(tensor) // world_size
        share[name] = tensor if name in constant else tensor[rank * size : (rank + 1) * size]
    return share


def run_process(rank, world_size, cases, folder):
    faulthandler.dump_traceback_later(90, exit=True)  # a process that waits for ever says where
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/rendezvous", rank=rank, world_size=world_size, timeout=timedelta(seconds=60)
    )
    results, wrappers = [], []
    for objective, batch in cases:
        wrappers.append(DistributedDataParallel(objective))
        loss = wrappers[-1](split_batch(batch, rank, world_size))["loss"]
        loss.backward()
        total = loss.detach().clone()
        torch.distributed.all_reduce(total)
        results.append({"loss": total / world_size, "gradients": gradients(objective)})
    if rank == 0:
        torch.save(results, folder / "results.pt")
    torch.distributed.barrier()
    os._exit(0)  # a wrapper freed after its gloo threads can wait for them for ever


def assert_equal_to_one_process(cases, folder):
    torch.multiprocessing.spawn(run_process, (2, cases, folder), nprocs=2)
    for (objective, batch), together in zip(cases, torch.load(folder / "results.pt", weights_only=True), strict=True):
        loss = objective(batch)["loss"]
        loss.backward()
        assert together["loss"].item() == pytest.approx(loss.item(), rel=1e-5)
        alone = gradients(objective)
        assert together["gradients"].keys() == alone.keys()
        scale = max(gradient.abs().max() for gradient in alone.values())
        for name, gradient in alone.items():
            torch.testing.assert_close(together["gradients"][name], gradient, rtol=1e-5, atol=1e-5 * float(scale))


ALL_FORMS = {"contrastive": 1.0, "cosine": 2.0, "relational": 0.5, "anchors": 0.7, "names": 0.3, "responses": 0.6}


def test_stage2_on_two_processes_equals_one(build_objective, pair_samples, pair_collator, ontology, tmp_path):
    keys = EpochPlan(len(pair_samples), BATCH_SIZE, seed=0).batch(0)
    # the last two rows share a caption and come to different processes; some rows have no phenotype
    rows = [16, *(row for _, row in keys if row not in (16, 17))][:7] + [17]
    pair_collator.constants["knowledge_names"] = torch.eye(3, 8)
    batch = pair_collator([pair_samples[(0, row)] for row in rows])
    assert (~batch["labels"].any(dim=1)).any()
    labels = [["HP:9900004"], ["HP:9900006", "HP:9900003"], []]
    pair_collator.targets = ClosureTargets([labels[row % 3] for row in range(18)], ontology, min_information=0.7)
    pair_collator.constants["knowledge_names"] = torch.eye(len(pair_collator.targets.candidate_ids), 8)
    closure = pair_collator([pair_samples[(0, row)] for row in rows])
    assert not closure["label_valid"].all() and (closure["label_values"].bool() != closure["labels"]).any()
    soft = {"caption_target_weight": 0.4, "distillation": {"anchors": 1.0, "relational": 1.0}, "name_weight": 0.0}
    settings = [
        (batch, {"share_scale": False}),
        (batch, {"share_scale": True}),
        (batch, {"distillation": ALL_FORMS}),
        (closure, soft),
        ({**batch, "own_share": torch.tensor([0.7, 0.7, 1.0, 1.0, 0.2, 0.2, 0.6, 0.6])}, {"knowledge_weight": 0.0}),
    ]
    cases = [(build_objective(**changes).train(), given) for given, changes in settings]
    assert_equal_to_one_process(cases, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("contrastive", "kind"), [(None, "none"), (AdaSPLoss(), "correlation")])
def test_stage1_on_two_processes_equals_one(tiny_model_dir, ontology, tmp_path, contrastive, kind):
    from phenolip.modeling_phenolip import PhenoLIPModel

    hierarchy = build_hierarchy(
        kind,
        ontology,
        ontology.term_ids(),
        similarity="lin",
        target_temperature=0.1,
        margin=0.5,
        max_distance_edges=4,
        withheld_fraction=0.2,
    )
    encoder = PhenoLIPModel.from_pretrained(tiny_model_dir).text_model.eval()
    hpo_ids = ontology.term_ids()
    objective = KnowledgeObjective(
        encoder,
        list(hpo_ids),
        ontology,
        temperature=0.07,
        learn_temperature=True,
        mask_relatives=True,
        chunk_size=3,
        contrastive=contrastive,
        hierarchy=hierarchy,
        hierarchy_weight=0.5,
    )
    generator = torch.Generator().manual_seed(0)
    batch = {
        "input_ids": torch.randint(4, 100, (BATCH_SIZE, 9), generator=generator),
        "attention_mask": torch.ones(BATCH_SIZE, 9, dtype=torch.long),
        "concept_ids": torch.tensor([0, 0, 1, 1, 3, 3, 4, 4]),
    }
    assert_equal_to_one_process([(objective, batch)], tmp_path)
