"""A strip of an electrocardiogram: rhythm and the shape of the complexes."""

import numpy as np

from phenolip.datasets_scripts.phantoms.canvas import Canvas, mix, photograph, random_color, random_pose
from phenolip.datasets_scripts.phantoms.scene import Drawing, Scene, Sign

ATRIAL_FIBRILLATION = "HP:0005110"
ATRIAL_FLUTTER = "HP:0004749"
VENTRICULAR_TACHYCARDIA = "HP:0004756"
VENTRICULAR_FIBRILLATION = "HP:0001663"
ST_ELEVATION = "HP:0012251"
T_INVERSION = "HP:0010872"
PREMATURE_BEAT = "HP:0006682"
TORSADE = "HP:0001664"

SIGNS = (
    Sign(ATRIAL_FIBRILLATION, "Atrial fibrillation"),
    Sign(ATRIAL_FLUTTER, "Atrial flutter"),
    Sign(VENTRICULAR_TACHYCARDIA, "Ventricular tachycardia"),
    Sign(VENTRICULAR_FIBRILLATION, "Ventricular fibrillation"),
    Sign(ST_ELEVATION, "ST segment elevation"),
    Sign(T_INVERSION, "T-wave inversion"),
    Sign(PREMATURE_BEAT, "Premature ventricular contraction", ("Ventricular extrasystoles", "Ventricular ectopics")),
    Sign(TORSADE, "Torsade de pointes", ("Torsades de pointes",)),
)
_SAMPLES = 700


def draw(rng: np.random.Generator, shown: frozenset[str], size: int) -> Drawing:
    """Draw a rhythm strip; see `Scene`."""
    pose = random_pose(rng, turn_deg=14, scale=(0.9, 1.15), shift=0.1)
    dark = bool(rng.random() < 0.25)  # a monitor instead of paper
    paper = mix((255, 250, 246), random_color(rng, 150, 255), rng.uniform(0, 0.5))
    canvas = Canvas(size, random_color(rng, 0, 40) if dark else paper, pose)
    grid = mix(paper, random_color(rng, 40, 200), 0.45)
    step = rng.uniform(0.16, 0.24)
    lines = 0.0 if dark and rng.random() < 0.5 else rng.uniform(0.25, 0.6)
    for place in np.arange(-2, 2, step / 2):
        bold = 1.0 if round(place / (step / 2)) % 2 == 0 else 0.5
        canvas.stroke([(place, -2), (place, 2)], 0.01, grid, alpha=lines * bold)
        canvas.stroke([(-2, place), (2, place)], 0.01, grid, alpha=lines * bold)
    ink = random_color(rng, 160, 255) if dark else mix(random_color(rng, 0, 110), (0, 0, 0), 0.4)
    strips = int(rng.integers(2, 4))
    width = rng.uniform(0.022, 0.032)
    height = rng.uniform(0.75, 0.95) / strips
    for index in range(strips):
        middle = (index - (strips - 1) / 2) * (1.7 / strips) + rng.uniform(-0.05, 0.05)
        time = np.linspace(0, 1, _SAMPLES)
        with canvas.showing(shown):  # a rhythm is the whole strip
            canvas.stroke(np.stack([time * 3.2 - 1.6, middle - height * _trace(rng, shown)], axis=1), width, ink)
    view = rng.choice(["electrocardiogram", "ECG rhythm strip", "12-lead ECG excerpt"])
    return Drawing(photograph(rng, canvas, light=0.35), str(view), canvas.regions)


def _bump(time: np.ndarray, center: float, width: float, height: float) -> np.ndarray:
    return height * np.exp(-(((time - center) / width) ** 2))


def _trace(rng: np.random.Generator, shown: frozenset[str]) -> np.ndarray:
    """Voltage (_SAMPLES,) of one strip; 1 is the height of a normal R wave."""
    time = np.linspace(0, 1, _SAMPLES)
    phase = rng.uniform(0, 2 * np.pi)
    if VENTRICULAR_FIBRILLATION in shown:
        wander = np.cumsum(rng.normal(0, 0.12, _SAMPLES))
        swell = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(3, 5) * time + np.cumsum(rng.normal(0, 0.1, _SAMPLES)))
        return 0.5 * swell * np.sin(2 * np.pi * rng.uniform(14, 20) * time + phase + wander)
    if TORSADE in shown:
        envelope = np.sin(2 * np.pi * rng.uniform(0.9, 1.2) * time + phase)
        return 0.95 * envelope * np.sin(2 * np.pi * rng.uniform(20, 24) * time)
    if VENTRICULAR_TACHYCARDIA in shown:
        beat = (time * rng.uniform(8.5, 11) + phase) % 1
        return rng.uniform(0.8, 1.0) * (_bump(beat, 0.4, 0.2, 1.5) - 0.75) + rng.normal(0, 0.01, _SAMPLES)
    return _beats(rng, time, shown)


def _beats(rng: np.random.Generator, time: np.ndarray, shown: frozenset[str]) -> np.ndarray:
    """A rhythm of separate complexes."""
    interval = rng.uniform(0.15, 0.18) if PREMATURE_BEAT in shown else rng.uniform(0.17, 0.23)
    fibrillating = ATRIAL_FIBRILLATION in shown
    flutter = ATRIAL_FLUTTER in shown
    trace = rng.normal(0, 0.008, _SAMPLES)
    if fibrillating:
        trace += 0.09 * np.sin(2 * np.pi * 34 * time + np.cumsum(rng.normal(0, 0.35, _SAMPLES)))
    if flutter:
        trace += 0.42 * (0.5 - (time * 4 / interval + rng.uniform()) % 1)
    t_height = -rng.uniform(0.45, 0.6) if T_INVERSION in shown else rng.uniform(0.2, 0.3)
    at, early = -rng.uniform(0, interval), int(rng.integers(1, 3))
    count = 0
    while at < 1.1:
        step = interval * (rng.uniform(0.5, 1.7) if fibrillating else rng.normal(1, 0.01))
        if PREMATURE_BEAT in shown and count % 3 == early:
            start = at - 0.35 * interval
            trace += _bump(time, start, 0.022, 1.25) - _bump(time, start + 0.055, 0.028, 0.7)
            at += interval * 1.1
            count += 1
            continue
        if not fibrillating and not flutter:
            trace += _bump(time, at - 0.036, 0.011, 0.15)
        trace += (
            _bump(time, at, 0.0055, 1.0) - _bump(time, at + 0.011, 0.005, 0.25) - _bump(time, at - 0.01, 0.004, 0.12)
        )
        if ST_ELEVATION in shown:  # the complex runs into a dome
            trace += _bump(time, at + 0.035, 0.024, 0.6) + _bump(time, at + 0.06, 0.024, 0.42)
        elif not flutter:
            trace += _bump(time, at + 0.068, 0.019, t_height)
        at += step
        count += 1
    return trace


SCENE = Scene(
    "ecg",
    SIGNS,
    draw,
    exclusive=(
        frozenset(
            {
                ATRIAL_FIBRILLATION,
                ATRIAL_FLUTTER,
                VENTRICULAR_TACHYCARDIA,
                VENTRICULAR_FIBRILLATION,
                TORSADE,
                PREMATURE_BEAT,
            }
        ),
        *(
            frozenset({rhythm, segment})
            for rhythm in (VENTRICULAR_TACHYCARDIA, VENTRICULAR_FIBRILLATION, TORSADE, ATRIAL_FLUTTER)
            for segment in (ST_ELEVATION, T_INVERSION)
        ),
        frozenset({ST_ELEVATION, T_INVERSION}),
    ),
)
