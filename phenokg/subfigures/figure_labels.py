"""Letters in the corners of subfigures: how one figure draws them in the picture and writes them in its caption."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor
from string import ascii_uppercase

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from phenolip.exceptions import ConfigurationError

MAX_LABELS = len(ascii_uppercase)
MIN_FONT_PX = 7  # below it a letter is no longer legible
_STYLES = (  # drawn in the picture, written in the caption; a bare letter is never written bare
    ("{}", "({})"),
    ("{}", "({})"),
    ("{}", "{}."),
    ("{}", "{}:"),
    ("({})", "({})"),
    ("{})", "{})"),
)
_UPPER_SHARE = 0.77  # as the share of corners below: of 3,974 labels in 1,954 figures annotated by the NLM
_CORNERS = {(0, 0): 0.73, (0, 1): 0.19, (1, 1): 0.06, (1, 0): 0.02}  # (right, bottom) -> share
_CAP_HEIGHT = (0.020, 0.042)  # of the width of the figure, about the 10th and 85th percentile there
_GROUNDS = {"none": 0.45, "outline": 0.2, "white": 0.25, "black": 0.1}
_BUSY_STD = 45.0  # of 8-bit grey levels behind a letter
_CAP_PER_FONT_SIZE = 0.72
_MAX_SHARE_OF_BOX = 0.5  # of a side of the subfigure that its label may take
#: Where a label can stand outside of its image.
OUTSIDE = ("above", "left", "below")


@dataclass(frozen=True, slots=True)
class LabelStyle:
    """How all labels of a figure look.

    Attributes:
        drawn: Template of the label in the picture, such as "({})".
        written: Template of the label in the caption.
        is_upper: Capital letters.
        corner: (1 for right, 1 for bottom) of the subfigure; 0.5 is the middle of a side.
        cap_height: Height of a capital as a share of the width of the figure.
        ground: "none", "outline", or the colour of a patch behind the letter.
        inset_px: Distance from the edges of the subfigure.
        is_bold: Thickened strokes.
        font: A font file; empty takes Pillow's own.
        max_share: Of a side of its box that a label may take.
    """

    drawn: str
    written: str
    is_upper: bool
    corner: tuple[float, float]
    cap_height: float
    ground: str
    inset_px: int
    is_bold: bool
    font: str = ""
    max_share: float = _MAX_SHARE_OF_BOX

    def letter(self, place: int) -> str:
        """The bare letter of subfigure ``place``, counted from 0."""
        return ascii_uppercase[place] if self.is_upper else ascii_uppercase[place].lower()


def choose_label_style(captions: Sequence[str], rng: np.random.Generator) -> LabelStyle:
    """Draw a style whose written labels occur in none of the captions, as far as there is one.

    Articles avoid the clash in the same way: a part that has labels of its own is lettered differently.
    """
    is_upper = rng.random() < _UPPER_SHARE
    options = [(drawn, written, case) for case in (is_upper, not is_upper) for drawn, written in _STYLES]
    letters = {True: ascii_uppercase[: len(captions)], False: ascii_uppercase[: len(captions)].lower()}
    free = [
        (drawn, written, case)
        for drawn, written, case in options
        if not any(written.format(letter) in caption for letter in letters[case] for caption in captions)
    ]
    # The other case only where this one is taken.
    free = [option for option in free if option[2] == is_upper] or free or options[: len(_STYLES)]
    drawn, written, is_upper = free[rng.integers(len(free))]
    corners, grounds = list(_CORNERS), list(_GROUNDS)
    return LabelStyle(
        drawn=drawn,
        written=written,
        is_upper=bool(is_upper),
        corner=corners[rng.choice(len(corners), p=list(_CORNERS.values()))],
        cap_height=float(rng.uniform(*_CAP_HEIGHT)),
        ground=grounds[rng.choice(len(grounds), p=list(_GROUNDS.values()))],
        inset_px=int(rng.integers(0, 7)),
        is_bold=bool(rng.random() < 0.6),
    )


def draw_label(
    canvas: Image.Image, box_xyxy: tuple[int, int, int, int], text: str, style: LabelStyle
) -> tuple[int, int, int, int] | None:
    """Draw a label in its corner of a subfigure, in whichever of black and white shows there, on a patch if need be.

    Returns:
        The box of the letter, or of the patch behind it, in pixels of ``canvas``; None if the subfigure is too small
        for a legible label, and then nothing is drawn.
    """
    x0, y0, x1, y1 = box_xyxy
    draw = ImageDraw.Draw(canvas)
    stroke = 1 if style.ground == "outline" or style.is_bold else 0
    padding = 2 if style.ground in ("white", "black") else 0
    max_width = style.max_share * (x1 - x0) - style.inset_px
    max_height = style.max_share * (y1 - y0) - style.inset_px
    size = style.cap_height * canvas.width / _CAP_PER_FONT_SIZE
    while size >= MIN_FONT_PX:
        font = _load_font(style.font, round(size))
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font, stroke_width=stroke)
        left, top = floor(left), floor(top)
        width, height = ceil(right) - left + 2 * padding, ceil(bottom) - top + 2 * padding
        if width <= max_width and height <= max_height:
            break
        size *= 0.8
    else:
        return None
    label_x = x0 + style.inset_px + int(style.corner[0] * (x1 - x0 - 2 * style.inset_px - width))
    label_y = y0 + style.inset_px + int(style.corner[1] * (y1 - y0 - 2 * style.inset_px - height))
    label_xyxy = (label_x, label_y, label_x + width, label_y + height)
    behind = np.asarray(canvas.crop(label_xyxy).convert("L"), dtype=np.float32)
    ground = style.ground
    if ground in ("none", "outline"):
        ink, paper = ("black", "white") if behind.mean() >= 128 else ("white", "black")
        # on a busy ground, such as an older label of the image, a letter alone could not be read
        ground = paper if behind.std() > _BUSY_STD else ground
    else:
        ink, paper = ("black" if ground == "white" else "white"), ground
    if ground in ("white", "black"):
        draw.rectangle((label_x, label_y, label_x + width - 1, label_y + height - 1), fill=ground)
    draw.text(
        (label_x + padding - left, label_y + padding - top),
        text,
        fill=ink,
        font=font,
        stroke_width=stroke,
        stroke_fill=paper if ground == "outline" else ink,
    )
    return label_xyxy


@lru_cache(maxsize=64)
def _load_font(path: str, size_px: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(path, size_px) if path else ImageFont.load_default(size_px)
    except OSError as error:
        raise ConfigurationError(f"`fonts` must be font files, got {path} ({error}).") from None
