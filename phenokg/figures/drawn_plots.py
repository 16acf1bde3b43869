"""Plots of made-up numbers, as articles show them: one function a kind, each deterministic by its generator."""

import warnings
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

Draw = np.random.Generator
_PALETTES = (
    ("black", "dimgray", "darkgray", "lightgray"),
    ("tab:blue", "tab:orange", "tab:green", "tab:red"),
    ("firebrick", "navy", "seagreen", "goldenrod"),
    ("#66c2a5", "#fc8d62", "#8da0cb", "#e78ac3"),
)
_WORDS = (
    "Control Treated Placebo Baseline Age Dose Score Time Group Site Weight Model Cohort Count Ratio Level".split()
)
_COLOR_MAPS = ("viridis", "coolwarm", "Greys", "hot", "RdBu", "jet")


def draw_plot(kind: str, draw: Draw) -> Image.Image:
    """A figure of one to nine plots of a kind."""
    sides = (1, 1) if draw.random() < 0.6 else tuple(draw.integers(1, 4, 2))
    size = tuple(draw.uniform(3.0, 8.0, 2))  # inches
    figure = Figure(figsize=size, dpi=int(draw.integers(60, 130)), layout="tight")
    canvas = FigureCanvasAgg(figure)
    figure.set_facecolor("white" if draw.random() < 0.9 else str(draw.uniform(0.85, 1.0)))
    colors = _PALETTES[draw.integers(len(_PALETTES))]
    axes_kind = {"projection": "polar"} if kind == "radar" else {}
    for number in range(sides[0] * sides[1]):
        axes = figure.add_subplot(*sides, number + 1, **axes_kind)
        PLOTS[kind](axes, draw, colors)
        _dress(axes, draw, kind, number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # many small plots leave no room for their words; so be it
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _dress(axes: Axes, draw: Draw, kind: str, number: int) -> None:
    """Titles, labels, grid and frame, each of them or not."""
    if kind not in ("pie", "radar"):
        if draw.random() < 0.7:
            axes.set_xlabel(_word(draw))
            axes.set_ylabel(_word(draw))
        axes.grid(draw.random() < 0.3)
        if draw.random() < 0.4:
            axes.spines[["top", "right"]].set_visible(False)
        if draw.random() < 0.1:
            axes.set_facecolor("whitesmoke")
    if draw.random() < 0.4:
        axes.set_title(f"{'ABCDEFGHI'[number]} {_word(draw)}", loc="left", weight="bold")
    handles = axes.get_legend_handles_labels()[0]
    if handles and draw.random() < 0.6:
        axes.legend(fontsize="small", frameon=bool(draw.random() < 0.5))


def _word(draw: Draw) -> str:
    return f"{_WORDS[draw.integers(len(_WORDS))]} ({draw.choice(['%', 'mg/l', 'years', 'n', 'days'])})"


def _line(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    places = np.arange(draw.integers(5, 60))
    for number in range(draw.integers(1, 5)):
        values = draw.normal(0, 1, len(places)).cumsum() + draw.normal(0, 4)
        style = {"color": colors[number], "linestyle": draw.choice(["-", "--", ":"]), "label": f"{number + 1}"}
        if len(places) < 15:
            axes.errorbar(places, values, yerr=draw.uniform(0.2, 1, len(places)), marker="o", capsize=3, **style)
        else:
            axes.plot(places, values, **style)


def _bar(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    num_groups, num_series = draw.integers(2, 10), draw.integers(1, 4)
    for number in range(num_series):
        heights, width = draw.uniform(1, 10, num_groups), 0.8 / num_series
        places = np.arange(num_groups) + number * width
        look = {"color": colors[number], "edgecolor": "black", "label": _WORDS[number]}
        if draw.random() < 0.3:
            axes.barh(places, heights, height=width, **look)
        else:
            errors = draw.uniform(0.1, 1, num_groups)
            axes.bar(places, heights, width, yerr=errors, capsize=3, hatch=draw.choice(["", "//", ".."]), **look)


def _scatter(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    for number in range(draw.integers(1, 4)):
        x = draw.normal(draw.normal(), 1, draw.integers(10, 300))
        y = x * draw.normal() + draw.normal(0, draw.uniform(0.2, 1.5), len(x))
        size = draw.uniform(5, 40)
        axes.scatter(x, y, size, colors[number], marker=draw.choice(["o", "s", "^"]), label=_WORDS[number], alpha=0.7)
    if draw.random() < 0.5:
        axes.axline((0, 0), slope=draw.normal(), color="black")


def _heat_map(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    shape = tuple(draw.integers(4, 40, 2))
    shown = axes.imshow(draw.normal(0, 1, shape), cmap=draw.choice(_COLOR_MAPS), aspect="auto")
    axes.set_xticks(range(shape[1]), [f"S{place}" for place in range(shape[1])], rotation=90, fontsize=5)
    axes.figure.colorbar(shown, ax=axes)


def _box(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    samples = [draw.gamma(3, draw.uniform(0.5, 2), 60) for _ in range(draw.integers(2, 9))]
    parts = axes.boxplot(samples, patch_artist=True, notch=bool(draw.random() < 0.2))
    for place, patch in enumerate(parts["boxes"]):
        patch.set_facecolor(colors[place % len(colors)] if draw.random() < 0.9 else "white")


def _violin(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    samples = [draw.normal(draw.normal(), draw.uniform(0.3, 1.5), 80) for _ in range(draw.integers(2, 7))]
    for place, body in enumerate(axes.violinplot(samples, showmedians=True)["bodies"]):
        body.set_facecolor(colors[place % len(colors)])


def _histogram(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    for number in range(draw.integers(1, 3)):
        values = draw.normal(draw.normal(0, 2), draw.uniform(0.5, 2), 400)
        axes.hist(
            values, draw.integers(8, 50), color=colors[number], alpha=0.7, edgecolor="white", label=_WORDS[number]
        )


def _pie(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    shares = draw.dirichlet(np.ones(draw.integers(2, 7)))
    axes.pie(shares, colors=colors, autopct="%1.0f%%", labels=_WORDS[: len(shares)])


def _radar(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    angles = np.linspace(0, 2 * np.pi, draw.integers(5, 11))
    for number in range(draw.integers(1, 4)):
        radii = draw.uniform(0.2, 1, len(angles))
        radii[-1] = radii[0]
        axes.plot(angles, radii, color=colors[number])
        axes.fill(angles, radii, color=colors[number], alpha=0.1)


def _kaplan_meier(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    for number in range(draw.integers(2, 5)):
        times = np.sort(draw.exponential(draw.uniform(10, 60), draw.integers(15, 80)))
        alive = 1 - np.arange(1, len(times) + 1) / (len(times) * draw.uniform(1.0, 1.6))
        axes.step(times, alive, where="post", color=colors[number], label=_WORDS[number])
        axes.plot(times[::4], alive[::4], "|", color=colors[number])
    axes.set_ylim(0, 1.05)
    axes.text(2, 0.1, f"p = {draw.uniform(0, 0.2):.3f}")


def _forest(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    num_studies = draw.integers(4, 18)
    effects = draw.normal(0, 0.4, num_studies)
    errors = draw.uniform(0.1, 0.6, num_studies)
    rows = np.arange(num_studies)
    axes.errorbar(effects, rows, xerr=errors, fmt="s", color="black", ecolor=colors[0], capsize=2)
    axes.axvline(0, color="black", linestyle="--")
    names = [f"{draw.choice(['Lee', 'Kim', 'Roy', 'Gomez'])} {draw.integers(1995, 2024)}" for _ in rows]
    axes.set_yticks(rows, names, fontsize=7)
    for row, effect, error in zip(rows, effects, errors, strict=True):
        axes.text(1.4, row, f"{effect:.2f} [{effect - error:.2f}, {effect + error:.2f}]", fontsize=6)
    axes.set_xlim(-1.5, 2.4)


def _roc(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    for number in range(draw.integers(1, 5)):
        false_rate = np.sort(np.append(draw.uniform(0, 1, draw.integers(10, 80)), [0, 1]))
        power = draw.uniform(0.1, 0.8)
        axes.step(false_rate, false_rate**power, color=colors[number], label=f"AUC {1 / (1 + power):.2f}")
    axes.plot([0, 1], [0, 1], "--", color="gray")
    axes.set_aspect("equal")


def _trace(axes: Axes, draw: Draw, colors: tuple[str, ...]) -> None:
    times = np.linspace(0, 10, 1500)
    for number in range(draw.integers(1, 7)):
        peaks = draw.uniform(0, 10, draw.integers(5, 40))[:, None]
        trace = (draw.uniform(0.3, 1, peaks.shape) * np.exp(-((times - peaks) ** 2) / draw.uniform(0.002, 0.05))).sum(
            0
        )
        axes.plot(times, trace + 2 * number, color=colors[number % len(colors)], linewidth=0.7)


PLOTS: dict[str, Callable[[Axes, Draw, tuple[str, ...]], None]] = {
    "line": _line,
    "bar": _bar,
    "scatter": _scatter,
    "heat_map": _heat_map,
    "box": _box,
    "violin": _violin,
    "histogram": _histogram,
    "pie": _pie,
    "radar": _radar,
    "kaplan_meier": _kaplan_meier,
    "forest": _forest,
    "roc": _roc,
    "trace": _trace,
}
