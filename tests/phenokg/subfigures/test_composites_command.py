"""`python -m phenolip.phenokg.composites`: files that agree with each other, with the images, and with the seed."""

import json

import pytest
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.subfigures.composites_command import main
from phenolip.phenokg.subfigures.source_images import list_images, open_images


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "some images"
    folder.mkdir()
    rows = []
    for n in range(9):
        Image.new("RGB", (50 + n, 40), (20 * n, 90, 200)).save(folder / f"{n}.png")
        rows.append({"file_name": f"{n}.png", "caption": f"Picture {n}.", "license": "CC BY", "case_id": f"c{n // 2}"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def make(images, output, *arguments):
    assert main(["--images", str(images), "--output", str(output), "--number", "12", *map(str, arguments)]) == 0
    return {path.name: path.read_bytes() for path in output.iterdir()}


def test_files_agree(images, tmp_path):
    made = make(images, tmp_path / "out", "--gap", 0, 20, "--single_share", 0.3, "--page", "grey", "white")
    names = [f"{n:06d}.jpg" for n in range(12)]
    assert sorted(made) == sorted(
        [*names, "composites.json"]
        + [f"{name}.jsonl" for name in ("boxes", "captions", "alignment", "alignment_gold", "provenance")]
    )
    files = ("boxes", "alignment", "alignment_gold", "captions", "provenance")
    rows = zip(*(read(tmp_path / "out" / f"{name}.jsonl") for name in files), strict=True)
    for name, (boxes, alignment, gold, captions, provenance) in zip(names, rows, strict=True):
        assert {row["file_name"] for row in (boxes, alignment, gold, provenance)} == {captions["figure"]} == {name}
        assert boxes["boxes"] == alignment["boxes"] == [part["box"] for part in gold["boxes"]]
        caption = alignment["caption"]
        texts = {part["label"]: caption[part["start"] : part["end"]] for part in captions["subcaptions"]}
        assert texts == {part["label"]: part["caption"] for part in captions["subcaptions"]}
        assert sorted(texts) == sorted(part["label"] for part in gold["boxes"] if part["label"])
        with Image.open(tmp_path / "out" / name) as figure:
            assert max(figure.size) == 700
            for part in provenance["subfigures"]:
                number = int(part["source"].rpartition(" ")[2].removesuffix(".png"))
                assert texts.get(part["label"], caption) == f"Picture {number}."
                x0, y0, x1, y1 = part["box"]
                red, green, blue = figure.getpixel(((x0 + x1) // 2, (y0 + y1) // 2))
                assert abs(red - 20 * number) < 8 and abs(green - 90) < 8 and abs(blue - 200) < 8
                assert part["license"] == "CC BY" and len(part["sha256"]) == 64
    manifest = json.loads(made["composites.json"])
    assert manifest["num_figures"] == 12 and manifest["figures_by_num_images"]["1"] >= 1


def test_the_seed_decides_and_quality_0_is_lossless(images, tmp_path):
    arguments = ("--gap", 0, 20, "--fill", "crop", "stretch", "--border", 0, 2, "--shuffled_share", 0.5)
    one, same = (make(images, tmp_path / name, *arguments) for name in ("one", "same"))
    assert one == same
    assert make(images, tmp_path / "other", *arguments, "--seed", 1) != one
    lossless = make(images, tmp_path / "lossless", "--quality", 0)
    assert lossless["000000.png"].startswith(b"\x89PNG")


def test_every_image_is_used_before_one_comes_again(images, tmp_path):
    make(images, tmp_path / "out", "--images_per_figure", 3, 3)
    used = [part["source"] for row in read(tmp_path / "out/provenance.jsonl") for part in row["subfigures"]]
    assert len(used) == 36 and {used.count(name) for name in used} == {4}


def test_bad_rows_and_images_are_counted(images, tmp_path):
    (images / "broken.png").write_bytes(b"no image")
    (tmp_path / "secret.png").write_bytes((images / "0.png").read_bytes())
    rows = [
        '{"file_name": "broken.png", "caption": "x"}',
        '{"file_name": "../secret.png", "caption": "x"}',
        '{"file_name": "missing.png", "caption": "x"}',
        '{"file_name": "a\\u0000.png", "caption": "x"}',
        '{"file_name": "0.png"}',
        "[1]",
        "{",
        '{"file_name": 3, "caption": "x"}',
    ]
    with (images / "metadata.jsonl").open("a") as file:
        file.write("\n" + "\n".join(rows))
    listed, bad = list_images([images])
    assert bad == {"file outside of its list's folder": 2, "row without file_name and caption": 4}
    records, licenses, bad_images = open_images(listed, 20)
    assert bad_images == {"unreadable image": 2} and len(records) == 20 and licenses == ["CC BY"] * 20
    assert [record.row_id for record in records[:2]] == [record.row_id for record in records[9:11]]


def test_a_folder_without_captions_is_searched(images):
    (images / "metadata.jsonl").unlink()
    (images / "left_hand.png").write_bytes((images / "0.png").read_bytes())
    listed, _ = list_images([images])
    assert len(listed) == 10 and listed[-1].caption == "left hand" and listed[-1].license is None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--number", "0"], 2, "`number` must be at least 1, got 0"),
        (["--quality", "3"], 2, "`quality` must be 0, or from 5 to 100, got 3 to 3"),
        (["--gap", "5", "1"], 2, "`gap_px` must be two rising numbers"),
        (["--layouts", "nowhere.jsonl"], 1, "Layouts nowhere.jsonl cannot be read"),
    ],
)
def test_wrong_calls(images, tmp_path, capsys, arguments, code, message):
    assert main(["--images", str(images), "--output", str(tmp_path / "out"), *arguments]) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_no_images_and_a_full_output(images, tmp_path, capsys):
    assert main(["--images", str(tmp_path / "none"), "--output", str(tmp_path / "out")]) == 2
    assert "`images` must be folders or .jsonl files" in capsys.readouterr().err
    assert main(["--images", str(images), "--output", str(images)]) == 2
    assert "`output` must be a new or empty folder" in capsys.readouterr().err
    with pytest.raises(DataError, match="must hold at least one image, got none"):
        (tmp_path / "empty").mkdir()
        list_images([tmp_path / "empty"])
    (images / "0.png").write_bytes(b"")
    listed, _ = list_images([images])
    with pytest.raises(DataError, match="at least one image that can be decoded, got none of 1"):
        open_images(listed[:1], 1)
    with pytest.raises(ConfigurationError):
        list_images([images / "0.png"])


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0 and all(word in text for word in ("boxes.jsonl", "alignment_gold.jsonl", "example:"))
