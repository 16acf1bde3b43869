"""Zero-shot variants: unchanged plain metrics, gains by hand, settings that are refused."""

import numpy as np
import pytest

from phenolip.eval.evaluators.retrieval import RetrievalEvaluator
from phenolip.eval.evaluators.zero_shot import ZeroShotEvaluator
from phenolip.eval.evaluators.zero_shot_variants import Variant, VariantsEvaluator, check_variants
from phenolip.eval.tasks.registry import load_task
from phenolip.exceptions import ConfigurationError, UnknownTermError
from phenolip.inference.hierarchy import lin_relatives, mix_embeds, with_ancestors
from phenolip.inference.term_texts import embed_terms
from phenolip.inference.true_path import TermHierarchy
from phenolip.ontology import PhenotypeOntology, PhenotypeTerm, Synonym

ROOT = "HP:0000118"
METRICS = ("zero_shot_top1", "zero_shot_top5", "i2p_hit_at_10", "p2i_hit_at_10", "zero_shot_violation_at_10")
VARIANTS = {
    "synonyms": {"texts": ["name", "synonyms"]},
    "hierarchical": {"hierarchy": "lin"},
    "ancestors": {"hierarchy": "path"},
    "up": {"consistent": "up"},
    "down": {"hierarchy": "lin", "consistent": "down"},
}
PROMPTS = ("{}", "an image of {}")


@pytest.fixture(scope="module")
def ontology():
    """30 leaves below 6 families; the candidates of the pairs are the leaves and one family."""
    families = [PhenotypeTerm(f"HP:{900 + number:07d}", f"Family {number}", parents=(ROOT,)) for number in range(6)]
    leaves = [
        PhenotypeTerm(
            f"HP:{number:07d}",
            f"Sign {number}",
            synonyms=(Synonym(f"Mark {number}", "EXACT"),),
            parents=(families[number % 6].id,),
        )
        for number in range(30)
    ]
    return PhenotypeOntology([PhenotypeTerm(ROOT, "Root"), *families, *leaves], release="2000-01-01")


@pytest.fixture
def pairs(helpers):
    rng = np.random.default_rng(0)
    names = [f"Sign {number}" for number in range(30)]
    labels = [list(rng.choice(names, size=rng.integers(0, 3), replace=False)) for _ in range(40)]
    return helpers.make_pairs([f"image {n}" for n in range(40)], [f"caption {n}" for n in range(40)], labels, names)


def test_the_plain_metrics_stay_and_names_alone_equal_them(pairs, ontology, encoder):
    plain = ZeroShotEvaluator(pairs, prompts=PROMPTS)(encoder)
    both = ZeroShotEvaluator(pairs, prompts=PROMPTS, variants=VARIANTS, ontology=ontology)(encoder)
    assert list(both)[:2] == list(plain) and {name: both[name] for name in plain} == plain
    for name, metric in plain.items():
        assert both[f"{name}_names"].value == metric.value and both[f"{name}_names"].n == metric.n
        assert both[f"{name}_names"].chance == pytest.approx(metric.chance)
    expected = {f"{metric}_{name}" for metric in METRICS for name in ("names", *VARIANTS)}
    expected |= {f"{metric}_{name}_gain" for metric in METRICS for name in VARIANTS}
    assert set(both) == expected | set(plain)


def test_retrieval_of_names_equals_the_retrieval_evaluator_without_prompts(pairs, ontology, encoder):
    variants = check_variants({"synonyms": {}})
    measured = VariantsEvaluator(pairs, ontology, prompts=["{}"], variants=variants)(encoder)
    plain = RetrievalEvaluator(pairs, ks=[10])(encoder)
    for direction in ("i2p", "p2i"):
        assert measured[f"{direction}_hit_at_10_names"].value == plain[f"{direction}_hit_at_10"].value
        assert measured[f"{direction}_hit_at_10_names"].chance == pytest.approx(plain[f"{direction}_hit_at_10"].chance)
        np.testing.assert_array_equal(
            measured[f"{direction}_hit_at_10_names"].per_query, plain[f"{direction}_hit_at_10"].per_query
        )


@pytest.mark.parametrize("name", ["synonyms", "hierarchical", "up", "down"])
def test_a_variant_and_its_gain_equal_a_plain_loop(pairs, ontology, encoder, name):
    variant = check_variants(VARIANTS)[name]
    terms = with_ancestors(ontology, pairs.candidate_ids)
    embeds = embed_terms(encoder.encode_texts, ontology, terms, texts=variant.texts, prompts=PROMPTS)
    if variant.hierarchy:
        embeds = mix_embeds(embeds, lin_relatives(ontology, terms))
    scores = pairs.embed_images(encoder) @ embeds.T
    hierarchy = TermHierarchy(ontology, terms)
    if variant.consistent:
        scores = (hierarchy.propagate_up if name == "up" else hierarchy.propagate_down)(scores)
    right = {}
    for row, labels in enumerate(pairs.labels):
        if len(labels):
            ranks = np.argsort(-scores[row, :30], kind="stable")
            right[row] = [bool(set(ranks[:k].tolist()) & set(labels.tolist())) for k in (1, 5, 10)]
    measured = ZeroShotEvaluator(pairs, prompts=PROMPTS, variants=VARIANTS, ontology=ontology)(encoder)
    metrics = ("zero_shot_top1", "zero_shot_top5", "i2p_hit_at_10")
    if name != "down":  # there leaves tie with their family, and a tie counts in expectation
        means = np.mean(list(right.values()), axis=0)
        assert [measured[f"{metric}_{name}"].value for metric in metrics] == pytest.approx(means)
    violations = np.mean(hierarchy.violates(scores[list(right)], 10))
    assert measured[f"zero_shot_violation_at_10_{name}"].value == pytest.approx(violations)
    assert violations == 0 if variant.consistent else violations > 0
    for metric in METRICS:
        gain = measured[f"{metric}_{name}_gain"]
        assert gain.value == pytest.approx(measured[f"{metric}_{name}"].value - measured[f"{metric}_names"].value)
        assert gain.ci95[0] - 1e-12 <= gain.value <= gain.ci95[1] + 1e-12 and gain.chance is None


def test_relatives_help_where_images_show_families(pairs, ontology, helpers):
    """Images that carry their label's family, and names of which half say nothing of theirs."""

    class Families(helpers.HashEncoder):
        def encode_texts(self, texts):
            return np.stack([self.text(text) for text in texts])

        def text(self, text):
            number = int("".join(filter(str.isdigit, text)) or 0)
            told = "Family" in text or number >= 15
            noise = self.vector(text) * (0.6 if told else 1.0)
            mixed = noise + (np.eye(16, dtype=np.float32)[number % 6] if told else 0)
            return mixed / np.linalg.norm(mixed)

        def encode_images(self, images):
            axes = [int(row.split()[1]) for row in images]
            families = [pairs.labels[row][0] % 6 if len(pairs.labels[row]) else 0 for row in axes]
            return np.eye(16, dtype=np.float32)[families]

    measured = ZeroShotEvaluator(pairs, prompts=["{}"], variants=VARIANTS, ontology=ontology)(Families())
    assert measured["i2p_hit_at_10_hierarchical_gain"].ci95[0] > 0


def test_no_labels_give_no_metrics(helpers, ontology, encoder):
    pairs = helpers.make_pairs(["a"], ["x"], [[]], ["Sign 0"])
    assert VariantsEvaluator(pairs, ontology, prompts=PROMPTS, variants=check_variants(VARIANTS))(encoder) == {}


def test_candidates_that_the_ontology_does_not_know_are_named(helpers, encoder):
    pairs = helpers.make_pairs(["a"], ["x"], [["Sign 0"]], ["Sign 0"])
    ontology = PhenotypeOntology([PhenotypeTerm(ROOT, "Root")], release="2000-01-01")
    with pytest.raises(UnknownTermError, match="HP:0000000"):
        ZeroShotEvaluator(pairs, variants=VARIANTS, ontology=ontology)(encoder)


@pytest.mark.parametrize(
    ("variants", "match"),
    [
        (["synonyms"], "`variants` must map names"),
        ({"Names": {}}, "names of small letters"),
        ({"names": {}}, "other than 'names'"),
        ({3: {}}, "names of small letters"),
        ({"a": {"text": ["name"]}}, "must hold texts, hierarchy and consistent"),
        ({"a": None}, "must hold texts"),
        ({"a": {"hierarchy": True}}, "`hierarchy` of variant 'a' must be lin or path, got True"),
        ({"a": {"hierarchy": ["lin"]}}, "must be lin or path"),
        ({"a": {"consistent": "both"}}, "must be up or down"),
        ({"a": {"texts": ["synonyms"]}}, "`texts` must hold 'name'"),
        ({"a": {"texts": "name"}}, "`texts` must be a list"),
        ({"a": {"texts": 3}}, "`texts` must be a list"),
    ],
)
def test_wrong_variants_are_refused_before_anything_runs(pairs, ontology, variants, match):
    with pytest.raises(ConfigurationError, match=match):
        ZeroShotEvaluator(pairs, variants=variants, ontology=ontology)


def test_variants_need_the_ontology(pairs):
    with pytest.raises(ConfigurationError, match="`ontology` must be given"):
        ZeroShotEvaluator(pairs, variants=VARIANTS)


def test_a_task_names_its_variants(tmp_path):
    settings = load_task("phenobench_ontology").evaluators["zero_shot"]
    plain = load_task("phenobench").evaluators
    assert settings["prompts"] == plain["zero_shot"]["prompts"]
    assert load_task("phenobench_ontology").evaluators["retrieval"] == plain["retrieval"]
    assert check_variants(settings["variants"])["ensemble"] == Variant(("name", "synonyms", "definition"), "lin")
    text = (load_task("phenobench_ontology").path).read_text().replace("hierarchy: path", "hierarchy: paths")
    (tmp_path / "task.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match="variant 'ancestors' must be lin or path, got 'paths'"):
        load_task(tmp_path / "task.yaml")
