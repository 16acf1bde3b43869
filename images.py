"""Image files as users have them -> RGB pictures.

Only raster formats that Pillow decodes in-process are opened, so no file can start another program, and DICOM where
pydicom is installed. A file that is truncated, too large or not an image raises ``DataError`` with one sentence.
"""

import base64
import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from phenolip.dicom_images import DICOM_SUFFIXES, decode_dicom, is_dicom
from phenolip.exceptions import DataError
from phenolip.floors import require_floor

#: Formats that are opened, by the names that Pillow registers (MPO comes with JPEG).
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")
#: Suffixes of such files.
SUFFIXES = frozenset(".jpg .jpeg .jfif .png .gif .bmp .tif .tiff .webp .avif .jp2 .j2k .mpo .ppm .pgm .pbm".split())
#: The same and DICOM's, for folders of images with labels.
IMAGE_SUFFIXES = SUFFIXES | DICOM_SUFFIXES
MAX_PIXELS = 89_478_485  # Pillow's own threshold of suspicion: a quarter of a GiB as RGB

# What Pillow's decoders raise on damaged files; UnidentifiedImageError is an OSError.
_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
)
_ORIENTATION_TAG = 0x0112
_TURNS = {  # EXIF orientation -> what brings the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

ImageSource = str | Path | bytes | Mapping[str, Any] | Image.Image


class ImageTooLargeError(DataError):
    """An image has more pixels than are allowed."""


def decode_image(image: ImageSource, *, max_pixels: int = MAX_PIXELS, enough_px: int | None = None) -> Image.Image:
    """Decode any image into RGB as a viewer would show it.

    EXIF rotation is applied, transparency is laid on white, an animation gives its first frame, palettes and CMYK are
    converted. Greyscale deeper than 8 bits is windowed from its minimum to its maximum (a constant image becomes
    black), since no display window comes with such files. DICOM files carry one: see `decode_dicom`.

    Args:
        image: A path, the bytes of a file, a ``datasets`` row ``{"bytes", "path"}``, or a Pillow image.
        max_pixels: Width times height above which a file is refused before it is decoded.
        enough_px: Width and height that suffice. A JPEG of twice that or more is reconstructed at 1/2, 1/4 or 1/8 of
            its size, but never below; its pixels are then means of blocks, as its decoder computes them, and the
            picture is smaller. Every other file is decoded as without it.
    """
    if isinstance(image, Image.Image):
        return _to_rgb(image, "the image")
    data, name = read_image(image)
    with _open(data, name, max_pixels) as opened:
        if enough_px is not None:
            opened.draft(None, (enough_px, enough_px))
        return _to_rgb(opened, name)


def measure_image(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height that the header of an image file gives; ``name`` is for the message."""
    with _open(data, name, max_pixels) as opened:
        return opened.size


def verify_image(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> None:
    """Raise ``DataError`` unless ``data`` is an image that ``decode_image`` accepts; ``name`` is for the message.

    A JPEG is reconstructed at an eighth of its size: all of its data is read, so truncation still shows.
    """
    with _open(data, name, max_pixels) as opened:
        opened.draft(None, (1, 1))
        try:
            opened.load()
        except _DAMAGE as error:
            raise _damaged(name, error) from error


def read_image(image: str | Path | bytes | Mapping[str, Any]) -> tuple[bytes, str]:
    """The bytes of an image file, and the name that messages give it."""
    if isinstance(image, Mapping):
        path = image.get("path")
        if image.get("bytes") is not None:
            return image["bytes"], Path(path).name if path else "the image"
        if not path:
            raise DataError("An image row must hold `bytes` or a `path`, got neither.")
        image = path
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image), "the image"
    try:
        return Path(image).read_bytes(), str(image)
    except FileNotFoundError as error:
        raise DataError(f"Image {image} does not exist.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"Image {image} cannot be read: {error}.") from error


def drop_patient_data(data: bytes) -> bytes:
    """An image file as it may be stored elsewhere: itself, but a DICOM file as PNG, without any of its tags."""
    if not is_dicom(data):
        return data
    buffer = io.BytesIO()
    _open(data, "the image", MAX_PIXELS).save(buffer, "PNG")
    return buffer.getvalue()


def shrink_image(data: bytes, max_side: int) -> tuple[bytes, bool]:
    """Scale an image file so that its longer side is at most ``max_side`` pixels.

    Returns:
        The bytes and whether they are new: a file that is small enough is returned as it is, any other becomes a JPEG
        of quality 95. A DICOM file should have gone through `drop_patient_data` before.
    """
    with _open(data, "the image", MAX_PIXELS) as opened:
        if max(opened.size) <= max_side:
            return data, False
    picture = decode_image(data)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95)
    return buffer.getvalue(), True


def thumbnail_uri(image: Image.Image, max_side: int) -> str:
    """A small copy of a picture as an address that holds it, for pages that load nothing."""
    return jpeg_uri(encode_thumbnail(image, max_side))


def encode_thumbnail(image: Image.Image, max_side: int) -> bytes:
    """A small copy of a picture as a JPEG file."""
    copy = image.copy()
    copy.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    copy.save(encoded, "JPEG", quality=82)
    return encoded.getvalue()


def jpeg_uri(data: bytes) -> str:
    """A JPEG file as an address that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _open(data: bytes, name: str, max_pixels: int) -> Image.Image:
    if is_dicom(data):
        return decode_dicom(data, name, max_pixels)
    require_floor("pillow")
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(f"{name} has more pixels than the {max_pixels:,} allowed.") from error
    except _DAMAGE as error:
        raise DataError(f"{name} is not an image in one of the formats {', '.join(FORMATS)}.") from error
    width, height = opened.size
    if width * height > max_pixels:
        raise ImageTooLargeError(f"{name} has {width} x {height} pixels, more than the {max_pixels:,} allowed.")
    return opened


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    try:
        image.load()  # first: asking a PNG for its EXIF would load it and hide damage, and TIFF turns itself
        turn = _TURNS.get(_orientation(image))
        if image.mode.startswith(("I", "F")):
            image = _window(image)
        if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
            layer = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
            image = Image.new("RGBA", layer.size, "white")
            image.alpha_composite(layer)
        rgb = image.convert("RGB")
        return rgb if turn is None else rgb.transpose(turn)
    except _DAMAGE as error:
        raise _damaged(name, error) from error


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except _DAMAGE:
        return 1  # damaged EXIF says nothing of the pixels


def _window(image: Image.Image) -> Image.Image:
    """Greyscale of any depth to 8 bits, minimum to black and maximum to white."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    scaled = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    return Image.fromarray(scaled.round().astype(np.uint8))


def _damaged(name: str, error: Exception) -> DataError:
    return DataError(f"{name} is truncated or damaged ({error}).")
