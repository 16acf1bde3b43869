"""`phenolip audit`: counts on the screen, files where asked for, and an exit code that a script can wait for."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from phenolip.cli import main

DATA = Path(os.environ.get("PHENOLIP_TEST_DATA", "absent"))


def write_pairs(folder, captions):
    """An ImageFolder of drawn images, one a caption; the caption's words decide what is drawn."""
    (folder / "images").mkdir(parents=True)
    with (folder / "metadata.jsonl").open("w") as lines:
        for number, caption in enumerate(captions):
            picture = Image.new("RGB", (64, 64), "white")
            for place, letter in enumerate(caption.encode()[-6:]):
                ImageDraw.Draw(picture).rectangle([letter % 48, 9 * place, letter % 48 + 12, 9 * place + 7], "black")
            picture.save(folder / "images" / f"{number}.png")
            lines.write(json.dumps({"file_name": f"images/{number}.png", "caption": caption}) + "\n")
    return str(folder)


@pytest.fixture
def tables(tmp_path):
    train = write_pairs(tmp_path / "train", ["Heart, abcdef", "Lung, ghijkl", "Eye, zyxwvu"])
    bench = write_pairs(tmp_path / "bench", ["Lung, ghijkl", "Hand, mnrtqs"])
    return train, bench


def test_counts_files_and_exit_codes(tables, tmp_path, capsys):
    output = tmp_path / "audit"
    assert main(["audit", *tables, "--output", str(output), "--fail-above", "0.5"]) == 0
    shown = capsys.readouterr().out
    assert "any of these                           1    50.00%" in shown and f"{output}/audit.html" in shown
    assert json.loads((output / "audit.json").read_text())["num_rows_left_out"] == {"train": {}, "bench": {}}
    assert main(["audit", *tables, "--fail_above", "0.49"]) == 1
    assert "0.5000 of the rows are touched, more than `fail_above` 0.49" in capsys.readouterr().err


def test_one_table(tables, capsys):
    assert main(["audit", tables[0], "--fail_above", "0"]) == 0
    assert "Duplicates within" in capsys.readouterr().out
    assert main(["audit", *tables[:1] * 2, "--fail_above", "0.9"]) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fail_above", "2"], "`fail_above` must be between 0 and 1, got 2.0"),
        (["--min_jaccard", "1.5"], "`min_jaccard` must be above 0 and at most 1, got 1.5"),
        (["--max_phash_distance", "-2"], "`max_phash_distance` must be between -1 and 64 bits, got -2"),
    ],
)
def test_wrong_calls(tables, flags, message, capsys):
    assert main(["audit", *tables, *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_split_of_what_is_not_given(tables, capsys):
    assert main(["audit", tables[0], "--bench_split", "test"]) == 2
    assert "`bench_split` needs BENCH" in capsys.readouterr().err
    assert main(["audit", tables[0], "no_such_folder/x/y"]) == 1
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the development data")
def test_medpix(tmp_path, capsys):
    medpix = DATA / "medpix2"
    assert main(["audit", str(medpix / "train.jsonl"), str(medpix / "dev.jsonl"), "--output", str(tmp_path)]) == 0
    criteria = json.loads((tmp_path / "audit.json").read_text())["criteria"]
    assert criteria["same_article"]["num_bench_rows"] == criteria["same_image"]["num_bench_rows"] == 0
    assert criteria["same_caption"]["num_bench_rows"] == 6
