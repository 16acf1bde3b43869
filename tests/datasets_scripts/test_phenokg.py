"""PhenoKG's tables: from an ontology and a build to rows that `load_dataset` finds anywhere."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import datasets
import pytest
import yaml

from phenolip.cli import main
from phenolip.datasets_scripts.contamination import AuditedTable
from phenolip.datasets_scripts.features import PAIRS, RELATIONS, TERMS
from phenolip.datasets_scripts.kg_tables import KgBuild, pair_row, relation_rows, term_rows
from phenolip.datasets_scripts.load import load_pairs
from phenolip.datasets_scripts.phenokg import prepare_phenokg
from phenolip.exceptions import DataError
from phenolip.images import decode_image
from phenolip.ontology import load_ontology
from phenolip.phenokg.split_pairs import SPLITS
from phenolip.phenokg.table_files import write_manifest

IN_ANOTHER_PROCESS = """
import json, sys
import datasets
found = {name: datasets.load_dataset("phenokg", name) for name in sys.argv[1:]}
assert "phenolip" not in sys.modules
try:
    datasets.load_dataset("phenokg")
    several = ""
except ValueError as error:
    several = str(error)
print(json.dumps({
    "rows": {name: {split: len(rows) for split, rows in splits.items()} for name, splits in found.items()},
    "first": [row["name"] for row in found["terms"]["train"]],
    "size": found["pairs"]["train"][0]["image"].size if "pairs" in found else None,
    "several": several,
}))
"""


def load_elsewhere(tmp_path, cache, *names):
    """What `load_dataset` gives in an empty folder, in a fresh process, offline."""
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, *names], cwd=tmp_path / "elsewhere", capture_output=True, text=True,
        env={**os.environ, "HF_DATASETS_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_three_tables_load_from_any_folder(tmp_path, ontology, make_build, datasets_cache, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a folder of the same name would come first
    build = make_build()
    folder, facts = prepare_phenokg(build.folder, ontology=ontology)
    found = load_elsewhere(tmp_path, datasets_cache, "terms", "relations", "pairs")
    assert found["rows"] == {
        "terms": {"train": 4}, "relations": {"train": 3}, "pairs": {"train": 2, "validation": 1, "test": 1},
    }  # fmt: skip
    assert found["first"] == ["Phenotypic abnormality", "Odd shape", "Square shape", "Round shape"]
    assert found["size"] == [24, 20]
    assert "multiple 'phenokg' configurations" in found["several"]
    assert facts["pairs"]["num_rows"] == {"train": 2, "validation": 1, "test": 1}
    assert facts["pairs"]["licenses"] == {"CC-BY-4.0": 2, "unknown": 2} and facts["pairs"]["num_phenotypes"] == 1
    assert folder == datasets_cache / "phenolip" / "phenokg"
    assert len(load_pairs("phenokg", split="train", ontology=ontology)) == 2  # the pairs are meant


def test_a_second_prepare_replaces_all_tables_of_the_first(tmp_path, ontology, make_build, datasets_cache):
    for number in (4, 3):
        prepare_phenokg(make_build(number, folder=f"build {number}").folder, ontology=ontology)
    names = sorted(path.parts[-4] for path in datasets_cache.glob("phenokg/*/*/*/dataset_info.json"))
    assert names == ["pairs", "relations", "terms"]
    assert load_elsewhere(tmp_path, datasets_cache, "terms", "pairs")["rows"]["pairs"] == {
        "train": 2, "validation": 1,
    }  # fmt: skip
    prepare_phenokg(ontology=ontology)
    assert load_elsewhere(tmp_path, datasets_cache, "terms")["rows"] == {"terms": {"train": 4}}
    assert len(list(datasets_cache.glob("phenokg/*/*/*/dataset_info.json"))) == 2


def test_rows_of_pairs_carry_text_licence_and_origin(tmp_path, ontology, make_build):
    build = make_build()
    folder, _ = prepare_phenokg(build.folder, ontology=ontology, output=tmp_path / "kg")
    loaded = datasets.load_dataset(str(folder), "pairs")
    assert loaded["train"].features == PAIRS
    row = loaded["train"].cast_column("image", datasets.Image(decode=False))[0]
    assert row.pop("image")["bytes"] == (build.media / build.pairs[0].image_path).read_bytes()
    (first, denied) = row.pop("phenotypes")
    assert (first["hpo_id"], first["assertion"], denied["assertion"]) == ("HP:9900002", "present", "absent")
    assert row == {
        "row_id": "PMC0000.1/F0", "caption": "Shape 0.", "caption_by": "article",
        "caption_raw": "Shape 0.", "subcaption": "", "findings": [],
        "modality": "", "article_id": "PMC0000.1", "pmcid": "PMC0000", "version": "1", "doi": "10.1/0",
        "title": "On shapes", "journal": "Shapes", "published": "2020-01", "figure_id": "F0", "label": "Figure 0",
        "num_images": 1, "subfigure_id": None, "bbox_xyxy": None, "alignment_confidence": None,
        "citing_paragraphs": ["As seen in the figure."],
        "license": "CC-BY-4.0", "license_category": "commercial", "license_text": "Free for all",
        "license_url": "https://x", "url": "", "sha256": build.pairs[0].sha256,
        "figure_sha256": build.pairs[0].sha256, "phash": "0" * 16, "split": "train",
    }  # fmt: skip
    pairs = load_pairs(folder, split="train", ontology=ontology)
    assert pairs["hpo_ids"][:] == [["HP:9900002"]] * 2 and pairs["row_id"][0] == "PMC0000.1/F0"
    assert AuditedTable.read(pairs, "kg").keys["same_article"] == ["PMC0", "PMC1000"]


def test_the_card_is_ready_for_a_hub(tmp_path, ontology, make_build):
    folder, _ = prepare_phenokg(make_build().folder, ontology=ontology, output=tmp_path / "kg", kgx=True)
    card = (folder / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert [config["config_name"] for config in front["configs"]] == ["terms", "relations", "pairs"]
    for config in front["configs"]:
        for files in config["data_files"]:
            assert list(folder.glob(files["path"]))
    for text in ("release **2025-01-16**", ontology.sha256, "cite the HPO Consortium", "| CC-BY-4.0 | 2 | 50.0 % |",
                 "| assemble | 9 | 4 | 5 no_license |", "`mode` clean", "none stated for these captions",
                 "nothing\nhere is a diagnosis", "kgx/nodes.tsv", "2 train, 1 validation, 1 test",
                 "4 images of 4 open-access articles, 1 of them parts cut out of a figure",
                 "parts are JPEG files"):  # fmt: skip
        assert text in card, text
    assert str(tmp_path) not in card and "/home/me" not in card + (folder / "manifest.json").read_text()
    manifest = json.loads((make_build(folder="again").folder / "manifest.json").read_text())
    manifest["linking_quality"] = {"document F1": 0.81}
    write_manifest(tmp_path / "again", manifest)
    folder, _ = prepare_phenokg(tmp_path / "again", ontology=ontology, output=tmp_path / "kg")
    assert "Measured quality of the linking: document F1 0.81." in (folder / "README.md").read_text()


def test_terms_alone_have_a_card_without_pairs(ontology, tmp_path):
    folder, facts = prepare_phenokg(ontology=ontology, output=tmp_path / "kg")
    assert "pairs" not in facts and sorted(path.name for path in folder.iterdir()) == [
        "README.md", "manifest.json", "relations", "terms",
    ]  # fmt: skip
    card = (folder / "README.md").read_text()
    assert "## Pairs" not in card and "## Limits" not in card and "cite the HPO Consortium" in card
    assert datasets.load_dataset(str(folder), "terms")["train"].features == TERMS
    assert datasets.load_dataset(str(folder), "relations")["train"].features == RELATIONS


def test_a_subfigure_is_cut_out_and_images_can_be_scaled_down(tmp_path, ontology, make_build):
    build = make_build()
    folder, _ = prepare_phenokg(build.folder, ontology=ontology, output=tmp_path / "kg", max_side=12)
    rows = datasets.load_dataset(str(folder), "pairs")["train"].cast_column("image", datasets.Image(decode=False))
    assert decode_image(rows[0]["image"]).size == (12, 10)
    assert decode_image(rows[1]["image"]).size == (7, 12) and rows[1]["bbox_xyxy"] == [2, 4, 12, 20]
    assert rows[1]["sha256"] == hashlib.sha256(rows[1]["image"]["bytes"]).hexdigest() != build.pairs[1].sha256


def test_an_image_that_is_gone_or_changed_is_a_bad_row(tmp_path, ontology, make_build, caplog):
    build = make_build()
    (build.media / build.pairs[0].image_path).unlink()
    (build.media / build.pairs[2].image_path).write_bytes(b"another")
    bad_rows = tmp_path / "bad.jsonl"
    with pytest.raises(DataError, match=r"2 of 4 pairs have no usable image, listed in .*bad\.jsonl, more than"):
        prepare_phenokg(build.folder, ontology=ontology, output=tmp_path / "kg", bad_rows_path=bad_rows)
    assert not (tmp_path / "kg").exists()
    details = [json.loads(line) for line in bad_rows.read_text().splitlines()]
    assert [row["row_id"] for row in details] == ["PMC0000.1/F0", "PMC2000.1/F2"]
    assert "does not exist" in details[0]["detail"] and "its SHA-256 differs" in details[1]["detail"]
    _, facts = prepare_phenokg(build.folder, ontology=ontology, output=tmp_path / "kg", max_bad_fraction=0.5)
    assert facts["pairs"]["num_rows"] == {"train": 1, "validation": 0, "test": 1}
    assert "2 of 4 pairs have no usable image; they are left out." in caplog.text
    front = yaml.safe_load((tmp_path / "kg" / "README.md").read_text().split("---")[1])
    assert [files["split"] for files in front["configs"][2]["data_files"]] == ["train", "test"]


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "a/../../secret.png", "nul\0.png", "link.png"])
def test_no_path_leads_out_of_the_media_folder(path, tmp_path, make_build):
    build = make_build()
    data = (build.media / build.pairs[0].image_path).read_bytes()
    (tmp_path / "secret.png").write_bytes(data)
    (build.media / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match="must lie below .*, and its path leads elsewhere"):
        pair_row(replace(build.pairs[0], image_path=path), build.media)


def test_what_is_no_finished_build_is_refused(tmp_path, ontology, make_build):
    with pytest.raises(DataError, match="must be the output folder of a finished `phenolip kg build`"):
        KgBuild(tmp_path)
    build = make_build(release="2019-01-01")
    with pytest.raises(DataError, match="linked to HPO release 2019-01-01, and the ontology given is release 2025-01"):
        prepare_phenokg(build.folder, ontology=ontology)
    (next((build.folder / "tables").glob("pairs-*"))).write_bytes(b"cut")
    with pytest.raises(DataError, match="finished `phenolip kg build`"):
        KgBuild(build.folder)
    with pytest.raises(DataError, match="The build holds no pair"):
        prepare_phenokg(make_build(0, folder="empty").folder, ontology=ontology)


def test_a_moved_media_folder_can_be_named(tmp_path, ontology, make_build):
    build = make_build()
    build.media.rename(tmp_path / "moved")
    with pytest.raises(DataError, match="give their folder as `media`"):
        prepare_phenokg(build.folder, ontology=ontology)
    _, facts = prepare_phenokg(build.folder, ontology=ontology, media=tmp_path / "moved")
    assert sum(facts["pairs"]["num_rows"].values()) == 4 and set(facts["pairs"]["num_rows"]) == set(SPLITS)


def test_every_term_and_relation_of_the_installed_release():
    ontology = load_ontology()
    terms, relations = list(term_rows(ontology)), list(relation_rows(ontology))
    assert [row["hpo_id"] for row in terms] == list(ontology)
    assert {(row["child_id"], row["parent_id"]) for row in relations} == {
        (row["hpo_id"], parent) for row in terms for parent in row["parents"]
    }
    outside = [row for row in terms if not ontology.is_phenotype(row["hpo_id"])]
    assert len(outside) == len(terms) - len(ontology.term_ids()) > 100
    assert all((row["depth"], row["information_content"], row["system_ids"]) == (None, None, []) for row in outside)
    by_id = {row["hpo_id"]: row for row in terms}
    arachnodactyly = by_id["HP:0001166"]
    assert arachnodactyly["name"] == "Arachnodactyly" and arachnodactyly["depth"] == ontology.depth("HP:0001166")
    assert {"text": "Spider fingers", "scope": "EXACT", "type": "layperson"} in arachnodactyly["synonyms"]


def test_command(tmp_path, capsys, datasets_cache):
    assert main(["prepare", "phenokg", "--output", str(tmp_path / "kg"), "--kgx"]) == 0
    shown = capsys.readouterr().out
    assert "PhenoKG: 19,034 terms, 23,392 relations, HPO release 2025-01-16" in shown
    assert (tmp_path / "kg" / "kgx" / "edges.tsv").is_file()
    assert main(["prepare", "phenokg", "--source", str(tmp_path / "kg")]) == 1
    assert "finished `phenolip kg build`" in capsys.readouterr().err
