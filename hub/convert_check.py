"""The proof inside a converted folder: fixed inputs, what the model gave for them, a comparison at any later time."""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.inference.adapters.open_clip import OpenClipEncoder
from phenolip.inference.encoder import Encoder
from phenolip.provenance import package_versions, write_json

RECORD = "conversion.json"
TOLERANCE = 1e-5  # of a cosine
TEXTS = (
    "Arachnodactyly",
    "low-set ears",
    "Axial CT of the chest shows ground-glass opacities in both lower lobes (arrow).",
    "A 5-year-old boy with macrocephaly; fundus photograph of the left eye.",
    "no finding " * 200,  # longer than every context: the cut and its end token are part of the proof
)
# Of sides 1 and 2: where a crop takes away an odd number of pixels, open_clip and transformers differ by one of them.
_SHAPES = ((300, 150, 3), (224, 224, 3), (100, 200, 3))


def probe_images() -> list[Image.Image]:
    """Three pictures of noise over slow waves, the same bytes on every machine."""
    pictures = []
    for number, shape in enumerate(_SHAPES):
        noise = hashlib.shake_256(f"phenolip {number}".encode()).digest(int(np.prod(shape)))
        rows, columns, channels = np.ogrid[: shape[0], : shape[1], : shape[2]]
        waves = (rows * (number + 1) + columns * (channels + 2)) % 256
        pixels = (waves + np.frombuffer(noise, np.uint8).reshape(shape).astype(int) // 4) % 256
        pictures.append(Image.fromarray(pixels.astype(np.uint8)))
    return pictures


def inputs_hash() -> str:
    """sha256 of the pixels and texts."""
    digest = hashlib.sha256()
    for picture in probe_images():
        digest.update(picture.tobytes())
    digest.update("\0".join(TEXTS).encode())
    return digest.hexdigest()


def cosines(encoder: Any) -> NDArray[np.float32]:
    """(3, 5) cosines of the pictures with the texts."""
    return encoder.encode_images(probe_images()) @ encoder.encode_texts(list(TEXTS)).T


def open_clip_cosines(checkpoint: str | Path) -> tuple[NDArray[np.float32] | None, str]:
    """What open_clip itself gives, and its name and version; None and a reason where it cannot say."""
    if find_spec("open_clip") is None:
        return None, "open_clip_torch is not installed here"
    if Path(checkpoint).is_file():
        return None, "open_clip reads folders, not a file of weights"
    try:
        encoder = OpenClipEncoder.from_pretrained(checkpoint, "cpu")
    except ConfigurationError as error:  # a text tower whose config is not at hand, pickled weights
        return None, str(error)
    return cosines(encoder), package_versions("open_clip_torch")["open_clip_torch"]


def record(
    folder: Path, logits_of: Any, source: dict[str, Any], reference: tuple[NDArray | None, str]
) -> float | None:
    """Writes the proof, and gives the greatest difference to open_clip.

    Args:
        folder: Where conversion.json goes.
        logits_of: The converted model as an encoder.
        source: What was converted.
        reference: Cosines of the other library and its version, or None and the reason.

    Raises:
        DataError: The two differ by more than 1e-5; nothing is written.
    """
    own = cosines(logits_of)
    known, version = reference
    difference = None if known is None else float(np.abs(own - known).max())
    if difference is not None and not difference <= TOLERANCE:
        raise DataError(
            f"The converted model must give the cosines of its source to {TOLERANCE}, got {difference:.2g}."
        )
    proof = {
        "inputs_sha256": inputs_hash(),
        "logits_per_image": (own * logits_of.logit_scale).tolist(),
        "logit_scale": logits_of.logit_scale,
        "tolerance_of_cosine": TOLERANCE,
        "compared_with_open_clip": version if known is not None else None,
        "not_compared_because": None if known is not None else version,
        "max_difference_of_cosine": difference,
    }
    write_json(folder / RECORD, {"source": source, "check": proof, "packages": package_versions()})
    return difference


def verify(folder: str | Path) -> float:
    """The greatest difference of a cosine between what a converted folder gives now and what is written in it.

    Raises:
        ConfigurationError: The folder has no record, or one of other inputs.
        DataError: The difference exceeds 1e-5.
    """
    path = Path(folder) / RECORD
    try:
        check = json.loads(path.read_text(encoding="utf-8"))["check"]
        known, scale = np.array(check["logits_per_image"], np.float64), float(check["logit_scale"])
        same_inputs = check["inputs_sha256"] == inputs_hash()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"`folder` {folder} must hold a {RECORD} of a conversion ({error}).") from error
    if not same_inputs or known.shape != (len(_SHAPES), len(TEXTS)):
        raise ConfigurationError(f"{path} must hold the logits of this version's inputs, got those of others.")
    if (Path(folder) / "config.json").exists():
        encoder = Encoder.from_pretrained(folder, "cpu", dtype=torch.float32)
    else:
        encoder = OpenClipEncoder.from_pretrained(folder, "cpu")
    difference = float(np.abs(cosines(encoder) - known / scale).max())
    if not difference <= TOLERANCE:
        raise DataError(f"`folder` {folder} must give the cosines written in it to {TOLERANCE}, got {difference:.2g}.")
    return difference
