"""Which words stand for each other in names of phenotypes: learnt from a release's own synonyms, and a short list.

Where two wordings of one term differ in a single word ("Renal agenesis", "Kidney agenesis"), the two words name the
same thing there; pairs that several terms vouch for are trusted elsewhere. The method is ours.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from itertools import combinations

from phenolip.phenokg.linking.words import Role, stem, words_of

_MIN_TERMS = 3  # terms that vouch for a pair
_MIN_SHARE = 0.1  # of the terms in which the rarer of the two words occurs
_SURE_SHARE = 0.3
_MAX_TOGETHER = 0.2  # words that occur side by side in one wording, such as "bone" and "fractured", are no synonyms
_COST, _UNSURE_COST = 0.1, 0.15

# What reports call an abnormality that the ontology calls "Abnormality of ..." or "Abnormal ... morphology".
_ABNORMALITIES = """manifestation sign symptom involvement disorder disease defect anomaly malformation deformity
    problem abnormality abnormal""".split()
# Noun and adjective of a part of the body, where a release has too few wordings to learn them from.
_PARTS = """abdomen abdominal|anus anal|aorta aortic|artery arterial|atrium atrial|axon axonal|bladder urinary|bladder
    vesical|bone bony|bone osseous|bowel intestinal|brain cerebral|breast mammary|cerebellum cerebellar|chest
    thoracic|chromosome chromosomal|clavicle clavicular|cornea corneal|diaphysis diaphyseal|ear aural|ear
    otic|epiphysis epiphyseal|esophagus esophageal|extremity limb|eye ocular|eye ophthalmic|face facial|femur
    femoral|fibula fibular|finger digital|genitalia genital|gum gingival|hair pilar|hearing auditory|heart
    cardiac|humerus humeral|immunity immune|intestine intestinal|iris iridal|jaw mandibular|joint articular|kidney
    renal|larynx laryngeal|lip labial|liver hepatic|lung pulmonary|mandible mandibular|maxilla maxillary|metaphysis
    metaphyseal|mouth oral|muscle muscular|nail ungual|neck cervical|nerve neural|nose nasal|ovary ovarian|palate
    palatal|pancreas pancreatic|patella patellar|pelvis pelvic|penis penile|pupil pupillary|radius radial|rectum
    rectal|retina retinal|rib costal|scapula scapular|septum septal|skeleton skeletal|skin cutaneous|skin dermal|skull
    calvarial|skull cranial|spine spinal|spleen splenic|sternum sternal|stomach gastric|testis testes|testis
    testicular|thorax thoracic|tibia tibial|tongue lingual|tooth dental|trachea tracheal|ulna ulnar|umbilicus
    umbilical|ureter ureteral|urethra urethral|uterus uterine|vagina vaginal|vein venous|ventricle
    ventricular|vertebra vertebral|vision visual"""

#: A word of a text -> (word of a wording that it may stand for, cost), both as stems.
Substitutes = Mapping[str, tuple[tuple[str, float], ...]]


def find_substitutes(wordings: Mapping[str, Collection[tuple[str, ...]]]) -> Substitutes:
    """Words that may stand for each other.

    Args:
        wordings: Of each term, the stems of its name and of each exact synonym.

    Returns:
        Of each word that may occur in a text, the words that it may stand for, with a cost between 0 and 1 each.
    """
    costs: dict[str, dict[str, float]] = defaultdict(dict)
    for pair, share in _vouched_pairs(wordings).items():
        for word, other in (pair, pair[::-1]):
            costs[word][other] = _COST if share > _SURE_SHARE else _UNSURE_COST
    for pair in _PARTS.split("|"):
        noun, adjective = map(stem, pair.split())
        costs[noun][adjective] = costs[adjective][noun] = _COST
    for said in map(stem, _ABNORMALITIES):
        for meant in (stem("abnormality"), stem("abnormal")):
            if said != meant:
                costs[said].setdefault(meant, _UNSURE_COST)
    for barrier in words_of(Role.BARRIER):  # "no lung [masses]" names no absent lung
        costs.pop(stem(barrier), None)
    return {word: tuple(sorted(others.items())) for word, others in sorted(costs.items())}


def _vouched_pairs(wordings: Mapping[str, Collection[tuple[str, ...]]]) -> dict[tuple[str, str], float]:
    """Pairs of words that enough terms vouch for, each with its share of the terms of the rarer word."""
    terms_of, pairs, together = Counter(), Counter(), Counter()
    for forms in wordings.values():
        distinct = sorted({frozenset(form) for form in forms}, key=sorted)
        terms_of.update(set().union(*distinct))
        pairs.update({pair for one, other in combinations(distinct, 2) if (pair := _only_difference(one, other))})
        for form in forms:
            together.update(combinations(sorted(set(form)), 2))
    shares = {pair: number / min(terms_of[word] for word in pair) for pair, number in pairs.items()}
    return {
        pair: share
        for pair, share in shares.items()
        if pairs[pair] >= _MIN_TERMS and share >= _MIN_SHARE and together[pair] <= _MAX_TOGETHER * pairs[pair]
    }


def _only_difference(one: frozenset[str], other: frozenset[str]) -> tuple[str, str] | None:
    mine, yours = one - other, other - one
    if len(mine) == len(yours) == 1 and one & other:
        return tuple(sorted((*mine, *yours)))
    return None
