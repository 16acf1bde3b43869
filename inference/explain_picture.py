"""An explanation as a picture: the image, the map over it with its scale, and the scores of the neighbours."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from phenolip.inference.explain import Explanation

NOTICE = "For research, not for diagnosis: the map shows what moves the model's score, not where disease is."
SIDE_PX = 448  # of each of the two views
_MARGIN, _LINE, _BAR = 16, 22, 14
_INK, _QUIET, _PAPER = (29, 37, 41), (94, 106, 112), (255, 255, 255)
# From dark violet over magenta and orange to pale yellow: lightness rises all the way, so it reads in grey as well.
_WARM = np.array([(20, 11, 53), (101, 21, 110), (187, 55, 84), (237, 105, 37), (252, 181, 25), (252, 252, 180)])
_COLD = np.array([(252, 252, 252), (158, 202, 225), (49, 130, 189), (8, 48, 107)])  # what lowers the score


def colour_map(values: NDArray) -> NDArray[np.uint8]:
    """Values from -1 to 1 as colours, (..., 3): blue below 0, violet to yellow from 0 up."""
    values = np.clip(np.asarray(values, np.float64), -1.0, 1.0)
    colours = np.where((values >= 0)[..., None], _along(_WARM, values), _along(_COLD, -values))
    return colours.round().astype(np.uint8)


def overlay(picture: Image.Image, heat: NDArray, *, opacity: float = 0.6, side_px: int = SIDE_PX) -> Image.Image:
    """The map laid over the picture: the stronger, the less of the picture shows.

    Args:
        picture: What the model saw.
        heat: (H, W) map of any scale; its largest absolute value is the end of the colours.
        opacity: Of the strongest place, from 0 to 1.
        side_px: Longer side of the result.
    """
    base = _fitted(picture, side_px)
    top = float(np.abs(heat).max())
    strength = heat / top if top > 0 else np.zeros_like(heat)
    grown = np.asarray(Image.fromarray(strength.astype(np.float32)).resize(base.size, Image.Resampling.BICUBIC))
    grown = np.clip(grown, -1.0, 1.0)
    share = (opacity * np.abs(grown) ** 0.75)[..., None]
    mixed = (1 - share) * np.asarray(base, np.float64) + share * colour_map(grown)
    return Image.fromarray(mixed.round().astype(np.uint8))


def explanation_picture(explanation: Explanation, *, num_neighbours: int = 8) -> Image.Image:
    """Image and map side by side, a scale, the score, the best neighbours as bars, and the notice."""
    base = _fitted(explanation.picture, SIDE_PX)
    rows = explanation.neighbours[:0] if num_neighbours < 1 else _shown(explanation, num_neighbours)
    width = 2 * base.width + 3 * _MARGIN
    top = _MARGIN + 2 * _LINE
    below = top + base.height + _MARGIN
    height = below + 2 * _LINE + _LINE * (len(rows) + (1 if rows else 0)) + 2 * _LINE
    canvas = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    title = f"{explanation.name}  {explanation.hpo_id}"
    draw.text((_MARGIN, _MARGIN - 4), _cut(draw, title, _font(19), width - 2 * _MARGIN), fill=_INK, font=_font(19))
    says = f"cosine {explanation.cosine:.3f}; {_METHOD_WORDS[explanation.method]}"
    draw.text((_MARGIN, _MARGIN + _LINE), says, fill=_QUIET, font=_font(14))
    canvas.paste(base, (_MARGIN, top))
    canvas.paste(overlay(explanation.picture, explanation.heat), (2 * _MARGIN + base.width, top))
    _scale(draw, canvas, explanation, (2 * _MARGIN + base.width, below, base.width))
    _bars(draw, explanation, rows, below + 2 * _LINE, width)
    draw.text((_MARGIN, height - _LINE - 6), _cut(draw, NOTICE, _font(13), width - 2 * _MARGIN), _INK, _font(13))
    return canvas


def png_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


_METHOD_WORDS = {
    "gradient": "places whose features raise it",
    "occlusion": "how far it falls where a square is hidden",
}


def _shown(explanation: Explanation, limit: int) -> list:
    """The best neighbours of each kind in turn, in the order of their kinds."""
    by_kind: dict[str, list] = {}
    for row in explanation.neighbours:
        by_kind.setdefault(row.relation, []).append(row)
    share = max(1, limit // max(1, len(by_kind)))
    return [row for rows in by_kind.values() for row in rows[:share]]


def _scale(draw: ImageDraw.ImageDraw, canvas: Image.Image, explanation: Explanation, place: tuple) -> None:
    """Colour bar with the numbers of its ends."""
    x, y, width = place
    top = float(np.abs(explanation.heat).max())
    low = -top if float(explanation.heat.min()) < 0 else 0.0
    ramp = np.linspace(low, top, width) / top if top > 0 else np.zeros(width)
    canvas.paste(Image.fromarray(np.repeat(colour_map(ramp)[None], 10, axis=0)), (x, y))
    draw.text((x, y + 12), f"{low:.2g}", fill=_QUIET, font=_font(13))
    end = f"{top:.2g}"
    draw.text((x + width - draw.textlength(end, font=_font(13)), y + 12), end, fill=_QUIET, font=_font(13))


def _bars(draw: ImageDraw.ImageDraw, explanation: Explanation, rows: list, y: int, width: int) -> None:
    """The term and its neighbours, each with its cosine as a bar from 0 to 1."""
    if not rows:
        return
    label_px, bar_x = int(width * 0.5), int(width * 0.5) + 2 * _MARGIN
    full = width - bar_x - 4 * _MARGIN
    lines = [("this term", explanation.name, explanation.cosine)] + [(r.relation, r.name, r.cosine) for r in rows]
    for number, (relation, name, cosine) in enumerate(lines):
        line_y = y + number * _LINE
        text = _cut(draw, f"{relation}: {name}", _font(14), label_px)
        draw.text((_MARGIN, line_y), text, fill=_INK, font=_font(14))
        colour = (187, 55, 84) if number == 0 else (128, 146, 156)
        end = bar_x + max(1, round(full * min(1.0, max(0.0, cosine))))
        draw.rectangle((bar_x, line_y + 2, end, line_y + 2 + _BAR), fill=colour)
        draw.text((end + 6, line_y), f"{cosine:.3f}", fill=_INK, font=_font(13))


def _fitted(picture: Image.Image, side_px: int) -> Image.Image:
    factor = side_px / max(picture.size)
    return picture.resize([max(1, round(side * factor)) for side in picture.size], Image.Resampling.BICUBIC)


def _cut(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont, width_px: float) -> str:
    """The text, shortened at its end where it is too long."""
    if draw.textlength(text, font=font) <= width_px:
        return text
    while text and draw.textlength(text + "...", font=font) > width_px:
        text = text[:-1]
    return text.rstrip() + "..."


def _font(size: int) -> ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _along(anchors: NDArray, share: NDArray) -> NDArray[np.float64]:
    """Colours between anchors at shares from 0 to 1; other shares are clipped."""
    places = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(share, places, anchors[:, channel]) for channel in range(3)], axis=-1)
