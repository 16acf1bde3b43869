"""Drawing helpers: a posed, supersampled canvas, smooth shapes, noise fields and what a camera or a film adds.

Coordinates are those of the drawn body part: (0, 0) is the centre of the image, 1 is half its side, y points down.
A `Pose` turns, scales, shifts and mirrors them on the way to the pixels, so that a scene never knows where it lands.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, cos, radians, sin

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Color = tuple[int, int, int]
Points = Sequence[tuple[float, float]] | np.ndarray
Box = tuple[float, float, float, float]  # (x0, y0, x1, y1)
SUPERSAMPLING = 2


@dataclass(frozen=True, slots=True)
class Pose:
    """How a drawn body part lies in the image.

    Args:
        turn_deg: clockwise rotation in degrees.
        scale: size of the part, 1 fills the image.
        shift: (right, down) in half image sides.
        mirror: exchange left and right before the rotation.
        stretch: width over height, to vary build.
    """

    turn_deg: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    mirror: bool = False
    stretch: float = 1.0

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Map drawing coordinates (n, 2) to image coordinates (n, 2), both in half sides."""
        turn = radians(self.turn_deg)
        width = self.scale * self.stretch * (-1.0 if self.mirror else 1.0)
        rotation = np.array([[cos(turn), -sin(turn)], [sin(turn), cos(turn)]])
        return points * (width, self.scale) @ rotation.T + self.shift


def random_pose(
    rng: np.random.Generator,
    *,
    turn_deg: float,
    scale: tuple[float, float] = (0.8, 1.05),
    shift: float = 0.15,
    mirror: bool = False,
    stretch: float = 0.08,
) -> Pose:
    """Draw a pose: rotation within +-`turn_deg`, shift within +-`shift`, mirrored half of the time if `mirror`."""
    return Pose(
        turn_deg=rng.uniform(-turn_deg, turn_deg),
        scale=rng.uniform(*scale),
        shift=(rng.uniform(-shift, shift), rng.uniform(-shift, shift)),
        mirror=bool(mirror and rng.random() < 0.5),
        stretch=rng.uniform(1 - stretch, 1 + stretch),
    )


class Canvas:
    """A square image that is drawn at twice its size and reduced at the end.

    Args:
        size: side of the finished image in pixels.
        background: a colour, or an RGB image of any size.
        pose: where the drawing lands; the identity if not given.
    """

    def __init__(self, size: int, background: Color | Image.Image = (0, 0, 0), pose: Pose | None = None) -> None:
        self.size = size
        self.side = size * SUPERSAMPLING
        self.pose = pose or Pose()
        self.regions: dict[str, list[Box]] = {}  # id of a sign -> where it was drawn, in pixels of the finished image
        self._open: list[list[Box]] = []
        if isinstance(background, Image.Image):
            self.image = background.resize((self.side, self.side), Image.Resampling.BILINEAR)
        else:
            self.image = Image.new("RGB", (self.side, self.side), background)

    @contextmanager
    def showing(self, hpo_ids: frozenset[str], *, apart: bool = False) -> Iterator[None]:
        """Notes where signs are: what is drawn in the block lies in their `regions`.

        Args:
            hpo_ids: the signs that the block shows.
            apart: one box for each shape, as for scattered spots; else one around all of them.
        """
        boxes: list[Box] = []
        self._open.append(boxes)
        yield
        self._open.pop()
        if boxes and not apart:
            corners = np.array(boxes)
            boxes = [(*corners[:, :2].min(axis=0).tolist(), *corners[:, 2:].max(axis=0).tolist())]
        for hpo_id in hpo_ids:
            self.regions.setdefault(hpo_id, []).extend(boxes)

    def note_place(self, hpo_id: str, points: np.ndarray, margin: float) -> None:
        """Notes where something is missing: around points (n, 2) of the drawing, and `margin` beyond them."""
        with self.showing(frozenset({hpo_id})):
            place, margin_px = self.pixels(points), self.length(margin)
            self._note(place.min(axis=0) - margin_px, place.max(axis=0) + margin_px)

    def _note(self, low: np.ndarray, high: np.ndarray) -> None:
        """A shape spans pixels `low` to `high` of the canvas."""
        low, high = (np.clip(end, 0, self.side) / SUPERSAMPLING for end in (low, high))
        if np.all(high > low):
            for boxes in self._open:
                boxes.append((*low.tolist(), *high.tolist()))

    def pixels(self, points: Points) -> np.ndarray:
        """Pixel coordinates (n, 2) of drawing coordinates (n, 2)."""
        return (self.pose.apply(np.asarray(points, dtype=float)) + 1.0) * (self.side / 2)

    def length(self, value: float) -> float:
        """A length of the drawing in pixels."""
        return value * self.pose.scale * self.side / 2

    def polygon(self, points: Points, color: Color, *, alpha: float = 1.0, blur: float = 0.0) -> None:
        """Fill a closed shape; `blur` softens its edge over that length."""
        corners = [tuple(point) for point in self.pixels(points).tolist()]

        def draw(surface: ImageDraw.ImageDraw, ink: Color | int, offset: tuple[int, int]) -> None:
            surface.polygon([(x - offset[0], y - offset[1]) for x, y in corners], fill=ink)

        self._paint(draw, np.array(corners), 0.0, color, alpha, blur)

    def ellipse(
        self,
        center: tuple[float, float],
        radii: float | tuple[float, float],
        color: Color,
        *,
        turn_deg: float = 0.0,
        alpha: float = 1.0,
        blur: float = 0.0,
    ) -> None:
        """Fill an ellipse with half axes `radii`."""
        self.polygon(ellipse(center, radii, turn_deg), color, alpha=alpha, blur=blur)

    def stroke(
        self,
        points: Points,
        width: float | Sequence[float] | np.ndarray,
        color: Color,
        *,
        alpha: float = 1.0,
        blur: float = 0.0,
    ) -> None:
        """Draw a line with round ends; `width` is one number or one for each point."""
        path = self.pixels(points)
        radii = np.broadcast_to(np.asarray(width, dtype=float), len(path)) * (self.pose.scale * self.side / 4)
        radii = np.maximum(radii, 0.6)
        steps = np.diff(path, axis=0)
        norms = np.maximum(np.hypot(steps[:, 0], steps[:, 1]), 1e-6)[:, None]
        normals = np.stack([-steps[:, 1], steps[:, 0]], axis=1) / norms  # (n - 1, 2)
        start, end = radii[:-1, None] * normals, radii[1:, None] * normals
        quads = np.stack([path[:-1] + start, path[1:] + end, path[1:] - end, path[:-1] - start], axis=1)
        boxes = np.concatenate([path - radii[:, None], path + radii[:, None]], axis=1)

        def draw(surface: ImageDraw.ImageDraw, ink: Color | int, offset: tuple[int, int]) -> None:
            for quad in (quads - offset).reshape(len(quads), 8).tolist():
                surface.polygon(quad, fill=ink)
            for box in (boxes - (*offset, *offset)).tolist():
                surface.ellipse(box, fill=ink)

        self._paint(draw, path, float(radii.max()), color, alpha, blur)

    def _paint(
        self,
        draw: Callable[[ImageDraw.ImageDraw, Color | int, tuple[int, int]], None],
        points: np.ndarray,
        margin_px: float,
        color: Color,
        alpha: float,
        blur: float,
    ) -> None:
        """Draw straight on the image, or through a mask where the ink is translucent or soft.

        Args:
            draw: `draw(surface, ink, offset)` draws at pixel positions less `offset`.
            points: pixel positions (n, 2) that the shape spans.
            margin_px: how far the shape reaches beyond them.
        """
        if self._open:
            self._note(points.min(axis=0) - margin_px, points.max(axis=0) + margin_px)
        if alpha >= 1.0 and blur <= 0.0:
            draw(ImageDraw.Draw(self.image), color, (0, 0))
            return
        blur_px = self.length(blur)
        margin = ceil(margin_px + 3 * blur_px) + 1
        low = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin, 0)
        high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + margin, self.side)
        if np.any(high <= low):
            return  # wholly outside the image
        mask = Image.new("L", (int(high[0] - low[0]), int(high[1] - low[1])))
        draw(ImageDraw.Draw(mask), round(255 * min(alpha, 1.0)), (int(low[0]), int(low[1])))
        if blur_px > 0.3:
            mask = mask.filter(ImageFilter.GaussianBlur(blur_px))
        self.image.paste(color, (int(low[0]), int(low[1])), mask)

    def mask(self, points: Points, blur: float = 0.0) -> Image.Image:
        """The shape as an 8-bit mask of the whole canvas, for `paste` and `shade`."""
        mask = Image.new("L", (self.side, self.side))
        ImageDraw.Draw(mask).polygon([tuple(point) for point in self.pixels(points).tolist()], fill=255)
        return mask.filter(ImageFilter.GaussianBlur(self.length(blur))) if blur > 0 else mask

    def paste(self, other: "Canvas | Image.Image", mask: Image.Image) -> None:
        """Show another canvas of the same size through a mask."""
        if self._open and (box := mask.getbbox()):
            self._note(np.array(box[:2]), np.array(box[2:]))
        self.image.paste(other.image if isinstance(other, Canvas) else other, (0, 0), mask)

    def shade(self, field: np.ndarray, mask: Image.Image | None = None) -> None:
        """Darken where a field (h, w) is below 1 and lighten where it is above, inside `mask` if given."""
        factors = Image.fromarray(np.clip(field * 127.5, 0, 255).astype(np.uint8))
        factors = factors.resize((self.side, self.side), Image.Resampling.BICUBIC)
        dark = ImageChops.multiply(self.image, factors.point(lambda v: min(255, 2 * v)).convert("RGB"))
        light = ImageChops.add(dark, factors.point(lambda v: max(0, v - 128)).convert("RGB"))
        self.image.paste(light, (0, 0), mask) if mask else self.image.paste(light)

    def finished(self) -> Image.Image:
        """The image at its own size."""
        return self.image.reduce(SUPERSAMPLING)


def ellipse(
    center: tuple[float, float], radii: float | tuple[float, float], turn_deg: float = 0.0, num_points: int = 40
) -> np.ndarray:
    """Points (n, 2) of an ellipse."""
    rx, ry = (radii, radii) if isinstance(radii, (int, float)) else radii
    angles = np.linspace(0, 2 * np.pi, num_points, endpoint=False)
    x, y = rx * np.cos(angles), ry * np.sin(angles)
    c, s = cos(radians(turn_deg)), sin(radians(turn_deg))
    return np.stack([x * c - y * s, x * s + y * c], axis=1) + center


def blob(
    rng: np.random.Generator,
    center: tuple[float, float],
    radii: float | tuple[float, float],
    *,
    wobble: float = 0.15,
    waves: int = 5,
    turn_deg: float = 0.0,
    num_points: int = 48,
) -> np.ndarray:
    """Points (n, 2) of an ellipse with an uneven outline: `waves` sine waves whose sum varies by about `wobble`."""
    angles = np.linspace(0, 2 * np.pi, num_points, endpoint=False)
    orders = np.arange(2, 2 + waves)
    amplitudes = rng.normal(0, wobble, waves) / np.sqrt(orders)
    phases = rng.uniform(0, 2 * np.pi, waves)
    factor = 1 + (amplitudes * np.cos(angles[:, None] * orders + phases)).sum(axis=1)
    shape = ellipse((0, 0), radii, turn_deg, num_points)
    return shape * np.clip(factor, 0.35, 1.8)[:, None] + center


def curve(points: Points, num_points: int = 32, *, closed: bool = False) -> np.ndarray:
    """A smooth path (n, 2) through control points (Catmull-Rom spline)."""
    control = np.asarray(points, dtype=float)
    if closed:
        control = np.concatenate([control[-1:], control, control[:2]])
    else:
        control = np.concatenate([2 * control[:1] - control[1:2], control, 2 * control[-1:] - control[-2:-1]])
    spans = len(control) - 3
    t = np.linspace(0, spans, num_points, endpoint=not closed)
    index = np.minimum(t.astype(int), spans - 1)
    u = (t - index)[:, None]
    a, b, c, d = (control[index + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * b - a - 3 * c + d) * u**3)


def walk(
    rng: np.random.Generator,
    start: tuple[float, float],
    heading_deg: float,
    length: float,
    *,
    bend: float = 0.25,
    waves: float = 0.0,
    num_points: int = 24,
) -> np.ndarray:
    """A wandering path (n, 2), as of a vessel: `bend` radians of drift in all, `waves` swings from side to side."""
    t = np.linspace(0, 1, num_points)
    drift = rng.normal(0, bend) * t + rng.normal(0, bend / 2) * np.sin(2 * np.pi * t + rng.uniform(0, 6.3))
    swing = 1.25 * np.sin(2 * np.pi * waves * t + rng.uniform(0, 6.3)) if waves else 0.0
    angles = np.radians(heading_deg) + drift + swing
    steps = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (length / (num_points - 1))
    return np.concatenate([[start], np.asarray(start) + np.cumsum(steps[1:], axis=0)])


def noise_field(rng: np.random.Generator, side: int, cells: Sequence[int] = (4, 9, 20)) -> np.ndarray:
    """Smooth noise (side, side) of zero mean and unit spread; `cells` are its grains per side, coarse to fine."""
    total = np.zeros((side, side), dtype=np.float32)
    for order, count in enumerate(cells):
        grid = Image.fromarray(rng.standard_normal((count, count), dtype=np.float32))
        total += np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)) / (1 + order)
    return total / max(float(total.std()), 1e-6)


def scatter(
    rng: np.random.Generator, count: int, min_distance: float, *, extent: float = 1.0, tries: int = 30
) -> np.ndarray:
    """Up to `count` points (n, 2) in the square of half side `extent` that keep `min_distance` from each other."""
    points: list[np.ndarray] = []
    for candidate in rng.uniform(-extent, extent, (count * tries, 2)):
        if len(points) == count:
            break
        if not points or np.square(np.array(points) - candidate).sum(axis=1).min() > min_distance**2:
            points.append(candidate)
    return np.array(points).reshape(-1, 2)


def jitter(rng: np.random.Generator, color: Color, spread: float = 12.0) -> Color:
    """A colour near `color`."""
    return mix(color, color, 0.0, rng.normal(0, spread, 3))


def mix(first: Color, second: Color, share: float, offset: Sequence[float] = (0, 0, 0)) -> Color:
    """`first` with `share` of `second`, plus an offset, clipped to 0..255."""
    blend = ((1 - share) * a + share * b + c for a, b, c in zip(first, second, offset, strict=True))
    return tuple(int(min(255, max(0, value))) for value in blend)


def random_color(rng: np.random.Generator, low: int = 20, high: int = 235) -> Color:
    """Any colour."""
    return tuple(int(value) for value in rng.integers(low, high, 3))


SKIN_LIGHT, SKIN_MEDIUM, SKIN_DARK = (242, 206, 182), (198, 146, 112), (96, 62, 46)


def skin_tone(rng: np.random.Generator) -> Color:
    """A skin colour from very light to very dark."""
    depth = rng.uniform(0, 2)
    pair = (SKIN_LIGHT, SKIN_MEDIUM) if depth < 1 else (SKIN_MEDIUM, SKIN_DARK)
    return mix(*pair, depth % 1, rng.normal(0, 6, 3))


def backdrop(rng: np.random.Generator, size: int) -> Image.Image:
    """What lies behind a photographed body part: plain, graded, mottled, striped or checked cloth of any colour."""
    first, second = random_color(rng), random_color(rng)
    second = mix(first, second, rng.uniform(0.1, 0.6))
    grid = np.linspace(-1, 1, 64, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    turn = rng.uniform(0, 2 * np.pi)
    along = x * cos(turn) + y * sin(turn)
    kind = rng.integers(0, 5)
    if kind == 0:
        share = np.full_like(x, 0.5)
    elif kind == 1:
        share = (along + 1) / 2
    elif kind == 2:
        share = 0.5 + 0.3 * noise_field(rng, 64)
    else:
        waves = rng.uniform(4, 12)
        share = 0.5 + 0.5 * np.sign(np.sin(along * waves))
        if kind == 4:
            share = (share + 0.5 + 0.5 * np.sign(np.sin((x * -sin(turn) + y * cos(turn)) * waves))) / 2
    share = np.clip(share, 0, 1)[..., None]
    pixels = (1 - share) * np.array(first, dtype=np.float32) + share * np.array(second, dtype=np.float32)
    return Image.fromarray(pixels.astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)


def _light(rng: np.random.Generator, size: int, strength: float) -> np.ndarray:
    """Uneven light (size, size): a ramp in any direction and a broad bright spot."""
    grid = np.linspace(-1, 1, 16, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    turn = rng.uniform(0, 2 * np.pi)
    ramp = (x * cos(turn) + y * sin(turn)) * rng.uniform(-strength, strength)
    cx, cy = rng.uniform(-0.8, 0.8, 2)
    spot = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.8) * rng.uniform(-strength, strength)
    field = Image.fromarray((1 + ramp + spot).astype(np.float32))
    return np.asarray(field.resize((size, size), Image.Resampling.BICUBIC))


def _film(rng: np.random.Generator, pixels: np.ndarray, *, gamma: float, noise: float, blur_px: float) -> Image.Image:
    """Tone curve, grain and blur of pixels (h, w, c) in 0..1."""
    pixels = np.clip(pixels, 0, 1) ** np.float32(np.exp(rng.uniform(-gamma, gamma)))
    image = Image.fromarray((pixels * 255).astype(np.uint8))
    radius = rng.uniform(-0.3, blur_px) * image.width / 224
    if radius > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(radius))
    grain = rng.standard_normal((image.height, image.width, 1), dtype=np.float32) * (255 * rng.uniform(0, noise))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def photograph(
    rng: np.random.Generator, canvas: Canvas, *, light: float = 0.3, cast: float = 0.16, rulers: float = 0.0
) -> Image.Image:
    """Finish as a camera would: uneven light, white balance, tone, blur and grain.

    Args:
        light: how uneven.
        cast: how far a colour may be off.
        rulers: share of images with a measuring tape.
    """
    if rng.random() < rulers:
        ruler(rng, canvas)
    pixels = np.asarray(canvas.finished(), dtype=np.float32) / 255
    pixels = pixels * _light(rng, canvas.size, light)[..., None]
    pixels = pixels * rng.uniform(1 - cast, 1 + cast, 3).astype(np.float32)
    if rng.random() < 0.12:
        gray = pixels.mean(axis=2, keepdims=True)
        pixels = np.repeat(gray, 3, axis=2) * rng.uniform(0.85, 1.1, 3).astype(np.float32)
    return _film(rng, pixels, gamma=0.3, noise=0.035, blur_px=0.8)


def radiograph(rng: np.random.Generator, canvas: Canvas, *, invert: float = 0.2, light: float = 0.25) -> Image.Image:
    """Finish as a film or screen would: window, exposure, tint, grain, now and then a negative, a border, a marker."""
    image = canvas.finished().convert("L")
    pixels = np.asarray(image, dtype=np.float32)[..., None] / 255
    pixels = pixels * _light(rng, canvas.size, light)[..., None]
    pixels = (pixels - 0.5) * rng.uniform(0.75, 1.3) + 0.5 + rng.uniform(-0.1, 0.1)
    if rng.random() < invert:
        pixels = 1 - pixels
    pixels = pixels * rng.uniform(0.82, 1.0, 3).astype(np.float32)
    image = _film(rng, pixels, gamma=0.3, noise=0.05, blur_px=0.9)
    if rng.random() < 0.4:
        _border(rng, image)
    return image


def _border(rng: np.random.Generator, image: Image.Image) -> None:
    """Collimator edges and annotation text of a film, of no diagnostic meaning."""
    draw, size = ImageDraw.Draw(image), image.width
    tone = int(rng.choice([0, 10, 40, 235]))
    for side, box in enumerate(((0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 1, 1), (0, 1, 1, 1))):
        width = int(rng.uniform(0, 0.07) * size)
        x0, y0, x1, y1 = (value * (size - 1) for value in box)
        if rng.random() < 0.6:
            grow = ((0, 0, 0, width), (0, 0, width, 0), (-width, 0, 0, 0), (0, -width, 0, 0))[side]
            draw.rectangle([a + b for a, b in zip((x0, y0, x1, y1), grow, strict=True)], fill=(tone, tone, tone))
    text = "".join(rng.choice(list("0123456789 ABKVM"), 6))
    place = (rng.uniform(0.02, 0.7) * size, rng.choice([0.02, 0.93]) * size)
    ink = (235, 235, 235) if tone < 128 else (20, 20, 20)
    draw.text(place, text, fill=ink, font=ImageFont.load_default(max(8, size // 20)))


def ruler(rng: np.random.Generator, canvas: Canvas) -> None:
    """A measuring tape along an edge of the image, whatever the pose."""
    pose, canvas.pose = canvas.pose, Pose(turn_deg=float(rng.choice([0, 90, 180, 270])) + rng.uniform(-6, 6))
    y, tone = rng.uniform(0.8, 0.95), random_color(rng, 150, 250)
    canvas.polygon([(-1.3, y), (1.3, y), (1.3, y + 0.16), (-1.3, y + 0.16)], tone)
    for index, x in enumerate(np.arange(-1.2, 1.2, 0.08)):
        canvas.stroke([(x, y), (x, y + (0.09 if index % 5 == 0 else 0.05))], 0.012, (30, 30, 30))
    canvas.pose = pose
