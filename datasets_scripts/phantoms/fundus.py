"""The back of the eye: optic disc, macula, vessels and pigment."""

import numpy as np

from phenolip.datasets_scripts.phantoms.canvas import (
    Canvas,
    Color,
    backdrop,
    blob,
    ellipse,
    jitter,
    mix,
    noise_field,
    photograph,
    random_pose,
    walk,
)
from phenolip.datasets_scripts.phantoms.scene import Drawing, Scene, Sign

CUPPING = "HP:0012796"
DRUSEN = "HP:0011510"
HEMORRHAGE = "HP:0000573"
BONE_SPICULES = "HP:0007737"
COLOBOMA = "HP:0000567"
PAPILLEDEMA = "HP:0001085"
CHERRY_RED_SPOT = "HP:0010729"
TORTUOSITY = "HP:0001136"

SIGNS = (
    Sign(CUPPING, "Increased cup-to-disc ratio", ("Optic cupping", "Increased cup disc ratio")),
    Sign(DRUSEN, "Drusen"),
    Sign(HEMORRHAGE, "Retinal hemorrhage", ("Retinal hemorrhages", "Retinal bleeding")),
    Sign(BONE_SPICULES, "Bone spicule pigmentation of the retina", ("Retinal pigmented bone spicules",)),
    Sign(COLOBOMA, "Chorioretinal coloboma", ("Choroidoretinal coloboma",)),
    Sign(PAPILLEDEMA, "Papilledema"),
    Sign(CHERRY_RED_SPOT, "Cherry red spot of the macula", ("Macular cherry red spot",)),
    Sign(TORTUOSITY, "Retinal arteriolar tortuosity", ("Tortuous retinal arterioles",)),
)
_DISC = (-0.38, 0.0)
_MACULA = (0.3, 0.06)


def draw(rng: np.random.Generator, shown: frozenset[str], size: int) -> Drawing:
    """Draw a fundus photograph; see `Scene`. The disc lies on the nasal side: left in a left eye."""
    pose = random_pose(rng, turn_deg=45, scale=(0.8, 1.15), shift=0.22, mirror=True, stretch=0.04)
    ground = mix(mix((220, 110, 56), (130, 48, 24), rng.uniform(0, 1)), (190, 130, 100), rng.uniform(0, 0.4))
    canvas = Canvas(size, ground, pose)
    canvas.shade(1 + 0.1 * noise_field(rng, 64, (4, 12, 30)))
    with canvas.showing(shown & {CHERRY_RED_SPOT}):
        _macula(canvas, rng, ground, CHERRY_RED_SPOT in shown)
    if COLOBOMA in shown:
        with canvas.showing(frozenset({COLOBOMA})):
            _coloboma(canvas, rng)
    if DRUSEN in shown:
        with canvas.showing(frozenset({DRUSEN}), apart=True):
            _drusen(canvas, rng)
    disc = 0.27 if PAPILLEDEMA in shown else rng.uniform(0.18, 0.22)
    with canvas.showing(shown & {CUPPING}):
        _disc(canvas, rng, disc, shown)
    with canvas.showing(shown & {TORTUOSITY}):
        _vessels(canvas, rng, ground, TORTUOSITY in shown)
    if PAPILLEDEMA in shown:
        with canvas.showing(frozenset({PAPILLEDEMA})):
            _swelling(canvas, rng, disc)
    if HEMORRHAGE in shown:
        with canvas.showing(frozenset({HEMORRHAGE}), apart=True):
            _hemorrhages(canvas, rng)
    if BONE_SPICULES in shown:
        with canvas.showing(frozenset({BONE_SPICULES}), apart=True):
            _spicules(canvas, rng)
    if rng.random() < 0.7:
        _aperture(canvas, rng)
    eye = "right" if pose.mirror else "left"
    view = rng.choice(["fundus photograph", f"color fundus photograph of the {eye} eye", "ophthalmoscopic view"])
    return Drawing(photograph(rng, canvas, light=0.4, cast=0.22), str(view), canvas.regions)


def _macula(canvas: Canvas, rng: np.random.Generator, ground: Color, cherry: bool) -> None:
    if cherry:
        canvas.ellipse(_MACULA, rng.uniform(0.32, 0.38), mix(ground, (245, 235, 205), 0.75), blur=0.05)
        canvas.ellipse(_MACULA, rng.uniform(0.075, 0.095), (165, 20, 20), blur=0.008)
    else:
        canvas.ellipse(_MACULA, 0.16, mix(ground, (70, 20, 10), 0.5), alpha=rng.uniform(0.5, 0.9), blur=0.07)


def _disc(canvas: Canvas, rng: np.random.Generator, radius: float, shown: frozenset[str]) -> None:
    rim = (236, 178, 116)
    canvas.ellipse(_DISC, (radius * 0.9, radius), mix(rim, (255, 225, 160), rng.uniform(0, 0.6)), blur=0.008)
    if PAPILLEDEMA in shown:
        return
    if CUPPING in shown:
        ratio = rng.uniform(0.74, 0.84)
        canvas.ellipse(_DISC, (radius * 0.9 * ratio + 0.012, radius * ratio + 0.012), (150, 96, 60))
        canvas.ellipse(_DISC, (radius * 0.9 * ratio, radius * ratio), (255, 250, 228), blur=0.004)
    else:
        canvas.ellipse(_DISC, radius * rng.uniform(0.26, 0.36), (255, 244, 205), alpha=0.9, blur=0.012)


def _swelling(canvas: Canvas, rng: np.random.Generator, radius: float) -> None:
    """Blurred, elevated margin with radial streaks that bury the vessels."""
    canvas.ellipse(_DISC, radius * 1.1, (250, 186, 140), alpha=0.85, blur=0.07)
    for angle in np.arange(0, 360, 7.5) + rng.uniform(-3, 3, 48):
        direction = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        inner, outer = radius * rng.uniform(0.3, 0.6), radius * rng.uniform(1.0, 1.45)
        tone = (255, 220, 180) if rng.random() < 0.6 else (196, 70, 48)
        canvas.stroke(
            [_DISC + direction * inner, _DISC + direction * outer], [0.03, 0.012], tone, alpha=0.45, blur=0.014
        )
    for angle in rng.uniform(0, 360, 4):  # splinters of blood at the margin
        direction = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        canvas.stroke(
            [_DISC + direction * radius * 0.9, _DISC + direction * radius * 1.25], [0.05, 0.02], (120, 12, 14)
        )


def _vessels(canvas: Canvas, rng: np.random.Generator, ground: Color, tortuous: bool) -> None:
    """Four arcades of an artery and a vein each, with branches."""
    vein, artery = mix(ground, (90, 8, 20), 0.75), mix(ground, (180, 30, 25), 0.75)
    for up in (-1, 1):
        for heading, length in ((62, 1.5), (128, 0.9)):
            for color, width, offset in ((vein, 0.044, 0), (artery, 0.036, 16)):
                waves = rng.uniform(4, 5.5) if tortuous else 0
                start = (_DISC[0] + 0.01 * offset / 16, _DISC[1])
                straight = walk(rng, start, up * (heading + offset), length, bend=0.1, num_points=60, waves=waves)
                # arcades bend round the macula
                t = np.linspace(0, 1, 60)[:, None]
                path = straight + np.array([0.55 if heading < 90 else -0.15, -up * 0.35]) * t**2
                canvas.stroke(path, np.linspace(width, width * 0.35, 60), color, alpha=0.95)
                for place in (18, 32, 46):
                    way = np.degrees(np.arctan2(*(path[place + 2] - path[place])[::-1])) + rng.choice([-38, 38])
                    branch = walk(
                        rng, tuple(path[place]), way, rng.uniform(0.3, 0.55), bend=0.4, waves=waves / 2, num_points=24
                    )
                    canvas.stroke(branch, np.linspace(width * 0.55, 0.01, 24), color, alpha=0.9)


def _drusen(canvas: Canvas, rng: np.random.Generator) -> None:
    """Clustered yellow-white dots around the macula."""
    for _ in range(rng.integers(45, 75)):
        x, y = np.array(_MACULA) + rng.normal(0, 0.23, 2)
        canvas.ellipse((x, y), rng.uniform(0.018, 0.045), jitter(rng, (252, 232, 150), 8), alpha=0.95, blur=0.004)


def _hemorrhages(canvas: Canvas, rng: np.random.Generator) -> None:
    """Dots, blots and flames of dark blood."""
    for _ in range(rng.integers(10, 20)):
        center = tuple(rng.uniform(-0.85, 0.85, 2))
        radius = rng.uniform(0.045, 0.12)
        away = np.degrees(np.arctan2(center[1] - _DISC[1], center[0] - _DISC[0]))
        flame = rng.random() < 0.5
        radii = (radius * 1.5, radius * 0.5) if flame else (radius, radius * 0.9)
        shape = blob(rng, center, radii, wobble=0.1, waves=7, turn_deg=away)
        canvas.polygon(shape, jitter(rng, (104, 8, 12), 8), alpha=0.95, blur=0.004)


def _spicules(canvas: Canvas, rng: np.random.Generator) -> None:
    """Black star-shaped pigment clumps in the periphery."""
    for _ in range(rng.integers(28, 45)):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.0)
        x, y = distance * np.cos(angle), distance * np.sin(angle)
        ink = jitter(rng, (26, 18, 16), 6)
        for arm in rng.uniform(0, 360, rng.integers(3, 6)):
            path = walk(rng, (x, y), arm, rng.uniform(0.07, 0.15), bend=0.6, num_points=6)
            canvas.stroke(path, np.linspace(0.03, 0.01, 6), ink)


def _coloboma(canvas: Canvas, rng: np.random.Generator) -> None:
    """A large white defect below the disc with a pigmented edge."""
    center = (rng.uniform(-0.2, 0.0), rng.uniform(0.5, 0.62))
    shape = blob(rng, center, (rng.uniform(0.32, 0.42), rng.uniform(0.34, 0.44)), wobble=0.1)
    canvas.stroke(np.concatenate([shape, shape[:1]]), 0.05, (60, 28, 22), alpha=0.9, blur=0.008)
    canvas.polygon(shape, (246, 240, 222), blur=0.008)
    for _ in range(4):
        path = walk(rng, tuple(shape[rng.integers(len(shape))]), rng.uniform(0, 360), 0.5, bend=0.5)
        canvas.stroke(path, 0.016, (190, 70, 50), alpha=0.7)


def _aperture(canvas: Canvas, rng: np.random.Generator) -> None:
    """The round field stop of the camera."""
    center = tuple(rng.uniform(-0.08, 0.08, 2))
    pose, canvas.pose = canvas.pose, type(canvas.pose)()
    hole = canvas.mask(ellipse(center, rng.uniform(0.93, 1.2), num_points=80))
    field = canvas.image.copy()
    surround = backdrop(rng, canvas.side) if rng.random() < 0.1 else None
    canvas.image.paste(surround or (int(rng.integers(0, 25)),) * 3, (0, 0, canvas.side, canvas.side))
    canvas.paste(field, hole)
    canvas.pose = pose


SCENE = Scene(
    "fundus",
    SIGNS,
    draw,
    exclusive=(
        frozenset({CUPPING, PAPILLEDEMA}),
        frozenset({DRUSEN, CHERRY_RED_SPOT}),
        frozenset({COLOBOMA, BONE_SPICULES}),
        frozenset({HEMORRHAGE, BONE_SPICULES, TORTUOSITY}),
    ),
)
