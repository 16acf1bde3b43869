"""Rows of held-out terms set apart before a split: what shows, names or is linked to one of them is not trained on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from phenolip.datasets_scripts.split import group_rows
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.held_out_terms import HeldOutTerms, draw_held_out

HELD_OUT_FILE = "held_out.json"  # beside the parts: a list of {hpo_id, name}, which `--candidates` takes
NameIds = Callable[[str], Iterable[str]]


@dataclass(frozen=True)
class Apart:
    """What holding terms out leaves of a data set.

    Attributes:
        terms: The terms.
        kept: (K,) rows of the data that may be split.
        kept_extra: (E,) rows of the further sources that may be trained on.
        unseen: (U,) rows of the data that show a held-out term.
        counts: What was left out of training, by reason, over all sources.
    """

    terms: HeldOutTerms
    kept: np.ndarray
    kept_extra: np.ndarray
    unseen: np.ndarray
    counts: dict[str, int]

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        return {"terms": self.rows(), "num_terms_with_descendants": len(self.terms.closure), "left_out": self.counts}

    def rows(self) -> list[dict[str, str]]:
        """Id and name of each term."""
        return [{"hpo_id": one, "name": self.terms.ontology[one].name} for one in self.terms.hpo_ids]


def set_apart(
    pairs: datasets.Dataset,
    extra: datasets.Dataset | None,
    hold_out: int | Sequence[str],
    ontology: PhenotypeOntology,
    *,
    max_phash_distance: int,
    seed: int = 0,
    link: NameIds | None = None,
) -> Apart:
    """Takes rows of held-out terms out of a data set.

    A row leaves training if a label or finding of it is a held-out term or below one, if its caption names one (by a
    name or synonym, or by what `link` finds, denied or not), or if it shares caption, case or image with such a row.

    Args:
        pairs: Rows of `load_pairs` that are split.
        extra: Further rows, only trained on.
        hold_out: The terms, or how many to draw among the labels of `pairs`.
        ontology: The release.
        max_phash_distance: Of near copies, in bits of 64.
        seed: Of the draw.
        link: Caption -> ids that it names.
    """
    if isinstance(hold_out, int):
        hold_out = draw_held_out(ontology, pairs["hpo_ids"][:], hold_out, seed=seed)
    terms = HeldOutTerms(ontology, tuple(hold_out))
    together = datasets.concatenate_datasets([pairs, extra]) if extra is not None else pairs
    columns = (together["hpo_ids"][:], together["findings"][:], together["caption"][:])
    shown, named = np.zeros(len(together), bool), np.zeros(len(together), bool)
    for row, (labels, findings, caption) in enumerate(zip(*columns, strict=True)):
        shown[row] = bool(terms.shown(labels))
        ids = [finding["hpo_id"] for finding in findings if finding["hpo_id"]] + list(link(caption) if link else ())
        named[row] = bool(terms.shown(ids) or terms.mentioned(caption))
    groups = group_rows(together, max_phash_distance=max_phash_distance)
    out = np.isin(groups, groups[shown | named])
    kept = np.flatnonzero(~out)
    counts = {
        "shows a term": int(shown.sum()),
        "names a term": int((named & ~shown).sum()),
        "linked to such a row": int((out & ~named & ~shown).sum()),
    }
    num_pairs = len(pairs)
    return Apart(
        terms,
        kept[kept < num_pairs],
        kept[kept >= num_pairs] - num_pairs,
        np.flatnonzero(shown[:num_pairs]),
        counts,
    )
