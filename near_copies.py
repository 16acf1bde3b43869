"""When two captions, or two images, count as the same or nearly so.

The hash of an image is ``imagehash.phash``: 64 bits of a discrete cosine transform. That of a flat image, such as a
blank page, says little.
"""

import hashlib

import imagehash
import numpy as np

from phenolip.images import ImageSource, decode_image

NUM_BITS = 64
_BLOCK = (16, 4096)  # hashes compared at once: half a megabyte of differences, which the processor's cache holds


def fold_caption(caption: str) -> str:
    """The caption with case and runs of white space folded, under which two captions count as identical."""
    return " ".join(caption.casefold().split())


def caption_hash(caption: str) -> str:
    """SHA-256 of a folded caption: equal captions are found by it, and none can be read from it."""
    return hashlib.sha256(fold_caption(caption).encode("utf-8", "surrogatepass")).hexdigest()


def perceptual_hash(image: ImageSource) -> int:
    """64 bits of an image as a viewer shows it; near copies differ in few of them."""
    bits = imagehash.phash(decode_image(image)).hash
    return int.from_bytes(np.packbits(bits.ravel()).tobytes(), "big")


def near_hashes(
    left: np.ndarray, right: np.ndarray | None = None, *, max_distance: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of hashes that differ in at most ``max_distance`` bits; none is missed.

    Each hash is compared with each, about a billion a second on one core. Only the pairs found take memory.

    Args:
        left: (N,) uint64.
        right: (M,) uint64; None pairs ``left`` with itself: each pair once, no place with itself.
        max_distance: Bits of 64.

    Returns:
        Places in ``left``, places in ``right``, and bits that differ, each (P,), ordered by the places.

    Example:
        >>> [places.tolist() for places in near_hashes(np.array([0, 7, 1], dtype=np.uint64), max_distance=1)]
        [[0], [2], [1]]
    """
    others = left if right is None else right
    differences, distances = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.uint8)
    found = [np.zeros((3, 0), dtype=np.int64)]
    for top in range(0, len(left), _BLOCK[0]):
        rows = left[top : top + _BLOCK[0], None]
        for start in range(0 if right is not None else top, len(others), _BLOCK[1]):
            columns = others[None, start : start + _BLOCK[1]]
            shape = np.s_[: len(rows), : columns.shape[1]]
            bits = np.bitwise_count(np.bitwise_xor(rows, columns, out=differences[shape]), out=distances[shape])
            if bits.min() <= max_distance:
                one, other = np.nonzero(bits <= max_distance)
                pairs = np.stack([one + top, other + start, bits[one, other]])
                found.append(pairs if right is not None else pairs[:, pairs[0] < pairs[1]])
    pairs = np.concatenate(found, axis=1)
    first, second, distance = pairs[:, np.lexsort((pairs[1], pairs[0]))]
    return first, second, distance
