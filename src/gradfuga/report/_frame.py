"""Give every chart the same frame: transparent, in inks that both themes can swap."""

from __future__ import annotations

import numpy as np
from bokeh.models import BasicTickFormatter
from bokeh.plotting import figure

from . import _words as words

# One language of colour: cold shrinks the gradient, hot makes it grow, grey is not known.
# All are readable on white and on near black; the ramps are swapped by the page's theme.
COLD, HOT, GREY, INK, ACCENT = "#3d7dd8", "#dd6b3a", "#8b95a1", "#7d8793", "#8a63d2"
FONT = "system-ui, sans-serif"
_RAMP_LIGHT = ("#123a7c", "#3d7dd8", "#a9c8f0", "#f3f2ef", "#f4bfa2", "#dd6b3a", "#8c2f0c")
_RAMP_DARK = ("#b5d4ff", "#5b9bf2", "#2a5288", "#20242b", "#7d4021", "#ef8351", "#ffd0b8")


def ramp(*, dark: bool, shades: int = 63) -> list[str]:
    """Return the diverging palette from shrinking over unchanged to growing."""
    anchors = [
        [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        for color in (_RAMP_DARK if dark else _RAMP_LIGHT)
    ]
    at = np.linspace(0, len(anchors) - 1, shades)
    mixed = [np.interp(at, range(len(anchors)), channel) for channel in zip(*anchors, strict=True)]
    return ["#" + "".join(f"{round(c):02x}" for c in color) for color in zip(*mixed, strict=True)]


def plain(label: str) -> str:
    r"""Return a user's name for an axis: on one line, and never taken for mathematics.

    Bokeh sets ``$$x$$``, ``\[x\]`` and ``\(x\)`` as TeX, which it would load from the network.
    """
    label = words.clean(label)
    for mark in ("$$", "\\[", "\\("):
        label = label.replace(mark, f"{mark[0]}\u200b{mark[1]}")
    return label


def frame(name: str, *, x_label: str, height: int, y_label: str = "", **ranges: object) -> figure:
    """Return an empty chart as wide as its place."""
    plot = figure(
        name=name,
        height=height,
        sizing_mode="stretch_width",
        tools="xpan,xwheel_zoom,box_zoom,reset,save",
        active_drag=None,
        active_scroll=None,
        background_fill_alpha=0.0,
        border_fill_alpha=0.0,
        outline_line_color=None,
        min_border_right=12,
        x_axis_label=x_label,
        y_axis_label=y_label,
        **ranges,
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    for axis in plot.axis:
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = None
        axis.major_label_text_color = axis.axis_label_text_color = INK
        axis.major_label_text_font_size = "12px"
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = "12px"
        axis.major_label_text_font = axis.axis_label_text_font = FONT
    plot.xaxis.formatter = BasicTickFormatter(use_scientific=False)
    plot.grid.grid_line_color = GREY
    plot.grid.grid_line_alpha = 0.22
    return plot


def legend_above(plot: figure, *, columns: int) -> None:
    """Put the chart's legend above it, in `columns` so that it fits a phone."""
    legend = plot.legend[0]
    legend.click_policy = "hide"
    legend.orientation = "horizontal"
    legend.label_text_font = FONT
    legend.inactive_fill_color, legend.inactive_fill_alpha = GREY, 0.18
    legend.background_fill_alpha = legend.border_line_alpha = 0.0
    legend.label_text_color = INK
    legend.label_text_font_size = "12px"
    legend.margin, legend.padding, legend.spacing = 0, 4, 12
    legend.ncols = columns
    plot.add_layout(legend, "above")
