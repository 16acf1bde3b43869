"""A stained blood film: shapes of red cells, nuclei of white cells."""

import numpy as np

from phenolip.datasets_scripts.phantoms.canvas import (
    Canvas,
    Color,
    blob,
    curve,
    ellipse,
    jitter,
    mix,
    noise_field,
    photograph,
    random_pose,
    scatter,
)
from phenolip.datasets_scripts.phantoms.scene import Drawing, Scene, Sign

SICKLE = "HP:0030058"
ELLIPTOCYTES = "HP:0004445"
ACANTHOCYTES = "HP:0001927"
SCHISTOCYTES = "HP:0001981"
STOMATOCYTES = "HP:0004446"
TARGET_CELLS = "HP:0034280"
ROULEAUX = "HP:0031898"
HYPERSEGMENTED = "HP:0004821"
EOSINOPHILIA = "HP:0001880"

SIGNS = (
    Sign(SICKLE, "Sickled erythrocytes"),
    Sign(ELLIPTOCYTES, "Elliptocytosis", ("Ovalocytosis", "Ovalocytes")),
    Sign(ACANTHOCYTES, "Acanthocytosis", ("Acanthocytes", "Red cell acanthocytosis")),
    Sign(SCHISTOCYTES, "Schistocytosis", ("Schistocytes",)),
    Sign(STOMATOCYTES, "Stomatocytosis", ("Red cell stomatocytosis",)),
    Sign(TARGET_CELLS, "Target cells", ("Codocytes",)),
    Sign(ROULEAUX, "Rouleaux formation", ("Increased rouleaux formation",)),
    Sign(HYPERSEGMENTED, "Hypersegmentation of neutrophil nuclei", ("Hypermature neutrophils",)),
    Sign(EOSINOPHILIA, "Eosinophilia", ("High blood eosinophil count",)),
)
Point = tuple[float, float]
_RED_CELL_SIGNS = frozenset({SICKLE, ELLIPTOCYTES, ACANTHOCYTES, SCHISTOCYTES, STOMATOCYTES, TARGET_CELLS, ROULEAUX})


def draw(rng: np.random.Generator, shown: frozenset[str], size: int) -> Drawing:
    """Draw a blood film; see `Scene`."""
    pose = random_pose(rng, turn_deg=180, scale=(0.85, 1.2), shift=0.1)
    plasma = mix((246, 236, 230), (215, 215, 235), rng.uniform(0, 1), rng.normal(0, 8, 3))
    canvas = Canvas(size, plasma, pose)
    canvas.shade(1 + 0.03 * noise_field(rng, 48))
    stain = mix((226, 138, 132), (168, 120, 150), rng.uniform(0, 1), rng.normal(0, 10, 3))
    white_cells = _white_cell_places(rng, shown)
    radius = rng.uniform(0.125, 0.16)
    if ROULEAUX in shown:
        with canvas.showing(frozenset({ROULEAUX}), apart=True):
            _rouleaux(canvas, rng, stain, radius, white_cells)
    else:
        abnormal = next((hpo_id for hpo_id in _CELLS if hpo_id in shown), None)
        for x, y in scatter(rng, rng.integers(32, 60), radius * 2.0, extent=1.3):
            if all(np.hypot(x - wx, y - wy) > 0.27 + radius for wx, wy in white_cells):
                kind = abnormal if abnormal and rng.random() < 0.72 else None
                with canvas.showing(frozenset({kind} - {None})):
                    size = radius * rng.uniform(0.92, 1.08)
                    _CELLS.get(kind, _normal)(canvas, rng, (x, y), size, jitter(rng, stain, 5))
    for place in white_cells:
        with canvas.showing(shown & {HYPERSEGMENTED, EOSINOPHILIA}):
            if HYPERSEGMENTED in shown:
                _neutrophil(canvas, rng, place, lobes=int(rng.integers(6, 9)))
            elif EOSINOPHILIA in shown:
                _eosinophil(canvas, rng, place)
            else:
                _neutrophil(canvas, rng, place, lobes=3)
    for _ in range(rng.integers(2, 9)):  # platelets
        canvas.polygon(blob(rng, tuple(rng.uniform(-1, 1, 2)), 0.03, wobble=0.2), (146, 96, 168), alpha=0.85)
    view = rng.choice(["peripheral blood smear", "blood film", "Wright-stained peripheral blood film"])
    return Drawing(photograph(rng, canvas, light=0.35, cast=0.22), str(view), canvas.regions)


def _white_cell_places(rng: np.random.Generator, shown: frozenset[str]) -> np.ndarray:
    if EOSINOPHILIA in shown:
        count = rng.integers(3, 6)
    elif HYPERSEGMENTED in shown:
        count = rng.integers(1, 4)
    else:
        count = rng.integers(0, 2)
    return scatter(rng, int(count), 0.58, extent=0.58)


def _normal(canvas: Canvas, rng: np.random.Generator, center: Point, radius: float, color: Color) -> None:
    canvas.ellipse(center, radius, color)
    canvas.ellipse(center, radius * rng.uniform(0.38, 0.46), mix(color, (255, 240, 235), 0.55), blur=radius * 0.14)


def _sickle(canvas: Canvas, rng: np.random.Generator, center: Point, radius: float, color: Color) -> None:
    """A crescent with pointed ends."""
    turn = rng.uniform(0, 2 * np.pi)
    bend = rng.uniform(0.45, 0.8)
    spine = curve([(-1.7, bend), (-0.8, -0.1), (0, -0.35), (0.8, -0.1), (1.7, bend)], 16) * radius
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    widths = radius * 0.95 * np.sin(np.linspace(0.05, np.pi - 0.05, 16)) + 0.008
    canvas.stroke(spine @ rotation.T + center, widths, mix(color, (120, 30, 50), 0.15))


def _elliptocyte(canvas: Canvas, rng: np.random.Generator, center: Point, radius: float, color: Color) -> None:
    turn = rng.uniform(0, 180)
    canvas.ellipse(center, (radius * 1.4, radius * rng.uniform(0.5, 0.62)), color, turn_deg=turn)
    canvas.ellipse(
        center, (radius * 0.7, radius * 0.16), mix(color, (255, 240, 235), 0.5), turn_deg=turn, blur=radius * 0.1
    )


def _acanthocyte(canvas: Canvas, rng: np.random.Generator, center: Point, radius: float, color: Color) -> None:
    """A dense cell with few irregular spikes."""
    canvas.ellipse(center, radius * 0.8, mix(color, (130, 40, 60), 0.12))
    count = rng.integers(6, 10)
    for angle in np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.normal(0, 0.15, count):
        way = np.array([np.cos(angle), np.sin(angle)])
        length = rng.uniform(1.15, 1.55)
        canvas.stroke(
            [center + way * radius * 0.6, center + way * radius * length],
            [radius * 0.5, radius * 0.1],
            mix(color, (130, 40, 60), 0.12),
        )


def _schistocyte(canvas: Canvas, rng: np.random.Generator, center: Point, radius: float, color: Color) -> None:
    """Fragments: helmets, triangles and half discs with corners."""
    turn, kind = rng.uniform(0, 2 * np.pi), rng.integers(3)
    if kind == 0:
        angles = np.linspace(0, np.pi, 16)
        shape = np.stack([np.cos(angles), np.sin(angles) - 0.3], axis=1)
    elif kind == 1:
        shape = np.array([(-0.9, 0.6), (0.95, 0.5), (0.1, -0.9)])
    else:  # helmet: a disc with a bite and two horns
        angles = np.linspace(-0.2, np.pi + 0.2, 18)
        shape = np.concatenate(
            [np.stack([np.cos(angles), np.sin(angles)], axis=1), [(-0.55, 0.15), (0.0, 0.3), (0.55, 0.15)]]
        )
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    canvas.polygon(shape * radius * rng.uniform(0.75, 1.0) @ rotation.T + center, mix(color, (130, 40, 60), 0.1))


def _stomatocyte(canvas: Canvas, rng: np.random.Generator, center: Point, radius: float, color: Color) -> None:
    """A slit, like a mouth, in place of the round pallor."""
    canvas.ellipse(center, radius, color)
    turn = rng.uniform(0, 180)
    canvas.ellipse(center, (radius * 0.68, radius * 0.15), mix(color, (255, 246, 242), 0.85), turn_deg=turn)


def _target_cell(canvas: Canvas, rng: np.random.Generator, center: Point, radius: float, color: Color) -> None:
    canvas.ellipse(center, radius, color)
    canvas.ellipse(center, radius * 0.74, mix(color, (255, 244, 240), 0.75))
    canvas.ellipse(center, radius * 0.36, mix(color, (130, 40, 60), 0.12))


def _rouleaux(canvas: Canvas, rng: np.random.Generator, stain: Color, radius: float, white_cells: np.ndarray) -> None:
    """Cells stacked like coins."""
    for x, y in scatter(rng, rng.integers(7, 12), 0.62, extent=1.1):
        heading = rng.uniform(0, 2 * np.pi)
        place = np.array([x, y])
        for _ in range(rng.integers(5, 10)):
            if all(np.hypot(*(place - cell)) > 0.27 + radius for cell in white_cells):
                color = jitter(rng, stain, 5)
                turn = np.degrees(heading)
                canvas.ellipse(tuple(place), (radius * 0.78, radius), mix(color, (90, 30, 50), 0.45), turn_deg=turn)
                canvas.ellipse(tuple(place), (radius * 0.7, radius * 0.92), color, turn_deg=turn)
            heading += rng.normal(0, 0.18)
            place = place + 0.55 * radius * np.array([np.cos(heading), np.sin(heading)])


def _neutrophil(canvas: Canvas, rng: np.random.Generator, center: np.ndarray, lobes: int) -> None:
    """A white cell whose nucleus is a chain of `lobes` lobes."""
    radius = rng.uniform(0.24, 0.27)
    canvas.polygon(blob(rng, tuple(center), radius, wobble=0.03), (226, 206, 222))
    purple = jitter(rng, (92, 46, 132), 8)
    angles = rng.uniform(0, 2 * np.pi) + np.arange(lobes) * (5.4 / lobes)
    chain = center + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius * rng.uniform(0.5, 0.6)
    canvas.stroke(chain, 0.024, purple)
    size = radius * (0.36 if lobes <= 3 else 0.215)
    for place in chain:
        canvas.polygon(blob(rng, tuple(place), size, wobble=0.08), purple)


def _eosinophil(canvas: Canvas, rng: np.random.Generator, center: np.ndarray) -> None:
    """A two-lobed nucleus among coarse orange granules."""
    radius = rng.uniform(0.24, 0.27)
    canvas.polygon(blob(rng, tuple(center), radius, wobble=0.03), (238, 190, 170))
    for _ in range(70):
        angle, distance = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.uniform(0, 0.85))
        place = (center[0] + distance * np.cos(angle), center[1] + distance * np.sin(angle))
        canvas.ellipse(place, 0.022, jitter(rng, (226, 92, 52), 14))
    turn = rng.uniform(0, 2 * np.pi)
    offset = np.array([np.cos(turn), np.sin(turn)]) * radius * 0.4
    purple = jitter(rng, (92, 46, 132), 8)
    canvas.stroke([center - offset, center + offset], 0.03, purple)
    for sign in (-1, 1):
        canvas.polygon(
            ellipse(tuple(center + sign * offset), (radius * 0.36, radius * 0.42), np.degrees(turn)), purple
        )


_CELLS = {
    SICKLE: _sickle,
    ELLIPTOCYTES: _elliptocyte,
    ACANTHOCYTES: _acanthocyte,
    SCHISTOCYTES: _schistocyte,
    STOMATOCYTES: _stomatocyte,
    TARGET_CELLS: _target_cell,
}
SCENE = Scene("blood_smear", SIGNS, draw, exclusive=(_RED_CELL_SIGNS, frozenset({HYPERSEGMENTED, EOSINOPHILIA})))
