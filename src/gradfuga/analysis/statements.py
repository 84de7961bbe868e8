"""Say in one sentence what was judged, and what would settle what could not be."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .._messages import _
from .._types import Axis, Cause, Verdict
from .breakage import broken_data, nonfinite_step
from .build import REACH_LIMIT, lowest_reach
from .case import Case
from .conditions import lost_share, stopped_step, unreached_share
from .judgement import NOTHING_TO_LEARN, Judgement, Why
from .passage import Spread, spread
from .progress import NOTHING
from .remembering import expanding, memory_of
from .tolls import HALF, arriving
from .words import cause_word, times

# Verdicts that more steps would settle, as long as the steps still move something.
_TRAIN_LONGER = frozenset(
    {Why.TOO_SHORT, Why.STILL_FALLING, Why.LEARNS_LITTLE, Why.HIDDEN_BY_NOISE}
)


def summary(case: Case, judgement: Judgement, causes: Sequence[Cause]) -> str:
    """Return the verdict as one sentence a person understands."""
    seen = spread(case)
    whole = seen.whole or seen.of == 0
    texts = {
        Why.NONFINITE_PATH: _(
            "The gradient grows along depth until the numbers overflow (step {broken})."
        ),
        Why.NONFINITE_RATE: _(
            "The loss or a gradient became NaN or infinite at step {broken}; the path of the "
            "gradient was sound at the start."
        ),
        Why.NONFINITE_DATA: _("The data or the targets hold NaN or infinite values."),
        Why.NONFINITE_SUDDEN: _(
            "The loss or a gradient became NaN or infinite at step {broken}, out of a training "
            "that was sound until then."
        ),
        Why.CONSTANT_DATA: _(
            "The network does not learn: its inputs are the same for every example, so that "
            "nothing tells one from another."
        ),
        Why.LEARNS: _("The network learns, and the gradient reaches every layer.")
        if whole
        else _("The network learns."),
        Why.LEARNS_LATE: _(
            "The network learns; it lost {lost:.0%} of the run to a gradient that did not reach "
            "its first layers."
        ),
        Why.LEARNS_PARTLY: _(
            "The network learns, but the loss never reaches {unreached:.0%} of the weights that "
            "the optimizer holds."
        ),
        Why.STARVES: _(
            "The gradient at '{layer}' is {factor} times smaller than at the output; the layers "
            "there hardly move while others do."
        ),
        Why.NEVER_LEARNS: _(
            "The gradient at '{layer}' is {factor} times {direction} than at the output, and the "
            "network has not learned anything."
        )
        if case.progress.most < NOTHING
        else _(
            "The gradient at '{layer}' is {factor} times {direction} than at the output, and the "
            "network has learned next to nothing."
        ),
        Why.POOR: _(
            "The gradient at '{layer}' is {factor} times {direction} than at the output, and the "
            "network learns far less than the data permits."
        ),
        Why.BORN_DEAD: _("Whole layers are dead from the first step: no gradient passes them."),
        Why.KILLED: _(
            "Most units of some layers died during the training, and the network learns far less "
            "than the data permits."
        )
        if case.progress.informed
        else _("Whole layers died during the training: no gradient passes them any more."),
        Why.WORSE: _(
            "The loss is worse than that of a constant prediction, although the gradient flows."
        ),
        Why.DECAYED: _("The weights shrink away, and the gradient with them."),
        Why.ALIKE: _(
            "The network can learn no more than one unit a layer could: its units start alike, and "
            "get the same gradient for ever."
        ),
        Why.CROSSED: _(
            "The network can learn no more than the mean of the targets: the loss holds each "
            "prediction against the targets of all examples."
        ),
        Why.WRONG_SIGN: _(
            "The training makes the right answers ever worse: it lowers a loss whose sign is wrong."
        ),
        Why.DROPPED: _(
            "The network does not learn: its dropout leaves little but noise of the gradient."
        ),
        Why.PROBABILITIES: _(
            "The network does not learn: it hands probabilities to a loss that expects logits."
        ),
        Why.FLOWS: _("The network does not learn, although the gradient reaches every layer.")
        if whole
        else _("The network does not learn."),
        Why.STOPPED: _(
            "The network does not learn: its weights have not moved since step {stopped}."
        ),
        Why.NOT_TRAINED: _(
            "The network does not learn: half of its weights or more take no part in the training."
        ),
        Why.HELD_BACK: _(
            "The network does not learn: most of each step is lost on its way from the gradient to "
            "the weights."
        ),
        Why.FORGETS: _(
            "The gradient reaches back {reach} of {length} time steps; the task needs more, and "
            "the network does not learn what lies farther back."
        ),
        Why.GROWS_IN_TIME: _(
            "The gradient grows {growth} times along {length} time steps before any update, and "
            "the network learns nothing, or far less than the data permits."
        ),
        Why.NOT_FED: _(
            "The network does not learn: no weight moves enough to learn anything in {steps} steps."
        ),
    }
    if judgement.why is Why.STARVES and judgement.verdict is Verdict.EXPLODING:
        texts[judgement.why] = _(
            "The gradient at '{layer}' starts {factor} times larger than at the output; later "
            "layers there hardly move while others do."
        )
    if judgement.why is Why.NONFINITE_PATH and judgement.axis is Axis.TIME:
        texts[judgement.why] = _(
            "The gradient grows along time until the numbers overflow (step {broken})."
        )
    text = texts.get(judgement.why, _("Not enough evidence for a verdict."))
    data = broken_data(case)
    if judgement.why is Why.NONFINITE_DATA and data is not None and data.path == "target":
        text = _("The targets hold NaN or infinite values.")
    low = lowest_reach(case.reach[0], case.layers) if case.steps else math.nan
    if judgement.why is Why.NONFINITE_RATE and low < -REACH_LIMIT:
        text = _("The loss or a gradient became NaN or infinite at step {broken}.")
    if judgement.why in (Why.LEARNS, Why.FLOWS) and not whole:
        text += " " + _seen(seen)
    place = _extreme(case)
    sentence = text.format(
        broken=nonfinite_step(case),
        lost=lost_share(case),
        unreached=unreached_share(case),
        layer=place[0],
        factor=times(place[1]),
        direction=_("smaller") if place[1] < 0 else _("larger"),
        steps=case.total_steps,
        most=case.progress.most,
        stopped=stopped_step(case),
        reach=_back(case),
        length=memory_of(case).steps,
        growth=times(max((each.growth for each in expanding(case)), default=0.0)),
    )
    if causes:
        first = causes[0]
        rest = 1.0 - sum(each.share for each in causes)
        text = _("Main cause: {cause} ({share:.0%} of it).")
        if first.share > 0.995:  # noqa: PLR2004 (would be printed as 100 %)
            text = _("Cause: {cause}.")
        elif rest > first.share:
            text = _("Known of its causes: {cause} ({share:.0%}); {rest:.0%} stays unexplained.")
        sentence += " " + text.format(cause=cause_word(first.name), share=first.share, rest=rest)
    return sentence


def _back(case: Case) -> str:
    """Return how many time steps back the gradient reaches."""
    reach = memory_of(case).reach
    return "?" if math.isnan(reach) else "∞" if math.isinf(reach) else f"{reach:.0f}"


def _seen(found: Spread) -> str:
    """Say how far the gradient was seen to get, where that is not everywhere."""
    text = (
        _("The gradient reaches {fed} of {of} layers; {closed} of them were not opened.")
        if found.closed
        else _("The gradient reaches {fed} of {of} layers.")
    )
    return text.format(fed=found.fed, of=found.of, closed=found.closed)


def _extreme(case: Case) -> tuple[str, float]:
    """Return the layer and reach that the blamed sample shows farthest from the output."""
    best = ("", 0.0)
    for step, row in zip(case.steps, case.reach, strict=True):
        if step != case.blamed.step:
            continue
        for layer, reach in zip(case.layers, row, strict=True):
            if not layer.gated and math.isfinite(reach) and abs(reach) > abs(best[1]):
                best = (layer.path, float(reach))
    return best


def inconclusive_because(case: Case, judgement: Judgement) -> str | None:
    """Return what is missing and what would settle it; None where the verdict is clear."""
    turnover = _turnover_steps(case)
    low = min(
        (value for row in case.reach if math.isfinite(value := lowest_reach(row, case.layers))),
        default=math.nan,
    )
    texts = {
        Why.NOTHING_SEEN: _(
            "No training step with a loss was seen. Run a script that calls loss.backward() and "
            "optimizer.step()."
        ),
        Why.TOO_SHORT: _(
            "The run of {steps} steps is too short: at this learning rate the weights need about "
            "{turnover} steps to turn over once. Train longer to settle it."
        ),
        Why.STILL_FALLING: _(
            "The loss is not yet better than a constant prediction, but it is still falling. "
            "Train longer to settle it."
        ),
        Why.CEILING_UNKNOWN: _(
            "The network has learned something (u = {u:.2f}) and its reach went as low as "
            "{low:.1f} decades; whether the task permits more is not known. Train the same "
            "network with a repaired path, such as another initialisation, to settle it."
        ),
        Why.LEARNS_LITTLE: _(
            "The network learns, and its gradient does not vanish, but it has made less "
            "progress (u = {u:.2f}) than half of what a cheap reference model makes on the same "
            "examples (u = {reference:.2f}). If the loss still falls, train longer; if not, try "
            "another learning rate to settle it."
        ),
        Why.LEARNS_WEAKLY: _(
            "The network is better than a constant prediction by more than noise, but by little "
            "(u = {gain:.3f} +- {gain_error:.3f}). A weak signal and examples learned by heart "
            "look alike: compare with the loss on examples that it was not trained on to settle it."
        ),
        Why.HIDDEN_BY_NOISE: _(
            "The loss is not better than that of a constant prediction by more than its noise, and "
            "the noise is large enough to hide a weak signal (u up to {most:.3f}). Train longer or "
            "average the loss over more examples to settle it."
        ),
        Why.NOTHING_FOUND: _(
            "The network has learned nothing (u is at most {most:.3f}) although the gradient "
            "flows, and a cheap reference model finds nothing in the same examples "
            "either: the labels may not belong to the inputs, or hold a signal too weak for both. "
            "Look at a few pairs of input and label to settle it."
        ),
        Why.FLOWS_UNSETTLED: _(
            "The network has learned nothing (u is at most {most:.3f}) although the gradient "
            "flows; whether its examples hold anything to learn is not known. Train "
            "it on a handful of examples, which a sound network learns by heart, to settle it."
        ),
        Why.NO_BASELINE: _(
            "The gradient reaches every layer throughout, but whether the network learns cannot be "
            "told from this loss: no target was read from which to tell what a constant prediction "
            "would reach, and an adversarial, contrastive, policy or likelihood loss need not fall "
            "clearly. Judge by your own metric to settle it."
        )
        if spread(case).whole and not low < -REACH_LIMIT
        else _(
            "Whether the network learns cannot be told from this loss: no target was read from "
            "which to tell what a constant prediction would reach, and an adversarial, "
            "contrastive, policy or likelihood loss need not fall clearly. Judge by your own "
            "metric to settle it."
        ),
        Why.TIME_AXIS: _(
            "The network is recurrent and does not learn. Its gradient reaches back {reach} of "
            "{length} time steps, and whether the task needs more is not known. Say how many "
            "steps it needs with --lag, or train with a longer memory to settle it."
        ),
        Why.TIME_HIDDEN: _(
            "The network is recurrent and does not learn; its time axis could not be opened (a "
            "compiled or custom function, a checkpoint), so that the gradient through time is not "
            "known. Run it without those to settle it."
        ),
    }
    text = texts.get(judgement.why)
    if text is None:
        return None
    stopped = stopped_step(case)
    kept = arriving(case)
    if judgement.why is Why.TIME_AXIS and memory_of(case).cut:
        text = _(
            "The network is recurrent and does not learn. Its gradient is cut after {reach} time "
            "steps, where the state goes on without it, and whether the task needs more is not "
            "known. Say how many steps it needs with --lag, or cut later to settle it."
        )
    if judgement.why is Why.NO_BASELINE and case.progress.moving:
        text = _(
            "Whether the network learns cannot be told from this loss: its targets change while it "
            "trains, as those that a network makes do, and then a loss need not fall. Judge by "
            "your own metric to settle it."
        )
    if stopped is not None and judgement.why in _TRAIN_LONGER:
        text = _(
            "The weights have not moved since step {stopped}, so that more steps like these would "
            "change nothing. Keep the learning rate up for longer to settle it."
        )
    elif judgement.why is Why.LEARNS_LITTLE and kept < HALF:
        text = _(
            "The network learns (u = {u:.2f}), but less than half of what a cheap reference model "
            "makes on the same examples (u = {reference:.2f}), and only {kept:.0%} of each step "
            "arrives at the weights. Settle that first: training longer does not make up for it."
        )
    elif judgement.why is Why.TOO_SHORT and kept < HALF:
        text = _(
            "The run of {steps} steps is too short to tell, and only {kept:.0%} of each step "
            "arrives at the weights. Settle that first: training longer does not make up for it."
        )
    elif judgement.why is Why.STILL_FALLING and case.progress.reference < NOTHING_TO_LEARN:
        text += " " + _(
            "A cheap reference model finds nothing to learn in the same examples either: check "
            "that the labels belong to the inputs."
        )
    limit = REACH_LIMIT
    return text.format(
        steps=case.total_steps,
        turnover=turnover,
        u=case.progress.u,
        reference=case.progress.reference,
        gain=case.progress.gain,
        gain_error=case.progress.gain_error,
        most=case.progress.most,
        stopped=stopped,
        low=low,
        limit=limit,
        kept=kept,
        reach=_back(case),
        length=memory_of(case).steps,
    )


def _turnover_steps(case: Case) -> str:
    """Return how many steps the median layer needs to turn its weights over once."""
    last = case.turnovers[-1:].ravel()  # nothing was sampled: no row
    pace = [turned / case.total_steps for turned in last if turned > 0.0]
    return f"{math.ceil(1.0 / sorted(pace)[len(pace) // 2]):,}" if pace else "?"
