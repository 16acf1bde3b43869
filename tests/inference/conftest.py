"""A small ontology with a diamond, and encoders without weights."""

import pytest

from phenolip.ontology import PhenotypeOntology, PhenotypeTerm, Synonym

ROOT, MODE = "HP:0000118", "HP:0000005"
EYE, LENS, CATARACT, NUCLEAR = "HP:0000478", "HP:0000517", "HP:0000518", "HP:0100018"
OPACITY, HEAD, EARS, LOW_EARS = "HP:0000001", "HP:0000152", "HP:0000598", "HP:0000369"


@pytest.fixture(scope="session")
def diamond():
    """Cataract is below lens and below opacity; both are below the eye. One term lies outside HP:0000118."""
    terms = [
        PhenotypeTerm(ROOT, "Phenotypic abnormality"),
        PhenotypeTerm(EYE, "Abnormality of the eye", parents=(ROOT,)),
        PhenotypeTerm(LENS, "Abnormal lens morphology", parents=(EYE,), alt_ids=("HP:9000000",)),
        PhenotypeTerm(OPACITY, "Ocular opacity", parents=(EYE,)),
        PhenotypeTerm(
            CATARACT,
            "Cataract",
            definition="A cataract is an opacity of the lens.",
            synonyms=(
                Synonym("Cloudy lens", "EXACT"),
                Synonym("Cataracts", "EXACT"),
                Synonym("CATARACT", "EXACT"),
                Synonym("Lens disease", "BROAD"),
            ),
            parents=(LENS, OPACITY),
        ),
        PhenotypeTerm(NUCLEAR, "Nuclear cataract", parents=(CATARACT,)),
        PhenotypeTerm(HEAD, "Abnormality of head or neck", parents=(ROOT,)),
        PhenotypeTerm(EARS, "Abnormality of the ear", parents=(ROOT,)),
        PhenotypeTerm(LOW_EARS, "Low-set ears", parents=(EARS, HEAD)),
        PhenotypeTerm(MODE, "Mode of inheritance"),
    ]
    return PhenotypeOntology(terms, release="2000-01-01")
