"""A patch of skin: lesions told apart by shape, edge, number and texture."""

import numpy as np

from phenolip.datasets_scripts.phantoms.canvas import (
    Canvas,
    Color,
    blob,
    curve,
    jitter,
    mix,
    noise_field,
    photograph,
    random_pose,
    scatter,
    skin_tone,
    walk,
)
from phenolip.datasets_scripts.phantoms.scene import Drawing, Scene, Sign

CAFE_AU_LAIT = "HP:0000957"
VITILIGO = "HP:0001045"
PETECHIAE = "HP:0000967"
TELANGIECTASIA = "HP:0100585"
LIVEDO = "HP:0033505"
STRIAE = "HP:0001065"
BLISTERS = "HP:0008066"
ICHTHYOSIS = "HP:0008064"
ANNULAR = "HP:0025528"
NEVUS = "HP:0000995"

SIGNS = (
    Sign(CAFE_AU_LAIT, "Cafe-au-lait spot", ("Cafe au lait spots", "Cafe-au-lait macules")),
    Sign(VITILIGO, "Vitiligo", ("Blotchy loss of skin color",)),
    Sign(PETECHIAE, "Petechiae"),
    Sign(TELANGIECTASIA, "Telangiectasia of the skin"),
    Sign(LIVEDO, "Livedo reticularis"),
    Sign(STRIAE, "Striae distensae", ("Stretch marks", "Striae atrophicae")),
    Sign(BLISTERS, "Abnormal blistering of the skin", ("Blisters", "Skin bullae")),
    Sign(ICHTHYOSIS, "Ichthyosis", ("Ichthyotic skin",)),
    Sign(ANNULAR, "Annular cutaneous lesion"),
    Sign(NEVUS, "Melanocytic nevus", ("Beauty mark", "Pigmented nevi", "Melanocytic nevi")),
)


def draw(rng: np.random.Generator, shown: frozenset[str], size: int) -> Drawing:
    """Draw a patch of skin; see `Scene`."""
    pose = random_pose(rng, turn_deg=180, scale=(0.85, 1.25), shift=0.1, stretch=0.15)
    skin = skin_tone(rng)
    canvas = Canvas(size, skin, pose)
    canvas.shade(1 + 0.06 * noise_field(rng, 112, (5, 28, 56)))
    for hpo_id in (
        ICHTHYOSIS,
        VITILIGO,
        LIVEDO,
        CAFE_AU_LAIT,
        STRIAE,
        ANNULAR,
        PETECHIAE,
        TELANGIECTASIA,
        NEVUS,
        BLISTERS,
    ):  # broad signs first, raised ones on top
        if hpo_id in shown:
            with canvas.showing(frozenset({hpo_id}), apart=True):
                _LESIONS[hpo_id](canvas, rng, skin)
    _hairs(canvas, rng, skin)
    site = rng.choice(["trunk", "back", "abdomen", "limb"])
    view = rng.choice(["clinical photograph of the skin", f"close-up of the skin of the {site}", "skin photograph"])
    return Drawing(photograph(rng, canvas, light=0.35, rulers=0.2), str(view), canvas.regions)


def _hairs(canvas: Canvas, rng: np.random.Generator, skin: Color) -> None:
    for _ in range(rng.integers(0, 12)):
        path = walk(rng, tuple(rng.uniform(-1, 1, 2)), rng.uniform(0, 360), rng.uniform(0.2, 0.4), num_points=8)
        canvas.stroke(path, 0.008, mix(skin, (20, 10, 5), 0.8), alpha=0.6)


def _red(rng: np.random.Generator, skin: Color, share: float = 0.55) -> Color:
    """Blood seen through this skin: darker on dark skin."""
    blood = mix((176, 28, 48), (96, 16, 70), rng.uniform(0, 0.6))
    return mix(mix(skin, blood, share), (30, 0, 10), 0.1 if sum(skin) > 330 else 0.45)


def _cafe_au_lait(canvas: Canvas, rng: np.random.Generator, skin: Color) -> None:
    """Flat, even, light brown patches with a smooth sharp edge."""
    brown = mix(skin, (92, 48, 22), 0.5 if sum(skin) > 330 else 0.1, (0, 0, 0) if sum(skin) > 330 else (-38, -28, -22))
    for x, y in scatter(rng, rng.integers(3, 7), 0.5, extent=0.75):
        radius = rng.uniform(0.16, 0.34)
        shape = blob(rng, (x, y), (radius, radius * rng.uniform(0.6, 0.9)), wobble=0.08, turn_deg=rng.uniform(0, 180))
        canvas.polygon(shape, brown, alpha=0.9, blur=0.008)


def _vitiligo(canvas: Canvas, rng: np.random.Generator, skin: Color) -> None:
    """Chalk-white maps with scalloped edges."""
    white = mix(skin, (250, 236, 228), rng.uniform(0.75, 0.9))
    for x, y in scatter(rng, rng.integers(2, 5), 0.6, extent=0.62):
        for _ in range(rng.integers(4, 8)):
            dx, dy = rng.normal(0, 0.16, 2)
            radius = rng.uniform(0.1, 0.24)
            canvas.polygon(blob(rng, (x + dx, y + dy), radius, wobble=0.25, waves=8), white)


def _petechiae(canvas: Canvas, rng: np.random.Generator, skin: Color) -> None:
    """Many pinpoint red dots."""
    red = _red(rng, skin, 0.8)
    for x, y in scatter(rng, rng.integers(70, 130), 0.09, extent=1.2):
        canvas.ellipse((x, y), rng.uniform(0.018, 0.034), jitter(rng, red, 10), alpha=0.95)


def _telangiectasia(canvas: Canvas, rng: np.random.Generator, skin: Color) -> None:
    """Spiders: fine red vessels that radiate from a central point."""
    red = _red(rng, skin, 0.75)
    for x, y in scatter(rng, rng.integers(2, 5), 0.6, extent=0.62):
        reach = rng.uniform(0.28, 0.42)
        for angle in np.arange(0, 360, 360 / rng.integers(7, 11)) + rng.uniform(0, 40):
            path = walk(rng, (x, y), angle, reach * rng.uniform(0.7, 1.2), bend=0.5, waves=1.0, num_points=14)
            canvas.stroke(path, np.linspace(0.03, 0.012, 14), red)
            canvas.stroke(
                walk(rng, tuple(path[7]), angle + rng.choice([-45, 45]), reach * 0.4, num_points=7), 0.012, red
            )
        canvas.ellipse((x, y), 0.045, mix(red, (150, 0, 20), 0.5))


def _livedo(canvas: Canvas, rng: np.random.Generator, skin: Color) -> None:
    """A violet net over the whole patch: an uneven honeycomb."""
    violet = mix(_red(rng, skin, 0.5), (110, 60, 140), 0.35)
    side = rng.uniform(0.2, 0.3)
    shifts: dict[tuple[int, int], np.ndarray] = {}  # one for each corner, shared by the meshes that meet there

    def corner(point: np.ndarray) -> np.ndarray:
        key = (round(point[0] / (side / 4)), round(point[1] / (side / 4)))
        return point + shifts.setdefault(key, rng.normal(0, side * 0.18, 2))

    angles = np.radians(np.arange(30, 271, 60))  # half of the sides of each mesh; its neighbours draw the others
    for row in range(-6, 7):
        for column in range(-5, 6):
            center = np.array([(column + 0.5 * (row % 2)) * side * np.sqrt(3), row * side * 1.5])
            if np.abs(center).max() > 1.7:
                continue
            ring = [corner(center + side * np.array([np.cos(angle), np.sin(angle)])) for angle in angles[:4]]
            for start, end in zip(ring, ring[1:], strict=False):
                middle = (start + end) / 2 + rng.normal(0, side * 0.12, 2)
                canvas.stroke(curve([start, middle, end], 7), rng.uniform(0.035, 0.07), violet, alpha=0.7, blur=0.012)


def _striae(canvas: Canvas, rng: np.random.Generator, skin: Color) -> None:
    """Parallel spindle-shaped bands."""
    tone = _red(rng, skin, 0.45) if rng.random() < 0.6 else mix(skin, (250, 225, 215), 0.5)
    gap = rng.uniform(0.2, 0.28)
    for y in np.arange(-1.2, 1.2, gap):
        for x in (-0.75, 0.05, 0.85):
            if rng.random() < 0.25:
                continue
            start = (x - 0.45 + rng.normal(0, 0.12), y + rng.normal(0, 0.03))
            path = walk(rng, start, rng.normal(0, 7), rng.uniform(0.55, 0.95), bend=0.2, num_points=14)
            widths = rng.uniform(0.06, 0.1) * np.sin(np.linspace(0.1, np.pi - 0.1, 14))
            canvas.stroke(path, widths, tone, alpha=0.85, blur=0.006)


def _blisters(canvas: Canvas, rng: np.random.Generator, skin: Color) -> None:
    """Tense domes of clear fluid: shadow, rim, highlight."""
    for x, y in scatter(rng, rng.integers(5, 11), 0.42, extent=0.95):
        radius = rng.uniform(0.12, 0.21)
        canvas.ellipse((x, y), radius * 1.35, _red(rng, skin, 0.45), alpha=0.6, blur=0.03)
        canvas.ellipse(
            (x + radius * 0.15, y + radius * 0.2), radius, mix(skin, (40, 15, 10), 0.65), alpha=0.8, blur=0.02
        )
        canvas.ellipse((x, y), radius, mix(skin, (120, 60, 40), 0.35))
        canvas.ellipse((x, y), radius * 0.9, mix(skin, (245, 215, 150), 0.5))
        canvas.ellipse((x - radius * 0.1, y - radius * 0.1), radius * 0.6, mix(skin, (255, 240, 200), 0.75), blur=0.03)
        canvas.ellipse((x - radius * 0.35, y - radius * 0.35), radius * 0.2, (255, 255, 250))


def _ichthyosis(canvas: Canvas, rng: np.random.Generator, skin: Color) -> None:
    """Plates like fish scales with dark cracks and pale lifted edges."""
    dark, light = mix(skin, (45, 28, 20), 0.6), mix(skin, (250, 240, 225), 0.4)
    step = rng.uniform(0.2, 0.3)
    count = int(3.2 / step)
    for row in range(count):
        for column in range(count):
            x = (column + 0.5 * (row % 2)) * step - 1.6 + rng.normal(0, step * 0.09)
            y = row * step * 0.85 - 1.5 + rng.normal(0, step * 0.09)
            plate = blob(rng, (x, y), (step * 0.56, step * 0.5), wobble=0.1, num_points=14)
            canvas.polygon(plate, dark)
            canvas.polygon(plate * 0.86 + np.array([x, y]) * 0.14, light)
            canvas.polygon(plate * 0.7 + np.array([x, y + step * 0.08]) * 0.3, mix(skin, light, rng.uniform(0, 0.5)))


def _annular(canvas: Canvas, rng: np.random.Generator, skin: Color) -> None:
    """Rings with a raised red border and a clear centre."""
    red = _red(rng, skin, 0.6)
    for x, y in scatter(rng, rng.integers(2, 6), 0.6, extent=0.62):
        radius = rng.uniform(0.2, 0.36)
        ring = blob(rng, (x, y), radius, wobble=0.06)
        canvas.polygon(ring, mix(skin, red, 0.2), alpha=0.7, blur=0.02)
        canvas.stroke(np.concatenate([ring, ring[:2]]), rng.uniform(0.07, 0.1), red, alpha=0.9, blur=0.01)


def _nevus(canvas: Canvas, rng: np.random.Generator, skin: Color) -> None:
    """One to three raised dark brown moles with a speckled surface."""
    brown = mix((62, 34, 22), (20, 10, 8), 0.2 if sum(skin) > 330 else 0.9)
    for x, y in scatter(rng, rng.integers(1, 4), 0.6, extent=0.6):
        radius = rng.uniform(0.14, 0.26)
        shape = blob(rng, (x, y), (radius, radius * 0.85), wobble=0.07)
        canvas.polygon(shape + 0.03, mix(skin, (20, 10, 5), 0.5), alpha=0.5, blur=0.03)
        canvas.polygon(shape, brown, blur=0.012)
        for _ in range(30):
            dx, dy = rng.normal(0, radius * 0.4, 2)
            canvas.ellipse(
                (x + dx, y + dy), radius * 0.1, jitter(rng, mix(brown, (150, 100, 70), 0.25), 14), alpha=0.7
            )
        canvas.ellipse((x - radius * 0.3, y - radius * 0.3), radius * 0.2, (220, 190, 170), alpha=0.5, blur=0.03)


_LESIONS = {
    CAFE_AU_LAIT: _cafe_au_lait,
    VITILIGO: _vitiligo,
    PETECHIAE: _petechiae,
    TELANGIECTASIA: _telangiectasia,
    LIVEDO: _livedo,
    STRIAE: _striae,
    BLISTERS: _blisters,
    ICHTHYOSIS: _ichthyosis,
    ANNULAR: _annular,
    NEVUS: _nevus,
}
SCENE = Scene(
    "skin",
    SIGNS,
    draw,
    exclusive=(
        frozenset({ICHTHYOSIS, LIVEDO, STRIAE, VITILIGO, CAFE_AU_LAIT}),
        frozenset({ICHTHYOSIS, PETECHIAE, TELANGIECTASIA, ANNULAR}),
    ),
)
