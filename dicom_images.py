"""DICOM files -> the picture that a viewer shows; nothing of the patient is read."""

import io
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phenolip.exceptions import DataError

#: Suffixes of DICOM files; their content decides, these only find them in folders.
DICOM_SUFFIXES = frozenset((".dcm", ".dicom"))

_DEFLATED = b"1.2.840.10008.1.2.1.99"  # one zlib stream: it could unpack to any size
_TAGS = (  # what the pixels need, and no more: names, dates and ids of patients are never parsed
    *("SOPClassUID", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("VOILUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PixelData"),
    *(
        f"{color}PaletteColorLookupTable{part}"
        for color in ("Red", "Green", "Blue")
        for part in ("Descriptor", "Data")
    ),
    *(f"Segmented{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")),
)


def is_dicom(data: bytes) -> bool:
    """Whether bytes begin as a DICOM file of Part 10 does: 128 bytes of preamble, then "DICM"."""
    return data[128:132] == b"DICM"


def decode_dicom(data: bytes, name: str, max_pixels: int) -> Image.Image:
    """The first frame as an 8-bit greyscale or RGB picture.

    Stored values go through rescale slope and intercept (or the modality table), then through the first VOI window
    (or VOI table) of the frame; without either, the range from their minimum to their maximum, padding left out,
    becomes black to white. MONOCHROME1 is inverted. Colours in YBR and palettes become RGB.

    Args:
        data: The bytes of the file.
        name: For messages.
        max_pixels: Rows times columns above which the file is refused before it is decoded.

    Raises:
        DataError: pydicom is missing, or the file has no picture that can be decoded here. No message quotes a value
            of the file.
    """
    if find_spec("pydicom") is None:
        raise DataError(f"{name} is a DICOM file, which needs pydicom: `pip install phenolip[dicom]`.")
    if _DEFLATED + b"\0" in data[:2048] or _DEFLATED + b"\2" in data[:2048]:
        raise DataError(f"{name} is a deflated DICOM file; save it in another transfer syntax.")
    # `from None` throughout: what pydicom raises or warns of may quote the file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = _read(data, name)
        _check_size(dataset, name, max_pixels)
        try:
            values = _frame(dataset)
        except Exception:  # decoders of several packages, which raise whatever they like
            raise DataError(
                f"{name} is a DICOM file whose pixels cannot be decoded ({_compression(dataset)}): it is damaged, or "
                "needs a decoder that pydicom finds, such as python-gdcm or pylibjpeg."
            ) from None
        try:
            return Image.fromarray(_picture(dataset, values))
        except Exception:  # tags of any type and length
            raise DataError(f"{name} is a DICOM file whose window or tables cannot be used.") from None


def _read(data: bytes, name: str) -> Any:
    from pydicom import dcmread

    try:
        dataset = dcmread(io.BytesIO(data), specific_tags=list(_TAGS))
        has_pixels = "PixelData" in dataset and int(dataset.Rows) > 0 and int(dataset.Columns) > 0
    except Exception:  # of bytes of any kind pydicom raises whatever it likes
        raise DataError(f"{name} is a DICOM file that is truncated or damaged.") from None
    if not has_pixels:
        raise DataError(f"{name} is a DICOM file without a picture.")
    return dataset


def _check_size(dataset: Any, name: str, max_pixels: int) -> None:
    from phenolip.images import ImageTooLargeError

    height, width = int(dataset.Rows), int(dataset.Columns)
    if height * width > max_pixels:
        raise ImageTooLargeError(f"{name} has {width} x {height} pixels, more than the {max_pixels:,} allowed.")


def _compression(dataset: Any) -> str:
    uid = dataset.file_meta.get("TransferSyntaxUID")
    return uid.name if uid is not None and uid.is_transfer_syntax else "unknown transfer syntax"


def _frame(dataset: Any) -> NDArray:
    """(H, W) or (H, W, 3) stored values of the first frame; YBR is turned into RGB on the way."""
    from pydicom.pixels import pixel_array

    return pixel_array(dataset, index=0)


def _picture(dataset: Any, values: NDArray) -> NDArray[np.uint8]:
    from pydicom.pixels import apply_color_lut

    kind = str(dataset.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        return _to_bytes(
            apply_color_lut(values, dataset) / (2.0 ** dataset.RedPaletteColorLookupTableDescriptor[2] - 1)
        )
    if values.ndim == 3:
        return _to_bytes(values / (2.0 ** int(dataset.BitsStored) - 1))
    shades = _windowed(dataset, values)
    return _to_bytes(1 - shades if kind == "MONOCHROME1" else shades)


def _windowed(dataset: Any, stored: NDArray) -> NDArray:
    """Stored values -> 0 (black) to 1 (white), for MONOCHROME2."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    rescale = _macro(dataset, "PixelValueTransformationSequence", "RescaleSlope")
    if rescale is dataset:
        values = np.asarray(apply_modality_lut(stored, dataset), np.float64)
    else:
        values = stored * float(rescale.RescaleSlope) + float(rescale.RescaleIntercept)
    if "VOILUTSequence" in dataset:
        table = dataset.VOILUTSequence[0]
        return apply_voi(values.round().astype(np.int64), dataset) / (2.0 ** table.LUTDescriptor[2] - 1)
    voi = _macro(dataset, "FrameVOILUTSequence", "WindowWidth")
    if voi.get("WindowWidth") not in (None, "") and voi.get("WindowCenter") not in (None, ""):
        return apply_window(values, _first(voi.WindowCenter), _first(voi.WindowWidth), str(voi.get("VOILUTFunction")))
    shown = values[stored != dataset.PixelPaddingValue] if "PixelPaddingValue" in dataset else values
    low, high = (shown.min(), shown.max()) if shown.size else (0.0, 0.0)
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def apply_window(values: NDArray, center: float, width: float, function: str = "LINEAR") -> NDArray:
    """Values -> 0 to 1 through a display window.

    Source: DICOM PS3.3 C.11.2.1.2 (LINEAR) and C.11.2.1.3 (LINEAR_EXACT, SIGMOID).

    Example:
        >>> apply_window(np.array([-200.0, 40.0, 400.0]), center=40, width=81).tolist()
        [0.0, 0.50625, 1.0]
    """
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -500, 500)))
    if function != "LINEAR_EXACT":  # what the standard takes where nothing is said
        center, width = center - 0.5, width - 1
    if width <= 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _macro(dataset: Any, name: str, tag: str) -> Any:
    """Where a tag of the first frame stands: in its own functional group, in the shared one, or in the file."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        items = dataset.get(groups)
        found = items[0].get(name) if items else None
        if found and tag in found[0]:
            return found[0]
    return dataset


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def _to_bytes(shades: NDArray) -> NDArray[np.uint8]:
    return (np.clip(shades, 0, 1) * 255).round().astype(np.uint8)
