"""results.json of the knowledge task -> one HTML file that carries its plots."""

import math
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from phenolip.eval.evaluators.knowledge import BREAKDOWN_KS, KS
from phenolip.eval.report import bar_plot, cell, percent

TEMPLATE = "knowledge_report.html.jinja"
QUERIES = {
    "synonym_to_name": "Held-out synonym → name",
    "layperson_to_name": "Held-out lay wording → name",
    "definition_to_name": "Definition → name",
}
AGREEMENT = {
    "spearman_lin": "Correlation with Lin, pairs that share an ancestor",
    "spearman_lin_uniform": "Correlation with Lin, random pairs",
    "parent_child_auc": "Parent and child above random pairs (AUC)",
}


def write_knowledge_report(results: dict[str, Any], path: str | Path) -> None:
    """Writes the report of one evaluation of a text encoder.

    Args:
        results: The content of results.json.
        path: The HTML file; its folder is made.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    metrics = results["metrics"]
    page = environment.get_template(TEMPLATE).render(
        results=results,
        ks=KS,
        hit_table=[
            (title, [cell(results, f"{family}_hit_at_{k}") for k in KS])
            for family, title in QUERIES.items()
            if f"{family}_hit_at_{KS[0]}" in metrics
        ],
        agreement=[agreement_row(results, name, title) for name, title in AGREEMENT.items() if name in metrics],
        plots=breakdown_plots(results["breakdown"]),
        breakdown_ks=BREAKDOWN_KS,
        breakdown_table=breakdown_table(results["breakdown"]),
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def agreement_row(results: dict[str, Any], name: str, title: str) -> dict[str, str]:
    """One line of the table of agreement, as text with three decimals."""
    metric = results["metrics"][name]
    value, low, up, chance = (_decimal(x) for x in (metric["value"], *metric["ci95"], results["chance"].get(name)))
    return {"title": title, "value": value, "interval": f"{low} to {up}", "chance": chance, "n": f"{metric['n']:,}"}


def breakdown_table(breakdown: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Part, number of synonyms and hit rates with intervals, for each system and each depth."""
    rows = []
    for title, entry in labelled(breakdown["by_system"]) + labelled(breakdown["by_depth"]):
        rates = [entry[f"hit_at_{k}"] for k in BREAKDOWN_KS]
        cells = [f"{percent(rate['value'])} ({'–'.join(map(percent, rate['ci95']))})" for rate in rates]
        rows.append((title, f"{entry['n']:,}", cells))
    return rows


def breakdown_plots(breakdown: dict[str, Any]) -> list[tuple[str, str]]:
    """Title and SVG of a picture by system and one by depth: hit@1 as bars, hit@10 pale behind them."""
    front, back = (f"hit_at_{k}" for k in BREAKDOWN_KS)
    plots = []
    for part, title in (("by_system", "By system"), ("by_depth", "By depth")):
        entries = {f"{name} ({entry['n']:,})": entry for name, entry in labelled(breakdown[part])}
        if entries:
            rates = {
                "metrics": {name: entry[front] for name, entry in entries.items()},
                "chance": dict.fromkeys(entries, math.nan),  # one of some 18,000 names: no mark that could be seen
            }
            behind = [entry[back]["value"] for entry in entries.values()]
            plots.append((title, bar_plot(rates, {name: name for name in entries}, title, width_in=8, behind=behind)))
    return plots


def labelled(entries: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The entries of a breakdown, each with the name that a reader sees."""
    return [(short_name(e["name"]) if "name" in e else f"Depth {e['depth']}", e) for e in entries]


def short_name(name: str) -> str:
    """A system's name without what nearly all of them begin with.

    Example:
        >>> short_name("Abnormality of the eye"), short_name("Abnormality of limbs"), short_name("Neoplasm")
        ('Eye', 'Limbs', 'Neoplasm')
    """
    short = re.sub(r"^Abnormality of (the )?", "", name)
    return short[:1].upper() + short[1:]


def _decimal(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"
