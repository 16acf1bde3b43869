"""Findings as texts in Stage 2: two processes train as one, whoever has how many texts."""

import pytest
import torch
import torch.nn.functional as F

from phenolip.train.findings import number_findings
from phenolip.train.losses.image_text_matching import ImageTextMatchingLoss
from phenolip.train.targets.caption_fit import CaptionFit
from phenolip.train.targets.categories import relate_categories
from phenolip.train.targets.ssm import SemanticSimilarity
from phenolip.train.targets.text_targets import TextTargets
from phenolip.train.text_matching import TextMatching, WeightedMatching
from phenolip.train.text_slots import TextSlots

from .conftest import tiny_tokenize

SQUARE, RED_SQUARE, ROUND, RED = "HP:9900004", "HP:9900006", "HP:9900003", "HP:9900005"
ROWS = [
    [SQUARE, RED], [ROUND], [], [RED_SQUARE, ROUND, RED],  # the first process has six texts
    [], [SQUARE], [], [],  # the second has one
]  # fmt: skip
DENIED, DOUBTED = {1: RED, 6: SQUARE}, {0: ROUND, 5: RED}


def findings_of_rows():
    rows = [[{"category": f"{i} {key}", "hpo_id": key} for i, key in enumerate(row)] for row in ROWS]
    for sides, assertion in ((DENIED, "absent"), (DOUBTED, "uncertain")):
        for row, key in sides.items():
            rows[row].append({"category": "x", "hpo_id": key, "assertion": assertion})
    return number_findings(rows, lambda finding: f"text {finding['category']}", max_findings=3)


def of_findings(ontology, kind, contrastive_weight, loss):
    relations = relate_categories(findings_of_rows().categories, ontology, "closure", min_information=0.7)
    similarity = SemanticSimilarity("hpo_ancestor", "affine", floor=0.1, related=relations.related)
    return TextMatching(
        TextTargets(kind, relations, similarity),
        contrastive_weight=contrastive_weight,
        target_weight=0.3,
        matching=WeightedMatching(ImageTextMatchingLoss(**loss), 0.7),
    )


@pytest.fixture
def batch(pair_samples, pair_collator, tiny_model_dir):
    """Eight rows, four a process, with tokens and teacher's embeddings of their findings."""
    findings = findings_of_rows()
    embeds = F.normalize(
        torch.randn(len(findings.texts), 8, generator=torch.Generator().manual_seed(0)), dim=1
    ).numpy()
    pair_collator.slots = TextSlots(
        findings, {"target_embeds": embeds, "knowledge_embeds": embeds}, tokenize=tiny_tokenize(tiny_model_dir)
    )
    del pair_collator.columns["knowledge_embeds"]
    pair_collator.constants["knowledge_names"] = torch.eye(3, 8)
    return pair_collator([pair_samples[(0, row)] for row in range(8)])


@pytest.mark.slow
def test_two_processes_equal_one(build_objective, batch, ontology, tmp_path):
    from .test_distributed import assert_equal_to_one_process

    paper = of_findings(ontology, "ssm", 0.0, {"ce": "soft_ce_sym"})
    both = of_findings(ontology, "closure", 1.0, {"ce": "bce"})
    emptied = {**batch, "text_ids": torch.where(torch.arange(8)[:, None] < 4, batch["text_ids"], -1)}
    captions = {**batch, "target_embeds": batch["target_embeds"][:, 0]}
    captions["knowledge_embeds"] = F.normalize(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    by_likeness = {
        "caption_fit": CaptionFit("ssm", SemanticSimilarity()),
        "matching": WeightedMatching(ImageTextMatchingLoss(mse_on="logits", ce="soft_ce_row"), 1.0),
        "caption_target_weight": 0.5,
    }
    forms = {"distillation": {"contrastive": 1.0, "cosine": 1.0, "names": 1.0}}
    cases = [
        (build_objective(findings=paper, knowledge_weight=0.0, name_weight=0.0).train(), batch),
        (build_objective(findings=both, **forms).train(), emptied),
        (build_objective(**by_likeness).train(), captions),
    ]
    parts = [{"matching_mse"}, {"image_text", "knowledge_cosine"}, {"matching_ce"}]
    for (objective, given), expected in zip(cases, parts, strict=True):
        assert expected <= objective(given).keys()
    assert_equal_to_one_process(cases, tmp_path)


def test_a_batch_without_texts_leaves_every_weight_a_gradient(build_objective, batch, ontology):
    batch["text_ids"] = torch.full_like(batch["text_ids"], -1)
    forms = {"distillation": {"contrastive": 1.0}, "knowledge_weight": 0.3, "name_weight": 0.0}
    objective = build_objective(findings=of_findings(ontology, "ssm", 1.0, {"ce": "bce"}), **forms).train()
    losses = objective(batch)
    losses["loss"].backward()
    assert losses["image_text"].item() == losses["matching_mse"].item() == 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in objective.parameters() if p.requires_grad)


def test_contrast_of_captions_can_be_left_out(build_objective, batch):
    batch["knowledge_embeds"] = torch.zeros(8, 8)
    settings = {"knowledge_weight": 0.0, "name_weight": 0.0, "caption_fit": CaptionFit("identity")}
    matching = WeightedMatching(ImageTextMatchingLoss(mse_on="none"), 2.0)
    alone = build_objective(contrastive_weight=0.0, matching=matching, mask_duplicates=False, **settings).eval()
    plain = build_objective(mask_duplicates=False, **settings).eval()
    assert "image_text" not in alone(batch)
    # with identity targets, matching by softmax is the contrastive loss
    assert alone(batch)["loss"].item() == pytest.approx(2 * plain(batch)["loss"].item(), rel=1e-5)
