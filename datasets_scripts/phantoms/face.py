"""A face from the front: eyes, lids, brows, ears, lip and tongue."""

import numpy as np

from phenolip.datasets_scripts.phantoms.canvas import (
    Canvas,
    Color,
    backdrop,
    curve,
    ellipse,
    mix,
    photograph,
    random_color,
    random_pose,
    skin_tone,
)
from phenolip.datasets_scripts.phantoms.scene import Drawing, Scene, Sign

HYPERTELORISM = "HP:0000316"
LOW_SET_EARS = "HP:0000369"
PTOSIS = "HP:0000508"
CLEFT_LIP = "HP:0000204"
SYNOPHRYS = "HP:0000664"
MACROTIA = "HP:0000400"
TONGUE = "HP:0010808"
STRABISMUS = "HP:0000486"

SIGNS = (
    Sign(HYPERTELORISM, "Hypertelorism", ("Wide-set eyes", "Widely spaced eyes", "Ocular hypertelorism")),
    Sign(LOW_SET_EARS, "Low-set ears", ("Low-set pinnae",)),
    Sign(PTOSIS, "Ptosis", ("Drooping upper eyelid", "Blepharoptosis", "Eyelid ptosis")),
    Sign(CLEFT_LIP, "Cleft upper lip", ("Harelip",)),
    Sign(SYNOPHRYS, "Synophrys", ("Monobrow", "Unibrow")),
    Sign(MACROTIA, "Macrotia", ("Large ears", "Large pinnae")),
    Sign(TONGUE, "Protruding tongue", ("Tongue protrusion", "Lingual protrusion")),
    Sign(STRABISMUS, "Strabismus", ("Squint", "Cross-eyed")),
)


def draw(rng: np.random.Generator, shown: frozenset[str], size: int) -> Drawing:
    """Draw a face; see `Scene`."""
    pose = random_pose(rng, turn_deg=22, scale=(0.82, 1.05), shift=0.12, mirror=True)
    canvas = Canvas(size, backdrop(rng, size), pose)
    skin = skin_tone(rng)
    hair = mix(random_color(rng, 5, 90), (150, 110, 60), rng.uniform(0, 0.6))
    line = mix(skin, (40, 15, 10), 0.5)
    _neck_and_hair(canvas, rng, skin, hair, random_color(rng))
    with canvas.showing(shown & {LOW_SET_EARS, MACROTIA}, apart=True):
        _ears(canvas, rng, skin, line, shown)
    chin = rng.uniform(0.84, 0.92)
    head = curve(
        [(0, -0.85), (0.42, -0.72), (0.6, -0.3), (0.58, 0.15), (0.42, 0.6), (0.15, chin), (-0.15, chin)]
        + [(-0.42, 0.6), (-0.58, 0.15), (-0.6, -0.3), (-0.42, -0.72)],
        80,
        closed=True,
    )
    canvas.stroke(np.concatenate([head, head[:1]]), 0.025, line)
    canvas.polygon(head, skin)
    fringe = rng.uniform(-0.62, -0.5)
    canvas.polygon(
        curve(
            [(-0.6, -0.35), (-0.5, -0.75), (0, -0.95), (0.5, -0.75), (0.6, -0.35), (0.35, fringe), (-0.3, fringe)],
            50,
            closed=True,
        ),
        hair,
    )
    with canvas.showing(shown & {HYPERTELORISM, PTOSIS, STRABISMUS}):
        _eyes(canvas, rng, skin, hair, line, shown)
    _nose(canvas, rng, skin, line)
    with canvas.showing(shown & {CLEFT_LIP, TONGUE}):
        _mouth(canvas, rng, skin, line, shown)
    for x in (-0.36, 0.36):  # cheeks
        canvas.ellipse((x, 0.25), (0.16, 0.12), mix(skin, (220, 90, 80), 0.5), alpha=rng.uniform(0, 0.5), blur=0.06)
    view = rng.choice(["facial photograph", "frontal photograph of the face", "portrait, front view"])
    return Drawing(photograph(rng, canvas, rulers=0.2), str(view), canvas.regions)


def _neck_and_hair(canvas: Canvas, rng: np.random.Generator, skin: Color, hair: Color, shirt: Color) -> None:
    length = rng.choice([-0.2, 0.3, 1.0])
    canvas.polygon(
        curve(
            [(-0.68, length), (-0.72, -0.4), (-0.4, -0.95), (0, -1.05), (0.4, -0.95), (0.72, -0.4), (0.68, length)],
            60,
            closed=True,
        ),
        hair,
    )
    canvas.polygon([(-0.25, 0.5), (0.25, 0.5), (0.28, 1.2), (-0.28, 1.2)], mix(skin, (60, 25, 20), 0.2))
    canvas.polygon(
        curve([(-1.3, 2.4), (-1.0, 1.15), (-0.3, 1.0), (0, 1.1), (0.3, 1.0), (1.0, 1.15), (1.3, 2.4)], 40), shirt
    )


def _ears(canvas: Canvas, rng: np.random.Generator, skin: Color, line: Color, shown: frozenset[str]) -> None:
    size = rng.uniform(1.65, 1.95) if MACROTIA in shown else rng.uniform(0.9, 1.05)
    height = rng.uniform(0.42, 0.52) if LOW_SET_EARS in shown else rng.uniform(-0.06, 0.02)
    at = 0.5 if LOW_SET_EARS in shown else 0.6
    for side in (-1, 1):
        center = (side * (at + 0.06 * size), height)
        canvas.ellipse(center, (0.125 * size, 0.2 * size), line, turn_deg=side * 14)
        canvas.ellipse(center, (0.11 * size, 0.185 * size), skin, turn_deg=side * 14)
        inner = mix(skin, (120, 40, 30), 0.35)
        canvas.ellipse((center[0] + side * 0.005, center[1]), (0.06 * size, 0.12 * size), inner, turn_deg=side * 14)


def _eyes(
    canvas: Canvas, rng: np.random.Generator, skin: Color, hair: Color, line: Color, shown: frozenset[str]
) -> None:
    """Both eyes with brows; the irises turn apart or together where there is a squint."""
    apart = rng.uniform(0.39, 0.43) if HYPERTELORISM in shown else rng.uniform(0.235, 0.26)
    iris = mix(random_color(rng, 30, 150), (90, 60, 30), rng.uniform(0, 1))
    gaze = rng.uniform(-0.02, 0.02, 2)
    squint = [0.0, 0.0]
    if STRABISMUS in shown:
        squint[rng.integers(2)] = rng.choice([-1, 1]) * rng.uniform(0.075, 0.09)
    drooping = [False, False]
    if PTOSIS in shown:
        drooping = [True, True] if rng.random() < 0.5 else list(rng.permutation([True, False]))
    y = -0.1
    for index, side in enumerate((-1, 1)):
        x = side * apart
        white = curve(
            [
                (x - 0.17, y + 0.01),
                (x - 0.08, y - 0.085),
                (x + 0.08, y - 0.085),
                (x + 0.17, y + 0.01),
                (x + 0.07, y + 0.075),
                (x - 0.07, y + 0.075),
            ],
            36,
            closed=True,
        )
        canvas.polygon(white, (240, 238, 234))
        eye = (x + gaze[0] + squint[index], y + gaze[1] * 0.5)
        opening = Canvas(canvas.size, canvas.image, canvas.pose)
        opening.ellipse(eye, 0.085, mix(iris, (0, 0, 0), 0.3))
        opening.ellipse(eye, 0.07, iris)
        opening.ellipse(eye, 0.036, (8, 8, 8))
        opening.ellipse((eye[0] + 0.025, eye[1] - 0.03), 0.014, (250, 250, 250))
        if drooping[index]:
            low = y + rng.uniform(0.0, 0.02)
            opening.polygon(
                [(x - 0.25, y - 0.2), (x + 0.25, y - 0.2), (x + 0.25, low), (x - 0.25, low)],
                mix(skin, (90, 40, 30), 0.18),
            )
            opening.stroke([(x - 0.2, low), (x + 0.2, low)], 0.025, (40, 20, 15))
        canvas.paste(opening, canvas.mask(white))
        canvas.stroke(np.concatenate([white, white[:1]]), 0.016, line)
        canvas.stroke(white[:18], 0.03, mix(line, (0, 0, 0), 0.4))
        canvas.stroke(curve([(x - 0.17, y - 0.1), (x, y - 0.145), (x + 0.17, y - 0.1)], 12), 0.012, line, alpha=0.6)
    with canvas.showing(shown & {SYNOPHRYS}):
        _brows(canvas, rng, hair, apart, SYNOPHRYS in shown)


def _brows(canvas: Canvas, rng: np.random.Generator, hair: Color, apart: float, joined: bool) -> None:
    y, thick = -0.3 + rng.uniform(-0.02, 0.02), rng.uniform(0.04, 0.06)
    color = mix(hair, (20, 10, 5), 0.5)
    for side in (-1, 1):
        inner = 0.0 if joined else side * (apart - 0.15)
        path = curve([(inner, y + 0.03), (side * apart, y - 0.03), (side * (apart + 0.2), y + 0.05)], 16)
        canvas.stroke(path, np.linspace(thick * (1.6 if joined else 1.2), thick * 0.5, 16), color)


def _nose(canvas: Canvas, rng: np.random.Generator, skin: Color, line: Color) -> None:
    width, tip = rng.uniform(0.1, 0.14), rng.uniform(0.24, 0.3)
    canvas.stroke(
        curve(
            [
                (-0.05, -0.05),
                (-0.06, 0.12),
                (-width, tip),
                (-0.03, tip + 0.05),
                (0.03, tip + 0.05),
                (width, tip),
                (width - 0.02, tip - 0.06),
            ],
            30,
        ),
        0.018,
        line,
        alpha=0.8,
    )
    for side in (-1, 1):
        canvas.ellipse((side * 0.05, tip + 0.025), (0.03, 0.015), mix(line, (0, 0, 0), 0.4))


def _mouth(canvas: Canvas, rng: np.random.Generator, skin: Color, line: Color, shown: frozenset[str]) -> None:
    y, half = rng.uniform(0.53, 0.57), rng.uniform(0.2, 0.25)
    lip = mix(skin, (180, 50, 60), rng.uniform(0.35, 0.6))
    dark = (70, 20, 25)
    upper = [(-half, y), (-0.08, y - 0.07), (0, y - 0.05), (0.08, y - 0.07), (half, y)]
    canvas.polygon(curve([*upper, (0.1, y + 0.09), (-0.1, y + 0.09)], 50, closed=True), lip)
    if TONGUE in shown:
        canvas.ellipse((0, y + 0.02), (half * 0.75, 0.06), dark)
        canvas.ellipse((0, y + 0.13), (half * 0.62, rng.uniform(0.16, 0.2)), mix((205, 85, 95), skin, 0.15))
        canvas.stroke([(0, y + 0.04), (0, y + 0.2)], 0.016, (150, 50, 60))
    else:
        canvas.stroke(curve([(-half, y), (0, y + rng.uniform(0.0, 0.03)), (half, y)], 16), 0.02, dark)
    if CLEFT_LIP in shown:
        side = rng.choice([-1, 1])
        x = side * rng.uniform(0.03, 0.09)
        canvas.polygon(
            [
                (x - 0.075, y + 0.02),
                (x - 0.03, y - 0.16),
                (x + 0.01, y - 0.2),
                (x + 0.035, y - 0.16),
                (x + 0.075, y + 0.02),
            ],
            dark,
        )
        canvas.polygon(ellipse((x, y + 0.005), (0.04, 0.03)), (235, 225, 210))  # a tooth in the gap
        canvas.stroke([(x - 0.075, y + 0.02), (x - 0.03, y - 0.16)], 0.03, lip)
        canvas.stroke([(x + 0.035, y - 0.16), (x + 0.075, y + 0.02)], 0.03, lip)


SCENE = Scene(
    "face",
    SIGNS,
    draw,
    exclusive=(frozenset({LOW_SET_EARS, MACROTIA}), frozenset({PTOSIS, STRABISMUS}), frozenset({CLEFT_LIP, TONGUE})),
)
