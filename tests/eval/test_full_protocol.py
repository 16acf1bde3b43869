"""phenobench_full from end to end, its numbers reproduced from the embeddings by a script of plain loops."""

import json
import math
import os
import random
import re
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from phenolip.eval.compare import load_run
from phenolip.eval.run import evaluate
from phenolip.eval.tasks.registry import TASKS_DIR, load_task
from phenolip.exceptions import ConfigurationError
from phenolip.images import decode_image
from phenolip.ontology import load_ontology

DATA = os.environ.get("PHENOLIP_TEST_DATA")
TERMS = {  # id -> name, parents
    "HP:0000118": ("Phenotypic abnormality", []),
    "HP:0000478": ("Abnormality of the eye", ["HP:0000118"]),
    "HP:0000152": ("Abnormality of head or neck", ["HP:0000118"]),
    "HP:0000518": ("Cataract", ["HP:0000478"]),
    "HP:0010920": ("Zonular cataract", ["HP:0000518"]),
    "HP:0011510": ("Drusen", ["HP:0000478"]),
    "HP:0000256": ("Macrocephaly", ["HP:0000152"]),
    "HP:0000290": ("Abnormality of the forehead", ["HP:0000152", "HP:0000478"]),
}
LABELS = ["HP:0000518", "HP:0010920", "HP:0011510", "HP:0000256", "HP:0000290"]


class PixelEncoder:
    """As the Encoder, without a model: a vector from the pixels or letters."""

    has_images = True

    def __init__(self, name=""):
        self.name = name

    def _unit(self, rows):
        rows = np.asarray(rows, np.float32) - np.float32(0.01)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_images(self, images):
        return self._unit(
            [np.asarray(decode_image(image).resize((8, 8))).ravel()[:64].astype(float) for image in images]
        )

    def encode_texts(self, texts):
        return self._unit([np.bincount([ord(letter) % 64 for letter in text], minlength=64) for text in texts])


@pytest.fixture(scope="module")
def hpo(tmp_path_factory):
    lines = ["format-version: 1.2", "data-version: hp/releases/2000-01-01"]
    for hpo_id, (name, parents) in TERMS.items():
        lines += ["", "[Term]", f"id: {hpo_id}", f"name: {name}", *(f"is_a: {parent}" for parent in parents)]
    path = tmp_path_factory.mktemp("hpo") / "hp.obo"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """36 pairs of 12 cases: repeated captions and images, rows without labels, hostile text, two metadata columns."""
    folder, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    rows = []
    for number in range(36):
        name = f"{number if number % 7 else 0}.png"
        if not (folder / name).exists():
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / name)
        ids = rng.choice(LABELS, size=number % 3, replace=False).tolist()
        named = " and ".join(TERMS[hpo_id][0] for hpo_id in ids)
        caption = "The same  words" if number % 9 == 4 else f"Image {number} with {named}, <b>view</b>"
        row = {"file_name": name, "caption": caption, "hpo_ids": ids}
        rows.append(row | {"case_id": f"c{number % 12}", "modality": "CT" if number % 4 else "MR", "page": number + 1})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(folder, hpo, tmp_path_factory):
    output = tmp_path_factory.mktemp("output")
    return evaluate(PixelEncoder(), "phenobench_full", folder, output, hpo=hpo), output


def average_precision(places):
    return sum(number / place for number, place in enumerate(places, 1)) / len(places)


def ndcg(places):
    gains = [1 / math.log2(place + 1) for place in places]
    return sum(gains) / sum(1 / math.log2(number + 2) for number in range(len(places)))


def reproduce(encoder, pairs, ontology):
    """Metric -> value, from embeddings and the definitions of docs/evaluation.md alone; no code of the metrics."""
    images = encoder.encode_images(pairs.images)[pairs.image_codes].astype(np.float64)
    captions, names = (
        encoder.encode_texts(texts).astype(np.float64) for texts in (pairs.captions, pairs.candidate_names)
    )
    size = len(pairs)
    same = [
        {j for j in range(size) if _key(pairs, i) & _key(pairs, j)} for i in range(size)
    ]  # identical captions and images match
    labels = [set(row.tolist()) for row in pairs.labels]
    asked = [i for i in range(size) if labels[i]]
    shown = sorted(set().union(*labels))
    masked = encoder.encode_texts([_masked(pairs, ontology, i) for i in range(size)]).astype(np.float64)
    directions = {
        "i2t": (images @ captions.T, same, range(size), ""),
        "t2i": (captions @ images.T, same, range(size), ""),
        "i2p": (images @ names.T, labels, asked, ""),
        "p2i": (names @ images.T, [{i for i in asked if c in labels[i]} for c in range(len(names))], shown, ""),
        "i2t_strict": (images @ captions.T, [{i} for i in range(size)], range(size), "_strict"),
        "i2t_masked": (images @ masked.T, same, range(size), "_masked"),
        "t2i_masked": (masked @ images.T, same, range(size), "_masked"),
    }
    found = {}
    for name, (scores, answers, rows, suffix) in directions.items():
        head = name.split("_")[0]
        values = [plain_ranking(scores[row], answers[row]) for row in rows]
        for metric in values[0]:
            column = [value[metric] for value in values]
            found[f"{head}_{metric}{suffix}"] = np.median(column) if metric == "median_rank" else np.mean(column)
    return found


def plain_ranking(row, answers):
    """The metrics of one query: the mean over every way in which the answers can lie among equal scores."""
    row = np.round(np.asarray(row), 10)
    ways, begin = [], 0
    for level in sorted(set(row), reverse=True):
        tied = [j for j in range(len(row)) if row[j] == level]
        number = sum(j in answers for j in tied)
        ways.append(list(combinations(range(begin + 1, begin + len(tied) + 1), number)))
        begin += len(tied)
    values = []
    for way in product(*ways):
        places = [place for part in way for place in part]
        values.append(
            {
                "hit_at_5": places[0] <= 5,
                "precision_at_5": sum(place <= 5 for place in places) / min(5, len(row)),
                "mean_average_precision": average_precision(places),
                "ndcg": ndcg(places),
                "mean_reciprocal_rank": 1 / places[0],
                "median_rank": places[0],
            }
        )
    return {name: np.mean([value[name] for value in values]) for name in values[0]}


def _key(pairs, row):
    return {("caption", " ".join(pairs.captions[row].split()).casefold()), ("image", pairs.sha256[row])}


def _masked(pairs, ontology, row):
    text = pairs.captions[row]
    words = [pairs.candidate_names[label] for label in pairs.labels[row]]
    words += [s.text for label in pairs.labels[row] for s in ontology[pairs.candidate_ids[label]].synonyms]
    for word in sorted(words, key=lambda word: (-len(re.findall(r"\w+", word)), re.findall(r"\w+", word))):
        flags = re.NOFLAG if len(word) <= 3 else re.IGNORECASE
        text = re.sub(rf"\b{re.escape(word)}(?:e?s)?\b", " ", text, flags=flags)
    return " ".join(text.split()) if text != pairs.captions[row] else text


def test_an_independent_script_reproduces_the_numbers(run, hpo):
    evaluation, _ = run
    reproduced = reproduce(PixelEncoder(), evaluation.pairs, load_ontology(hpo))
    missing = {name for name in reproduced if name not in evaluation.results["metrics"]}
    assert {name.removesuffix("_strict").removesuffix("_masked").split("_", 1)[1] for name in missing} == {
        "precision_at_5"
    }
    for name in set(reproduced) - missing:
        assert evaluation.results["metrics"][name]["value"] == pytest.approx(reproduced[name], abs=1e-9), name
    assert len(reproduced) - len(missing) == 39


def test_the_ontologys_view_is_reproduced(run, hpo):
    evaluation, _ = run
    pairs, ontology, encoder = evaluation.pairs, load_ontology(hpo), PixelEncoder()
    prompts = evaluation.results["prompts"]
    names = sum(encoder.encode_texts([prompt.format(name) for name in pairs.candidate_names]) for prompt in prompts)
    images = encoder.encode_images(pairs.images)[pairs.image_codes]
    best = (images @ (names / np.linalg.norm(names, axis=1, keepdims=True)).T).argmax(axis=1)
    above = {c: {*ontology.ancestors(c, include_self=True)} - {"HP:0000118"} for c in pairs.candidate_ids}
    rows, sums, by_term = [], np.zeros(3), {}
    for row, labels in enumerate(pairs.labels):
        if not len(labels):
            continue
        ids, said = [pairs.candidate_ids[label] for label in labels], pairs.candidate_ids[best[row]]
        true = set().union(*(above[hpo_id] for hpo_id in ids))
        shared = len(true & above[said])
        sums += shared, len(above[said]), len(true)
        depth = max(ontology.depth(ontology.lca(said, hpo_id)) for hpo_id in ids)
        rows.append(
            [shared / len(above[said]), shared / len(true), 2 * shared / (len(true) + len(above[said])), depth]
        )
        rows[-1].append(float(said in true))
        for hpo_id in ids:
            by_term.setdefault(hpo_id, []).append(said == hpo_id)
    precision, recall, f1, depth, hit = np.mean(rows, axis=0)
    wanted = {
        "zero_shot_hierarchical_precision_macro": precision,
        "zero_shot_hierarchical_recall_macro": recall,
        "zero_shot_hierarchical_f1_macro": f1,
        "zero_shot_lca_depth": depth,
        "zero_shot_ancestor_hit_at_1": hit,
        "zero_shot_hierarchical_precision_micro": sums[0] / sums[1],
        "zero_shot_hierarchical_recall_micro": sums[0] / sums[2],
        "zero_shot_hierarchical_f1_micro": 2 * sums[0] / (sums[1] + sums[2]),
        "zero_shot_top1_micro": np.mean(sum(by_term.values(), [])),
        "macro_zero_shot_top1": np.mean([np.mean(hits) for hits in by_term.values()]),
    }
    for name, value in wanted.items():
        assert evaluation.results["metrics"][name]["value"] == pytest.approx(value, abs=1e-9), name


def test_values_of_phenobench_stay_and_intervals_draw_cases(run, folder, hpo, tmp_path):
    plain = evaluate(PixelEncoder(), "phenobench", folder, tmp_path, hpo=hpo, report=False).results
    results, output = run[0].results, run[1]
    for name, metric in plain["metrics"].items():
        assert results["metrics"][name]["value"] == metric["value"] and results["metrics"][name]["n"] == metric["n"]
    assert "intervals" not in plain and not (tmp_path / "clusters.parquet").exists()
    assert results["intervals"]["has_group_ids"] and results["intervals"]["num_clusters"] < 12  # joined by repeats
    assert len(load_run(output).clusters["pair"]) == 36


def test_breakdowns_hold_every_query_with_n_and_interval(run):
    results = run[0].results
    by = {entry["by"]: entry for entry in results["breakdowns"]}
    assert set(by) == {
        "organ system",
        "training frequency",
        "modality",
    }
    assert by["training frequency"]["omitted"] == "The model carries no training_index.parquet."
    rows = {row["name"]: row for row in by["modality"]["rows"]}
    assert {name: row["n"] for name, row in rows.items()} == {"CT": 27, "MR": 9}
    whole = results["metrics"]["i2t_hit_at_10"]["value"] * 36
    assert sum(row["metrics"]["i2t_hit_at_10"]["value"] * row["n"] for row in rows.values()) == pytest.approx(whole)
    eye = next(row for row in by["organ system"]["rows"] if row["key"] == "HP:0000478")
    assert eye["name"] == "Abnormality of the eye" and "p2i_hit_at_10" in eye["metrics"]
    for entry in by.values():
        for row in entry.get("rows", ()):
            for metric in row["metrics"].values():
                assert metric["n"] >= 1 and metric["ci95"][0] <= metric["value"] + 1e-9 <= metric["ci95"][1] + 2e-9


def test_frequency_comes_from_the_labels_of_training(run, folder, hpo, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    ids = [["HP:0000518"]] * 120 + [["HP:0011510"]] * 12 + [["HP:0000256"]]
    pq.write_table(
        pa.table({"sha256": ["x"] * len(ids), "row_id": ["y"] * len(ids), "hpo_ids": ids}),
        model / "training_index.parquet",
    )
    results = evaluate(
        PixelEncoder(str(model)), "phenobench_full", folder, tmp_path / "o", hpo=hpo, report=False
    ).results
    entry = next(entry for entry in results["breakdowns"] if entry["by"] == "training frequency")
    assert [row["key"] for row in entry["rows"]] == ["head", "middle", "tail", "unseen"]
    assert sum(row["metrics"]["p2i_hit_at_10"]["n"] for row in entry["rows"]) == len(LABELS)


def test_checks_are_written_and_pass(run):
    checks = run[0].results["checks"]
    names = {"label_shuffled", "majority_class", "random_floor", "embedding_collapse", "arithmetic", "invariance"}
    assert set(checks) == names and "omitted" in checks["invariance"]  # an encoder without weights
    assert all(control["passes"] for control in checks["label_shuffled"]) and checks["random_floor"]["passes"]
    assert checks["arithmetic"] == {
        "num_metrics": len(run[0].results["metrics"]),
        "num_whole_k_of_n": checks["arithmetic"]["num_whole_k_of_n"],
        "problems": [],
        "passes": True,
    }
    top1 = checks["majority_class"]["top1"]
    assert top1["value"] == top1["k"] / top1["n"]


def test_the_report_sorts_and_carries_everything(run):
    page, pages = ((run[1] / name).read_text() for name in ("report.html", "retrieval.html"))
    assert page.count("<script>") == 1 and "<b>view</b>" not in page + pages and "&lt;b&gt;view" in page + pages
    assert (
        "script-src 'sha256-" in page.replace("&#39;", "'")
        and 'table class="sortable' in page
        and "onclick" not in page
    )
    for title in ("Whole rankings", "By organ system", "By modality", "Checks that ran by themselves"):
        assert title in page
    assert pages.count('<li class="right">') > 0 and "For research, not for diagnosis" in pages
    assert all(f'id="{direction}"' in pages for direction in ("i2t", "t2i", "i2p", "p2i")) and "<script" not in pages
    assert not re.search(r'(src|href)="(?!data:|#)', (page + pages).replace('xlink:href="#', 'href="#'))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"extras": ["clusters", "check"]}, "`extras` must be a list of clusters, breakdowns, checks, hits"),
        ({"extras": "checks"}, "`extras` must be a list"),
        ({"evaluators": {"ranked_retrieval": {"mask": True}}}, "`ranked_retrieval` takes masked, got 'mask'"),
        ({"evaluators": {"zero_shot_ontology": {"prompt_sets": {"a": "{}"}}}}, "`prompt_sets` must map names"),
        ({"evaluators": {"zero_shot_ontology": {"prompt_sets": ["{}"]}}}, "`prompt_sets` must map names"),
        ({"evaluators": {"zero_shot_ontology": {"prompt_sets": {"a": ["x"]}}}}, "`prompts` must each hold one"),
    ],
)
def test_a_wrong_task_file_is_named(tmp_path, change, match):
    settings = yaml.safe_load((TASKS_DIR / "phenobench_full.yaml").read_text()) | change
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigurationError, match=match):
        load_task(tmp_path / "mine.yaml")


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="PHENOLIP_TEST_DATA is not set")
def test_the_script_reproduces_the_numbers_of_real_pairs(tmp_path):
    gallery = Path(DATA, "phenobench_gallery")
    rows = random.Random(0).sample((gallery / "metadata.jsonl").read_text().splitlines(), 120)
    (tmp_path / "images").symlink_to(gallery / "images")
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    evaluation = evaluate(
        PixelEncoder(), "phenobench_full", tmp_path, tmp_path / "o", report=False, max_bad_fraction=0.05
    )
    reproduced = reproduce(PixelEncoder(), evaluation.pairs, load_ontology())
    for name in set(reproduced) & set(evaluation.results["metrics"]):
        assert evaluation.results["metrics"][name]["value"] == pytest.approx(reproduced[name], abs=1e-9), name
