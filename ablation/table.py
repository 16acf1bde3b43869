"""The table of an ablation: Markdown for readers, JSON for programs, a plot of the differences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from phenolip.ablation.summary import TOP1, RowSummary, Spread

TITLES = {"i2t": "I→T", "t2i": "T→I", "i2p": "I→P", "p2i": "P→I"}
BETTER, UNCLEAR, WORSE, INK = "#2f6f8f", "#8a9499", "#b4552d", "#1d2529"
ROW_INCHES = 0.27
LABEL_CHARACTERS, TITLE_CHARACTERS = 56, 76  # a line of the plot holds so many
CHANCE = 0.05  # of a 95 % interval to leave out zero where there is no difference


def to_markdown(
    summaries: Sequence[RowSummary], *, num_pairs: int, origins: Mapping[str, Sequence[Any]] | None = None
) -> str:
    """One table a group; a difference that is clear (`RowSummary.is_clear`) is bold.

    Args:
        summaries: From `summarise`.
        num_pairs: Image-caption pairs that were evaluated.
        origins: From `summary.origins`; more than one commit or machine is said under the table.
    """
    titles = {summary.row.id: summary.row.title for summary in summaries}
    lines = ["# Ablation", ""]
    for group, members in _groups(summaries):
        lines += [f"## {group}", "", *_group_lines(members, titles), ""]
    lines += [
        f"Hit rates in percent over {num_pairs:,} held-out pairs; the cutoff (@) of retrieval is scaled to their "
        "number. Values are means over the seeds, with their sample standard deviation after ±. The mean is that of "
        "the retrieval columns, and of all three columns where phenotypes are scored with the ontology. The "
        "difference is that of the mean to the row named after it, over the seeds that both have: ± is its standard "
        "deviation from seed to seed, in brackets its 95 % paired bootstrap interval, for which seeds are averaged "
        "query by query and queries drawn. The interval speaks of other queries for these runs, ± of other seeds.",
        "",
        *_cautions(summaries, origins or {}),
    ]
    return "\n".join(lines)


def _cautions(summaries: Sequence[RowSummary], origins: Mapping[str, Sequence[Any]]) -> list[str]:
    """What a reader must know before believing a bold number; each paragraph ends with an empty line."""
    lines = []
    if num_differences := sum(summary.difference is not None for summary in summaries):
        lines.append(
            "Bold: the interval leaves out zero and every seed has the same sign. If nothing helped, the intervals of "
            f"about {CHANCE * num_differences:.1f} of these {num_differences} differences would leave out zero by "
            "chance alone."
        )
    mixed = {"git_commits": "commits of the code", "hardware": "machines"}
    mixed = [f"{len(origins[name])} {title}" for name, title in mixed.items() if len(origins.get(name, ())) > 1]
    if mixed:
        lines.append(f"These runs come from {' and '.join(mixed)} (table.json names them).")
    return [part for line in lines for part in (line, "")]


def _groups(summaries: Sequence[RowSummary]) -> list[tuple[str, list[RowSummary]]]:
    return [(group, list(members)) for group, members in groupby(summaries, key=lambda summary: summary.row.group)]


def _group_lines(members: Sequence[RowSummary], titles: dict[str, str]) -> list[str]:
    columns = tuple(dict.fromkeys(name for summary in members for name in summary.metrics))
    header = ["row", *map(_title, columns), "mean", "difference", "to", "seeds", "s a run"]
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(columns) + 2) + "---|---:|---:|"]
    for summary in members:
        cells = [_escape(summary.row.title)]
        cells += [_value(summary.metrics[name]) if name in summary.metrics else "-" for name in columns]
        cells += [_value(summary.mean), _difference(summary)]
        cells.append(_escape(titles[summary.row.reference]) if summary.difference else "")
        cells += [str(len(summary.seeds)), "" if summary.seconds is None else f"{summary.seconds:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _title(metric: str) -> str:
    if metric == TOP1:
        return "zero-shot top 1"
    direction, _, cutoff = metric.partition("_hit_at_")
    return f"{TITLES[direction]} @{cutoff}"


def _value(spread: Spread) -> str:
    std = "" if spread.std is None else f" ± {100 * spread.std:.1f}"
    return f"{100 * spread.mean:.1f}{std}"


def _difference(summary: RowSummary) -> str:
    if summary.difference is None:
        return ""
    low, high = summary.difference.ci95
    std = summary.difference_by_seed.std
    value = f"{100 * summary.difference.difference:+.1f}" + ("" if std is None else f" ± {100 * std:.1f}")
    text = f"{value} [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"**{text}**" if summary.is_clear else text


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def write_plot(summaries: Sequence[RowSummary], path: str | Path) -> None:
    """Dot plot of the differences with their intervals, a panel a group; nothing is written without a difference."""
    groups = [(group, [s for s in members if s.difference]) for group, members in _groups(summaries)]
    groups = [(group, members) for group, members in groups if members]
    if not groups:
        return
    titles = {summary.row.id: summary.row.title for summary in summaries}
    sizes = [len(members) + 2.2 for _, members in groups]  # a panel's title takes room too
    with rc_context({"font.size": 8, "axes.edgecolor": INK, "text.color": INK}):
        figure = Figure(figsize=(9, ROW_INCHES * sum(sizes) + 0.7), layout="constrained")
        panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=sizes)[:, 0]
        for axes, (group, members) in zip(panels, groups, strict=True):
            _draw_group(axes, group, members, titles)
        panels[-1].set_xlabel("difference of the mean, points, with 95 % paired interval")
        figure.savefig(path, dpi=150)


def _draw_group(axes: Axes, group: str, members: Sequence[RowSummary], titles: dict[str, str]) -> None:
    for place, summary in enumerate(members):
        low, high = (100 * bound for bound in summary.difference.ci95)
        colour = UNCLEAR if not summary.is_clear else BETTER if low > 0 else WORSE
        axes.plot([low, high], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(100 * summary.difference.difference, place, "o", color=colour, markersize=5)
    axes.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    usual = Counter(summary.row.reference for summary in members).most_common(1)[0][0]
    labels = [s.row.title + ("" if s.row.reference == usual else f" (to: {titles[s.row.reference]})") for s in members]
    axes.set_yticks(range(len(members)), [fill(label, LABEL_CHARACTERS) for label in labels])
    axes.set_ylim(len(members) - 0.5, -0.5)
    axes.set_title(fill(group, TITLE_CHARACTERS), loc="left", fontweight="bold", fontsize=8, pad=14)
    axes.text(0, 1, f"difference to: {titles[usual]}", transform=axes.transAxes, va="bottom", fontsize=7)
    axes.grid(axis="x", color="#e3e8ea", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
