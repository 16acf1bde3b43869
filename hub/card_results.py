"""What a card shows of results.json: figures with intervals, parts of the queries, contamination, and the index."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from phenolip.exceptions import DataError
from phenolip.hub.push_files import PLOT_SOFTWARE, without_places

FEW = 10  # queries, below which a part says next to nothing
MAX_METRICS = 16
SHOWN = (  # of a run with more metrics than fit
    *(f"{way}_hit_at_{k}" for way in ("i2t", "t2i", "i2p", "p2i") for k in (1, 10)),
    *("zero_shot_top1", "zero_shot_top5", "zero_shot_lin_similarity", "macro_zero_shot_top1"),
    *("i2t_mean_average_precision", "i2t_hit_at_10_strict", "i2t_hit_at_10_masked"),
)
PARTED = ("zero_shot_top5", "i2p_hit_at_10", "i2t_hit_at_10")  # the first that a breakdown has
TASK_TYPES = {"knowledge": "sentence-similarity"}
_NO_SHARE = ("_rank", "_depth", "spearman", "correlation", "_edges", "kappa")


def task_part(results: Mapping[str, Any]) -> dict[str, Any]:
    """One task as the template wants it; places of this machine are cut down to their last name.

    Raises:
        DataError: There is no such content.
    """
    try:
        names = shown_metrics(results)
        chance = results.get("chance", {})
        return {
            "name": results["task"],
            "version": results["task_version"],
            "n": f"{results['n']:,}",
            "data": without_places(str(results.get("data") or "the ontology")),
            "revision": (results.get("data_revision") or "")[:12],
            "hpo_release": results.get("hpo_release", "not recorded"),
            "date": str(results.get("date", "at an unknown time"))[:10],
            "rows": [_row(name, results["metrics"][name], chance.get(name)) for name in names],
            "contamination": contamination(results),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"results.json must be one of `phenolip eval`; it has no usable {error}.") from error


def shown_metrics(results: Mapping[str, Any]) -> list[str]:
    """Names of the metrics that fit on a card, the primary one first."""
    primary, known = results["primary_metric"], list(results["metrics"])
    chosen = known if len(known) <= MAX_METRICS else [name for name in SHOWN if name in known] or known[:MAX_METRICS]
    return list(dict.fromkeys(name for name in (primary, *chosen) if name in known))


def eval_results(results: Mapping[str, Any]) -> list[EvalResult]:
    """The same metrics for the card's `model-index`, as fractions of 1; a metric without a value is left out."""
    task = results["task"]
    return [
        EvalResult(
            task_type=TASK_TYPES.get(task, "zero-shot-image-classification"),
            dataset_type=task,
            dataset_name=f"{task} on {without_places(str(results.get('data') or 'HPO'))}",
            dataset_split=results.get("split"),
            dataset_revision=results.get("data_revision"),
            metric_type=name,
            metric_name=name.replace("_", " "),
            metric_value=round(results["metrics"][name]["value"], 6),
            metric_args={"ci95": results["metrics"][name]["ci95"], "n": results["metrics"][name]["n"]},
        )
        for name in shown_metrics(results)
        if results["metrics"][name]["value"] is not None
    ]


def bias_parts(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The run's breakdowns, each with one metric."""
    parts = []
    for entry in results.get("breakdowns", ()):
        part = {"task": results["task"], "by": entry["by"], "omitted": entry.get("omitted")}
        rows = entry.get("rows", [])
        metric = next((name for name in PARTED if any(name in row["metrics"] for row in rows)), None)
        if metric is None and not part["omitted"]:
            part["omitted"] = "No metric of it is parted."
        found = [(row["name"], row["metrics"][metric]) for row in rows if metric in row["metrics"]]
        part["metric"] = metric
        part["rows"] = [{"name": name, "value": figure(metric, one), "n": one["n"]} for name, one in found]
        parts.append(part)
    return parts


def contamination(results: Mapping[str, Any]) -> str:
    """What the task shares with the training rows, in words, with the score of the clean part."""
    found = results.get("contamination")
    if not found:
        return "not compared: the model carries no index of its training rows, or the task has none."
    touched = found.get("num_rows_touched", found["num_rows_in_training"])
    num_rows = found.get("num_rows", results["n"])
    text = f"{touched} of {num_rows} rows are in the training data"
    kinds = [f"{name.replace('_', ' ')} {count}" for name, count in found.get("criteria", {}).items() if count]
    text += f" ({', '.join(kinds)})" if kinds else ""
    primary = results["primary_metric"]
    clean = found.get("clean", {}).get(primary)
    if clean is not None:
        text += (
            f"; without them {primary} is {figure(primary, clean)} instead of {share(primary, clean['value_of_all'])}"
        )
    missing = [name.replace("_", " ") for name in found.get("not_compared", [])]
    return text + (f"; not compared: {', '.join(missing)}." if missing else ".")


def figure(name: str, metric: Mapping[str, Any]) -> str:
    """A metric with its interval, as "36.1 [33.0, 39.2]"."""
    low, high = metric["ci95"]
    value = share(name, metric["value"])
    return value if low is None or high is None else f"{value} [{share(name, low)}, {share(name, high)}]"


def share(name: str, value: float | None) -> str:
    """A value in percent, or as it is where the metric is no share.

    Example:
        >>> share("i2t_hit_at_10", 0.3612), share("i2t_median_rank", 7.0), share("spearman", None)
        ('36.1', '7.00', '—')
    """
    if value is None:
        return "—"
    return f"{value:.2f}" if is_no_share(name) else f"{100 * value:.1f}"


def is_no_share(name: str) -> bool:
    """Whether a metric is a rank, a distance or a correlation."""
    return "reciprocal" not in name and any(end in name for end in _NO_SHARE)


def _row(name: str, metric: Mapping[str, Any], chance: float | None) -> dict[str, str]:
    shown = {"value": figure(name, metric), "n": f"{metric['n']:,}", "chance": share(name, chance)}
    return {"name": name.replace("_", " "), **shown}


def plot_results(results: Mapping[str, Any], path: Path) -> bool:
    """Draws the shares of a card with intervals and chance; False where matplotlib is absent or nothing is a share."""
    names = [name for name in shown_metrics(results) if not is_no_share(name)]
    found = [(name, results["metrics"][name]) for name in names if results["metrics"][name]["value"] is not None]
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
    if not found:
        return False
    drawing = Figure(figsize=(7, 0.6 + 0.28 * len(found)), layout="constrained")
    axes = drawing.subplots()
    for row, (name, metric) in enumerate(found):
        low, high = metric["ci95"]
        if low is not None and high is not None:
            axes.plot([100 * low, 100 * high], [row, row], color="#2f6f8f", linewidth=2)
        axes.plot(100 * metric["value"], row, "o", color="#2f6f8f")
        if (chance := results.get("chance", {}).get(name)) is not None:
            axes.plot(100 * chance, row, "|", color="#8a8a8a", markersize=11)
    axes.set_yticks(range(len(found)), [name.replace("_", " ") for name, _ in found])
    axes.invert_yaxis()
    axes.set_xlim(left=min(0, axes.get_xlim()[0]) if any(metric["value"] < 0 for _, metric in found) else 0)
    axes.set_xlabel("percent")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=110, metadata={"Software": PLOT_SOFTWARE})
    return True
