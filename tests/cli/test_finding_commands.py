"""`phenolip thresholds`, `predict --style finegrained` and `similarity` on drawn squares, one after the other."""

import argparse
import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from phenolip.cli import predict, similarity, thresholds
from phenolip.exceptions import ConfigurationError, DataError, UnknownTermError
from phenolip.inference.finding_thresholds import THRESHOLDS_FILE, read_thresholds

SQUARE = "HP:9900004"


def call(command, *arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(list(map(str, arguments))))


def draw(path, row, has_square):
    pixels = np.random.default_rng(row).integers(0, 90, (40, 40, 3), dtype=np.uint8)
    if has_square:
        pixels[8:32, 4:16] += 150
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def hpo(request):
    return ("--hpo", request.config.rootpath / "tests/ontology/hp_slice.obo")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve images, half with a square at the left that is mild or severe."""
    folder, rows = tmp_path_factory.mktemp("squares"), []
    for row in range(12):
        draw(folder / f"{row}.png", row, row % 2)
        said = {"category": "square shape", "hpo_id": SQUARE, "location": "left", "assertion": "present"}
        said["severity"] = ("mild", "severe")[row % 4 == 1]
        found = [said] if row % 2 else [{**said, "severity": None, "location": None, "assertion": "absent"}]
        hpo_ids = [SQUARE] if row % 2 else []
        rows.append({"file_name": f"{row}.png", "caption": f"Number {row}.", "hpo_ids": hpo_ids, "findings": found})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


@pytest.fixture(scope="module")
def fitted(tiny_model_dir, data, hpo, tmp_path_factory):
    """A model with thresholds beside it."""
    model = shutil.copytree(tiny_model_dir, tmp_path_factory.mktemp("model") / "stage2")
    assert call(thresholds, "--model", model, "--data", data, "--device", "cpu", *hpo) == 0
    return model


def test_thresholds_are_written_beside_the_model_and_shown(fitted, data, hpo, tmp_path, capsys):
    stored = read_thresholds(fitted / THRESHOLDS_FILE)
    (entry,) = stored.categories
    assert (entry.category, entry.hpo_id, entry.num_positive, entry.num_negative) == ("Square shape", SQUARE, 6, 6)
    assert set(entry.severities) == {"mild", "severe"} and entry.locations == ("left",)
    assert stored.fitted_on["num_rows"] == 12 and stored.weights_sha256
    call(thresholds, "--model", fitted, "--data", data, "--output", tmp_path / "own.json", "--device", "cpu", *hpo)
    assert read_thresholds(tmp_path / "own.json") == stored
    printed = capsys.readouterr().out
    assert f"{entry.threshold:6.3f}  {entry.f1:5.3f}" in printed and "that the thresholds were fitted on" in printed


def test_thresholds_need_findings_that_images_show_and_a_place(fitted, data, hpo, tmp_path):
    options = ("--model", fitted, "--data", data, "--device", "cpu", *hpo)
    with pytest.raises(DataError, match="No category of .* is shown by at least 7 images"):
        call(thresholds, *options, "--min_positive", 7)
    with pytest.raises(ConfigurationError, match="`min_positive` must be at least 1, got 0"):
        call(thresholds, *options, "--min_positive", 0)
    with pytest.raises(ConfigurationError, match="`--output` must lie in a folder that exists"):
        call(thresholds, *options, "--output", tmp_path / "none/own.json")
    rows = [json.loads(line) for line in (data / "metadata.jsonl").read_text().splitlines()]
    bare = shutil.copytree(data, tmp_path / "bare")
    lines = [json.dumps({key: row[key] for key in row if key != "findings"}) for row in rows]
    (bare / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="must have the column `findings`"):
        call(thresholds, "--model", fitted, "--data", bare, "--device", "cpu", *hpo)


def finegrained(fitted, *arguments):
    return call(predict, *arguments, "--model", fitted, "--style", "finegrained", "--device", "cpu")


def test_findings_are_printed_and_written(fitted, data, tmp_path, capsys):
    (entry,) = read_thresholds(fitted / THRESHOLDS_FILE).categories
    images = (data / "0.png", data / "1.png")
    assert finegrained(fitted, *images) == 0
    printed = capsys.readouterr().out
    assert printed.count("1 categories") == 2 and printed.count("Square shape") == 2 and "not for diagnosis" in printed
    assert finegrained(fitted, *images, "--json") == 0
    captured = capsys.readouterr()
    for record in map(json.loads, captured.out.splitlines()):
        ((side, (found,)),) = ((key, record[key]) for key in ("findings", "below_threshold") if record[key])
        assert (side == "findings") == found["seen"] == (found["cosine"] >= entry.threshold)
        assert found["severity"] in entry.severities and found["location"] == "left"
        assert printed.count(f"{found['cosine']:.3f}") >= 1
    assert "not for diagnosis" in captured.err
    assert finegrained(fitted, *images, "--output", tmp_path / "found.csv") == 0
    with open(tmp_path / "found.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["image"] for row in table] == [str(image) for image in images]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "phenopacket", "--output", "packets"), "`--format` must be table, jsonl or csv"),
        (("--under", SQUARE), "`--under` must be left out where `--style` is finegrained"),
        (("--hierarchy",), "`--hierarchy` must be left out"),
        (("--hpo", "hp.obo"), "`--hpo` must be left out"),
        (("--min_probability", 0.5), "`--min_probability` must be left out"),
        (("--texts", "name", "definition"), "`--texts` must be left out"),
    ],
)
def test_settings_of_the_other_style_are_named(fitted, data, options, message):
    with pytest.raises(ConfigurationError, match=message):
        finegrained(fitted, data / "0.png", *options)


def test_a_model_without_thresholds_says_how_to_fit_them(tiny_model_dir, data):
    with pytest.raises(DataError, match="has no finding_thresholds.json: fit it .* `phenolip thresholds --model"):
        finegrained(tiny_model_dir, data / "0.png")


def test_an_image_is_compared_with_wordings_and_drawn(tiny_model_dir, data, hpo, tmp_path, capsys):
    options = ("--model", tiny_model_dir, "--device", "cpu", *hpo)
    said = ("--finding", SQUARE, "Odd shape", "--severity", "mild", "--location", "left")
    assert call(similarity, data / "1.png", *options, *said, "--output", tmp_path / "case.svg") == 0
    printed = capsys.readouterr().out
    assert "template      a medical image of square shape." in printed
    assert "fine-grained  mild left Square shape\n" in printed and "explanation   Four corners" in printed
    assert "mild left Square shape, where Square shape is four corners" in printed and "not for diagnosis" in printed
    assert "mild left Odd shape" in (tmp_path / "case.svg").read_text()
    assert call(similarity, data / "1.png", *options, "--finding", "Box-like shape") == 0
    assert "fine-grained" not in capsys.readouterr().out  # nothing is said of it beyond its name
    with pytest.raises(UnknownTermError, match="no finding 'Sqare shape'. Close: 'Square shape'"):
        call(similarity, data / "1.png", *options, "--finding", "Sqare shape")
    with pytest.raises(ConfigurationError, match="`output` must end in .svg or .png, got case.gif"):
        call(similarity, data / "1.png", *options, *said, "--output", "case.gif")
