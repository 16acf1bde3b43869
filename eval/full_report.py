"""Parts of the report that only fuller tasks have: whole rankings, the ontology's view, breakdowns, checks."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from phenolip.eval.class_page import invariance_rows
from phenolip.eval.svg import INK, inline_svg, plain_axes

SCRIPT = Path(__file__).parent / "sort_tables.js"
PROTOCOLS = {"": "identical ones match", "_strict": "paired index alone", "_masked": "labels' names masked"}
WHOLE = {
    "mean_average_precision": "mean average precision",
    "ndcg": "nDCG",
    "mean_reciprocal_rank": "mean reciprocal rank",
    "median_rank": "median rank",
}
HEADS = {
    "i2t_hit_at_10": "image → caption @10",
    "t2i_hit_at_10": "caption → image @10",
    "i2t_hit_at_10_masked": "masked caption @10",
    "i2p_hit_at_10": "image → phenotype @10",
    "p2i_hit_at_10": "phenotype → image @10",
    "zero_shot_top1": "zero-shot top 1",
    "zero_shot_top5": "zero-shot top 5",
    "zero_shot_lin_similarity": "Lin similarity",
    "zero_shot_hierarchical_f1_macro": "hierarchical F1",
    "macro_zero_shot_top1": "top 1, mean over phenotypes",
}
PLOTTED = ("zero_shot_top5", "i2t_hit_at_10")  # the first that a breakdown has
NO_SHARE = ("_rank", "_depth")  # ends of metrics that are not shown in percent
FEW = 10  # queries, below which a row is drawn pale
POINT, PALE = "#2f6f8f", "#b9c9d0"


def full_parts(results: dict[str, Any], directions: dict[str, str]) -> dict[str, Any] | None:
    """What the template needs for these parts; None for a task without them."""
    if "checks" not in results and "breakdowns" not in results:
        return None
    return {
        "whole": whole_table(results, directions),
        "ontology": ontology_rows(results),
        "breakdowns": [breakdown_part(entry) for entry in results.get("breakdowns", ())],
        "checks": check_rows(results.get("checks", {})),
        "script": script(),
        "policy": content_policy(),
    }


@cache
def script() -> str:
    """The script that sorts tables."""
    return SCRIPT.read_text(encoding="utf-8").strip()


def content_policy() -> str:
    """A policy under which this script alone may run, and nothing be loaded."""
    digest = base64.b64encode(hashlib.sha256(script().encode("utf-8")).digest()).decode("ascii")
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def shown(name: str, metric: dict[str, Any], chance: float | None = None) -> dict[str, Any]:
    """A metric as text: percent with one decimal, ranks and edges as they are."""
    is_share = not (name.removesuffix("_strict").removesuffix("_masked").endswith(NO_SHARE) and "recip" not in name)
    factor, digits = (100, 1) if is_share else (1, 1 if "rank" in name else 2)

    def text(value: float | None) -> str:
        return "—" if value is None else f"{factor * value:,.{digits}f}"

    low, high = metric["ci95"]
    return {
        "value": text(metric["value"]),
        "sort": metric["value"],
        "interval": f"{text(low)}–{text(high)}",
        "n": f"{metric['n']:,}",
        "chance": "" if chance is None else text(chance),
    }


def whole_table(results: dict[str, Any], directions: dict[str, str]) -> dict[str, Any]:
    """One row a direction and protocol, one column a metric of the whole ranking."""
    rows = []
    for suffix, protocol in PROTOCOLS.items():
        for direction, title in directions.items():
            names = [f"{direction}_hit_at_10{suffix}", *(f"{direction}_{metric}{suffix}" for metric in WHOLE)]
            found = [name for name in names if name in results["metrics"]]
            if len(found) == len(names):
                cells = [shown(name, results["metrics"][name], results["chance"].get(name)) for name in names]
                rows.append({"title": title, "protocol": protocol, "cells": cells})
    return {"heads": ["hit @10", *WHOLE.values()], "rows": rows}


def ontology_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Name and cell of each score of zero-shot classification beyond the plain ones."""
    names = [name for name in results["metrics"] if "zero_shot_" in name and name not in PLAIN]
    chance = results["chance"]
    return [{"name": name, "cell": shown(name, results["metrics"][name], chance.get(name))} for name in names]


PLAIN = ("zero_shot_top1", "zero_shot_top5")


def breakdown_part(entry: dict[str, Any]) -> dict[str, Any]:
    """A table whose cells are shaded by their place in the column, and a plot of one column with its intervals."""
    if "omitted" in entry:
        return {"by": entry["by"], "omitted": entry["omitted"]}
    names = [name for name in HEADS if any(name in row["metrics"] for row in entry["rows"])]
    highest = {
        name: max((row["metrics"][name]["value"] for row in entry["rows"] if name in row["metrics"]), default=0) or 1
        for name in names
    }
    rows = []
    for row in entry["rows"]:
        cells = []
        for name in names:
            metric = row["metrics"].get(name)
            depth = round(0.55 * max(metric["value"], 0) / highest[name], 3) if metric else 0
            cells.append({**shown(name, metric), "depth": depth} if metric else None)
        rows.append({"name": row["name"], "n": row["n"], "cells": cells})
    plotted = next((name for name in PLOTTED if name in names), None)
    plot = interval_plot(entry["rows"], plotted, entry["by"]) if plotted and rows else ""
    return {
        "by": entry["by"],
        "heads": [HEADS[name] for name in names],
        "rows": rows,
        "plot": plot,
        "plotted": HEADS.get(plotted, ""),
    }


def interval_plot(rows: Sequence[dict[str, Any]], name: str, title: str) -> str:
    """Inline SVG: one point a row with its 95 % interval, the highest first; rows of few queries are pale."""
    drawn = sorted((row for row in rows if name in row["metrics"]), key=lambda row: -row["metrics"][name]["value"])
    metrics = [row["metrics"][name] for row in drawn]
    values = np.array([100 * metric["value"] for metric in metrics])
    intervals = 100 * np.array([metric["ci95"] for metric in metrics])
    labels = [f"{row['name'][:48]} ({metric['n']:,})" for row, metric in zip(drawn, metrics, strict=True)]
    colors = [PALE if metric["n"] < FEW else POINT for metric in metrics]
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 10, "text.color": INK}):
        figure = Figure(figsize=(7.6, 0.6 + 0.27 * len(drawn)), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(drawn))
        axes.hlines(places, intervals[:, 0], intervals[:, 1], color=colors, linewidth=2)
        axes.scatter(values, places, c=colors, s=28, zorder=3)
        axes.set(ylim=(len(drawn) - 0.4, -0.6), yticks=places, yticklabels=labels)
        axes.set_xlim(left=min(0.0, intervals.min()))
        plain_axes(axes)
        return inline_svg(figure)


def check_rows(checks: dict[str, Any]) -> list[dict[str, Any]]:
    """Title, finding and verdict (True, False or None where there is none) of each check."""
    rows = []
    for control in checks.get("label_shuffled", ()):
        finding = f"{control['metric']}: {_percent(control['value'])}, expected {_percent(control['expected'])}"
        rows.append({"title": "Answers shuffled", "finding": finding, "n": control["n"], "passes": control["passes"]})
    if floor := checks.get("random_floor"):
        worst = max(floor["metrics"].items(), key=lambda item: abs(item[1]["value"] - item[1]["chance"]))
        finding = f"{len(floor['metrics'])} metrics of a model that knows nothing; farthest from chance {worst[0]}: "
        finding += f"{_percent(worst[1]['value'])}, chance {_percent(worst[1]['chance'])}"
        rows.append({"title": "Random model", "finding": finding, "n": worst[1]["n"], "passes": floor["passes"]})
    if majority := checks.get("majority_class"):
        for k in (1, 5):
            found = majority[f"top{k}"]
            finding = f"top {k} of the commonest ({majority['name']} first): {_percent(found['value'])}, "
            finding += f"{found['k']:,} of {found['n']:,}; model {'above' if found['model_is_above'] else 'not above'}"
            rows.append(
                {"title": "Majority class", "finding": finding, "n": found["n"], "passes": found["model_is_above"]}
            )
    for one in checks.get("embedding_collapse", ()):
        cosine = "—" if one["mean_cosine"] is None else f"{one['mean_cosine']:.3f}"
        finding = f"{one['of']}: mean cosine {cosine}, effective rank {one['effective_rank']:.1f} of {one['width']}"
        rows.append({"title": "Embedding collapse", "finding": finding, "n": one["n"], "passes": not one["collapsed"]})
    if arithmetic := checks.get("arithmetic"):
        finding = f"{arithmetic['num_metrics']} metrics, {arithmetic['num_whole_k_of_n']} of them whole hits of n"
        finding += "".join(f"; {problem}" for problem in arithmetic["problems"])
        row = {"title": "Arithmetic", "finding": finding, "n": arithmetic["num_metrics"]}
        rows.append(row | {"passes": arithmetic["passes"]})
    return rows + invariance_rows(checks.get("invariance"))


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
