"""Phenotypes that training left out: the guard, the texts, the numbers."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from phenolip.eval.evaluators.unseen_terms import UnseenTermsEvaluator, held_out_labels
from phenolip.eval.run import evaluate
from phenolip.eval.unseen_guard import check_unseen, training_phenotypes
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.ontology import load_ontology
from phenolip.ontology.build_knowledge import build_knowledge_book
from phenolip.ontology.held_out_terms import HeldOutTerms
from phenolip.ontology.knowledge_book import SOURCES

ROOT, EYE, CATARACT, NUCLEAR, DRUSEN, EAR = (
    "HP:0000118", "HP:9000478", "HP:9000518", "HP:9100018", "HP:9011510", "HP:9000598",
)  # fmt: skip
OBO = f"""format-version: 1.2
data-version: hp/releases/2000-01-01

[Term]
id: {ROOT}
name: Phenotypic abnormality

[Term]
id: {EYE}
name: Odd eye
is_a: {ROOT}

[Term]
id: {CATARACT}
name: Whitelens
def: "A clouding of the lens." []
synonym: "Cloudy lens" EXACT []
is_a: {EYE}

[Term]
id: {NUCLEAR}
name: Nuclear whitelens
is_a: {CATARACT}

[Term]
id: {DRUSEN}
name: Spotdrops
def: "Yellow spots below the retina." []
is_a: {EYE}

[Term]
id: {EAR}
name: Odd ear
is_a: {ROOT}
"""


@pytest.fixture(scope="module")
def hpo(tmp_path_factory):
    path = tmp_path_factory.mktemp("hpo") / "hp.obo"
    path.write_text(OBO)
    return path


@pytest.fixture(scope="module")
def terms(hpo):
    return HeldOutTerms(load_ontology(hpo), (CATARACT, DRUSEN))


class WordEncoder:
    """Knows what "clouding" and "yellow" look like, and no name; bright images are cloudy."""

    name, has_images = "", True

    def encode_images(self, images):
        bright = [np.asarray(image_of(images[row])).mean() > 127 for row in range(len(images))]
        return np.float32([[1, 0] if cloudy else [0, 1] for cloudy in bright])

    def encode_texts(self, texts):
        rows = [[1, 0] if "louding" in text else [0, 1] if "ellow" in text else [0.6, 0.8] for text in texts]
        return np.float32(rows)


def image_of(image):
    from phenolip.images import decode_image

    return image if isinstance(image, Image.Image) else decode_image(image)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unseen")
    (folder / "images").mkdir()
    rows = []
    for number, hpo_id in enumerate([NUCLEAR, CATARACT, DRUSEN, DRUSEN, CATARACT]):
        shade = 250 - number if hpo_id != DRUSEN else number
        Image.new("L", (9, 9), shade).save(folder / f"images/{number}.png")
        rows.append({"file_name": f"images/{number}.png", "caption": f"Picture {number}.", "hpo_ids": [hpo_id]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (folder.parent / "held_out.json").write_text(json.dumps([{"hpo_id": CATARACT}, {"hpo_id": DRUSEN}]))
    return folder


def write_index(folder, hpo_ids=((EAR,),), mentioned_ids=((),)):
    folder.mkdir(exist_ok=True)
    lists = pa.list_(pa.string())
    columns = {"sha256": ["x"] * len(hpo_ids), "hpo_ids": pa.array(list(map(list, hpo_ids)), lists)}
    if mentioned_ids is not None:
        columns["mentioned_ids"] = pa.array(list(map(list, mentioned_ids)), lists)
    pq.write_table(pa.table(columns), folder / "training_index.parquet")
    return str(folder)


def test_explanations_find_what_names_do_not(hpo, data, tmp_path):
    found = evaluate(
        WordEncoder(), "unseen", data, tmp_path, candidates=data.parent / "held_out.json", hpo=hpo
    ).results
    values = {name: metric["value"] for name, metric in found["metrics"].items()}
    assert values["unseen_top1_explanation"] == values["unseen_auroc_explanation"] == 1
    assert values["unseen_top1_name"] == pytest.approx(0.5)  # both names score alike: the tie counts in expectation
    assert values["unseen_auroc_name"] == pytest.approx(0.5)
    assert values["unseen_top1_explanation_gain"] == pytest.approx(0.5)
    assert values["unseen_top1_name_and_explanation_gain"] == pytest.approx(0.5)
    assert "unseen_top1_proxy" not in values  # nobody knows what the model was trained on
    assert found["unseen"] == {"checked": [], "not_checked": ["labels", "captions and findings"]}
    assert found["n"] == 5
    assert {entry["hpo_id"]: entry["explanation"] for entry in found["terms"]}[DRUSEN].startswith("Yellow spots")
    assert "Whitelens" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "per_query.parquet").is_file()


@pytest.mark.parametrize("sources", [(), SOURCES])
def test_explanations_come_from_the_release_where_the_model_has_none(hpo, data, terms, tmp_path, sources):
    """`knowledge: none` leaves a book of bare names beside the model; one with explanations is used as it is."""
    encoder = WordEncoder()
    encoder.knowledge = build_knowledge_book(terms.ontology, {DRUSEN: "yellow from the overlay"}, sources=sources)
    found = evaluate(encoder, "unseen", data, tmp_path, candidates=data.parent / "held_out.json", hpo=hpo).results
    told = {entry["hpo_id"]: entry["explanation"] for entry in found["terms"]}
    assert told[DRUSEN].startswith("Yellow from the overlay" if sources else "Yellow spots below the retina")
    assert found["metrics"]["unseen_top1_explanation"]["value"] == 1


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"hpo_ids": [[CATARACT]]}, r"seen 1 .* in the labels .*: HP:9000518 \(Whitelens, 1 rows\)"),
        ({"hpo_ids": [[NUCLEAR], [NUCLEAR]], "mentioned_ids": [[], []]}, "Nuclear whitelens, 2 rows"),
        ({"mentioned_ids": [[CATARACT]]}, "in the captions and findings"),
    ],
)
def test_the_guard_refuses_ids_descendants_and_mentions(terms, tmp_path, index, message):
    with pytest.raises(ConfigurationError, match=message):
        check_unseen(write_index(tmp_path / "model", **index), terms)


def test_the_guard_says_what_it_could_not_check(terms, tmp_path, caplog):
    assert check_unseen(write_index(tmp_path / "model"), terms)["checked"] == ["labels", "captions and findings"]
    old = check_unseen(write_index(tmp_path / "old", mentioned_ids=None), terms)
    assert old["not_checked"] == ["captions and findings"]
    assert "says nothing of captions" in caplog.text
    (tmp_path / "model" / "training_index.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="must be a Parquet file"):
        check_unseen(str(tmp_path / "model"), terms)


def test_a_proxy_is_the_known_phenotype_of_the_highest_lin_similarity(terms, helpers, tmp_path):
    known = training_phenotypes(write_index(tmp_path / "model", hpo_ids=[[EAR], [EYE]], mentioned_ids=[[], []]), terms)
    assert known == sorted([EAR, EYE])
    evaluator = make_evaluator(helpers, terms, [["Whitelens"], ["Spotdrops"]], known)
    assert evaluator.texts("proxy") == ["Odd eye", "Odd eye"]
    assert evaluator.texts("name_and_explanation")[0] == "Whitelens, where Whitelens is a clouding of the lens."


def make_evaluator(helpers, terms, labels, known=(), **options):
    names = [terms.ontology[hpo_id].name for hpo_id in terms.hpo_ids]
    rows = range(len(labels))
    pairs = helpers.make_pairs([f"image{row}" for row in rows], [f"c{row}" for row in rows], labels, names)
    pairs = replace(pairs, candidate_ids=terms.hpo_ids)
    return UnseenTermsEvaluator(pairs, terms, build_knowledge_book(terms.ontology), known, **options)


def test_values_equal_those_of_plain_loops(terms, helpers, encoder):
    labels = [["Whitelens"], ["Spotdrops"], ["Spotdrops"], ["Whitelens", "Spotdrops"], ["Whitelens"]]
    evaluator = make_evaluator(helpers, terms, labels)
    metrics = evaluator(encoder)
    images = encoder.encode_images([f"image{row}" for row in range(5)])
    names = ["Whitelens", "Spotdrops"]
    scores = images @ encoder.encode_texts(names).T
    hits = [names[int(np.argmax(row))] in label for row, label in zip(scores, labels, strict=True)]
    assert metrics["unseen_top1_name"].value == pytest.approx(np.mean(hits))
    aurocs = [roc_auc_score([name in label for label in labels], scores[:, c]) for c, name in enumerate(names)]
    assert metrics["unseen_auroc_name"].value == pytest.approx(np.mean(aurocs), abs=1e-9)
    assert metrics["unseen_top5_name"].value == 1


def test_labels_below_a_term_count_as_the_term(terms):
    places = held_out_labels([[NUCLEAR], [DRUSEN, CATARACT], [EYE]], terms)
    assert [row.tolist() for row in places] == [[0], [0, 1], []]


def test_what_cannot_be_measured_is_refused(hpo, data, terms, helpers, tmp_path):
    with pytest.raises(ConfigurationError, match="`candidates` must name the held-out terms"):
        evaluate(WordEncoder(), "unseen", data, tmp_path, hpo=hpo)
    with pytest.raises(ConfigurationError, match="`modes` must be of name"):
        make_evaluator(helpers, terms, [["Whitelens"]], modes=["nonsense"])
    with pytest.raises(DataError, match="No image of `data` shows a held-out term"):
        make_evaluator(helpers, terms, [[], []])
