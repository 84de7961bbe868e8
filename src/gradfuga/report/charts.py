"""Draw one training: loss, reach over depth, reach over steps and layers, the account."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    CustomJSHover,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    Range1d,
    Span,
)
from bokeh.models.annotations import ColorBar
from bokeh.plotting import figure

from .._messages import _
from ..analysis.account import UNEXPLAINED, Account
from ..analysis.case import Case
from . import _words as words
from ._thin import MOST_POINTS, Floats, envelope, grid, spread_out

MOST_MARKS = 400  # chosen: marks of sampled steps on the loss curve
MOST_TICKS = 16  # chosen: names beside an axis before they touch
LOG_FROM = 20.0  # chosen: a loss that spans more than this factor is drawn on a log axis
DEEPEST = 12.0  # decades: chosen; the colours beyond tell no difference that matters

# One language of colour: cold shrinks the gradient, hot makes it grow, grey is not known.
# All are readable on white and on near black; the ramps are swapped by the page's theme.
COLD, HOT, GREY, INK, ACCENT = "#3d7dd8", "#dd6b3a", "#8b95a1", "#7d8793", "#8a63d2"
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
    """Return a user's name for an axis: on one line, and never taken for mathematics.

    Bokeh sets ``$$x$$``, ``\\[x\\]`` and ``\\(x\\)`` as TeX, which it would load from the network.
    """
    label = words.clean(label)
    for mark in ("$$", "\\[", "\\("):
        label = label.replace(mark, f"{mark[0]}\u200b{mark[1]}")
    return label


def draw(case: Case, number: int) -> dict[str, figure]:
    """Draw every chart that `case` has the readings for, by name: ``loss-0``, ``reach-0``, ..."""
    source = layer_source(case, number)
    reach = reach_chart(case, source, number)
    drawn = (
        loss_chart(case, number),
        reach,
        heat_map(case, source, number, beside=reach),
        waterfall(case.blamed, number),
    )
    return {str(plot.name): plot for plot in drawn if plot is not None}


def layer_source(case: Case, number: int) -> ColumnDataSource:
    """Return the layers as the one source that charts and table share the selection of."""
    first, last, low, high = _first_last(case.reach)
    finite = _finite_floor(case.reach)
    return ColumnDataSource(
        name=f"layers-{number}",
        data={
            "index": list(range(len(case.layers))),
            "path": [plain(words.layer_name(layer.path)) for layer in case.layers],
            "first": np.maximum(first, finite),
            "last": np.maximum(last, finite),
            "low": np.maximum(low, finite),
            "high": np.maximum(high, finite),
            "first_text": [words.decades_text(value) for value in first],
            "last_text": [words.decades_text(value) for value in last],
            "factor": [words.factor_words(value) for value in last],
            "color": [_limit_color(value) for value in last],
            "marker": ["x" if value == -math.inf else "circle" for value in last],
        },
    )


def loss_chart(case: Case, number: int) -> figure | None:
    """Draw the loss with the sampled steps and the best constant's loss; None where unseen."""
    steps, losses = case.readings.losses
    curve = envelope(steps.astype(np.float64), losses)
    if not len(curve.x):
        return None
    low, high = float(curve.low.min()), float(curve.high.max())
    log = low > 0.0 and high / low > LOG_FROM
    plot = _figure(
        f"loss-{number}",
        x_label=_("step"),
        y_label=_("loss"),
        height=280,
        y_axis_type="log" if log else "linear",
    )
    source = ColumnDataSource(
        {"step": curve.x, "loss": curve.mean, "low": curve.low, "high": curve.high}
    )
    if len(losses) > MOST_POINTS:
        plot.varea("step", "low", "high", source=source, fill_color=ACCENT, fill_alpha=0.25)
    line = plot.line("step", "loss", source=source, line_color=ACCENT, line_width=1.6)
    sampled = np.asarray(case.steps, dtype=np.float64)[spread_out(len(case.steps), MOST_MARKS)]
    plot.scatter(
        sampled,
        np.interp(sampled, curve.x, curve.mean),
        size=5,
        fill_color=None,
        line_color=INK,
        legend_label=_("sampled step"),
    )
    if case.progress.known and math.isfinite(case.progress.baseline):
        plot.line(
            [float(steps[0]), float(steps[-1])],
            [case.progress.baseline] * 2,
            line_color=HOT,
            line_dash="dashed",
            line_width=1.5,
            legend_label=_("best constant prediction"),
        )
    if case.progress.nonfinite_step is not None:
        plot.add_layout(
            Span(
                location=case.progress.nonfinite_step,
                dimension="height",
                line_color=HOT,
                line_width=2,
            )
        )
    plot.add_tools(
        HoverTool(
            renderers=[line],
            mode="vline",
            tooltips=[(_("step"), "@step{0}"), (_("loss"), "@loss{0.0000a}")],
        )
    )
    _legend(plot)
    return plot


def reach_chart(case: Case, source: ColumnDataSource, number: int) -> figure | None:
    """Draw the reach of every layer, output on top: first sample, last samples, their spread."""
    if not case.layers or not np.isfinite(case.reach).any():
        return None
    rows = len(case.layers)
    values = np.concatenate([np.asarray(source.data[c]) for c in ("first", "low", "high")])
    finite = values[np.isfinite(values)]
    left = min(-2 * words.LIMIT, float(finite.min()) * 1.06 - 0.2)
    right = max(2 * words.LIMIT, float(finite.max()) * 1.06 + 0.2)
    plot = _figure(
        f"reach-{number}",
        x_label=_("reach (decades)"),
        height=_rows_height(rows),
        x_range=Range1d(left, right),
        y_range=Range1d(rows - 0.5, -0.5),
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
        line_width=3 if rows <= 80 else 1.5,
        line_alpha=0.55,
        nonselection_line_alpha=0.55,
        legend_label=_("spread of the samples"),
    )
    plot.scatter(
        "last",
        "index",
        source=source,
        marker="marker",
        size=8 if rows <= 80 else 4,
        fill_color="color",
        line_color="color",
        nonselection_fill_alpha=0.5,
        nonselection_line_alpha=0.5,
        legend_label=_("last samples"),
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
    _legend(plot)
    return plot


def heat_map(
    case: Case, source: ColumnDataSource, number: int, *, beside: figure | None = None
) -> figure | None:
    """Draw the reach over sampled steps and layers, rows as in the chart `beside` it."""
    if not case.layers or len(case.steps) < 2 or not np.isfinite(case.reach).any():
        return None
    columns, rows = len(case.steps), len(case.layers)
    finite = case.reach[np.isfinite(case.reach)]
    edge = min(max(2 * words.LIMIT, float(np.percentile(np.abs(finite), 99.0))), DEEPEST)
    plot = _figure(
        f"heat-{number}",
        x_label=_("sampled step"),
        height=_rows_height(rows),
        x_range=Range1d(0, columns),
        y_range=beside.y_range if beside is not None else Range1d(rows - 0.5, -0.5),
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
    shown = spread_out(columns, 9)
    plot.xaxis.ticker = FixedTicker(ticks=[index + 0.5 for index in shown])
    plot.xaxis.major_label_overrides = {index + 0.5: f"{case.steps[index]}" for index in shown}
    _layer_ticks(plot, source)
    plot.add_layout(
        ColorBar(
            color_mapper=mapper,
            width=10,
            padding=6,
            background_fill_alpha=0.0,
            bar_line_color=None,
            title=_("decades"),
        ),
        "right",
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


def waterfall(account: Account, number: int) -> figure | None:
    """Draw how the causes' claims add up to the reach of the deepest layer."""
    steps = waterfall_steps(account)
    if not steps or not all(math.isfinite(decades) for _name, decades in steps):
        return None
    ends = np.cumsum([decades for _name, decades in steps])
    starts = ends - [decades for _name, decades in steps]
    labels = [words.cause_word(name) for name, _decades in steps] + [_("all together")]
    values = [decades for _name, decades in steps] + [account.total]
    colors = [
        GREY if name == UNEXPLAINED else COLD if decades < 0 else HOT for name, decades in steps
    ]
    low, high = min(0.0, float(ends.min()), account.total), max(0.0, float(ends.max()))
    room = 0.16 * max(high - low, 0.1)
    rows = len(labels)
    plot = _figure(
        f"account-{number}",
        x_label=_("decades"),
        height=70 + 44 * rows,
        x_range=Range1d(low - room, high + room),
        y_range=Range1d(rows - 0.5, -0.5),
    )
    left, right = [*starts.tolist(), 0.0], [*ends.tolist(), account.total]
    source = ColumnDataSource(
        {
            "row": list(range(rows)),
            "label": labels,
            "left": left,
            "right": right,
            "tip": [
                min(a, b) if v < 0 else max(a, b)
                for a, b, v in zip(left, right, values, strict=True)
            ],
            "text": [words.decades_text(value) for value in values],
            "factor": [words.factor_words(value) for value in values],
            "color": [*colors, INK],
            "align": ["right" if value < 0 else "left" for value in values],
            "offset": [-6 if value < 0 else 6 for value in values],
        }
    )
    plot.add_layout(Span(location=0.0, dimension="height", line_color=INK, line_alpha=0.5))
    plot.segment(
        x0=ends,
        x1=ends,
        y0=np.arange(rows - 1),
        y1=np.arange(1, rows),
        line_color=INK,
        line_dash="dotted",
    )
    bars = plot.hbar(y="row", height=0.56, left="left", right="right", source=source, color="color")
    plot.text(
        "tip",
        "row",
        "text",
        source=source,
        name=f"account-text-{number}",
        text_align="align",
        x_offset="offset",
        text_baseline="middle",
        text_font_size="12px",
        text_color=INK,
    )
    plot.yaxis.ticker = FixedTicker(ticks=list(range(rows)))
    plot.yaxis.major_label_overrides = dict(enumerate(labels))
    plot.ygrid.visible = False
    plot.add_tools(
        HoverTool(renderers=[bars], tooltips=[("", "@label"), (_("decades"), "@text (@factor)")])
    )
    return plot


def waterfall_steps(account: Account) -> list[tuple[str, float]]:
    """Return every cause with the sum of its claims, largest first, the unexplained rest last.

    They add up to `account.total`, as the claims do.
    """
    sums: dict[str, float] = {}
    for claim in account.claims:
        sums[claim.cause] = sums.get(claim.cause, 0.0) + claim.decades
    rest = sums.pop(UNEXPLAINED, None)
    ordered = sorted(sums.items(), key=lambda item: -abs(item[1]))
    return ordered if rest is None else [*ordered, (UNEXPLAINED, rest)]


def _figure(name: str, *, x_label: str, height: int, y_label: str = "", **ranges: object) -> figure:
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
    plot.grid.grid_line_color = GREY
    plot.grid.grid_line_alpha = 0.22
    return plot


def _legend(plot: figure) -> None:
    legend = plot.legend[0]
    legend.click_policy = "hide"
    legend.orientation = "horizontal"
    legend.background_fill_alpha = legend.border_line_alpha = 0.0
    legend.label_text_color = INK
    legend.label_text_font_size = "12px"
    legend.margin, legend.padding, legend.spacing = 0, 4, 12
    legend.ncols = "auto"
    plot.add_layout(legend, "above")


def _layer_ticks(plot: figure, source: ColumnDataSource) -> None:
    names: Sequence[str] = source.data["path"]
    shown = spread_out(len(names), MOST_TICKS)
    plot.yaxis.ticker = FixedTicker(ticks=shown)
    plot.yaxis.major_label_overrides = {index: _tail(names[index]) for index in shown}
    plot.ygrid.visible = False


def _tail(name: str, most: int = 22) -> str:
    return name if len(name) <= most else "\u2026" + name[1 - most :]


def _rows_height(rows: int) -> int:
    return min(max(130 + 22 * rows, 260), 620)


def _first_last(reach: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """First sample, median of the last quarter, lowest and highest over all samples, `[L]`."""
    if not len(reach):
        empty = np.full(reach.shape[1], np.nan)
        return empty, empty, empty, empty
    late = reach[-max(1, min(4, len(reach) // 4)) :]
    read = ~np.isnan(reach)
    low = np.where(read.any(axis=0), np.where(read, reach, np.inf).min(axis=0), np.nan)
    high = np.where(read.any(axis=0), np.where(read, reach, -np.inf).max(axis=0), np.nan)
    return reach[0], _middle(late), low, high


def _middle(late: Floats) -> Floats:
    """Median of each column of what was read; -inf counts as lowest."""
    return np.array(
        [np.median(c[~np.isnan(c)]) if (~np.isnan(c)).any() else np.nan for c in late.T]
    )


def _finite_floor(reach: Floats) -> float:
    """Where to draw a reach of -inf: a decade below the lowest finite one."""
    finite = reach[np.isfinite(reach)]
    return float(finite.min()) - 1.0 if len(finite) else -words.LIMIT


def _limit_color(reach: float) -> str:
    if math.isnan(reach) or abs(reach) <= words.LIMIT:
        return GREY
    return COLD if reach < 0 else HOT


def _line_positions(case: Case) -> tuple[list[float], list[float]]:
    """Reach and row of every op of the main line at the last sample.

    An op's row lies between those of the layers around it in autograd's sequence.
    """
    ops = [case.graph.ops[index] for index in case.graph.main_line]
    if len(ops) != case.line_reach.shape[1] or not len(case.line_reach):
        return [], []
    layer_sequence = [-case.op_of(layer).sequence for layer in case.layers]
    order = np.argsort(layer_sequence, kind="stable")
    rows = np.interp([-op.sequence for op in ops], np.asarray(layer_sequence)[order], order)
    reach = case.line_reach[-1]
    read = np.isfinite(reach)
    return reach[read].tolist(), rows[read].tolist()
