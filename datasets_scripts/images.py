"""Image files as users have them; see `phenolip.images`."""

from phenolip.images import FORMATS, MAX_PIXELS, SUFFIXES, decode_image, read_image, shrink_image, verify_image

__all__ = ["FORMATS", "MAX_PIXELS", "SUFFIXES", "decode_image", "read_image", "shrink_image", "verify_image"]
