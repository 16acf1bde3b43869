"""What an image processor of transformers does to a picture, as JSON values."""

from typing import Any

from PIL import Image

_FIELDS = (  # what decides the pixels, as image processors call it
    "do_convert_rgb",
    "do_resize",
    "size",
    "resample",
    "do_center_crop",
    "crop_size",
    "do_rescale",
    "rescale_factor",
    "rescale_offset",
    "do_normalize",
    "image_mean",
    "image_std",
    "include_top",
    "patch_size",
    "max_num_patches",
)


def describe_image_processor(processor: Any) -> dict[str, Any]:
    """The fields `image_size` ([height, width] in pixels, None where it follows the image) and `preprocessing`."""
    settings = processor.to_dict()
    fields = {name: _plain(settings[name]) for name in _FIELDS if settings.get(name) is not None}
    if "resample" in fields:
        fields["resample"] = Image.Resampling(settings["resample"]).name.lower()
    return {"image_size": _image_size(settings), "preprocessing": {"class": type(processor).__name__, **fields}}


def _image_size(settings: dict[str, Any]) -> list[int] | None:
    size = settings.get("crop_size" if settings.get("do_center_crop") else "size") or {}
    height, width = size.get("height"), size.get("width")
    return [height, width] if height and width else None


def _plain(value: Any) -> Any:
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
