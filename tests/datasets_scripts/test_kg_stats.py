"""Counts over a few pairs, by hand; and a picture of them, of one pair, and of very many kinds."""

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from phenolip.cli import main
from phenolip.datasets_scripts.kg_plots import draw
from phenolip.datasets_scripts.kg_stats import count_pairs, write_stats
from phenolip.exceptions import DataError
from phenolip.phenokg.records import License

SQUARE, ROUND = "HP:9900002", "HP:9900003"


def pair(article_id, *links, split="train", caption="one two three", license=None):
    links = tuple(SimpleNamespace(hpo_id=hpo_id, assertion=assertion) for hpo_id, assertion in links)
    return SimpleNamespace(
        article_id=article_id, phenotypes=links, split=split, caption=caption,
        license=license or License("commercial", "CC-BY-4.0"),
    )  # fmt: skip


def test_counts(ontology):
    stats = count_pairs(
        [
            pair("a", (SQUARE, "present"), (SQUARE, "present"), (ROUND, "present")),
            pair("a", (SQUARE, "present"), (ROUND, "absent"), caption="word " * 10),
            pair("b", ("HP:9900001", "present"), split="test", license=License("non-commercial")),
            pair("c", (ROUND, "family"), split="validation", caption="word " * 25),
        ],
        ontology,
    )
    assert stats == {
        "hpo_release": "2025-01-16", "num_pairs": 4, "num_articles": 3, "num_phenotypes": 3,
        "pairs_by_split": {"train": 2, "validation": 1, "test": 1},
        "articles_by_split": {"train": 1, "validation": 1, "test": 1},
        "pairs_by_system": [{"hpo_id": "HP:9900001", "name": "Odd shape", "num_pairs": 3}],
        "pairs_by_depth": {1: 1, 2: 2},
        "head": [
            {"hpo_id": SQUARE, "name": "Square shape", "num_pairs": 2},
            {"hpo_id": "HP:9900001", "name": "Odd shape", "num_pairs": 1},
            {"hpo_id": ROUND, "name": "Round shape", "num_pairs": 1},
        ],
        "pairs_by_rank": [2, 1, 1], "num_phenotypes_of_one_pair": 2,
        "pairs_by_license": {"CC-BY-4.0": 3, "non-commercial": 1},
        "caption_words": {
            "mean": 41 / 4, "median": 3, "percentile_95": 25, "max": 25, "words_per_bin": 10,
            "pairs_by_bin": [2, 1, 1],
        },
        "pairs_by_num_phenotypes": {0: 1, 1: 2, 2: 1},
        "links_by_assertion": {"present": 5, "absent": 1, "family": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    "pairs",
    [
        [pair("a")],
        [pair("a", (SQUARE, "present"), caption="")],
        [pair(f"{n}", *[(SQUARE, "present")] * n, license=License("commercial", f"L-{n}")) for n in range(12)],
        [pair("a", (SQUARE, "present"), caption="word " * 5000, license=License("commercial", "$x_{1}$ & <b>"))],
    ],
)
def test_any_counts_can_be_drawn(pairs, ontology, tmp_path, recwarn):
    draw(count_pairs(pairs, ontology), tmp_path / "stats.png")
    with Image.open(tmp_path / "stats.png") as picture:
        assert min(picture.size) > 1000
    assert not recwarn.list


def test_a_build_is_counted(make_build, ontology, tmp_path):
    build = make_build()
    stats = write_stats(build.folder, tmp_path / "deep" / "stats", ontology=ontology)
    assert (stats["num_pairs"], stats["num_articles"], stats["num_phenotypes"]) == (4, 4, 1)
    stored = json.loads((tmp_path / "deep" / "stats" / "stats.json").read_text())
    assert stored == json.loads(json.dumps(stats)) and (tmp_path / "deep" / "stats" / "stats.png").is_file()
    with pytest.raises(DataError, match="holds no pair"):
        write_stats(make_build(0, folder="empty").folder, tmp_path / "none", ontology=ontology)
    assert not (tmp_path / "none").exists()


def test_command(make_build, tmp_path, capsys, monkeypatch, ontology):
    build = make_build()
    monkeypatch.setattr("phenolip.cli.kg.load_ontology", lambda path: ontology)
    assert main(["kg", "stats", str(build.folder)]) == 0
    assert "4 pairs of 4 articles, 1 phenotypes" in capsys.readouterr().out
    assert (build.folder / "stats" / "stats.png").is_file()
    assert main(["kg", "stats", str(tmp_path)]) == 1
    assert "finished `phenolip kg build`" in capsys.readouterr().err
