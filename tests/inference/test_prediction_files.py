"""What `phenolip predict` writes: CSV, JSON lines and phenopackets that the published schema reads."""

import argparse
import csv
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from phenolip.cli import predict as predict_command
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.candidates import read_candidates, subtree_candidates
from phenolip.inference.image_files import image_files
from phenolip.inference.phenopacket import phenopacket
from phenolip.inference.predict import PhenotypePrediction
from phenolip.inference.prediction_files import harmless_cell, output_format
from phenolip.ontology import load_ontology

CATARACT, INHERITANCE = "HP:0000518", "HP:0000006"


@pytest.fixture(scope="module")
def hpo():
    return load_ontology()


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    for number, name in enumerate(["=1.png", "b.png", "deeper/b.PNG"]):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    (tmp_path / "few.txt").write_text(f"{CATARACT}\nArachnodactyly\n")
    return folder


def predict(images, model, *options):
    parser = argparse.ArgumentParser()
    predict_command.add_arguments(parser)
    chosen = [] if "--under" in options else ["--candidates", images.parent / "few.txt"]
    call = [images, "--model", model, "--device", "cpu", *chosen, *options]
    return predict_command.run(parser.parse_args(list(map(str, call))))


def test_a_folder_as_csv_whose_cells_are_harmless(images, tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(images.parent)
    predict(images, tiny_model_dir, "--output", tmp_path / "out" / "p.csv", "--top", 1)
    rows = list(csv.DictReader((tmp_path / "out" / "p.csv").open()))
    assert [row["image"].rpartition("/")[2] for row in rows] == ["=1.png", "b.png", "b.PNG"]
    assert all(-1 <= float(row["cosine"]) <= 1 and row["rank"] == "1" for row in rows)
    assert [harmless_cell(text) for text in ("+a", "-a", "@a", "\ta", "a=", -1.0)] == [
        "'+a", "'-a", "'@a", "'\ta", "a=", -1.0,
    ]  # fmt: skip


def test_json_lines_are_those_of_the_screen(images, tiny_model_dir, tmp_path, capsys):
    predict(images, tiny_model_dir, "--output", tmp_path / "p.jsonl")
    assert capsys.readouterr().out == ""
    predict(images, tiny_model_dir, "--json")
    written = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert written == [json.loads(line) for line in capsys.readouterr().out.splitlines()] and len(written) == 3
    predict(images, tiny_model_dir, "--json", "--min_probability", 0.5)
    rows = [json.loads(line)["predictions"] for line in capsys.readouterr().out.splitlines()]
    assert all(len(row) == 1 and row[0]["probability"] >= 0.5 for row in rows)


def test_a_subtree_is_the_term_and_all_below(images, tiny_model_dir, hpo, capsys):
    assert set(subtree_candidates("Cataract", hpo)) == set(hpo.term_ids(CATARACT)) > {CATARACT}
    predict(images, tiny_model_dir, "--under", CATARACT, "--json", "--top", 999)
    row = json.loads(capsys.readouterr().out.splitlines()[0])
    assert {one["hpo_id"] for one in row["predictions"]} == set(hpo.term_ids(CATARACT))
    with pytest.raises(ConfigurationError, match=r"`under` must be .* got 'Catarakt'. Close: 'Cataract'"):
        subtree_candidates("Catarakt", hpo)


def test_a_wrong_candidate_is_named_by_its_line_with_near_ones(hpo, tmp_path):
    (tmp_path / "few.txt").write_text("# eyes\nCataract\n\nArachnodactily\n")
    with pytest.raises(DataError, match=r"few.txt line 4: 'Arachnodactily' .* Close: 'Arachnodactyly' \(HP:0001166\)"):
        read_candidates(tmp_path / "few.txt", hpo)


def test_phenopackets_of_images(images, tiny_model_dir, hpo, tmp_path, capsys):
    json_format = pytest.importorskip("google.protobuf.json_format")
    schema = pytest.importorskip("phenopackets")
    predict(images, tiny_model_dir, "--format", "phenopacket", "--output", tmp_path / "packets")
    files = sorted(path.name for path in (tmp_path / "packets").iterdir())
    assert files == ["=1.json", "b-2.json", "b.json"]
    for name in files:
        packet = json_format.Parse((tmp_path / "packets" / name).read_text(), schema.Phenopacket())
        assert packet.subject.id == name[:-5].removesuffix("-2") and len(packet.phenotypic_features) == 2
        assert not any(feature.excluded for feature in packet.phenotypic_features)
        assert {feature.type.id: feature.type.label for feature in packet.phenotypic_features}[CATARACT] == "Cataract"
        assert packet.meta_data.created.seconds > 1_700_000_000
        assert packet.meta_data.resources[0].version == hpo.release
    predict(images, tiny_model_dir, "--format", "phenopacket", "--no_subject")
    packets = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [packet["id"] for packet in packets] == ["image-1", "image-2", "image-3"]
    assert not any("subject" in packet for packet in packets)


def test_a_phenopacket_by_its_fields(hpo):
    rows = [PhenotypePrediction(CATARACT, "x", 0.5, 0.25), PhenotypePrediction(INHERITANCE, "y", 0.4, 0.2)]
    created = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    packet = phenopacket("p", rows, hpo, num_candidates=7, created_by="me", subject_id="s", created=created)
    (feature,) = packet["phenotypicFeatures"]  # a mode of inheritance is no feature
    assert feature["type"] == {"id": CATARACT, "label": "Cataract"} and "excluded" not in feature
    described = feature["evidence"][0]["reference"]["description"]
    assert described.startswith("cosine=0.5000; probability=0.2500; rank=1 of 7. For research")
    assert packet["metaData"]["created"] == "2026-01-02T03:04:05Z" and packet["metaData"]["createdBy"] == "me"
    needed = {"id", "name", "url", "version", "namespacePrefix", "iriPrefix"}
    assert all(set(resource) == needed for resource in packet["metaData"]["resources"])


def test_unreadable_images_are_left_out_up_to_a_share(images, tiny_model_dir, capsys, caplog):
    (images / "c.png").write_bytes(b"nothing")
    predict(images, tiny_model_dir, "--json", "--max_bad_fraction", 0.25)
    assert len(capsys.readouterr().out.splitlines()) == 3 and "c.png is not an image" in caplog.text
    with pytest.raises(DataError, match=r"c.png is not an image .* 1 of 4 images cannot be used"):
        predict(images, tiny_model_dir)
    with pytest.raises(ConfigurationError, match="`max_bad_fraction` must be from 0 to 1, got 2"):
        predict(images, tiny_model_dir, "--max_bad_fraction", 2)


def test_wrong_calls(images, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="must hold images"):
        image_files([tmp_path / "empty"])
    with pytest.raises(ConfigurationError, match=r"`--output` must end in .jsonl or .csv, got 'a.txt'"):
        output_format(None, "a.txt", False)
    with pytest.raises(ConfigurationError, match=r"and agree with `--format csv`, got 'a.jsonl'"):
        output_format("csv", "a.jsonl", False)
    with pytest.raises(ConfigurationError, match="must be a folder"):
        output_format("phenopacket", "a.json", False)
    with pytest.raises(ConfigurationError, match="`--json` must be left out where `--format` is csv"):
        output_format("csv", None, True)
    with pytest.raises(ConfigurationError, match="`min_probability` must be from 0 to 1, got 2"):
        predict(images, "no/model", "--min_probability", 2)
    with pytest.raises(ConfigurationError, match="`--hierarchy` must be left out"):
        predict(images, "no/model", "--hierarchy", "--format", "csv")
    with pytest.raises(ConfigurationError, match="`--format` must be table, jsonl or csv"):
        predict(images, "no/model", "--style", "finegrained", "--format", "phenopacket")
