"""Say the name of a statistic, or of its unit, in words."""

from __future__ import annotations

from .._messages import _


def statistic_word(name: str) -> str:
    """Return a statistic's name in words; one that no rule of ours cites with spaces."""
    words = {
        "adagrad_share": _("adagrad share"),
        "attenuation": _("attenuation"),
        "batch_variation": _("batch variation"),
        "broken_high": _("broken high"),
        "broken_low": _("broken low"),
        "claim": _("claim"),
        "clip_coefficient": _("clip coefficient"),
        "coherence": _("coherence"),
        "dead_share": _("dead share"),
        "decay_pull": _("decay pull"),
        "dropped_share": _("dropped share"),
        "entropy": _("entropy"),
        "feed": _("feed"),
        "flushed_norm": _("flushed norm"),
        "frozen_share": _("frozen share"),
        "gate_flat": _("gate flat"),
        "gate_keep": _("gate keep"),
        "given_on": _("given on"),
        "growth_over_time": _("growth over time"),
        "input_rms": _("input rms"),
        "jacobian_norm": _("jacobian norm"),
        "learning_rate": _("learning rate"),
        "log_total": _("log total"),
        "lost_share": _("lost share"),
        "lyapunov": _("lyapunov"),
        "mean_squared_slope": _("mean squared slope"),
        "memory_horizon": _("memory horizon"),
        "noise": _("noise"),
        "nonfinite": _("nonfinite"),
        "norm": _("norm"),
        "norm_share": _("norm share"),
        "pairs": _("pairs"),
        "progress": _("progress"),
        "progress_at_most": _("progress at most"),
        "query_key_gradient": _("query key gradient"),
        "rate_time": _("rate time"),
        "reach": _("reach"),
        "recurrent_norm": _("recurrent norm"),
        "recurrent_radius": _("recurrent radius"),
        "recurrent_scale": _("recurrent scale"),
        "reference": _("reference"),
        "reversed_loss": _("reversed loss"),
        "scale": _("scale"),
        "sigma_gain": _("sigma gain"),
        "skipped_share": _("skipped share"),
        "slope_rms": _("slope rms"),
        "stale": _("stale"),
        "swallowed": _("swallowed"),
        "target_distance": _("target distance"),
        "target_spread": _("target spread"),
        "time_continued": _("first state made by another recurrence"),
        "time_cut": _("time cut"),
        "time_steps": _("time steps"),
        "units_alike_share": _("units alike share"),
        "unreached_share": _("unreached share"),
        "update_ratio": _("update ratio"),
        "value": _("value"),
        "varying": _("varying"),
    }
    if name.startswith("lag_norm."):
        return _("gradient {lag} steps back").format(lag=name.rpartition(".")[2])
    return words.get(name, name.replace("_", " "))


def unit_word(unit: str) -> str:
    """Return a unit in words; one that no rule of ours uses as it is."""
    return {"decades": _("decades"), "steps": _("steps")}.get(unit, unit)
