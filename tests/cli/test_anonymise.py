"""Copies carry pixels alone; names can be found again by who has the mapping."""

import io
import json
import stat

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from phenolip.cli import main
from phenolip.cli.anonymise import new_name, pixels_alone
from phenolip.images import decode_image

SECRET = "JaneDoe1970"


@pytest.fixture
def ward(tmp_path):
    folder = tmp_path / "ward" / SECRET
    folder.mkdir(parents=True)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8))
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x010E] = exif[0x013B] = SECRET
    exif[0x0112] = 6
    text.add_text("Patient", SECRET)
    text.add_itxt("XML:com.adobe.xmp", SECRET)
    picture.save(folder / f"{SECRET}.jpg", exif=exif, comment=SECRET.encode(), quality=95)
    picture.save(folder / "b.png", pnginfo=text, exif=exif, icc_profile=SECRET.encode())
    picture.save(folder / "c.tif", exif=exif)
    picture.save(folder / "d.gif", comment=SECRET.encode())
    (folder / "link.png").symlink_to(folder / "b.png")
    (folder / "report.txt").write_text(SECRET)
    return tmp_path / "ward"


def call(ward, *more):
    names = ward.parent / "private" / "names.jsonl"
    return main(["anonymise", str(ward), "--output", str(ward.parent / "out"), "--mapping", str(names), *more])


def test_nothing_but_pixels_is_copied(ward):
    assert call(ward) == 0
    mapping = ward.parent / "private" / "names.jsonl"
    rows = [json.loads(line) for line in mapping.read_text().splitlines()]
    written = {path.name: path for path in (ward.parent / "out").iterdir()}
    assert len(rows) == 4 and set(written) == {row["new"] for row in rows}
    for row in rows:
        data = written[row["new"]].read_bytes()
        assert SECRET.encode() not in data and SECRET not in row["new"]
        opened = Image.open(io.BytesIO(data))
        assert opened.info == {} and not opened.getexif()
        assert np.array_equal(opened, decode_image(ward / row["old"]))  # turned upright
    for path in (mapping, mapping.with_name("names.jsonl.key")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(next(iter(written.values())).stat().st_mode) & 0o044


def test_a_dicom_file_loses_its_tags(ward, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    path = pydicom.examples.get_path("ct")
    (ward / "a.dcm").write_bytes(path.read_bytes())
    patient = str(pydicom.dcmread(path).PatientName).encode()
    assert patient in path.read_bytes() and call(ward) == 0
    assert not any(patient in copy.read_bytes() for copy in (tmp_path / "out").iterdir())


def test_names_depend_on_the_key():
    assert new_name("a.png", b"k" * 32) == new_name("a.png", b"k" * 32) != new_name("a.png", b"j" * 32)
    assert pixels_alone(Image.new("RGB", (2, 2))).count(b"tEXt") == 0


def test_an_unreadable_image_is_counted_and_capped(ward, capsys):
    (ward / "broken.png").write_bytes(b"\x89PNG")
    assert call(ward) == 1
    assert "1 of 5 images cannot be read" in capsys.readouterr().err
    (ward.parent / "private" / "names.jsonl").unlink()
    assert call(ward, "--max_bad_fraction", "0.5") == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mapping", "{}/out/names"], "`--mapping` must lie outside"),
        (["--key", "{}/out/key"], "`--key` must lie outside"),
        (["--output", "{}/ward/out"], "must lie apart"),
        (["--key", "{}/ward/short"], "at least 32 characters, got 5"),
        (["--mapping", "{}/ward/short"], "must be a new file"),
    ],
)
def test_places_that_would_tell_are_refused(flags, message, ward, capsys):
    (ward / "short").write_text("short")
    assert call(ward, *(flag.format(ward.parent) for flag in flags)) == 2
    assert message in capsys.readouterr().err


def test_no_folder_and_no_image(tmp_path, capsys):
    assert call(tmp_path / "ward") == 2 and "must be a folder of images" in capsys.readouterr().err
    (tmp_path / "ward").mkdir()
    assert call(tmp_path / "ward") == 1 and "at least one image, got none" in capsys.readouterr().err
