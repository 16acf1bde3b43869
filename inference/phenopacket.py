"""Predictions as GA4GH phenopackets, which tools for rare diseases read.

Source: Jacobsen et al. 2022, Nature Biotechnology 40:817; Phenopacket Schema 2.0 (ISO 4454:2022), in its JSON form.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from phenolip.inference.predict import RESEARCH_ONLY, PhenotypePrediction
from phenolip.ontology.graph import PhenotypeOntology

SCHEMA_VERSION = "2.0"
# What GO calls IEA: a computation said so, and nobody looked at it.
EVIDENCE_CODE = {"id": "ECO:0007669", "label": "computational evidence used in automatic assertion"}
_OBO = "http://purl.obolibrary.org/obo"
_ECO = {
    "id": "eco",
    "name": "Evidence and Conclusion Ontology",
    "url": f"{_OBO}/eco.owl",
    "version": "current",  # that address always gives the current release, of which one stable code is used
    "namespacePrefix": "ECO",
    "iriPrefix": f"{_OBO}/ECO_",
}


def phenopacket(
    packet_id: str,
    predictions: Sequence[PhenotypePrediction],
    ontology: PhenotypeOntology,
    *,
    num_candidates: int,
    created_by: str,
    subject_id: str | None = None,
    created: datetime | None = None,
) -> dict[str, Any]:
    """One image's predictions as a phenopacket.

    Every feature is one that the model proposes: none is marked as excluded, since a low score says little. The scores
    stand in the evidence, where the schema has room for words: `cosine=0.412; probability=0.310; rank=1 of 72`.
    Terms that are no phenotypic abnormality, such as a mode of inheritance, are left out.

    Args:
        packet_id: Names the packet within its collection.
        predictions: Best first.
        ontology: The release whose ids and labels are written.
        num_candidates: Phenotypes that the model chose from.
        created_by: Program and model.
        subject_id: Whose image it is; None writes no subject.
        created: When; by default now. A time zone is needed.

    Raises:
        UnknownTermError: The release does not know a predicted phenotype.
    """
    created = (created or datetime.now(UTC)).astimezone(UTC)
    features = [
        {
            "type": {"id": (term := ontology[row.hpo_id]).id, "label": term.name},
            "evidence": [{"evidenceCode": EVIDENCE_CODE, "reference": _scores(row, rank, num_candidates)}],
        }
        for rank, row in enumerate(predictions, start=1)
        if ontology.is_phenotype(row.hpo_id)
    ]
    return {
        "id": packet_id,
        **({"subject": {"id": subject_id}} if subject_id is not None else {}),
        "phenotypicFeatures": features,
        "metaData": {
            "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "createdBy": created_by,
            "resources": [_hpo(ontology.release), _ECO],
            "phenopacketSchemaVersion": SCHEMA_VERSION,
        },
    }


def _scores(row: PhenotypePrediction, rank: int, num_candidates: int) -> dict[str, str]:
    numbers = f"cosine={row.cosine:.4f}; probability={row.probability:.4f}; rank={rank} of {num_candidates}"
    return {"id": "phenolip", "description": f"{numbers}. {RESEARCH_ONLY}"}


def _hpo(release: str) -> dict[str, str]:
    return {
        "id": "hp",
        "name": "Human Phenotype Ontology",
        "url": f"{_OBO}/hp.owl",
        "version": release,
        "namespacePrefix": "HP",
        "iriPrefix": f"{_OBO}/HP_",
    }
