"""What a model was trained on, without captions to read: training_index.parquet and phenotypes.json."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from phenolip.datasets_scripts.split import perceptual_hashes
from phenolip.near_copies import caption_hash
from phenolip.ontology.graph import PhenotypeOntology
from phenolip.ontology.name_search import NameSearch
from phenolip.provenance import write_json
from phenolip.train.saved_model import TRAINING_INDEX, with_earlier_rows
from phenolip.train.targets.phenotype_targets import distinct_labels


def write_training_index(
    output_dir: Path, parts: Iterable[Dataset], ontology: PhenotypeOntology, init_from: str | None
) -> None:
    """Writes both files beside a model.

    By the index an evaluation notices images and phenotypes that the model was trained on, and how often each was;
    phenotypes.json are the candidates of a prediction. Captions stay out: they may be nobody else's to read.

    Args:
        output_dir: The model's folder.
        parts: Training pairs, as `load_pairs` gives them, in one table or several.
        ontology: Release of the ids.
        init_from: Folder of the model that this one began as, whose rows come along in the index; its phenotypes stay
            out of the candidates.
    """
    search = NameSearch(ontology)
    index = pa.concat_tables([_index(rows, search) for rows in parts])
    labels = distinct_labels(index["hpo_ids"].to_pylist())
    pq.write_table(with_earlier_rows(index, init_from), output_dir / TRAINING_INDEX)
    write_json(
        output_dir / "phenotypes.json", [{"hpo_id": hpo_id, "name": ontology[hpo_id].name} for hpo_id in labels]
    )


def _index(rows: Dataset, search: NameSearch) -> pa.Table:
    ids = [{finding["hpo_id"] for finding in findings if finding["hpo_id"]} for findings in rows["findings"]]
    mentioned = [sorted(own.union(search.find(text))) for own, text in zip(ids, rows["caption"], strict=True)]
    return pa.table(
        {
            "sha256": list(rows["sha256"]),
            "row_id": list(map(str, rows["row_id"])),
            "hpo_ids": pa.array(list(rows["hpo_ids"]), pa.list_(pa.string())),
            "mentioned_ids": pa.array(mentioned, pa.list_(pa.string())),
            "group_id": list(rows["group_id"]),
            "caption_sha256": list(map(caption_hash, rows["caption"])),
            "phash": pa.array(perceptual_hashes(rows), pa.uint64()),
        }
    )
