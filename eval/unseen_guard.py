"""Refuses to call a term unseen that the model's training index shows or names."""

import logging
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from phenolip.eval.contamination import TRAINING_INDEX
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.candidates import model_file
from phenolip.ontology.held_out_terms import HeldOutTerms

logger = logging.getLogger(__name__)

COLUMNS = {"hpo_ids": "labels", "mentioned_ids": "captions and findings"}  # of the index, and what they are of
_SHOWN = 3


def check_unseen(model: str, terms: HeldOutTerms) -> dict[str, Any]:
    """What is known of the terms in the model's training, for results.json.

    Labels are compared by id, the term and its descendants; captions by what they name, as training found it by names
    and synonyms when it wrote the index. What Stage 1 or the towers' own pretraining read is not known here.

    Args:
        model: Folder or Hub id.
        terms: What is said to be unseen.

    Raises:
        ConfigurationError: A held-out term, a descendant or a mention of one is in the index.
        DataError: The index cannot be read.
    """
    path = model_file(model, TRAINING_INDEX)
    if path is None:
        logger.warning("%s carries no %s: nobody knows whether the terms are unseen.", model or "The model",
                       TRAINING_INDEX)  # fmt: skip
        return {"checked": [], "not_checked": list(COLUMNS.values())}
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} must be a Parquet file; copy it again or delete it.") from error
    checked = [column for column in COLUMNS if column in table.column_names]
    for column in checked:
        _refuse(model, column, table[column].to_pylist(), terms)
    missing = [COLUMNS[column] for column in COLUMNS if column not in checked]
    if missing:
        logger.warning("The %s of %s says nothing of %s: the terms may be seen there.", TRAINING_INDEX, model,
                       " and ".join(missing))  # fmt: skip
    return {
        "checked": [COLUMNS[column] for column in checked],
        "not_checked": missing,
        "num_training_rows": table.num_rows,
        "num_terms_with_descendants": len(terms.closure),
    }


def training_phenotypes(model: str, terms: HeldOutTerms) -> list[str]:
    """Current ids of the phenotypes that the model was trained on; empty where that is not known."""
    path = model_file(model, TRAINING_INDEX)
    if path is None or "hpo_ids" not in pq.read_schema(path).names:
        return []
    ids = {one for row in pq.read_table(path, columns=["hpo_ids"])["hpo_ids"].to_pylist() for one in row or ()}
    return sorted({terms.ontology.resolve(one) for one in ids if one in terms.ontology})


def _refuse(model: str, column: str, rows: list[list[str] | None], terms: HeldOutTerms) -> None:
    found = Counter(one for row in rows for one in set(row or ()) if one in terms.closure)
    if not found:
        return
    named = ", ".join(f"{one} ({terms.ontology[one].name}, {n} rows)" for one, n in found.most_common(_SHOWN))
    raise ConfigurationError(
        f"`model` {model} has seen {len(found)} of the held-out terms or their descendants in the "
        f"{COLUMNS[column]} of its training: {named}; split with `phenolip prepare split --hold_out` and train again."
    )
