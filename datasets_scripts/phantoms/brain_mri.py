"""An axial slice of the brain by magnetic resonance: ventricles, folds, collections and lesions."""

import numpy as np

from phenolip.datasets_scripts.phantoms.canvas import (
    Canvas,
    Color,
    blob,
    curve,
    mix,
    noise_field,
    radiograph,
    random_pose,
)
from phenolip.datasets_scripts.phantoms.scene import Drawing, Scene, Sign

VENTRICULOMEGALY = "HP:0002119"
LISSENCEPHALY = "HP:0001339"
PORENCEPHALY = "HP:0002132"
SUBDURAL = "HP:0100309"
TUBERS = "HP:0009717"
HOLOPROSENCEPHALY = "HP:0001360"
NODULES = "HP:0009716"
NEOPLASM = "HP:0030692"

SIGNS = (
    Sign(
        VENTRICULOMEGALY, "Ventriculomegaly", ("Enlarged ventricles", "Dilated ventricles", "Ventricular dilatation")
    ),
    Sign(LISSENCEPHALY, "Lissencephaly", ("Fewer or absent grooves in brain",)),
    Sign(PORENCEPHALY, "Porencephalic cyst", ("Cavity within brain",)),
    Sign(SUBDURAL, "Subdural hemorrhage", ("Subdural hematoma",)),
    Sign(TUBERS, "Cortical tubers"),
    Sign(HOLOPROSENCEPHALY, "Holoprosencephaly", ("Single brain ventricle",)),
    Sign(NODULES, "Subependymal nodules"),
    Sign(NEOPLASM, "Brain neoplasm", ("Brain tumor",)),
)
_BRAIN = [(0, -0.78), (0.35, -0.7), (0.56, -0.35), (0.6, 0.05), (0.52, 0.45), (0.3, 0.72), (0, 0.78)]


def draw(rng: np.random.Generator, shown: frozenset[str], size: int) -> Drawing:
    """Draw an axial slice; see `Scene`. Fluid is dark (T1) or bright (T2)."""
    pose = random_pose(rng, turn_deg=50, scale=(0.76, 1.1), shift=0.2, mirror=True)
    bright_fluid = bool(rng.random() < 0.5)
    fluid = (225, 225, 225) if bright_fluid else (28, 28, 28)
    white = (105, 105, 105) if bright_fluid else (185, 185, 185)
    cortex = (150, 150, 150) if bright_fluid else (125, 125, 125)
    canvas = Canvas(size, (int(rng.integers(0, 18)),) * 3, pose)
    outline = curve(_BRAIN + [(-x, y) for x, y in reversed(_BRAIN[1:-1])], 90, closed=True)
    outline = outline * (1 + 0.02 * rng.normal(size=2))
    canvas.polygon(outline * 1.26, (200, 200, 200))  # scalp, skull, fluid around the brain
    canvas.polygon(outline * 1.18, (14, 14, 14))
    canvas.polygon(outline * 1.09, fluid)
    canvas.polygon(outline, cortex)
    canvas.polygon(outline * 0.86, white, blur=0.02)
    one_ventricle = HOLOPROSENCEPHALY in shown
    with canvas.showing(shown & {LISSENCEPHALY}):
        _folds(canvas, rng, outline, fluid, cortex, LISSENCEPHALY in shown, one_ventricle)
    if not one_ventricle:
        canvas.stroke([(0, -0.8), (0, -0.3)], 0.03, fluid)
        canvas.stroke([(0, 0.42), (0, 0.8)], 0.03, fluid)
    with canvas.showing(shown & {VENTRICULOMEGALY, HOLOPROSENCEPHALY}):
        _ventricles(canvas, rng, fluid, cortex, shown)
    side = int(rng.choice([-1, 1]))
    if TUBERS in shown:
        with canvas.showing(frozenset({TUBERS}), apart=True):
            _tubers(canvas, rng, bright_fluid)
    if NODULES in shown:
        with canvas.showing(frozenset({NODULES}), apart=True):
            _nodules(canvas, rng, bright_fluid)
    if NEOPLASM in shown:
        with canvas.showing(frozenset({NEOPLASM})):
            _neoplasm(canvas, rng, side, white)
    if PORENCEPHALY in shown:
        with canvas.showing(frozenset({PORENCEPHALY})):
            _cyst(canvas, rng, side, fluid)
    if SUBDURAL in shown:
        with canvas.showing(frozenset({SUBDURAL})):
            _subdural(canvas, rng, outline, side)
    canvas.shade(1 + 0.05 * noise_field(rng, 64, (6, 16, 32)))
    weight = "T2-weighted" if bright_fluid else "T1-weighted"
    view = rng.choice(["brain MRI", "axial brain MRI", f"axial {weight} MRI of the brain", f"{weight} MR image"])
    return Drawing(radiograph(rng, canvas, invert=0.0, light=0.45), str(view), canvas.regions)


def _folds(
    canvas: Canvas,
    rng: np.random.Generator,
    outline: np.ndarray,
    fluid: Color,
    cortex: Color,
    smooth: bool,
    one_ventricle: bool,
) -> None:
    """Sulci from the surface inwards; almost none, and a thick cortex, where the brain is smooth."""
    if smooth:
        canvas.stroke(np.concatenate([outline, outline[:1]]) * 0.88, 0.21, cortex)
        for side in (-1, 1):  # shallow Sylvian clefts give the figure of eight
            canvas.polygon(curve([(side * 0.66, -0.12), (side * 0.42, 0.0), (side * 0.66, 0.14)], 20), fluid)
        return
    for index in np.arange(0, 90, 5) + rng.integers(0, 3):
        point = outline[index % 90]
        depth = rng.uniform(0.66, 0.78)
        swerve = rng.normal(0, 0.035, 2)
        path = curve([point * 1.02, point * (1 + depth) / 2 + swerve, point * depth], 10)
        canvas.stroke(path, 0.105, cortex)
        canvas.stroke(path, np.linspace(0.04, 0.02, 10), fluid)


def _ventricles(canvas: Canvas, rng: np.random.Generator, fluid: Color, gray: Color, shown: frozenset[str]) -> None:
    if HOLOPROSENCEPHALY in shown:
        shape = curve(
            [
                (-0.34, -0.12),
                (-0.2, -0.34),
                (0, -0.38),
                (0.2, -0.34),
                (0.34, -0.12),
                (0.25, 0.18),
                (0, 0.1),
                (-0.25, 0.18),
            ],
            60,
            closed=True,
        )
        canvas.polygon(shape * rng.uniform(0.95, 1.15), fluid, blur=0.006)
        canvas.ellipse((0, 0.22), (0.22, 0.12), gray, blur=0.01)  # fused thalami
        return
    big = rng.uniform(2.3, 2.9) if VENTRICULOMEGALY in shown else rng.uniform(0.85, 1.1)
    for side in (-1, 1):
        canvas.ellipse((side * 0.17, 0.12), (0.1, 0.16), gray, turn_deg=side * 12, blur=0.015)  # thalamus
        horn = curve(
            [
                (side * 0.04, -0.05),
                (side * 0.07, -0.25),
                (side * 0.17, -0.34),
                (side * 0.14, -0.2),
                (side * 0.1, 0.0),
                (side * 0.16, 0.22),
                (side * 0.26, 0.42),
                (side * 0.16, 0.34),
            ],
            50,
            closed=True,
        )
        middle = np.array([side * 0.13, 0.03])
        grown = (horn - middle) * (big, 1 + (big - 1) * 0.22) + middle
        grown[:, 0] = side * np.maximum(side * grown[:, 0] + 0.05 * (big - 1), 0.025)
        canvas.polygon(grown, fluid, blur=0.005)


def _tubers(canvas: Canvas, rng: np.random.Generator, bright: bool) -> None:
    """Wedges of abnormal signal in the cortex of both sides."""
    tone = (235, 235, 235) if bright else (70, 70, 70)
    angles = np.linspace(0, 2 * np.pi, rng.integers(7, 11), endpoint=False) + rng.uniform(0, 6)
    for angle in angles + rng.normal(0, 0.12, len(angles)):
        center = (0.47 * np.cos(angle), 0.62 * np.sin(angle))
        canvas.polygon(
            blob(rng, center, (0.13, 0.085), wobble=0.12, turn_deg=np.degrees(angle)), tone, alpha=0.95, blur=0.01
        )


def _nodules(canvas: Canvas, rng: np.random.Generator, bright: bool) -> None:
    """Beads along the walls of the lateral ventricles."""
    tone = (20, 20, 20) if bright else (250, 250, 250)
    for side in (-1, 1):
        wall = curve(
            [(side * 0.19, -0.32), (side * 0.13, -0.16), (side * 0.13, 0.02), (side * 0.2, 0.22), (side * 0.29, 0.4)],
            rng.integers(4, 7),
        )
        for place in wall:
            canvas.ellipse(tuple(place + rng.normal(0, 0.01, 2)), rng.uniform(0.035, 0.055), tone)


def _neoplasm(canvas: Canvas, rng: np.random.Generator, side: int, white: Color) -> None:
    """An irregular enhancing ring with a dark centre and swelling around it."""
    center = (side * rng.uniform(0.26, 0.34), rng.choice([-1, 1]) * rng.uniform(0.22, 0.36))
    radius = rng.uniform(0.16, 0.22)
    canvas.polygon(blob(rng, center, radius * 1.55, wobble=0.15), mix(white, (70, 70, 70), 0.7), alpha=0.8, blur=0.03)
    rim = blob(rng, center, radius, wobble=0.09, waves=5)
    canvas.polygon(rim, (252, 252, 252), blur=0.004)
    canvas.polygon((rim - center) * 0.66 + center, (45, 45, 45), blur=0.012)


def _cyst(canvas: Canvas, rng: np.random.Generator, side: int, fluid: Color) -> None:
    """A smooth cavity of fluid from the surface down to the ventricle."""
    angle = rng.uniform(-0.7, 0.7)
    center = (side * 0.38 * np.cos(angle), 0.42 * np.sin(angle))
    canvas.polygon(blob(rng, center, (0.3, 0.19), wobble=0.06, turn_deg=side * np.degrees(angle)), fluid, blur=0.006)


def _subdural(canvas: Canvas, rng: np.random.Generator, outline: np.ndarray, side: int) -> None:
    """A bright crescent between skull and brain that pushes the surface in."""
    middle = rng.uniform(-0.35, 0.35)
    angles = np.linspace(middle - 1.05, middle + 1.05, 40)
    outer = np.stack([side * 0.655 * np.cos(angles), 0.85 * np.sin(angles)], axis=1)
    thickness = rng.uniform(0.24, 0.32) * np.cos((angles - middle) / 1.05 * np.pi / 2)
    inner = outer * (1 - thickness[:, None])
    tone = (248, 248, 248) if rng.random() < 0.8 else (60, 60, 60)
    canvas.polygon(np.concatenate([outer, inner[::-1]]), tone, blur=0.005)
    canvas.stroke(inner, 0.02, (30, 30, 30), alpha=0.8)


SCENE = Scene(
    "brain_mri",
    SIGNS,
    draw,
    exclusive=(
        frozenset({VENTRICULOMEGALY, HOLOPROSENCEPHALY, NODULES, NEOPLASM, PORENCEPHALY}),
        frozenset({LISSENCEPHALY, TUBERS}),
        frozenset({SUBDURAL, TUBERS}),
        frozenset({LISSENCEPHALY, SUBDURAL}),
        frozenset({HOLOPROSENCEPHALY, SUBDURAL, TUBERS}),
        frozenset({TUBERS, NEOPLASM, PORENCEPHALY}),
    ),
)
