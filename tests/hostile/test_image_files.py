"""Image files from strangers: what can be shown is shown upright, what cannot is one sentence."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from phenolip import dicom_images
from phenolip.exceptions import DataError
from phenolip.images import decode_image, verify_image

SIZE = (8, 6)


def _saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _png(width, height, data=b""):
    """A PNG whose header says any size."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def _zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../a.png", _saved(Image.new("RGB", SIZE)))
    return buffer.getvalue()


def _rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return _saved(Image.new("RGB", SIZE), "JPEG", exif=exif)


_GREY = Image.fromarray(np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000)
_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_RGB = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))

SHOWN = {  # name -> file, size of the picture
    "1 x 1": (_saved(Image.new("RGB", (1, 1))), (1, 1)),
    "50,000 x 1": (_saved(Image.new("L", (50_000, 1))), (50_000, 1)),
    "CMYK": (_saved(Image.new("CMYK", SIZE), "JPEG"), SIZE),
    "16 bit": (_saved(_GREY), SIZE),
    "16 bit TIFF": (_saved(_GREY, "TIFF"), SIZE),
    "palette": (_saved(Image.new("P", SIZE)), SIZE),
    "palette with transparency": (_saved(Image.new("P", SIZE), transparency=0), SIZE),
    "1 bit": (_saved(Image.new("1", SIZE)), SIZE),
    "Lab": (_saved(Image.new("LAB", SIZE), "TIFF"), SIZE),
    "floats, not a number": (_saved(Image.fromarray(np.full((6, 8), np.nan, np.float32)), "TIFF"), SIZE),
    "animation": (_saved(Image.new("P", SIZE), "GIF", save_all=True, append_images=[Image.new("P", SIZE, 1)]), SIZE),
    "EXIF rotation": (_rotated(), SIZE[::-1]),
    "ICC profile": (_saved(Image.new("RGB", SIZE), icc_profile=_PROFILE), SIZE),
    "ICC profile that is rubbish": (_saved(Image.new("RGB", SIZE), icc_profile=b"\xff" * 999), SIZE),
    "a ZIP behind the picture": (_saved(Image.new("RGB", SIZE)) + _zip(), SIZE),
}
REFUSED = {  # name -> file, what the message says
    "bomb of 50,000 x 50,000": (_png(50_000, 50_000), "more pixels|pixels, more"),
    "bomb of 2^31 x 2^31": (_png(2**31 - 1, 2**31 - 1), "more pixels|pixels, more"),
    "bomb of rows": (_png(9_400, 9_600, b"\0" * 10), "pixels, more"),
    "truncated PNG": (_saved(_RGB)[:-4000], "truncated or damaged"),
    "truncated JPEG": (_saved(_RGB, "JPEG")[:-900], "truncated or damaged"),
    "0 x 0": (_png(0, 0), "not an image|truncated"),
    "0 bytes": (b"", "not an image"),
    "text": (b"caption,image\n", "not an image"),
    "HTML with script": (b"<html><script>alert(1)</script>", "not an image"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', "not an image"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(a) (w) file", "not an image"),
    "PDF": (b"%PDF-1.7\n", "not an image"),
    "ZIP": (_zip(), "not an image"),
    "ELF": (b"\x7fELF" + b"\0" * 200, "not an image"),
    "damaged pixels": (_saved(_RGB)[:200] + b"\0" * 300 + _saved(_RGB)[500:], "truncated or damaged"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_unusual_pictures_are_shown(name):
    data, size = SHOWN[name]
    picture = decode_image(data)
    verify_image(data, name)
    assert picture.mode == "RGB" and picture.size == size


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_files_are_one_sentence(name):
    data, message = REFUSED[name]
    for read in (decode_image, lambda data: verify_image(data, "a.png")):
        with pytest.raises(DataError, match=message) as caught:
            read(data)
        assert len(str(caught.value).splitlines()) == 1


def test_the_content_decides_not_the_ending(tmp_path):
    for name, kind in (("a.png", "JPEG"), ("a.jpg", "PNG"), ("a.dcm", "GIF"), ("a", "WEBP")):
        (tmp_path / name).write_bytes(_saved(Image.new("RGB", SIZE), kind))
        assert decode_image(tmp_path / name).size == SIZE


def test_a_dicom_file_by_mistake_names_the_extra(monkeypatch, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 99)
    monkeypatch.setattr(dicom_images, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"is a DICOM file, which needs pydicom: `pip install phenolip\[dicom\]`"):
        decode_image(tmp_path / "a.png")
