"""Plots as pictures inside a page."""

import io
import re

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1d2529"


def plain_axes(axes: Axes) -> None:
    """A light grid behind the values, and no frame."""
    axes.tick_params(length=0, labelcolor=INK)
    axes.grid(axis="x", color="#e3e8ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def inline_svg(figure: Figure) -> str:
    """The SVG element of a figure, which scales with the page; text stays text if `svg.fonttype` is "none"."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]  # without the XML declaration, which HTML does not take
    return re.sub(r' width="[\d.]+pt" height="[\d.]+pt"|<metadata>.*?</metadata>', "", svg, flags=re.DOTALL)
