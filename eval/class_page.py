"""results.json of a class task -> one HTML file that carries its plots, and report.md beside it."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from phenolip.eval.class_report import breakdown_cells, write_class_report
from phenolip.whole_files import whole_file

logger = logging.getLogger(__name__)

PACKAGES = ("jinja2", "matplotlib")
TEMPLATE = "class_report.html.jinja"
PLOT_TITLES = {"zero_shot_classes": "Zero-shot, %", "probe": "Linear probe, %"}
NOT_DRAWN = ("ece", "brier")  # ends of another scale; they stand in the table


def write_class_reports(results: dict[str, Any], path: Path) -> None:
    """Writes the HTML file, and the same as Markdown beside it; Markdown alone where a package is missing.

    Args:
        results: The content of results.json.
        path: The HTML file; a path that ends in .md gets Markdown alone.
    """
    write_class_report(results, path.with_suffix(".md"))
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if path.suffix == ".md":
        return
    if missing:
        logger.warning("%s is not written: install %s (`pip install phenolip[eval]`).", path, " and ".join(missing))
        return
    with whole_file(path, "w") as file:
        file.write(class_page(results))


def class_page(results: dict[str, Any]) -> str:
    """The HTML: metrics with intervals, reliability, classes, draws and checks; every table sorts by a click."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # here, since Markdown does without

    from phenolip.eval.class_plots import class_plot, metric_plot, reliability_plot
    from phenolip.eval.full_report import content_policy, script

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    drawn = {
        title: metric_plot(results, [name for name in results["metrics"] if _is_drawn(name, prefix)], title, prefix)
        for prefix, title in PLOT_TITLES.items()
        if any(_is_drawn(name, prefix) for name in results["metrics"])
    }
    calibration = results.get("calibration")
    return environment.get_template(TEMPLATE).render(
        results=results,
        metrics=[metric_row(results, name) for name in results["metrics"]],
        plots=drawn,
        reliability=reliability_plot(calibration["reliability"]) if calibration else "",
        calibration=calibration,
        classes=results.get("classes") or [],
        class_plot=class_plot(results["classes"]) if results.get("classes") else "",
        draws=[
            {"num_train": entry["num_train"], **seed}
            for entry in (results.get("draws") or {}).values()
            for seed in entry["seeds"]
        ],
        breakdowns=[(entry["by"], *breakdown_cells(entry)) for entry in results.get("breakdowns") or ()],
        checks=class_check_rows(results["checks"], results["n"]),
        contamination=results["checks"].get("contamination"),
        policy=content_policy(),
        script=script(),
    )


def _is_drawn(name: str, prefix: str) -> bool:
    return name.startswith(f"{prefix}_") and not any(part in name for part in NOT_DRAWN)


def metric_row(results: dict[str, Any], name: str) -> dict[str, Any]:
    """A metric as text: percent, but errors and Brier scores as they are."""
    metric, chance = results["metrics"][name], results["chance"].get(name)
    plain = any(part in name for part in NOT_DRAWN)

    def text(value: float | None) -> str:
        return "—" if value is None else f"{value:.3f}" if plain else f"{100 * value:.1f}"

    low, high = metric["ci95"]
    return {
        "name": name,
        "value": text(metric["value"]),
        "sort": -1 if metric["value"] is None else metric["value"],
        "interval": f"{text(low)}–{text(high)}",
        "chance": "" if chance is None else text(chance),
        "n": metric["n"],
    }


def class_check_rows(checks: dict[str, Any], n: int) -> list[dict[str, Any]]:
    """Title, finding, n and verdict (True, False or None where there is none) of each control."""
    rows = []
    if found := checks.get("majority_class"):
        low, high = (100 * bound for bound in found["ci95"])
        finding = f"always {found['class']}: {100 * found['value']:.1f} % ({low:.1f}–{high:.1f}), "
        finding += f"{found['k']:,} of {found['n']:,}"
        rows.append({"title": "Majority class", "finding": finding, "n": found["n"], "passes": None})
    for key, title in (("shuffled_labels", "Labels shuffled"), ("random_floor", "Random scores")):
        if found := checks.get(key):
            parts = (f"{name} {100 * value:.1f} %" for name, value in found.items() if not name.startswith("num_"))
            rows.append({"title": title, "finding": ", ".join(parts), "n": n, "passes": None})
    if found := checks.get("answer_collapse"):
        finding = f"commonest answer {found['class']}, {100 * found['share']:.1f} % of images"
        rows.append({"title": "One answer for all", "finding": finding, "n": n, "passes": not found["collapsed"]})
    if found := checks.get("embedding_collapse"):
        cosine = found["mean_cosine_of_two_images"]
        row = {"title": "Embedding collapse", "finding": f"mean cosine of two images {cosine:.3f}", "n": n}
        rows.append(row | {"passes": cosine <= 0.95})
    if found := checks.get("arithmetic"):
        finding = f"{found['num_metrics']} metrics, {found['num_whole_k_of_n']} of them whole hits of n"
        finding += "".join(f"; {problem}" for problem in found["problems"])
        rows.append({"title": "Arithmetic", "finding": finding, "n": n, "passes": found["passes"]})
    return rows + invariance_rows(checks.get("invariance"))


def invariance_rows(found: dict[str, Any] | None) -> list[dict[str, Any]]:
    """One row a variant: what the scores of a sample lose in another batch size or precision."""
    if not found:
        return []
    if "omitted" in found:
        return [{"title": "Batch and precision", "finding": f"left out: {found['omitted']}", "n": 0, "passes": None}]
    rows = []
    for name, variant in found["variants"].items():
        row = {"title": f"Another {name}" if name == "batch_size" else f"In {name}", "n": found["num_images"]}
        if "omitted" in variant:
            rows.append(row | {"finding": f"left out: {variant['omitted']}", "passes": None})
            continue
        finding = f"cosines change by {variant['largest_change']:.1e} at most (limit {variant['limit']:g}), "
        finding += f"the best of {found['num_texts']} texts for {100 * variant['best_changes']:.1f} % of images, "
        finding += f"places by {variant['largest_change_of_place']} at most"
        rows.append(row | {"finding": finding.replace("_", " "), "passes": variant["passes"]})
    return rows
