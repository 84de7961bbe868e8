"""Write the table of the layers, whose rows are linked with the charts."""

from __future__ import annotations

import math

from .._messages import _
from ..analysis.case import Case
from . import _words as words
from ._parts import card, safe
from ._reach import Floats, sum_up


def layer_table(case: Case | None, number: int) -> str:
    """Return the table of training `number`: reach, updates and source line of every layer."""
    if case is None or not case.layers:
        return ""
    heads = [
        "#",
        _("layer"),
        _("type"),
        _("reach"),
        _("factor"),
        _("update ratio"),
        _("turnovers"),
        _("line"),
    ]
    dead_word = _("dead")
    tag = f" <span class='tag'>{safe(dead_word)}</span>"
    dead = set(case.dead_layers[-1]) if case.dead_layers else set()
    last = sum_up(case).late
    rows = []
    for index, layer in enumerate(case.layers):
        op = case.op_of(layer)
        reach = float(last[index])
        line = f"{words.short_file(op.source.file)}:{op.source.line}" if op.source else ""
        marks = tag if layer.path in dead else ""
        tone = (
            ""
            if abs(reach) <= words.LIMIT or math.isnan(reach)
            else (" class='cold'" if reach < 0 else " class='hot'")
        )
        cells = [
            f"<td class='n'>{index}</td>",
            f"<td><code>{safe(words.layer_name(layer.path))}</code>{marks}</td>",
            f"<td>{safe(op.module_type or op.role.value)}</td>",
            f"<td class='n'><b{tone}>{words.decades_text(reach)}</b></td>",
            f"<td{tone}>{safe(words.factor_words(reach))}</td>",
            f"<td class='n'>{_last(case.update_ratio, index)}</td>",
            f"<td class='n'>{_last(case.turnovers, index)}</td>",
            f"<td class='where'>{safe(line)}</td>",
        ]
        rows.append(
            f"<tr data-index='{index}' tabindex='0' role='button' aria-pressed='false'>"
            f"{''.join(cells)}</tr>"
        )
    head = "".join(f"<th>{safe(each)}</th>" for each in heads)
    table = (
        f"<div class='scroll'><table class='layers' data-training='{number}'>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
    caption = _(
        "At the last samples. Click a row to mark it in the charts. The update ratio: how far one "
        "step moves the weights, against their size; at one turnover they have moved their whole "
        "size."
    )
    return card(_("Layers, output first"), table, caption)


def _last(values: Floats, index: int) -> str:
    """The last sample's value of a layer, ``-`` where there is none."""
    value = float(values[-1, index]) if len(values) else math.nan
    return words.number_text(None if math.isnan(value) else value)
