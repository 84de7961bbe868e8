"""Draw where the gradient is lost: reach by layer, and over the sampled steps."""

from __future__ import annotations

import math

import numpy as np
from bokeh.models import (
    BooleanFilter,
    CDSView,
    ColorBar,
    ColumnDataSource,
    CustomJSHover,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    Range1d,
    Span,
)
from bokeh.plotting import figure

from .._messages import _
from ..analysis.case import Case
from . import _words as words
from ._frame import ACCENT, COLD, FONT, GREY, HOT, INK, frame, legend_above, plain, ramp
from ._reach import Floats, sum_up
from ._thin import grid, spread_out

MOST_TICKS = 20  # chosen: names beside an axis before they touch
MOST_DIGITS = 18  # chosen: what fits along a phone: six steps of three digits
FEW_ROWS = 80  # chosen: more rows get smaller marks
DEEPEST = 12.0  # decades: chosen; the colours beyond tell no difference that matters
TOP, BOTTOM = 58, 52  # pixels: the same for both charts, so that their rows are level


def layer_source(case: Case, number: int) -> ColumnDataSource:
    """Return the layers as the one source that charts and table share the selection of."""
    reach = sum_up(case)
    floor = _floor(case.reach)
    return ColumnDataSource(
        name=f"layers-{number}",
        data={
            "index": list(range(len(case.layers))),
            "path": [plain(words.layer_name(layer.path)) for layer in case.layers],
            "first": np.maximum(reach.first, floor),
            "last": np.maximum(reach.late, floor),
            "low": np.maximum(reach.low, floor),
            "high": np.maximum(reach.high, floor),
            "first_text": [words.decades_text(value) for value in reach.first],
            "last_text": [words.decades_text(value) for value in reach.late],
            "factor": [words.factor_words(value) for value in reach.late],
            "color": [_limit_color(value) for value in reach.late],
        },
    )


def reach_chart(case: Case, source: ColumnDataSource, number: int) -> figure | None:
    """Draw the reach of every layer, output on top: first sample, last samples, their spread."""
    if not case.layers or not np.isfinite(case.reach).any():
        return None
    rows = len(case.layers)
    values = np.concatenate([np.asarray(source.data[c]) for c in ("first", "low", "high")])
    finite = values[np.isfinite(values)]
    left = min(-2 * words.LIMIT, float(finite.min()) * 1.06 - 0.2)
    right = max(2 * words.LIMIT, float(finite.max()) * 1.06 + 0.2)
    plot = frame(
        f"reach-{number}",
        x_label=_("reach (decades)"),
        height=_rows_height(rows),
        x_range=Range1d(left, right),
        y_range=Range1d(rows - 0.5, -0.5),
        min_border_top=TOP,
        min_border_bottom=BOTTOM,
    )
    for limit, color in ((-words.LIMIT, COLD), (words.LIMIT, HOT)):
        plot.add_layout(
            Span(location=limit, dimension="height", line_color=color, line_dash="dashed")
        )
    plot.add_layout(Span(location=0.0, dimension="height", line_color=INK, line_alpha=0.5))
    row = plot.hbar(
        y="index",
        height=1.0,
        left=left,
        right=right,
        source=source,
        fill_color=ACCENT,
        fill_alpha=0.0,
        line_color=None,
        selection_fill_alpha=0.22,
        nonselection_fill_alpha=0.0,
    )
    x, y = _line_positions(case)
    main = plot.line(
        x, y, line_color=INK, line_alpha=0.9, legend_label=_("every op of the main line")
    )
    main.visible = False  # shown by a click on the legend: known gains of ops are left in it
    plot.line(
        "first",
        "index",
        source=source,
        line_color=GREY,
        line_dash="dotted",
        line_width=1.6,
        legend_label=_("first sample"),
        nonselection_line_alpha=1.0,
    )
    plot.segment(
        x0="low",
        x1="high",
        y0="index",
        y1="index",
        source=source,
        line_color=GREY,
        line_width=3 if rows <= FEW_ROWS else 1.5,
        line_alpha=0.55,
        nonselection_line_alpha=0.55,
        legend_label=_("spread of the samples"),
    )
    empty = [text == words.decades_text(-math.inf) for text in source.data["last_text"]]
    marks = [(np.logical_not(empty), "circle", 0.0, _("last samples"))]
    if any(empty):
        marks.append((np.array(empty), "triangle", math.pi / 2, words.factor_words(-math.inf)))
    for mask, marker, angle, label in marks:
        plot.scatter(
            "last",
            "index",
            source=source,
            view=CDSView(filter=BooleanFilter(mask.tolist())),
            marker=marker,
            angle=angle,
            size=8 if rows <= FEW_ROWS else 4,
            fill_color="color",
            line_color="color",
            nonselection_fill_alpha=0.5,
            nonselection_line_alpha=0.5,
            legend_label=label,
        )
    _layer_ticks(plot, source)
    plot.add_tools(
        HoverTool(
            renderers=[row],
            tooltips=[
                (_("layer"), "@path"),
                (_("last samples"), "@last_text (@factor)"),
                (_("first sample"), "@first_text"),
            ],
        ),
        "tap",
    )
    legend_above(plot, columns=2)
    return plot


def heat_map(
    case: Case, source: ColumnDataSource, number: int, *, beside: figure | None = None
) -> figure | None:
    """Draw the reach over sampled steps and layers, rows as in the chart `beside` it."""
    if not case.layers or len(case.steps) <= 1 or not np.isfinite(case.reach).any():
        return None
    columns, rows = len(case.steps), len(case.layers)
    finite = case.reach[np.isfinite(case.reach)]
    edge = min(max(2 * words.LIMIT, float(np.percentile(np.abs(finite), 99.0))), DEEPEST)
    plot = frame(
        f"heat-{number}",
        x_label=_("sampled step"),
        height=_rows_height(rows),
        x_range=Range1d(0, columns),
        y_range=beside.y_range if beside is not None else Range1d(rows - 0.5, -0.5),
        min_border_top=TOP,
        min_border_bottom=BOTTOM,
    )
    plot.grid.visible = False
    mapper = LinearColorMapper(
        name=f"ramp-{number}", palette=ramp(dark=False), low=-edge, high=edge, nan_color=GREY
    )
    # -inf is exactly zero, the coldest there is; only NaN is unknown
    cells = np.nan_to_num(grid(case.reach), nan=np.nan, neginf=-edge, posinf=edge)
    image = plot.image(
        image=[cells.T.astype(np.float32)],
        x=0,
        y=-0.5,
        dw=columns,
        dh=rows,
        color_mapper=mapper,
    )
    plot.hbar(
        y="index",
        height=1.0,
        left=0,
        right=columns,
        source=source,
        fill_alpha=0.0,
        line_color=ACCENT,
        line_alpha=0.0,
        line_width=2,
        selection_fill_alpha=0.0,
        selection_line_alpha=1.0,
        nonselection_fill_alpha=0.0,
        nonselection_line_alpha=0.0,
    )
    digits = len(str(case.steps[-1]))
    shown = spread_out(columns, max(3, MOST_DIGITS // digits))
    plot.xaxis.ticker = FixedTicker(ticks=[index + 0.5 for index in shown])
    plot.xaxis.major_label_overrides = {index + 0.5: f"{case.steps[index]}" for index in shown}
    _layer_ticks(plot, source)
    plot.add_layout(
        ColorBar(
            color_mapper=mapper,
            orientation="horizontal",
            height=9,
            width="auto",
            padding=4,
            background_fill_alpha=0.0,
            bar_line_color=None,
            major_label_text_font=FONT,
        ),
        "above",
    )
    of_row = "const i = Math.round(value); return i in list ? list[i] : ''"
    of_column = "const i = Math.floor(value); return i in list ? String(list[i]) : ''"
    plot.add_tools(
        HoverTool(
            renderers=[image],
            tooltips=[
                (_("layer"), "$y{custom}"),
                (_("step"), "$x{custom}"),
                (_("reach"), "@image{0.00}"),
            ],
            formatters={
                "$y": CustomJSHover(args={"list": source.data["path"]}, code=of_row),
                "$x": CustomJSHover(args={"list": list(case.steps)}, code=of_column),
            },
        ),
        "tap",
    )
    return plot


def _layer_ticks(plot: figure, source: ColumnDataSource) -> None:
    names = [str(name) for name in source.data["path"]]
    shown = list(range(0, len(names), math.ceil(len(names) / MOST_TICKS) or 1))
    plot.yaxis.ticker = FixedTicker(ticks=shown)
    plot.yaxis.major_label_overrides = {index: _tail(names[index]) for index in shown}
    plot.ygrid.visible = False


def _tail(name: str, most: int = 18) -> str:
    return name if len(name) <= most else "\u2026" + name[1 - most :]


def _rows_height(rows: int) -> int:
    return min(max(130 + 22 * rows, 260), 620)


def _floor(reach: Floats) -> float:
    """Where to draw a reach of -inf: left of every finite one, and of the limit."""
    finite = reach[np.isfinite(reach)]
    lowest = float(finite.min()) if len(finite) else 0.0
    return min(lowest - 1.0, -2 * words.LIMIT)


def _limit_color(reach: float) -> str:
    if math.isnan(reach) or abs(reach) <= words.LIMIT:
        return GREY
    return COLD if reach < 0 else HOT


def _line_positions(case: Case) -> tuple[list[float], list[float]]:
    """Reach and row of every op of the main line at the last sample.

    An op's row lies between those of the layers around it in autograd's sequence.
    """
    ops = [case.graph.ops[index] for index in case.line]
    if len(ops) != case.line_reach.shape[1] or not len(case.line_reach):
        return [], []
    layer_sequence = [-case.op_of(layer).sequence for layer in case.layers]
    order = np.argsort(layer_sequence, kind="stable")
    rows = np.interp([-op.sequence for op in ops], np.asarray(layer_sequence)[order], order)
    reach = case.line_reach[-1]
    read = np.isfinite(reach)
    return reach[read].tolist(), rows[read].tolist()
