"""Plots of class tasks: metrics and classes with intervals, and confidence against accuracy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from phenolip.eval.svg import INK, inline_svg, plain_axes

POINT, PALE, CHANCE = "#2f6f8f", "#c9dde6", "#b4552d"
AREAS = {"auroc": "AUROC", "auprc": "AUPRC"}


def metric_plot(results: dict[str, Any], names: Sequence[str], title: str, prefix: str) -> str:
    """Inline SVG: a point a metric with its 95 % interval, and a mark at chance."""
    names = [name for name in names if results["metrics"][name]["value"] is not None]
    values = np.array([100 * results["metrics"][name]["value"] for name in names])
    intervals = 100 * np.array([results["metrics"][name]["ci95"] for name in names], dtype=float)
    labels = [name.removeprefix(f"{prefix}_").replace("_", " ") for name in names]
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 10, "text.color": INK}):
        figure, axes, places = _rows(labels)
        axes.hlines(places, intervals[:, 0], intervals[:, 1], color=POINT, linewidth=2)
        axes.scatter(values, places, color=POINT, s=28, zorder=3)
        for place, name in zip(places, names, strict=True):
            if (chance := results["chance"].get(name)) is not None:
                axes.vlines(100 * chance, place - 0.35, place + 0.35, color=CHANCE, linewidth=2)
        axes.set_xlim(0, 100)
        plain_axes(axes)
        return inline_svg(figure)


def class_plot(classes: Sequence[dict[str, Any]]) -> str:
    """Inline SVG: area under the ROC and the precision-recall curve of each class, and its share of images."""
    labels = [f"{entry['name'][:40]} ({entry['num_positive']:,})" for entry in classes]
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "classes", "font.size": 10, "text.color": INK}):
        figure, axes, places = _rows(labels)
        shares = [
            100 * entry["num_positive"] / max(1, entry["num_positive"] + entry["num_negative"]) for entry in classes
        ]
        axes.barh(places, shares, height=0.5, color=PALE, label="share of images")
        for name, marker in zip(AREAS, "os", strict=True):
            values = [np.nan if entry[name] is None else 100 * entry[name] for entry in classes]
            axes.scatter(values, places, s=30, marker=marker, label=AREAS[name], zorder=3,
                         color=POINT if marker == "o" else INK)  # fmt: skip
        axes.axvline(50, color=CHANCE, linewidth=1)
        axes.set_xlim(0, 100)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False)
        plain_axes(axes)
        return inline_svg(figure)


def reliability_plot(rows: Sequence[dict[str, Any]]) -> str:
    """Inline SVG: accuracy of the answers against their mean confidence, bin by bin, with Wilson 95 % intervals.

    Points on the line mean what they say; below it the model is surer than it is right. The bars below are the images
    of each bin.
    """
    confidences = np.array([row["confidence"] for row in rows])
    accuracies = np.array([row["accuracy"] for row in rows])
    intervals = np.array([row["ci95"] for row in rows])
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "reliability", "font.size": 10, "text.color": INK}):
        figure = Figure(figsize=(4.6, 5.2), layout="constrained")
        axes, counts = figure.subplots(2, height_ratios=(4, 1), sharex=True)
        axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=1)
        errors = np.abs(intervals.T - accuracies)
        axes.errorbar(confidences, accuracies, yerr=errors, fmt="o", color=POINT, capsize=3)
        axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
        widths = [max(row["upper"] - row["lower"], 0.005) for row in rows]
        counts.bar([(row["upper"] + row["lower"]) / 2 for row in rows], [row["n"] for row in rows], widths, color=PALE)
        counts.set(xlabel="confidence", ylabel="images")
        for part in (axes, counts):
            plain_axes(part)
        return inline_svg(figure)


def _rows(labels: Sequence[str]) -> tuple[Figure, Any, np.ndarray]:
    figure = Figure(figsize=(7.6, 0.7 + 0.3 * len(labels)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(labels))
    axes.set(ylim=(len(labels) - 0.4, -0.6), yticks=places, yticklabels=labels)
    return figure, axes, places
