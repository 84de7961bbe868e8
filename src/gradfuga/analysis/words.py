"""Say causes and factors the way a person does."""

from __future__ import annotations

import math

from .._messages import _, _n

SAME_SIZE = 0.1  # decades: a factor of 1.26, which nobody would call a change
LARGEST_IN_WORDS = 15.0  # decades: beyond a thousand trillion, words say less than a power of ten


def cause_word(name: str) -> str:
    """Return a cause's name in words; a name that is not of the contract as it is."""
    words = {
        "contracting_activation": _("contracting activation"),
        "saturated_activation": _("saturated activation"),
        "saturated_output": _("saturated output"),
        "dead_relu": _("dead ReLU"),
        "small_init": _("initialisation too small"),
        "large_init": _("initialisation too large"),
        "plain_depth": _("depth without shortcuts"),
        "missing_normalization": _("missing normalisation"),
        "unscaled_residual": _("unscaled residual branches"),
        "embedding_scale": _("scale of the embedding"),
        "attention_collapse": _("collapsed attention"),
        "recurrent_contraction": _("contracting recurrence"),
        "recurrent_expansion": _("expanding recurrence"),
        "closed_gates": _("closed gates"),
        "truncated_backpropagation": _("backpropagation cut short"),
        "learning_rate_too_high": _("learning rate too high"),
        "learning_rate_too_low": _("learning rate too low"),
        "weight_decay_too_strong": _("weight decay too strong"),
        "target_scale": _("scale of the targets"),
        "gradients_not_zeroed": _("gradients not zeroed"),
        "gradients_wiped": _("gradients cleared before the step"),
        "precision_underflow": _("range of the number format"),
        "swallowed_update": _("updates swallowed by rounding"),
        "adam_epsilon": _("Adam's epsilon"),
        "clipped_away": _("gradient clipped away"),
        "frozen": _("frozen parameters"),
        "disconnected": _("disconnected parameters"),
        "data_or_labels": _("data or labels"),
        "": _("unexplained"),
    }
    return words.get(name, name.replace("_", " "))


def factor_words(decades: float) -> str:
    """Return what `decades` mean as a factor: ``-7.2`` is "16 million times smaller"."""
    if math.isnan(decades):
        return _("not read")
    if decades == -math.inf:
        return _("nothing arrives")
    if decades == math.inf:
        return _("not finite")
    if abs(decades) < SAME_SIZE:
        return _("same size")
    if decades < 0:
        return _("{factor} times smaller").format(factor=times(decades))
    return _("{factor} times larger").format(factor=times(decades))


def times(decades: float) -> str:
    """Return the factor that `decades` stand for, without its direction.

    Example:
        >>> times(1.3), times(7.6), times(22.0)
        ('20', '40 million', '1e22')
    """
    decades = abs(decades)
    if decades > LARGEST_IN_WORDS:
        return f"1e{decades:.0f}"
    value = float(f"{10.0**decades:.1e}")
    for least, unit, word in (
        (1e12, 1e12, _n("trillion", "trillion", int(value / 1e12))),
        (1e9, 1e9, _n("billion", "billion", int(value / 1e9))),
        (1e6, 1e6, _n("million", "million", int(value / 1e6))),
        (1e4, 1e3, _("thousand")),
    ):
        if value >= least:
            return f"{_plain(value / unit)} {word}"
    return _plain(value)


def _plain(value: float) -> str:
    return f"{value:.2g}" if value < 10.0 else f"{value:.0f}"  # noqa: PLR2004 (two digits)
