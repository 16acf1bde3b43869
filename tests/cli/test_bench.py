"""`phenolip bench`: one command that says at every step what comes next, and a benchmark that can be evaluated on."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phenolip.cli import main
from phenolip.datasets_scripts.bench_folder import BenchFolder

HPO = """format-version: 1.2
data-version: hp/releases/2025-01-16

[Term]
id: HP:0000118
name: Phenotypic abnormality
"""
DATA = Path(os.environ.get("PHENOLIP_TEST_DATA", "absent"))
FINDINGS = (("Arachnodactyly", "HP:0001166"), ("Scoliosis", "HP:0002650"), ("Ectopia lentis", "HP:0001083"))


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Runs `phenolip bench` with an ontology of the three findings."""
    terms = [f"\n[Term]\nid: {hpo_id}\nname: {name}\nis_a: HP:0000118\n" for name, hpo_id in FINDINGS]
    (tmp_path / "hp.obo").write_text(HPO + "".join(terms))
    monkeypatch.setenv("PHENOLIP_CACHE", str(tmp_path / "cache"))

    def run(step, *words):
        release = ["--hpo", str(tmp_path / "hp.obo")] if step != "freeze" else []
        return main(["bench", step, *map(str, words), *release])

    return run


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    with (folder / "metadata.jsonl").open("w") as lines:
        for number in range(6):
            blocks = np.random.default_rng(number).integers(0, 256, (9, 9, 3), np.uint8)
            Image.fromarray(blocks).resize((48, 40)).save(folder / f"{number}.png")
            name, hpo_id = FINDINGS[number % 3]
            row = {"file_name": f"{number}.png", "caption": f"{name} of patient {number}.", "hpo_ids": [hpo_id]}
            lines.write(json.dumps(row) + "\n")
    return folder


def answer(folder, reviewer, verdict=lambda item: "right"):
    """Writes a review as the sheet gives it."""
    bench = BenchFolder(Path(folder))
    lines = [
        {"sheet": bench.drawn()["sheet"], "reviewer": reviewer, "item": one.item, "verdict": verdict(one.item)}
        for one in bench.questions()
    ]
    path = bench.path / "reviews" / f"review-{reviewer}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_build_goes_from_step_to_step(bench, pairs, tmp_path, capsys):
    folder = tmp_path / "bench"
    build = ["build", "--output", folder]
    assert bench(*build) == 2
    assert "`pairs` must be given, since nothing is drawn" in capsys.readouterr().err
    assert bench("build", pairs, "--output", folder, "--per-phenotype", "1") == 0
    shown = capsys.readouterr()
    assert "Drawn: 3 of 6 rows, 3 of 3 phenotypes, 3 questions, 3 not_needed." in shown.out
    assert f"Next: have two or more people answer {folder}/sheet/review.html" in shown.out
    assert "name what you trained on as --exclude" in shown.err
    assert bench(*build) == 0 and "Next: have two or more people" in capsys.readouterr().out
    for same in (f"{pairs}/", os.path.relpath(pairs)):
        assert bench("build", same, "--output", folder) == 0
    assert bench("build", tmp_path, "--output", folder) == 2
    assert f"`pairs` must be '{pairs}', as" in capsys.readouterr().err
    answer(folder, "ab")
    assert bench(*build, "--version", "1.0.0") == 0
    assert "One review is there: review-ab.jsonl. Next: have two" in capsys.readouterr().out
    first = BenchFolder(folder).questions()[0].item
    answer(folder, "cd", lambda item: "wrong" if item == first else "right")
    assert bench(*build) == 0
    shown = capsys.readouterr().out
    assert "Kept: 2 of 3 rows, 1 not_agreed." in shown and "Next: look at" in shown and "Cohen's kappa" in shown
    assert bench(*build, "--version", "1.0.0") == 0
    shown = capsys.readouterr().out
    assert "Frozen: version 1.0.0, 2 rows, 2 phenotypes, SHA-256" in shown and f"--data {folder}/bench-1.0.0" in shown
    assert bench(*build, "--version", "1.0.0") == 1
    assert "a frozen version is never replaced" in capsys.readouterr().err
    assert bench(*build, "--per_phenotype", "2") == 2
    assert "`per_phenotype` must be 1, as" in capsys.readouterr().err


def test_each_step_alone_and_what_was_trained_on(bench, pairs, tmp_path, capsys):
    folder, frozen, train = tmp_path / "bench", tmp_path / "frozen", tmp_path / "train"
    assert bench("draw", pairs, "--output", folder, "--exclude", pairs) == 1
    assert "No row of" in capsys.readouterr().err
    train.mkdir()
    (train / "x.png").write_bytes((pairs / "4.png").read_bytes())
    (train / "metadata.jsonl").write_text('{"file_name": "x.png", "caption": "Ectopia lentis of patient 2."}')
    assert bench("draw", pairs, "--output", folder, "--exclude", train) == 0
    assert "Drawn: 4 of 6" in (shown := capsys.readouterr().out)
    assert "1 training_same_caption" in shown and "1 training_same_image" in shown
    reviews = [answer(folder, "ab"), answer(folder, "cd")]
    assert bench("merge", folder, *reviews) == 0
    assert "not defined" in capsys.readouterr().out  # all agree: nothing is left to chance
    assert bench("freeze", folder, "--version", "1", "--output", frozen) == 2
    assert "`version` must be three numbers" in capsys.readouterr().err
    assert bench("freeze", folder, "--version", "0.1.0", "--output", frozen) == 0
    assert bench("merge", folder, reviews[0]) == 2
    assert bench("merge", pairs, *reviews) == 1
    assert "holds no draw" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_is_evaluated_on_it(bench, pairs, tmp_path, tiny_model_dir):
    folder, frozen = tmp_path / "bench", tmp_path / "frozen"
    assert bench("draw", pairs, "--output", folder) == 0
    assert bench("merge", folder, answer(folder, "ab"), answer(folder, "cd")) == 0
    assert bench("freeze", folder, "--version", "1.0.0", "--output", frozen) == 0
    call = ["eval", "--model", str(tiny_model_dir), "--task", "phenobench", "--data", str(frozen)]
    assert main([*call, "--hpo", str(tmp_path / "hp.obo"), "--output", str(tmp_path / "eval")]) == 0
    results = json.loads((tmp_path / "eval" / "results.json").read_text())
    assert results["n"] == 6
    assert results["data_revision"] == json.loads((frozen / "manifest.json").read_text())["data_revision"]


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the development data")
def test_the_gallery(tmp_path, capsys):
    folder = str(tmp_path / "bench")
    call = ["bench", "draw", str(DATA / "phenobench_gallery"), "--output", folder, "--number", "60"]
    assert main([*call, "--per_phenotype", "1"]) == 0
    assert "Drawn: 60 of 2,786 rows" in capsys.readouterr().out
    rows = BenchFolder(Path(folder)).rows()
    named = [start is not None for row in rows for start in row["starts"]]
    assert 0.5 < np.mean(named) < 1  # captions name most of their labels, not all
