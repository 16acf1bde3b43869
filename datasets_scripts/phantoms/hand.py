"""A hand seen from the back: number, length, width and union of the fingers."""

from math import cos, radians, sin

import numpy as np

from phenolip.datasets_scripts.phantoms.canvas import (
    Canvas,
    Color,
    backdrop,
    curve,
    mix,
    photograph,
    random_pose,
    skin_tone,
)
from phenolip.datasets_scripts.phantoms.scene import Drawing, Scene, Sign

POLYDACTYLY = "HP:0001161"
SPLIT_HAND = "HP:0001171"
ARACHNODACTYLY = "HP:0001166"
BRACHYDACTYLY = "HP:0001156"
SYNDACTYLY = "HP:0006101"
CLUBBING = "HP:0100759"
ABSENT_THUMB = "HP:0009777"

SIGNS = (
    Sign(POLYDACTYLY, "Hand polydactyly", ("Extra finger", "Polydactyly of the hand", "Supernumerary finger")),
    Sign(SPLIT_HAND, "Split hand", ("Ectrodactyly of the hand", "Hand ectrodactyly")),
    Sign(ARACHNODACTYLY, "Arachnodactyly", ("Long slender fingers", "Spider fingers")),
    Sign(BRACHYDACTYLY, "Brachydactyly"),
    Sign(SYNDACTYLY, "Finger syndactyly", ("Partial syndactyly",)),
    Sign(CLUBBING, "Clubbing of fingers", ("Clubbed fingers", "Finger clubbing")),
    Sign(ABSENT_THUMB, "Absent thumb", ("Thumb aplasia", "Aplasia of the thumb")),
)

# base (x, y), heading in degrees from straight up, length and width of little, ring, middle and index finger, thumb
_FINGERS = np.array(
    [
        (-0.36, -0.02, -17, 0.52, 0.155),
        (-0.13, -0.10, -6, 0.68, 0.17),
        (0.10, -0.11, 3, 0.74, 0.175),
        (0.33, -0.05, 12, 0.66, 0.17),
        (0.38, 0.36, 48, 0.56, 0.185),
    ]
)
_LITTLE, _RING, _MIDDLE, _INDEX, _THUMB, _EXTRA = range(6)


def draw(rng: np.random.Generator, shown: frozenset[str], size: int) -> Drawing:
    """Draw a hand; see `Scene`."""
    pose = random_pose(rng, turn_deg=55, scale=(0.78, 0.98), shift=0.12, mirror=True)
    canvas = Canvas(size, backdrop(rng, size), pose)
    skin = skin_tone(rng)
    fingers = _fingers(rng, shown)
    _palm(canvas, rng, skin, SPLIT_HAND in shown, ABSENT_THUMB in shown)
    joined = _joined_pair(rng, shown)
    if joined is not None:
        _bring_together(*(fingers[index] for index in joined))
    club = rng.uniform(1.45, 1.7) if CLUBBING in shown else 1.0
    with canvas.showing(shown & {ARACHNODACTYLY, BRACHYDACTYLY, CLUBBING, SPLIT_HAND}):
        for index, finger in fingers.items():
            with canvas.showing(shown & {POLYDACTYLY} if index == _EXTRA else frozenset()):
                _finger(canvas, rng, skin, finger, club)
    if joined is not None:
        with canvas.showing(frozenset({SYNDACTYLY})):
            _web(canvas, skin, *(fingers[index] for index in joined))
    if ABSENT_THUMB in shown:
        canvas.note_place(ABSENT_THUMB, _axis(_FINGERS[_THUMB]), _FINGERS[_THUMB][4] / 2)
    side = "right" if pose.mirror else "left"  # the back of a left hand has its thumb on the right
    view = rng.choice([f"dorsal photograph of the {side} hand", f"photograph of the {side} hand", "view of the hand"])
    return Drawing(photograph(rng, canvas, rulers=0.2), str(view), canvas.regions)


def _fingers(rng: np.random.Generator, shown: frozenset[str]) -> dict[int, np.ndarray]:
    """Rows as in `_FINGERS`, by index; an extra finger has index 5."""
    fingers = {index: row.copy() for index, row in enumerate(_FINGERS)}
    spread = rng.uniform(0.6, 1.5)
    long, wide = rng.uniform(0.94, 1.06), rng.uniform(0.92, 1.1)
    if ARACHNODACTYLY in shown:
        long, wide, spread = rng.uniform(1.4, 1.6), rng.uniform(0.52, 0.62), rng.uniform(1.2, 2.0)
    elif BRACHYDACTYLY in shown:
        long, wide = rng.uniform(0.42, 0.52), rng.uniform(1.05, 1.2)
    for index, row in fingers.items():
        row[2] = row[2] * (spread if index != _THUMB else 1) + rng.normal(0, 3)
        row[3] *= long * rng.uniform(0.96, 1.04)
        row[4] *= wide
    if POLYDACTYLY in shown:
        _add_finger(rng, fingers, ABSENT_THUMB not in shown)
    if SPLIT_HAND in shown:
        del fingers[_MIDDLE]
        if rng.random() < 0.4:
            del fingers[_RING]
            fingers[_LITTLE][:2] += (0.08, -0.02)
        for index, row in fingers.items():
            row[2] += {_LITTLE: -6, _RING: -12, _INDEX: 12}.get(index, 0)
    if ABSENT_THUMB in shown:
        del fingers[_THUMB]
    return fingers


def _add_finger(rng: np.random.Generator, fingers: dict[int, np.ndarray], has_thumb: bool) -> None:
    """A sixth finger beside the little finger, or a second thumb."""
    if has_thumb and rng.random() < 0.35:
        extra = fingers[_THUMB].copy()
        extra[:4] += (0.04, -0.13, -28, -0.06)
        fingers[_THUMB][:4] += (-0.02, 0.08, 24, 0)
    else:
        extra = fingers[_LITTLE].copy()
        extra[:3] += (-0.07, 0.17, -rng.uniform(22, 38))
        extra[3] *= rng.uniform(0.75, 0.95)
    fingers[_EXTRA] = extra


def _joined_pair(rng: np.random.Generator, shown: frozenset[str]) -> tuple[int, int] | None:
    if SYNDACTYLY not in shown:
        return None
    return ((_LITTLE, _RING), (_RING, _MIDDLE), (_MIDDLE, _INDEX))[rng.integers(3)]


def _axis(finger: np.ndarray) -> np.ndarray:
    """Points (2, 2) from the base to the tip."""
    x, y, heading, length, _ = finger
    return np.array([(x, y), (x + length * sin(radians(heading)), y - length * cos(radians(heading)))])


def _bring_together(first: np.ndarray, second: np.ndarray) -> None:
    """Make two fingers parallel and as long as each other."""
    middle = (first[2] + second[2]) / 2
    first[2], second[2] = middle - 1, middle + 1
    first[3] = second[3] = max(first[3], second[3])


def _web(canvas: Canvas, skin: Color, first: np.ndarray, second: np.ndarray) -> None:
    """One sheet of skin over the space between two fingers, as far as their nails."""
    a, b = _axis(first), _axis(second)
    top_a, top_b = a[0] + 0.86 * (a[1] - a[0]), b[0] + 0.86 * (b[1] - b[0])
    canvas.polygon([a[0], top_a, top_b, b[0]], skin)
    canvas.stroke([top_a, (top_a + top_b) / 2 + (0, 0.03), top_b], 0.02, mix(skin, (40, 15, 10), 0.45))
    root, tip = (a[0] + b[0]) / 2, (top_a + top_b) / 2
    canvas.stroke([root + 0.2 * (tip - root), tip], 0.03, mix(skin, (60, 25, 20), 0.35), alpha=0.4, blur=0.01)


def _palm(canvas: Canvas, rng: np.random.Generator, skin: Color, cleft: bool, no_thumb: bool) -> None:
    """Back of the hand and wrist; `cleft` cuts a deep V where the middle finger would stand."""
    knuckles = [(-0.45, 0.02), (-0.36, -0.06), (-0.13, -0.13), (0.1, -0.14), (0.33, -0.08), (0.42, 0.05)]
    if cleft:
        depth = rng.uniform(0.32, 0.48)
        knuckles[2:5] = [(-0.13, -0.08), (-0.05, 0.1), (0.06, depth), (0.17, 0.1), (0.27, -0.06)]
    thumb_side = [(0.4, 0.3), (0.34, 0.6)] if no_thumb else [(0.46, 0.28), (0.44, 0.46), (0.34, 0.66)]
    wrist = [(0.27, 0.85), (0.27, 1.9), (-0.27, 1.9), (-0.29, 0.85), (-0.42, 0.5), (-0.46, 0.25)]
    outline = curve(knuckles + thumb_side + wrist, 90, closed=True)
    canvas.stroke(np.concatenate([outline, outline[:1]]), 0.03, mix(skin, (40, 15, 10), 0.45))
    canvas.polygon(outline, skin)
    for x in (-0.22, 0.0, 0.2):  # tendons
        if not cleft:
            canvas.stroke([(x * 0.6, 0.6), (x, 0.02)], 0.05, mix(skin, (255, 255, 255), 0.3), alpha=0.3, blur=0.02)


def _finger(canvas: Canvas, rng: np.random.Generator, skin: Color, finger: np.ndarray, club: float) -> None:
    """One finger with outline, two creased joints and a nail; `club` widens the end phalanx."""
    axis = _axis(finger)
    width = finger[4]
    t = np.array([0, 0.3, 0.62, 0.76, 0.9, 1.0])
    path = axis[0] + t[:, None] * (axis[1] - axis[0])
    widths = width * np.array([1.1, 1.0, 0.92, 0.86 + 0.55 * (club - 1), 0.84 * club, 0.72 * club])
    canvas.stroke(path, widths + 0.03, mix(skin, (40, 15, 10), 0.45))
    canvas.stroke(path, widths, skin)
    canvas.stroke(path[:1], width * 1.25, skin)  # hides the outline inside the palm
    along = (axis[1] - axis[0]) / np.hypot(*(axis[1] - axis[0]))
    across = np.array([-along[1], along[0]]) * width * 0.28
    for place in (0.4, 0.7) if finger[3] > 0.25 else (0.5,):
        for step in (-0.012, 0.012):
            point = axis[0] + place * (axis[1] - axis[0]) + step * along
            canvas.stroke([point - across, point + across], 0.012, mix(skin, (60, 20, 15), 0.5), alpha=0.7)
    nail = axis[1] - along * width * 0.02
    radii = (width * 0.3 * club, width * (0.4 if club == 1 else 0.3 * club))
    turn = float(finger[2])
    canvas.ellipse(tuple(nail), (radii[0] + 0.01, radii[1] + 0.01), mix(skin, (90, 40, 40), 0.5), turn_deg=turn)
    canvas.ellipse(tuple(nail), radii, mix(skin, (255, 225, 220), 0.6, rng.normal(0, 5, 3)), turn_deg=turn)


SCENE = Scene(
    "hand",
    SIGNS,
    draw,
    exclusive=(
        frozenset({ARACHNODACTYLY, BRACHYDACTYLY, CLUBBING}),
        frozenset({SPLIT_HAND, SYNDACTYLY}),
        frozenset({SPLIT_HAND, POLYDACTYLY}),
        frozenset({SPLIT_HAND, BRACHYDACTYLY}),
        frozenset({SPLIT_HAND, ABSENT_THUMB}),
        frozenset({SYNDACTYLY, BRACHYDACTYLY}),
    ),
)
