"""results.json and predictions -> one HTML file that carries its images and plots."""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.figure import Figure

from phenolip.eval.evaluators.base import EvaluationPairs
from phenolip.eval.evaluators.zero_shot import Prediction
from phenolip.eval.full_report import full_parts
from phenolip.eval.svg import INK, inline_svg, plain_axes
from phenolip.images import decode_image

TEMPLATE = "report.html.jinja"
DIRECTIONS = {
    "i2t": "Image → caption",
    "t2i": "Caption → image",
    "i2p": "Image → phenotype",
    "p2i": "Phenotype → image",
}
ZERO_SHOT = {"zero_shot_top1": "top 1", "zero_shot_top5": "top 5"}
THUMBNAIL_PX = 280
SHORT_CAPTION = 160  # characters shown before a reader asks for the rest
AXIS_LIMITS = (20, 40, 60, 80, 100)
BAR, PALE, WHISKER, CHANCE = "#2f6f8f", "#c9dde6", "#14323f", "#b4552d"


def write_report(
    results: dict[str, Any],
    pairs: EvaluationPairs,
    predictions: Sequence[Prediction],
    path: str | Path,
    *,
    num_examples: int = 24,
    seed: int = 0,
) -> None:
    """Writes the report of one evaluation.

    Args:
        results: The content of results.json.
        pairs: The pairs that were scored.
        predictions: Best candidates of each pair's image; without any, the page of examples is left out.
        path: The HTML file; its folder is made.
        num_examples: Examples to show, drawn at random among the images that show a candidate.
        seed: Seed of that draw.
    """
    # Autoescape: captions and names are data, and may hold any character.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template(TEMPLATE).render(
        results=results,
        hit_table=ranking_table(results, "hit"),
        recall_table=ranking_table(results, "recall"),
        zero_shot=[(label, cell(results, name)) for name, label in ZERO_SHOT.items() if name in results["metrics"]],
        plots=plots(results),
        full=full_parts(results, DIRECTIONS),
        examples=examples(pairs, predictions, num_examples, seed),
        num_images=len(pairs.images),
        num_labelled=sum(len(row) > 0 for row in pairs.labels),
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def cell(results: dict[str, Any], name: str) -> dict[str, str]:
    """A metric as text, in percent: value, interval, number of queries, chance."""
    metric, chance = results["metrics"][name], results["chance"].get(name)
    low, up = metric["ci95"]
    return {
        "value": percent(metric["value"]),
        "interval": f"{percent(low)}–{percent(up)}",
        "n": f"{metric['n']:,}",
        "chance": percent(chance) if chance is not None else "",
    }


def percent(value: float | None) -> str:
    """A fraction as percent with one decimal; an em dash for what is not defined.

    Example:
        >>> percent(0.1234)
        '12.3'
    """
    return "—" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def ranking_table(results: dict[str, Any], kind: str) -> dict[str, Any]:
    """Rows of a table of hit rates or recalls, one a direction, one column a cutoff."""
    rows = []
    for direction, title in DIRECTIONS.items():
        names = [f"{direction}_{kind}_at_{k}" for k in results["ks"]]
        if names[0] in results["metrics"]:
            rows.append((title, [cell(results, name) for name in names]))
    return {"ks": results["ks"], "rows": rows}


def plots(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Title and SVG of each panel: hit rates of a direction, and zero-shot accuracy."""
    panels = []
    for direction, title in DIRECTIONS.items():
        bars = {f"@{k}": f"{direction}_hit_at_{k}" for k in results["ks"]}
        panels.append((f"{title}, hit rate", bars))
    panels.append(("Zero-shot classification", {label: name for name, label in ZERO_SHOT.items()}))
    metrics = results["metrics"]
    panels = [(title, bars) for title, bars in panels if next(iter(bars.values())) in metrics]
    highest = max(100 * metrics[name]["ci95"][1] for _, bars in panels for name in bars.values())
    limit = next(limit for limit in AXIS_LIMITS if limit >= highest)  # one scale for all panels
    return [(title, bar_plot(results, bars, title, limit)) for title, bars in panels]


def bar_plot(
    results: dict[str, Any],
    bars: dict[str, str],
    title: str,
    limit: int = 100,
    *,
    width_in: float = 4.4,
    behind: Sequence[float] | None = None,
) -> str:
    """Inline SVG of horizontal bars with 95 % intervals and a mark at chance; it scales with the page.

    Args:
        results: The content of results.json.
        bars: Label of a bar -> name of its metric, from top to bottom.
        title: Name of the panel, which also seeds the ids inside the picture.
        limit: End of the scale in percent.
        width_in: Width of the picture in inches; its height follows from the number of bars.
        behind: Fractions drawn as pale bars behind the others, one a bar.
    """
    metrics = [results["metrics"][name] for name in bars.values()]
    values = np.array([100 * metric["value"] for metric in metrics])
    intervals = 100 * np.array([metric["ci95"] for metric in metrics])  # (bars, 2)
    chances = [100 * results["chance"][name] for name in bars.values()]
    places = np.arange(len(bars))
    # Text stays text, so that it takes the page's font; the salt keeps ids, and so the file, the same every time.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 11, "text.color": INK}):
        figure = Figure(figsize=(width_in, 0.55 + 0.42 * len(bars)), layout="constrained")
        axes = figure.subplots()
        if behind is not None:
            axes.barh(places, 100 * np.array(behind), height=0.62, color=PALE)
        axes.barh(places, values, height=0.62, color=BAR)
        errors = np.abs(intervals.T - values)
        axes.errorbar(values, places, xerr=errors, fmt="none", ecolor=WHISKER, elinewidth=1.4, capsize=3)
        axes.vlines(chances, places - 0.4, places + 0.4, color=CHANCE, linewidth=2)
        for place, value, upper in zip(places, values, intervals[:, 1], strict=True):
            axes.text(max(value, upper) + 0.02 * limit, place, f"{value:.1f}", va="center")
        axes.set(xlim=(0, 1.14 * limit), ylim=(len(bars) - 0.4, -0.6), yticks=places, yticklabels=bars)
        ticks = [limit * quarter / 4 for quarter in range(5)]
        axes.set_xticks(ticks, [*(f"{tick:g}" for tick in ticks[:-1]), f"{limit} %"])
        plain_axes(axes)
        return inline_svg(figure)


def examples(
    pairs: EvaluationPairs, predictions: Sequence[Prediction], num_examples: int, seed: int
) -> list[dict[str, Any]]:
    """Distinct images drawn at random, with what they show and what the model says."""
    by_image = {
        int(pairs.image_codes[prediction.row]): prediction
        for prediction in reversed(predictions)  # the first row of an image wins
        if len(pairs.labels[prediction.row])
    }
    codes = np.random.default_rng(seed).permutation(sorted(by_image))[:num_examples]
    return [example(pairs, by_image[int(code)]) for code in codes]


def example(pairs: EvaluationPairs, prediction: Prediction) -> dict[str, Any]:
    """One example as the template takes it."""
    row = prediction.row
    labels = set(pairs.labels[row].tolist())
    caption = pairs.captions[row]
    best = zip(prediction.candidates, prediction.cosines, strict=True)
    return {
        "row_id": pairs.row_ids[row],
        "image": thumbnail(pairs.images[int(pairs.image_codes[row])]),
        "caption": caption,
        "is_long": len(caption) > SHORT_CAPTION,
        "short_caption": caption[:SHORT_CAPTION].rsplit(" ", 1)[0],
        "labels": [(pairs.candidate_names[label], pairs.candidate_ids[label]) for label in sorted(labels)],
        "predictions": [
            {"name": pairs.candidate_names[c], "id": pairs.candidate_ids[c], "cosine": cosine, "correct": c in labels}
            for c, cosine in best
        ],
        "found": any(candidate in labels for candidate in prediction.candidates),
    }


def thumbnail(image: Any) -> str:
    """A small JPEG of an image as a data URI."""
    picture = decode_image(image)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
