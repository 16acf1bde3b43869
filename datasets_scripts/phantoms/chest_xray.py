"""A frontal chest radiograph: heart, pleura, lungs and diaphragm."""

import numpy as np
from PIL import Image, ImageChops

from phenolip.datasets_scripts.phantoms.canvas import Canvas, blob, curve, mix, radiograph, random_pose, scatter, walk
from phenolip.datasets_scripts.phantoms.scene import Drawing, Scene, Sign

CARDIOMEGALY = "HP:0001640"
EFFUSION = "HP:0002202"
PNEUMOTHORAX = "HP:0002107"
DEXTROCARDIA = "HP:0001651"
HERNIA = "HP:0000776"
NODULE = "HP:0033608"
CAVITY = "HP:0033655"

SIGNS = (
    Sign(CARDIOMEGALY, "Cardiomegaly", ("Enlarged heart", "Increased heart size")),
    Sign(EFFUSION, "Pleural effusion", ("Fluid around lungs",)),
    Sign(PNEUMOTHORAX, "Pneumothorax", ("Collapsed lung",)),
    Sign(DEXTROCARDIA, "Dextrocardia"),
    Sign(HERNIA, "Congenital diaphragmatic hernia", ("Diaphragmatic hernia",)),
    Sign(NODULE, "Pulmonary nodule"),
    Sign(CAVITY, "Pulmonary cavity", ("Pulmonary cavitation",)),
)
_BONE = (232, 232, 232)


def draw(rng: np.random.Generator, shown: frozenset[str], size: int) -> Drawing:
    """Draw a chest radiograph; see `Scene`. The patient's left is on the right of the image, as on film."""
    pose = random_pose(rng, turn_deg=18, scale=(0.74, 1.1), shift=0.2, stretch=0.15)
    tissue = int(rng.integers(120, 175))
    canvas = Canvas(size, (int(rng.integers(0, 30)),) * 3, pose)
    gray = (tissue,) * 3
    body = [(-0.3, -1.3), (-0.32, -0.95), (-0.95, -0.75), (-1.05, 0.0), (-0.95, 1.4)]
    canvas.polygon(curve(body + [(-x, y) for x, y in reversed(body)], 60), gray, blur=0.02)
    deviant = int(rng.choice([-1, 1]))  # the side that effusion, air or hernia takes
    lungs = {side: _lung(canvas, rng, side) for side in (-1, 1)}
    if PNEUMOTHORAX in shown:
        with canvas.showing(frozenset({PNEUMOTHORAX})):
            _pneumothorax(canvas, rng, deviant)
    if NODULE in shown:
        with canvas.showing(frozenset({NODULE}), apart=True):
            _nodules(canvas, rng)
    if CAVITY in shown:
        with canvas.showing(frozenset({CAVITY})):
            _cavity(canvas, rng, deviant)
    with canvas.showing(shown & {DEXTROCARDIA, CARDIOMEGALY}):
        _heart(canvas, rng, -1 if DEXTROCARDIA in shown else 1, CARDIOMEGALY in shown)
    if HERNIA in shown:
        with canvas.showing(frozenset({HERNIA})):
            _hernia(canvas, rng, deviant)
    if EFFUSION in shown:
        with canvas.showing(frozenset({EFFUSION})):
            _effusion(canvas, rng, deviant, lungs[deviant])
    _bones(canvas, rng)
    view = rng.choice(["frontal chest radiograph", "chest X-ray", "posteroanterior radiograph of the chest"])
    return Drawing(radiograph(rng, canvas, invert=0.4, light=0.4), str(view), canvas.regions)


def _lung(canvas: Canvas, rng: np.random.Generator, side: int) -> np.ndarray:
    """One lung field with its vessels; returns its outline."""
    base = rng.uniform(0.52, 0.6) + (0.0 if side > 0 else -0.05)
    points = [
        (0.16, -0.55),
        (0.3, -0.8),
        (0.5, -0.72),
        (0.68, -0.35),
        (0.76, 0.2),
        (0.8, base + 0.14),
        (0.55, base - 0.02),
        (0.3, base + 0.02),
        (0.16, base + 0.08),
    ]
    outline = curve(points, 60, closed=True) * (side, 1)
    dark = int(rng.integers(28, 60))
    canvas.polygon(outline, (dark,) * 3, blur=0.02)
    for _ in range(9):
        heading = rng.uniform(-80, 80) + (0 if side > 0 else 180)
        path = walk(
            rng, (side * 0.2, rng.uniform(-0.15, 0.1)), heading, rng.uniform(0.3, 0.5), bend=0.4, num_points=10
        )
        canvas.stroke(path, np.linspace(0.045, 0.01, 10), (150, 150, 150), alpha=0.3, blur=0.008)
    return outline


def _heart(canvas: Canvas, rng: np.random.Generator, side: int, large: bool) -> None:
    """Heart, great vessels and mediastinum; the apex points to `side`."""
    left = rng.uniform(0.66, 0.74) if large else rng.uniform(0.36, 0.42)
    right = -rng.uniform(0.34, 0.42) if large else -rng.uniform(0.16, 0.2)
    white = (int(rng.integers(190, 225)),) * 3
    points = [
        (-0.12, -0.75),
        (-0.13, -0.3),
        (right, 0.1),
        (right, 0.4),
        (-0.1, 0.62),
        (left * 0.6, 0.66),
        (left, 0.5),
        (left * 0.8, 0.15),
        (0.2, -0.15),
        (0.17, -0.32),
        (0.2, -0.42),
        (0.12, -0.55),
        (0.1, -0.75),
    ]
    canvas.polygon(curve(points, 80, closed=True) * (side, 1), white, alpha=0.93, blur=0.012)


def _pneumothorax(canvas: Canvas, rng: np.random.Generator, side: int) -> None:
    """Black, vesselless space outside a sharp pleural line; the lung has shrunk towards its root."""
    space = np.array(
        [(0.14, -0.62), (0.3, -0.8), (0.5, -0.73), (0.69, -0.35), (0.77, 0.2), (0.8, 0.66), (0.5, 0.5), (0.16, 0.55)]
    )
    canvas.polygon(curve(space, 60, closed=True) * (side, 1), (6, 6, 6), blur=0.008)
    reach = rng.uniform(0.4, 0.52)
    lung = curve([(0.1, -0.42), (reach * 0.7, -0.42), (reach, -0.1), (reach * 0.95, 0.25), (0.12, 0.42)], 40) * (
        side,
        1,
    )
    canvas.polygon(lung, (96, 96, 96), blur=0.006)
    canvas.stroke(lung, 0.022, (215, 215, 215))


def _nodules(canvas: Canvas, rng: np.random.Generator) -> None:
    """One to four round shadows, well away from the heart."""
    for _ in range(rng.integers(2, 5)):
        side, radius = rng.choice([-1, 1]), rng.uniform(0.075, 0.12)
        center = (side * rng.uniform(0.42, 0.6), rng.uniform(-0.5, 0.35))
        canvas.polygon(blob(rng, center, radius, wobble=0.04), (215, 215, 215), alpha=0.92, blur=0.008)


def _cavity(canvas: Canvas, rng: np.random.Generator, side: int) -> None:
    """A thick-walled ring with a black centre and often a fluid level."""
    radius = rng.uniform(0.19, 0.25)
    x, y = side * rng.uniform(0.42, 0.5), rng.uniform(-0.42, 0.2)
    canvas.polygon(blob(rng, (x, y), radius * 1.15, wobble=0.06), (200, 200, 200), alpha=0.95, blur=0.02)
    hole = blob(rng, (x, y), radius * 0.72, wobble=0.06)
    canvas.polygon(hole, (10, 10, 10), blur=0.006)
    if rng.random() < 0.6:
        level = hole[hole[:, 1] > y + radius * 0.25]
        canvas.polygon(level[np.argsort(np.arctan2(level[:, 1] - y, level[:, 0] - x))], (200, 200, 200))


def _effusion(canvas: Canvas, rng: np.random.Generator, side: int, lung: np.ndarray) -> None:
    """White fluid that climbs the chest wall: a meniscus."""
    height = rng.uniform(-0.15, 0.2)
    white = (int(rng.integers(205, 235)),) * 3
    surface = curve([(0.1, height + 0.24), (0.35, height + 0.22), (0.6, height + 0.06), (0.79, height - 0.3)], 24)
    shape = np.concatenate([surface, [(0.9, height), (0.9, 0.95), (0.1, 0.95)]]) * (side, 1)
    fluid = Image.new("RGB", canvas.image.size, white)
    inside = ImageChops.multiply(canvas.mask(shape, blur=0.01), canvas.mask(lung, blur=0.012))
    canvas.paste(fluid, inside)


def _hernia(canvas: Canvas, rng: np.random.Generator, side: int) -> None:
    """Loops of bowel with gas in the chest."""
    canvas.polygon(blob(rng, (side * 0.46, 0.1), (0.3, 0.55), wobble=0.05), (170, 170, 170), alpha=0.9, blur=0.02)
    for x, y in scatter(rng, 9, 0.2, extent=0.42):
        center = (side * (0.46 + x * 0.5), 0.08 + y * 1.15)
        loop = blob(
            rng, center, (rng.uniform(0.1, 0.15), rng.uniform(0.075, 0.1)), wobble=0.08, turn_deg=rng.uniform(0, 180)
        )
        canvas.polygon(loop, (25, 25, 25), blur=0.006)
        canvas.stroke(np.concatenate([loop, loop[:1]]), 0.03, (225, 225, 225), alpha=0.95)


def _bones(canvas: Canvas, rng: np.random.Generator) -> None:
    strength = rng.uniform(0.22, 0.4)
    for row in range(9):
        y = -0.78 + row * 0.17
        reach = 0.45 + 0.42 * min(1, (row + 1) / 4)
        for side in (-1, 1):
            back = curve([(side * 0.08, y), (side * reach * 0.6, y - 0.03), (side * reach, y + 0.2)], 14)
            canvas.stroke(back, 0.055, _BONE, alpha=strength)
    for row in range(12):
        y = -1.05 + row * 0.17
        canvas.polygon([(-0.09, y), (0.09, y), (0.08, y + 0.13), (-0.08, y + 0.13)], _BONE, alpha=0.2, blur=0.005)
    for side in (-1, 1):
        collar = curve([(side * 0.07, -0.7), (side * 0.4, -0.76), (side * 0.85, -0.9)], 14)
        canvas.stroke(collar, 0.07, _BONE, alpha=0.45)
    if rng.random() < 0.3:  # an electrode and its wire
        x, y = rng.uniform(-0.6, 0.6), rng.uniform(-0.5, 0.3)
        canvas.ellipse((x, y), 0.04, mix(_BONE, (255, 255, 255), 0.5))
        canvas.stroke(walk(rng, (x, y), rng.uniform(0, 360), 1.4, bend=0.8), 0.014, _BONE)


SCENE = Scene(
    "chest_xray",
    SIGNS,
    draw,
    exclusive=(
        frozenset({EFFUSION, PNEUMOTHORAX, HERNIA, CAVITY}),
        frozenset({HERNIA, DEXTROCARDIA, CARDIOMEGALY}),
        frozenset({HERNIA, NODULE}),
        frozenset({PNEUMOTHORAX, NODULE}),
        frozenset({CARDIOMEGALY, CAVITY, NODULE}),
    ),
)
