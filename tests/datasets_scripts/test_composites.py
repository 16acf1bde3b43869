"""Compound figures as data sets: what is written loads again, and its parts are the same pairs."""

import argparse
import io
import json

import numpy as np
import pytest
from PIL import Image

from phenolip.cli import prepare as command
from phenolip.datasets_scripts.composites import COMPOUNDS, CROPS, ORIGINALS, prepare_composites
from phenolip.datasets_scripts.load import load_pairs
from phenolip.exceptions import ConfigurationError, DataError
from phenolip.images import decode_image


@pytest.fixture
def source(tmp_path, helpers):
    return helpers.write_imagefolder(tmp_path / "source", helpers.captions(9))


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_three_sets_hold_the_same_pairs(tmp_path, source, ontology):
    output = tmp_path / "out"
    manifest = prepare_composites(source, output, crops=True, ontology=ontology, long_side_px=256)
    compounds, crops, originals = (
        load_pairs(output / name, ontology=ontology) for name in (COMPOUNDS, CROPS, ORIGINALS)
    )
    pairs = load_pairs(source, ontology=ontology)
    assert manifest["num_images"] == 9 and manifest["num_figures"] == len(compounds)
    assert sum(int(size) * number for size, number in manifest["figures_by_num_images"].items()) == 9
    assert sorted(originals["sha256"]) == sorted(pairs["sha256"])  # untouched
    assert crops["caption"][:] == originals["caption"][:]
    assert crops["hpo_ids"][:] == originals["hpo_ids"][:] == [["HP:9900002"]] * 9

    parts = [(figure, part) for figure in rows_of(output / COMPOUNDS) for part in figure["subfigures"]]
    names = [row["source_row_id"] for row in rows_of(output / CROPS)]
    assert names == [row["source_row_id"] for row in rows_of(output / ORIGINALS)]
    assert names == [part["source_row_id"] for _, part in parts] and sorted(names) == sorted(pairs["row_id"])
    by_name = {row["row_id"]: row for row in pairs}
    for (figure, part), crop, original in zip(parts, crops, originals, strict=True):
        wanted = by_name[part["source_row_id"]]
        assert part["source_sha256"] == wanted["sha256"] == original["sha256"]
        assert figure["caption"][part["start"] : part["end"]] == wanted["caption"] == crop["caption"]
        x0, y0, x1, y1 = part["box_xyxy"]
        cut = decode_image(output / COMPOUNDS / figure["file_name"]).crop((x0, y0, x1, y1))
        again = decode_image(crop["image"])
        assert again.size == cut.size == (x1 - x0, y1 - y0)
        assert np.abs(np.asarray(again, dtype=int) - np.asarray(cut)).mean() < 6
        pasted = np.asarray(decode_image(wanted["image"]).resize(cut.size, Image.Resampling.LANCZOS), dtype=int)
        if part["label_xyxy"]:
            left, top, right, bottom = part["label_xyxy"]
            pasted[top - y0 : bottom - y0, left - x0 : right - x0] = np.asarray(cut)[
                top - y0 : bottom - y0, left - x0 : right - x0
            ]
        assert np.abs(pasted - np.asarray(cut)).mean() < 12  # JPEG


def test_output_is_a_function_of_the_seed_and_replaces_only_its_own(tmp_path, source, ontology):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepare_composites(source, tmp_path / name, seed=seed, crops=True, ontology=ontology)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert files_of(tmp_path / "a") != files_of(tmp_path / "c")
    prepare_composites(source, tmp_path / "c", seed=1, ontology=ontology)
    assert not (tmp_path / "c" / CROPS).exists()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="was not written by `phenolip prepare`"):
        prepare_composites(source, tmp_path / "d", ontology=ontology)
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["mine.txt"]


def test_one_caption_is_in_a_figure_once(tmp_path, ontology, helpers):
    records = helpers.captions(12)
    for row in (2, 5, 7):
        records[row]["caption"] = "The same  words."
    source = helpers.write_imagefolder(tmp_path / "source", records)
    for seed in range(4):
        prepare_composites(source, tmp_path / "out", seed=seed, images_per_figure=(4, 4), ontology=ontology)
        assert [row["caption"].count("The same") for row in rows_of(tmp_path / "out" / COMPOUNDS)] == [1, 1, 1]


def test_cases_stay_known_and_are_kept_apart(tmp_path, ontology, helpers):
    records = [{**record, "case_id": f"case {row % 4}"} for row, record in enumerate(helpers.captions(12))]
    source = helpers.write_imagefolder(tmp_path / "source", records)
    prepare_composites(source, tmp_path / "out", images_per_figure=(3, 3), crops=True, ontology=ontology)
    crops, originals = (load_pairs(tmp_path / "out" / name, ontology=ontology) for name in (CROPS, ORIGINALS))
    cases = crops["group_id"][:]
    assert cases == originals["group_id"][:] and set(cases) == {f"case {number}" for number in range(4)}
    assert all(len(set(cases[start : start + 3])) == 3 for start in range(0, 12, 3))


def test_images_of_any_kind(tmp_path, ontology, helpers):
    deep = Image.fromarray((np.arange(600, dtype=np.uint16) * 100).reshape(20, 30))
    images = {
        "alpha.png": helpers.encoded(helpers.picture(1).convert("RGBA")),
        "deep.png": helpers.encoded(deep),
        "palette.gif": helpers.encoded(helpers.picture(2).quantize(8), "GIF"),
        "grey.png": helpers.encoded(helpers.picture(3).convert("L")),
        "cmyk.jpg": helpers.encoded(helpers.picture(4).convert("CMYK"), "JPEG"),
        "pixel.png": helpers.encoded(Image.new("RGB", (1, 1), "red")),
        "line.png": helpers.encoded(helpers.picture(5, (1500, 1))),
        "NAME.JPG": helpers.encoded(helpers.picture(6), "JPEG"),
    }
    folder = tmp_path / "source"
    folder.mkdir()
    with (folder / "metadata.jsonl").open("w") as lines:
        for name, data in images.items():
            (folder / name).write_bytes(data)
            lines.write(json.dumps({"file_name": name, "caption": f"«{name}» ≥ 5 µm 🙂"}) + "\n")
    manifest = prepare_composites(folder, tmp_path / "out", crops=True, ontology=ontology)
    assert manifest["num_images"] == 8 and manifest["num_rows_left_out"] == {}
    for name in (COMPOUNDS, CROPS, ORIGINALS):
        loaded = load_pairs(tmp_path / "out" / name, ontology=ontology, max_bad_fraction=0)
        assert all("🙂" in caption for caption in loaded["caption"])
        assert loaded["hpo_ids"][:] == [[]] * len(loaded)
    written = {
        (tmp_path / "out" / ORIGINALS / row["file_name"]).read_bytes() for row in rows_of(tmp_path / "out" / ORIGINALS)
    }
    assert written == set(images.values())
    with Image.open(io.BytesIO((tmp_path / "out" / COMPOUNDS / "images" / "000000.jpg").read_bytes())) as figure:
        assert figure.format == "JPEG" and max(figure.size) == 520


def test_a_single_pair(tmp_path, ontology, helpers):
    source = helpers.write_imagefolder(tmp_path / "source", helpers.captions(1))
    manifest = prepare_composites(source, tmp_path / "out", crops=True, ontology=ontology)
    assert manifest["figures_by_num_images"] == {"1": 1}
    assert rows_of(tmp_path / "out" / COMPOUNDS)[0]["caption"] == "Picture 0."


def test_command(tmp_path, source, ontology, monkeypatch, capsys):
    monkeypatch.setattr(command, "load_ontology", lambda path: ontology)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)

    def run(*arguments):
        return command.run(parser.parse_args(["composites", "--source", str(source), *map(str, arguments)]))

    layouts = tmp_path / "layouts.jsonl"
    parts = [{"box_xyxy": [0, 0, 100, 90]}, {"box_xyxy": [100, 0, 200, 90]}, {"box_xyxy": [0, 95, 200, 200]}]
    layouts.write_text(json.dumps({"figure": "of three", "subfigures": parts}) + "\n")
    out = tmp_path / "out"
    assert run("--output", out, "--layouts", layouts, "--images_per_figure", 3, 3, "--long_side", 300, "--crops") == 0
    assert capsys.readouterr().out == f"Composites: 9 images in 3 figures in {out}/compounds, parts beside it.\n"
    rows = rows_of(out / COMPOUNDS)
    assert [row["layout"] for row in rows] == ["of three"] * 3
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["long_side_px"], manifest["layouts"]) == (300, str(layouts))
    before = files_of(out)
    with pytest.raises(ConfigurationError, match="`layouts` must hold one with 5 to 6 boxes"):
        run("--output", out, "--layouts", layouts, "--images_per_figure", 5, 6)
    with (source / "metadata.jsonl").open("a") as lines:
        lines.write('{"file_name": "images/0.png", "caption": ""}\n')
    with pytest.raises(DataError, match=r"out\.bad_rows\.jsonl"):
        run("--output", out)
    assert files_of(out) == before  # nothing is replaced by work that failed
    assert not list(tmp_path.glob(".*"))
