"""Links of the whole release: what clinicians write, and the two development sets."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from phenolip.exceptions import ConfigurationError
from phenolip.ontology import load_ontology
from phenolip.phenokg.link_phenotypes import LinkConfig, PhenotypeLinker, run
from phenolip.phenokg.linking.lexicon import build_lexicon, load_lexicon
from phenolip.phenokg.records import Article, Figure, License

RECOGNITION = Path(os.environ.get("PHENOLIP_TEST_DATA", "absent")) / "hpo_recognition"


@pytest.fixture(scope="module")
def hpo():
    return load_ontology()


@pytest.fixture(scope="module")
def linker(hpo, tmp_path_factory):
    return PhenotypeLinker(hpo, cache_dir=tmp_path_factory.mktemp("lexicon"))


def names(linker, text):
    return [link.name for link in linker.link(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("His fingers were long.", ["Long fingers"]),
        ("broad nose and short philtrum", ["Wide nose", "Short philtrum"]),
        ("lumbar spinal canal stenosis", ["Lumbar spinal canal stenosis"]),
        ("agenesis of the kidneys", ["Renal agenesis"]),
        ("a tumour of the liver", ["Neoplasm of the liver"]),
        ("severe anaemia", ["Anemia"]),
        ("ulcerative colitis", ["Ulcerative colitis"]),
        ("Achilles tendon, gingiva and mouth", []),
        ("The order of all chapters", []),
        ("", []),
        ("\u0000 \ud800 ﬁ", []),
    ],
)
def test_texts(linker, text, expected):
    assert names(linker, text) == expected


def test_a_link_says_where_and_how(linker):
    text = "No cataract (lens). Renal anomalies."
    cataract, renal = linker.link(text)
    assert (cataract.hpo_id, cataract.assertion, cataract.score) == ("HP:0000518", "absent", 1.0)
    assert text[renal.start : renal.end] == renal.surface == "Renal anomalies"


def test_the_text_decides_what_an_abbreviation_means(linker):
    assert names(linker, "IUGR was seen.") == ["Intrauterine growth retardation"]
    assert names(linker, "in urban growth regions (IUGR). IUGR again.") == []
    explained = linker.link("He had nephrotic syndrome (NS). NS relapsed.")
    assert [(link.surface, link.hpo_id) for link in explained] == [
        ("nephrotic syndrome", "HP:0000100"), ("NS", "HP:0000100"), ("NS", "HP:0000100"),
    ]  # fmt: skip


def test_a_second_stage_weighs_doubtful_mentions_only(hpo, linker):
    text = "Cataract; tumour in the liver"
    asked = []

    def encode(texts):
        asked.append(list(texts))
        near = np.eye(2)[[0] * len(texts)]
        return near if nearness == 1 else np.vstack([near[: len(texts) // 2], near[len(texts) // 2 :] * nearness])

    scores = {}
    for nearness in (1, 0, -1):
        links = PhenotypeLinker(hpo, encode=encode).link(text)
        scores[nearness] = {link.surface: link.score for link in links}
    plain = {link.surface: link.score for link in linker.link(text)}
    assert scores[1]["tumour in the liver"] == pytest.approx(0.8 * plain["tumour in the liver"] + 0.2)
    assert "tumour in the liver" not in scores[-1] and scores[-1]["Cataract"] == plain["Cataract"] == 1.0
    assert asked[0][0] == "tumour in the liver" and "Cataract" not in asked[0]


def test_every_name_links_to_its_term(hpo, linker):
    """A name alone gives its term; where another term has the same words, the older of the two."""
    wrong = [
        (hpo[term_id].name, names(linker, hpo[term_id].name))
        for term_id in hpo.term_ids()
        if term_id != "HP:0000118" and term_id not in {link.hpo_id for link in linker.link(hpo[term_id].name)}
    ]
    assert len(wrong) / len(hpo.term_ids()) < 0.02, wrong[:20]


def test_the_cached_lexicon_is_the_built_one(hpo, tmp_path, caplog):
    built = build_lexicon(hpo)
    assert load_lexicon(hpo, tmp_path) == built
    assert load_lexicon(hpo, tmp_path) == built
    (kept,) = (tmp_path / "lexicon").iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])
    assert load_lexicon(hpo, tmp_path) == built
    assert "is built again" in caplog.text


def test_a_folder_that_refuses_the_cache_is_no_error(hpo, tmp_path, caplog):
    (tmp_path / "lexicon").write_text("a file")
    assert load_lexicon(hpo, tmp_path).release == hpo.release
    assert "each load will build it again" in caplog.text


def test_run_keeps_figures_without_links():
    figures = (Figure("f1", "Fig 1", "", "Arachnodactyly.", ("a.jpg",)), Figure("f2", "Fig 2", "", "A map.", ()))
    article = Article("PMC1.1", "a.xml", "0", "T", "J", License("commercial"), figures)
    linked = list(run([article], LinkConfig()))
    assert [[link.name for link in figure.links] for figure in linked] == [["Arachnodactyly"], []]
    assert linked[0].license.category == "commercial"
    assert [figure.links for figure in run([article], LinkConfig(mode="paper"))] == [(), ()]


@pytest.mark.parametrize(
    ("options", "message"), [({"mode": "fast"}, "`mode` must be"), ({"min_score": 2}, "from 0 to 1")]
)
def test_wrong_settings(options, message):
    with pytest.raises(ConfigurationError, match=message):
        LinkConfig(**options)


def test_time_is_linear_in_the_length_of_a_text(linker):
    text = "He had long fingers, a broad nose and no seizures. His kidneys were small. " * 200

    def seconds(text):
        start = time.process_time()
        linker.link(text)
        return time.process_time() - start

    seconds(text)
    once, eight_times = min(seconds(text) for _ in range(3)), min(seconds(text * 8) for _ in range(2))
    assert eight_times < 8 * once * 2


@pytest.mark.parametrize(("name", "least"), [("gscplus_dev", 0.68), ("omim_val", 0.75)])
def test_documents_of_the_development_sets(hpo, linker, name, least):
    """Micro F1 of the documents' terms; the figures of record are in docs/phenokg.md."""
    path = RECOGNITION / f"{name}.jsonl"
    if not path.exists():
        pytest.skip("PHENOLIP_TEST_DATA has no hpo_recognition")
    true = wrong = missed = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        gold = set()
        for annotation in row["annotations"]:
            if annotation["hpo_id"] in hpo or annotation["hpo_id"] in hpo.obsolete:
                gold.add(hpo.resolve(annotation["hpo_id"]))
        gold = {term_id for term_id in gold if hpo.is_phenotype(term_id)}
        found = {link.hpo_id for link in linker.link(row["text"]) if link.assertion != "absent"}
        true, wrong, missed = true + len(gold & found), wrong + len(found - gold), missed + len(gold - found)
    assert 2 * true / (2 * true + wrong + missed) > least


def test_assertions_of_real_reports(linker):
    """132 sentences of chest X-ray reports, labelled by reading them; the texts are read where the data is.

    The reports come by the sha256 of their uid, and of each the sentences that name a phenotype and hold a word such
    as "no", "without", "clear" or "history". Absent or family against the rest.
    """
    reports = RECOGNITION.parent / "reports" / "iu_xray.jsonl"
    if not reports.exists():
        pytest.skip("PHENOLIP_TEST_DATA has no reports")
    labels = [json.loads(line) for line in (Path(__file__).parent / "iu_xray_assertions.jsonl").open()]
    wanted = {label["uid"] for label in labels}
    rows = map(json.loads, reports.read_text(encoding="utf-8").splitlines())
    links = {row["uid"]: linker.link(row["text"]) for row in rows if row["uid"] in wanted}
    pairs = []
    for label in labels:
        overlapping = [link for link in links[label["uid"]] if link.start < label["end"] and label["start"] < link.end]
        pairs.append((label["assertion"], overlapping[0].assertion if overlapping else "not found"))
    negative = {"absent", "family"}
    true = sum(gold in negative and found == gold for gold, found in pairs)
    f1 = 2 * true / (sum(gold in negative for gold, _ in pairs) + sum(found in negative for _, found in pairs))
    assert len(labels) > 150 and f1 >= 0.97
