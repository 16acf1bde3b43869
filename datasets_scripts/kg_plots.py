"""The picture of a PhenoKG build: nine panels over the counts of `kg_stats`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

BAR, SECOND, INK = "#2f6f8f", "#b4552d", "#1d2529"
_STYLE = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "text.color": INK}
_MAX_BINS = 20  # of caption lengths; what is longer is one bar
_MAX_PHENOTYPES = 8
_MAX_LICENSES = 10
_MIN_ROWS = 5
_MAX_NAME = 40  # characters of a label


def draw(stats: Mapping[str, Any], path: Path) -> None:
    """Draw the counts as a PNG."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(17, 15), dpi=110, layout="constrained", facecolor="white")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
        counts = f"pairs {stats['num_pairs']:,}   articles {stats['num_articles']:,}   "
        counts += f"phenotypes {stats['num_phenotypes']:,}   HPO {stats['hpo_release']}"
        figure.suptitle(counts, fontsize=15)
        panels = figure.subplots(3, 3, gridspec_kw={"height_ratios": [1.7, 1, 1]}).flat
        for panel, axes in zip(_PANELS, panels, strict=True):
            panel(axes, stats)
        figure.savefig(path)


def _systems(axes: Axes, stats: Mapping[str, Any]) -> None:
    rows = stats["pairs_by_system"]
    _lying_bars(axes, [_short_system(row["name"]) for row in rows], [row["num_pairs"] for row in rows])
    _label(axes, "Organ systems", "pairs (one may count for several)")


def _head(axes: Axes, stats: Mapping[str, Any]) -> None:
    _lying_bars(axes, [row["name"] for row in stats["head"]], [row["num_pairs"] for row in stats["head"]])
    _label(axes, f"The {len(stats['head'])} most frequent phenotypes", "pairs")


def _tail(axes: Axes, stats: Mapping[str, Any]) -> None:
    numbers = stats["pairs_by_rank"]
    axes.plot(range(1, len(numbers) + 1), numbers, color=BAR, linewidth=2, marker="." if len(numbers) < 50 else "")
    axes.set(xscale="log", yscale="log", xlim=(0.9, None), ylim=(0.8, None))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("pairs")
    axes.grid(alpha=0.25)
    share = stats["num_phenotypes_of_one_pair"] / max(1, stats["num_phenotypes"])
    axes.text(0.97, 0.95, f"{share:.0%} of the phenotypes\nhave a single pair", transform=axes.transAxes, ha="right",
              va="top")  # fmt: skip
    _label(axes, "Head and tail", "rank of the phenotype")


def _depths(axes: Axes, stats: Mapping[str, Any]) -> None:
    numbers = {int(depth): number for depth, number in stats["pairs_by_depth"].items()}
    _standing_bars(axes, list(map(str, numbers)), list(numbers.values()))
    _label(axes, "Depth of the phenotypes", "fewest is_a edges from HP:0000118")


def _licenses(axes: Axes, stats: Mapping[str, Any]) -> None:
    numbers = list(stats["pairs_by_license"].items())
    shown = numbers[:_MAX_LICENSES]
    if rest := sum(number for _, number in numbers[_MAX_LICENSES:]):
        shown.append(("others", rest))
    _lying_bars(axes, [name for name, _ in shown], [number for _, number in shown])
    _label(axes, "Licences", "pairs")


def _captions(axes: Axes, stats: Mapping[str, Any]) -> None:
    words = stats["caption_words"]
    width, bins = words["words_per_bin"], list(words["pairs_by_bin"])
    is_cut = len(bins) > _MAX_BINS
    bins = [*bins[:_MAX_BINS], sum(bins[_MAX_BINS:])] if is_cut else bins
    axes.bar([width * place for place in range(len(bins))], bins, width=0.94 * width, align="edge", color=BAR)
    unit = f"words, {width} a bar; median {words['median']}, 95 % within {words['percentile_95']}"
    if is_cut:
        axes.patches[-1].set_color(SECOND)
        unit += f"; last bar: {_MAX_BINS * width} and more"
    axes.set_ylabel("pairs")
    _whole_numbers(axes.yaxis)
    _label(axes, "Length of captions", unit)


def _splits(axes: Axes, stats: Mapping[str, Any]) -> None:
    names = [f"{name}\n{stats['articles_by_split'][name]:,} articles" for name in stats["pairs_by_split"]]
    _standing_bars(axes, names, list(stats["pairs_by_split"].values()))
    _label(axes, "Splits", "")


def _per_pair(axes: Axes, stats: Mapping[str, Any]) -> None:
    numbers = {int(number): pairs for number, pairs in stats["pairs_by_num_phenotypes"].items()}
    shown = {str(number): numbers.get(number, 0) for number in range(min(_MAX_PHENOTYPES, max(numbers) + 1))}
    if rest := sum(pairs for number, pairs in numbers.items() if number >= _MAX_PHENOTYPES):
        shown[f"{_MAX_PHENOTYPES}+"] = rest
    _standing_bars(axes, list(shown), list(shown.values()))
    _label(axes, "Phenotypes of a pair", "named as present")


def _assertions(axes: Axes, stats: Mapping[str, Any]) -> None:
    numbers = stats["links_by_assertion"]
    _lying_bars(axes, list(numbers), list(numbers.values()))
    _label(axes, "What captions say of phenotypes", "mentions")


_PANELS = (_systems, _head, _tail, _depths, _captions, _per_pair, _licenses, _splits, _assertions)


def _lying_bars(axes: Axes, names: Sequence[str], numbers: Sequence[int]) -> None:
    """Bars from left to right, the first on top, each with its number."""
    places = range(len(names))
    bars = axes.barh(places, numbers, color=BAR, height=0.75)
    labels = [name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1].rstrip()}…" for name in names]
    axes.set_yticks(places, labels, parse_math=False)  # a "$" in a licence is no formula
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(len(names), _MIN_ROWS) - 0.5, -0.5)  # upside down; few bars stay thin
    axes.bar_label(bars, [f" {number:,}" for number in numbers], fontsize=9)
    axes.margins(x=0.16)
    _whole_numbers(axes.xaxis)


def _standing_bars(axes: Axes, names: Sequence[str], numbers: Sequence[int]) -> None:
    bars = axes.bar(range(len(names)), numbers, color=BAR, width=0.75)
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", length=0)
    axes.bar_label(bars, [f"{number:,}" for number in numbers], fontsize=9, padding=2)
    axes.margins(y=0.12)
    axes.set_ylabel("pairs")
    _whole_numbers(axes.yaxis)


def _whole_numbers(axis: Any) -> None:
    axis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _label(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.set_xlabel(unit)


def _short_system(name: str) -> str:
    """The name without "Abnormality of the".

    Example:
        >>> _short_system("Abnormality of the musculoskeletal system")
        'Musculoskeletal system'
    """
    short = re.sub(r"^Abnormality of (the )?", "", name)
    return short[:1].upper() + short[1:]
