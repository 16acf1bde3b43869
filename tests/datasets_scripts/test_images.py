"""Any image file that a user may have, and files that are none."""

import io

import numpy as np
import pytest
from PIL import Image

from phenolip.exceptions import DataError
from phenolip.images import FORMATS, decode_image, shrink_image, verify_image


def pixel(image, at=(0, 0)):
    return decode_image(image).getpixel(at)


def test_every_form_of_input_gives_the_same_picture(tmp_path, helpers):
    picture = helpers.picture(0)
    data = helpers.encoded(picture)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    row = {"bytes": data, "path": None}
    for form in (picture, data, path, str(path), row, {"bytes": None, "path": str(path)}):
        decoded = decode_image(form)
        assert decoded.mode == "RGB"
        assert np.array_equal(np.asarray(decoded), np.asarray(picture))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation, format, helpers):
    upright = Image.new("RGB", (32, 16), "black")
    upright.paste((255, 0, 0), (0, 0, 16, 8))
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(helpers.encoded(stored, format, exif=exif))
    assert decoded.size == (32, 16)
    assert [decoded.getpixel(at)[0] > 128 for at in ((4, 4), (28, 4), (4, 12), (28, 12))] == [
        True,
        False,
        False,
        False,
    ]


def test_damaged_exif_does_not_cost_the_picture(helpers):
    assert decode_image(helpers.encoded(Image.new("RGB", (4, 4)), exif=b"Exif\0\0MM\0*\xff\xff")).size == (4, 4)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_greyscale_is_windowed_from_minimum_to_maximum(format, helpers):
    values = np.array([[1000, 1500], [1250, 3000]], dtype=np.uint16)
    decoded = np.asarray(decode_image(helpers.encoded(Image.fromarray(values), format)))
    assert decoded[..., 0].tolist() == [[0, 64], [32, 255]]
    assert (decoded == decoded[..., :1]).all()


def test_constant_and_floating_greyscale(helpers):
    assert pixel(helpers.encoded(Image.fromarray(np.full((2, 2), 700, np.uint16)))) == (0, 0, 0)
    values = np.array([[-1.0, np.nan], [0.0, 1.0]], dtype=np.float32)
    decoded = np.asarray(decode_image(helpers.encoded(Image.fromarray(values), "TIFF")))
    assert decoded[..., 0].tolist() == [[0, 128], [128, 255]]


def test_transparency_is_laid_on_white(helpers):
    assert pixel(helpers.encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 0)))) == (255, 255, 255)
    assert pixel(helpers.encoded(Image.new("LA", (2, 2), (0, 0)))) == (255, 255, 255)
    assert pixel(helpers.encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 255)))) == (255, 0, 0)
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 0, 200, 0])
    assert pixel(helpers.encoded(palette)) == (0, 200, 0)
    assert pixel(helpers.encoded(palette, transparency=1)) == (255, 255, 255)
    assert pixel(helpers.encoded(Image.new("RGB", (2, 2), (9, 9, 9)), transparency=(9, 9, 9))) == (255, 255, 255)


def test_cmyk_bilevel_and_grey(helpers):
    red, green, blue = pixel(helpers.encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert red > 200 and green < 50 and blue < 50
    assert pixel(helpers.encoded(Image.new("1", (2, 2), 1))) == (255, 255, 255)
    assert pixel(helpers.encoded(Image.new("L", (1, 1), 77))) == (77, 77, 77)


def test_an_animation_gives_its_first_frame(helpers):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = helpers.encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixel(data) == (255, 0, 0)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_truncation_is_found_by_both(format, kept, helpers):
    data = helpers.encoded(helpers.picture(1, (200, 160)), format)
    verify_image(data, "whole")
    cut = data[: int(kept * len(data))]
    with pytest.raises(DataError, match="not an image|truncated"):
        verify_image(cut, "cut.jpg")
    with pytest.raises(DataError, match="not an image|truncated"):
        decode_image(cut)


def test_a_damaged_png_is_not_taken_for_a_dark_one():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[-200] ^= 255
    for check in (decode_image, lambda data: verify_image(data, "noise.png")):
        with pytest.raises(DataError, match="truncated or damaged"):
            check(bytes(data))


def test_bombs_are_refused_before_they_are_decoded(helpers):
    data = helpers.encoded(Image.new("1", (3000, 3000)))
    with pytest.raises(DataError, match="3000 x 3000 pixels, more than the 1,000,000 allowed"):
        decode_image(data, max_pixels=1_000_000)
    huge = b"P5\n200000 200000\n255\n"
    with pytest.raises(DataError, match="more pixels than"):
        verify_image(huge, "huge.pbm")


def test_formats_that_start_other_programs_are_not_opened():
    with pytest.raises(DataError, match="not an image in one of the formats"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")


def test_every_format_on_the_list_is_known_to_pillow():
    Image.init()
    assert set(FORMATS) <= set(Image.OPEN)


def test_missing_file_and_empty_row(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.png does not exist"):
        decode_image(tmp_path / "nothing.png")
    with pytest.raises(DataError, match="cannot be read"):
        decode_image(tmp_path)
    with pytest.raises(DataError, match="must hold `bytes` or a `path`"):
        decode_image({"bytes": None, "path": None})


def test_shrinking_keeps_small_files_byte_for_byte(helpers):
    data = helpers.encoded(helpers.picture(0, (60, 40)))
    assert shrink_image(data, 60) == (data, False)
    smaller, is_new = shrink_image(data, 30)
    assert is_new and decode_image(smaller).size == (30, 20)


def test_a_large_jpeg_is_decoded_no_larger_than_enough(tmp_path):
    ramp = np.linspace(0, 255, 800)[:, None, None] * np.ones((1, 1000, 3))
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "large.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "turned.jpg", quality=95, exif=exif)
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "large.png")
    full = decode_image(tmp_path / "large.jpg")
    for enough_px, size in ((401, (1000, 800)), (400, (500, 400)), (150, (250, 200)), (1, (125, 100))):
        reduced = decode_image(tmp_path / "large.jpg", enough_px=enough_px)
        assert reduced.size == size
        small = np.asarray(full.resize(size, Image.Resampling.BOX), dtype=float)
        assert np.abs(np.asarray(reduced, dtype=float) - small).max() <= 3
    assert decode_image(tmp_path / "turned.jpg", enough_px=400).size == (400, 500)
    assert decode_image(tmp_path / "large.png", enough_px=100).size == (1000, 800)
