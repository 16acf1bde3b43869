"""An inked footprint: the arch, and number, place and union of the toes."""

import numpy as np

from phenolip.datasets_scripts.phantoms.canvas import (
    Canvas,
    Color,
    curve,
    noise_field,
    photograph,
    random_color,
    random_pose,
)
from phenolip.datasets_scripts.phantoms.scene import Drawing, Scene, Sign

PES_PLANUS = "HP:0001763"
PES_CAVUS = "HP:0001761"
POLYDACTYLY = "HP:0001829"
SYNDACTYLY = "HP:0001770"
HALLUX_VALGUS = "HP:0001822"
SPLIT_FOOT = "HP:0001839"
SANDAL_GAP = "HP:0001852"

SIGNS = (
    Sign(PES_PLANUS, "Pes planus", ("Flat foot", "Flat feet")),
    Sign(PES_CAVUS, "Pes cavus", ("High-arched foot", "Cavus foot")),
    Sign(POLYDACTYLY, "Foot polydactyly", ("Polydactyly of the foot",)),
    Sign(SYNDACTYLY, "Toe syndactyly", ("Fused toes", "Webbed toes", "Syndactyly of toes")),
    Sign(HALLUX_VALGUS, "Hallux valgus", ("Bunion", "Lateral deviation of great toe")),
    Sign(SPLIT_FOOT, "Split foot", ("Foot ectrodactyly", "Lobster-claw foot deformity")),
    Sign(SANDAL_GAP, "Sandal gap", ("Gap between first and second toe", "Wide space between first and second toes")),
)

# centre (x, y) and half axes of the pads, great toe first (on the left, as in the print of a right foot)
_TOES = np.array(
    [
        (-0.27, -0.78, 0.125, 0.165),
        (-0.02, -0.83, 0.08, 0.115),
        (0.15, -0.77, 0.072, 0.105),
        (0.29, -0.67, 0.066, 0.095),
        (0.40, -0.54, 0.062, 0.085),
    ]
)


def draw(rng: np.random.Generator, shown: frozenset[str], size: int) -> Drawing:
    """Draw a footprint; see `Scene`."""
    pose = random_pose(rng, turn_deg=50, scale=(0.7, 0.88), shift=0.1, mirror=True)
    paper, ink = random_color(rng, 0, 256), random_color(rng, 0, 256)
    while abs(sum(paper) - sum(ink)) < 270:  # a print that also shows in black and white
        paper, ink = random_color(rng, 0, 256), random_color(rng, 0, 256)
    canvas = Canvas(size, paper, pose)
    canvas.shade(1 + 0.06 * noise_field(rng, 64))
    with canvas.showing(shown & {PES_PLANUS, PES_CAVUS}):
        _sole(canvas, rng, ink, shown)
    with canvas.showing(shown - {PES_PLANUS, PES_CAVUS}):
        _toes(canvas, rng, ink, shown)
    canvas.shade(1 + 0.1 * noise_field(rng, 64, (20, 40)))
    side = "left" if pose.mirror else "right"
    view = rng.choice([f"footprint of the {side} foot", "plantar footprint", f"plantar ink print of the {side} foot"])
    return Drawing(photograph(rng, canvas), str(view), canvas.regions)


def _sole(canvas: Canvas, rng: np.random.Generator, ink: Color, shown: frozenset[str]) -> None:
    """Ball, outer border and heel; the inner border says how high the arch stands."""
    ball_inner, ball_outer, heel = -0.40, 0.46, 0.78
    ball = [(-0.44, -0.54), (-0.53, -0.44), (-0.49, -0.32)] if HALLUX_VALGUS in shown else [(ball_inner, -0.42)]
    if PES_PLANUS in shown:
        bulge = rng.uniform(-0.02, 0.04)
        inner = [*ball, (-0.38, -0.15), (-0.36 - bulge, 0.1), (-0.34 - bulge, 0.35)]
    else:
        isthmus = rng.uniform(0.08, 0.18)
        inner = [*ball, (-0.34, -0.2), (isthmus / 2 - 0.09, -0.02), (isthmus, 0.25)]
    heel_points = [
        (-0.27 if PES_PLANUS in shown else -0.14, 0.55),
        (-0.22, 0.75),
        (-0.1, 0.95),
        (0.06, 1.0),
        (0.22, 0.92),
        (0.27, heel),
    ]
    outer = [(0.3, 0.4), (0.36, 0.1), (0.46, -0.2), (ball_outer, -0.36)]
    front = [(0.38, -0.46), (0.2, -0.58), (0.0, -0.62), (-0.25, -0.58)]
    if PES_CAVUS in shown:  # the middle of the foot leaves no print
        pad = [*ball, (-0.34, -0.2), (-0.1, -0.12), (0.2, -0.06), (0.4, -0.08), *outer[2:]]
        pad += _cleft(rng, front) if SPLIT_FOOT in shown else front
        canvas.polygon(curve(pad, 80, closed=True), ink)
        canvas.polygon(curve([(0.0, 0.48), *heel_points[:-1], (0.26, 0.72), (0.18, 0.52)], 60, closed=True), ink)
        return
    front = _cleft(rng, front) if SPLIT_FOOT in shown else front
    canvas.polygon(curve([*inner, *heel_points, *outer, *front], 120, closed=True), ink)


def _cleft(rng: np.random.Generator, front: list[tuple[float, float]]) -> list[tuple[float, float]]:
    depth = rng.uniform(-0.15, 0.0)
    return [front[0], (0.27, -0.5), (0.16, -0.35), (0.04, depth), (-0.06, -0.35), (-0.15, -0.55), front[-1]]


def _toes(canvas: Canvas, rng: np.random.Generator, ink: Color, shown: frozenset[str]) -> None:
    toes = _TOES.copy()
    toes[:, :2] = toes[:, :2] * 1.06 + rng.normal(0, 0.008, (5, 2))
    toes[:, 2:] *= rng.uniform(0.95, 1.1)
    kept = [0, 1, 2, 3, 4]
    if SPLIT_FOOT in shown:
        kept = [0, 3, 4] if rng.random() < 0.6 else [0, 4]
        toes[0, 0] -= 0.03
    if SANDAL_GAP in shown:
        toes[0, 0] -= rng.uniform(0.2, 0.28)
        toes[0, 1] += 0.06
    turn = np.zeros(5)
    if HALLUX_VALGUS in shown:
        turn[0] = rng.uniform(38, 52)
        toes[0] = (-0.2, -0.84, 0.12, 0.2)
        toes[1:, 0] += 0.09
    pads = [(*toes[index], turn[index]) for index in kept]
    if POLYDACTYLY in shown:
        pads = _with_sixth(rng, toes, pads)
    for x, y, rx, ry, angle in pads:
        canvas.ellipse((x, y), (rx, ry), ink, turn_deg=angle)
    if SYNDACTYLY in shown:
        first = rng.integers(1, 3)
        last = first + 1 if rng.random() < 0.5 else first + 2
        canvas.stroke(curve(toes[first : last + 1, :2], 12), toes[first : last + 1, 3].mean() * 1.6, ink)


def _with_sixth(rng: np.random.Generator, toes: np.ndarray, pads: list[tuple]) -> list[tuple]:
    """A sixth toe outside the little toe, or a second great toe."""
    if rng.random() < 0.6:
        return [*pads, (0.56, -0.43, 0.066, 0.088, 25.0)]
    x, y, rx, ry = toes[0]
    return [(x - 0.2, y + 0.1, rx * 0.85, ry * 0.85, -25.0), (x + 0.02, y, rx * 0.85, ry, 0.0), *pads[1:]]


SCENE = Scene(
    "foot",
    SIGNS,
    draw,
    exclusive=(
        frozenset({PES_PLANUS, PES_CAVUS}),
        frozenset({SPLIT_FOOT, SYNDACTYLY}),
        frozenset({SPLIT_FOOT, SANDAL_GAP, HALLUX_VALGUS, POLYDACTYLY}),
    ),
)
