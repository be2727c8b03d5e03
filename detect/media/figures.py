"""Diagrams of matplotlib: figures that need no display, their common style, and their PNG and SVG forms.

Other modules take matplotlib's classes from here, since its first import would otherwise print warnings.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from html import escape
from io import BytesIO, StringIO
from typing import Any

from detect.media.fonts import warn_of_missing_glyphs, without_glyph_warnings
from detect.media.image_paths import shown

# Missing fonts, and a home folder that cannot be written to.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

from matplotlib import colors, rc_context, ticker  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

__all__ = [
    "Axes",
    "Figure",
    "add_legend",
    "colors",
    "new_figure",
    "png",
    "set_title",
    "short_name",
    "style",
    "svg",
    "ticker",
]

_DPI = 110
_MAX_NAME = 24
# Color in a figure -> what it is in a web page, so that a diagram suits a light and a dark one.
_PAGE_COLORS = {
    "#000000": "currentColor",
    "#262626": "currentColor",
    "#404040": "currentColor",
    "#bfbfbf": "var(--faint, #bfbfbf)",
    "#e6e6e6": "var(--grid, #e6e6e6)",
    **{colors.to_hex(f"C{n}"): f"var(--c{n}, {colors.to_hex(f'C{n}')})" for n in range(10)},
}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` x ``height`` inches, 110 pixels each."""
    figure = Figure((width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, texts: Iterable[str] = ()) -> bytes:
    """Return ``figure`` as a PNG file.

    texts: names of users in the figure. A warning names the scripts that the font cannot draw, once per process.
    """
    warn_of_missing_glyphs(texts, system=False)
    content = BytesIO()
    with without_glyph_warnings():
        figure.savefig(content, format="png")
    return content.getvalue()


def svg(figure: Figure, description: str, *, adapts: bool = True) -> str:
    """Return ``figure`` as an <svg> element for an HTML page, without a background, in the width of its container.

    description: text for readers who do not see it.
    adapts: whether text, grid and curves take the page's colors, with the CSS variables --faint, --grid and --c0 to
        --c9; else they keep their own, for a white background.
    """
    for axis in figure.axes:
        if legend := axis.get_legend():
            legend.set_frame_on(False)
    content = StringIO()
    # Text stays text, which the browser draws in any script, and equal figures give equal files.
    with without_glyph_warnings(), rc_context({"svg.fonttype": "none", "svg.hashsalt": "detect"}):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(content, format="svg", transparent=True, metadata=metadata)
    text = content.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"<g id=\"[^\"]*\"", "<g", text)  # ids that several figures on a page would share
    text = re.sub(r"<style.*?</style>|font-family: [^;\"]*;?", "", text, flags=re.DOTALL)
    text = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 sans-serif", text)  # of earlier versions of matplotlib
    if adapts:
        text = re.sub("|".join(_PAGE_COLORS), lambda match: _PAGE_COLORS[match[0]], text)
        text = text.replace("<text ", '<text fill="currentColor" ')
    size = re.search(r"viewBox=\"[^\"]*\"", text)
    assert size is not None
    start = f'<svg {size[0]} role="img" aria-label="{escape(description, quote=True)}">'
    return start + text[text.index(">") + 1 :]


def set_title(figure: Figure, title: str) -> None:
    """Write ``title``, a name of a user, above all diagrams of ``figure``."""
    figure.suptitle(shown(title), fontsize=13, parse_math=False)


def style(axis: Axes, title: str, xlabel: str = "", ylabel: str = "") -> None:
    """Give a diagram its title, labels, light grid lines and no frame at the top and on the right."""
    axis.set_title(title, fontsize=10)
    axis.tick_params(labelsize=9)
    axis.set_axisbelow(True)
    axis.grid(True, color="0.9")
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel(xlabel, fontsize=9)
    axis.set_ylabel(ylabel, fontsize=9)


def short_name(name: str) -> str:
    """Return the name of a class for a diagram: one line of at most 24 characters and an ellipsis.

    It begins with a space, since matplotlib omits labels that begin with _ from legends.
    """
    return f" {shown(name if len(name) <= _MAX_NAME else f'{name[:_MAX_NAME]}...')}"


def add_legend(target: Axes, axis: Axes, **options: Any) -> None:
    """Put the legend of the curves of ``axis`` on ``target``, if there are curves."""
    handles, labels = axis.get_legend_handles_labels()
    if labels:
        for text in target.legend(handles, labels, fontsize=8, framealpha=0.6, **options).get_texts():
            text.set_parse_math(False)
