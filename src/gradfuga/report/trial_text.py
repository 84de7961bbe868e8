"""Show a trial on a terminal: what was tried, what is proven, the diff."""

from __future__ import annotations

import io
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
from rich import box
from rich.color import ColorSystem
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from .._messages import _, _n
from .._types import Safety
from ..experiment import Arm, ArmKind, Trial
from ..patch.encoding import encoding_of
from . import _words as words
from .text import NARROWEST, WIDEST

CURVE = 14  # chosen: characters of a small curve
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-=^"
_DIFF_STYLES = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))


def write_trial(trial: Trial, stream: TextIO, *, width: int | None = None) -> None:
    """Write the trial to `stream`: in colour on a terminal, plain where it is piped."""
    encoding = stream.encoding or "utf-8"
    terminal = stream.isatty()
    unicode = terminal and encoding.lower().startswith("utf")
    above, below = _around_diff(trial, width, color=terminal, unicode=unicode)
    diff = _diff(trial.diff, color=terminal)
    raw = getattr(stream, "buffer", None)  # a stream of bytes behind, which a StringIO has not
    if terminal or raw is None or not diff:
        stream.write(f"{above}{diff}{below}".encode(encoding, "backslashreplace").decode(encoding))
        return
    stream.write(above.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
    raw.write(raw_diff(trial))
    raw.flush()
    stream.write(below.encode(encoding, "backslashreplace").decode(encoding))


def render_trial(
    trial: Trial, *, width: int | None = None, color: bool, unicode: bool = False
) -> str:
    """Return the trial as text for a terminal.

    Args:
        trial: what to say.
        width: columns; those of the terminal, at most `WIDEST`, where None.
        color: write escape codes for colour.
        unicode: draw curves and rules with characters beyond ASCII.
    """
    above, below = _around_diff(trial, width, color=color, unicode=unicode)
    return f"{above}{_diff(trial.diff, color=color)}{below}"


def raw_diff(trial: Trial) -> bytes:
    """Return the diff, with an empty line behind, in the encodings of the files that it changes.

    `git apply` compares bytes: a context line of a Latin-1 file has to be Latin-1.
    """
    found = b""
    for file in trial.sources:
        *names, changes = file.diff.split("\n", 2)
        found += os.fsencode("".join(f"{name}\n" for name in names))
        found += changes.encode(encoding_of(file.before), "surrogateescape")
    return (found or trial.diff.encode("utf-8", "surrogateescape")) + b"\n"


def _around_diff(trial: Trial, width: int | None, *, color: bool, unicode: bool) -> tuple[str, str]:
    """Return the text above the diff and below."""
    columns = max(NARROWEST, width or min(shutil.get_terminal_size().columns, WIDEST))
    above = _rendered(_parts(trial, unicode=unicode), columns, color=color)
    below = _rendered([Padding(Text(cost_line(trial), "dim"), (0, 0, 0, 2))], columns, color=color)
    return above, below


def _rendered(parts: Iterable[RenderableType], columns: int, *, color: bool) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=columns,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
        highlight=False,
        _environ={},
    )
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().split("\n"))


def _diff(diff: str, *, color: bool) -> str:
    """Return the diff as it is, neither wrapped nor stripped: `git apply` takes what is piped."""
    if not color or not diff:
        return f"{diff}\n" if diff else ""
    lines = []
    for line in diff.split("\n"):
        style = next((style for mark, style in _DIFF_STYLES if line.startswith(mark)), "")
        lines.append(Style.parse(style).render(line, color_system=ColorSystem.STANDARD))
    return "\n".join([*lines, ""])


def _parts(trial: Trial, *, unicode: bool) -> Iterator[RenderableType]:
    head = _("PROVEN") if trial.proven else _("NOT PROVEN")
    yield Text()
    if trial.treated is not None:
        yield Text.assemble(
            (head, "bold green" if trial.proven else "bold yellow"),
            (f"  {trial.treated.treatment.title}", "bold"),
        )
    elif trial.tried:
        yield Text(head, "bold yellow")
    yield Padding(Text(trial.because, "bold"), (0, 0, 0, 2))
    if trial.tried or trial.untreated is not None:
        yield Text()
        yield Text(_("What was tried"), "bold underline")
        yield _table(trial, unicode=unicode)
        yield Padding(Text(_legend(trial), "dim"), (0, 0, 0, 2))
    for line in (*evidence_lines(trial), *effect_lines(trial), *trial.notes):
        yield Padding(Text(line), (0, 0, 0, 2))
    if trial.diff_because:
        yield Text()
        yield Text(_("The change to your source"), "bold underline")
        if not trial.diff_proven:
            yield Padding(Text(_("Not proven as a diff."), "bold yellow"), (0, 0, 0, 2))
        for line in change_lines(trial):
            yield Padding(Text(line), (0, 0, 0, 2))
    yield Text()


def _table(trial: Trial, *, unicode: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD if unicode else box.ASCII2, pad_edge=unicode, expand=False)
    table.add_column(_("treatment"), ratio=1, overflow="fold")
    table.add_column(_("loss curve"), no_wrap=True)
    for title in (_("loss"), _("score"), _("seeds"), _("reach")):
        table.add_column(title, justify="right", no_wrap=True)
    untreated = () if trial.untreated is None else (trial.untreated,)
    patched = () if trial.patched is None else (trial.patched,)
    arms = (*untreated, *trial.tried, *trial.controls, *patched)
    low, high = _range(arms)
    for arm in arms:
        won = trial.treated is not None and arm.treatment is trial.treated.treatment
        style = "bold green" if won and trial.proven else "bold" if won else ""
        if arm.failed or not arm.runs:
            why = arm.failed or _("not run")
            table.add_row(
                Text.assemble(arm_title(arm), (f"\n{words.clean(why)[:100]}", "dim")),
                "", "-", "-", "0", "-", style="red" if arm.failed else "dim",
            )  # fmt: skip
            continue
        losses = [run.loss for run in arm.runs]
        table.add_row(
            arm_title(arm),
            curve(arm, low, high, unicode=unicode),
            words.number_text(sum(losses) / len(losses)),
            f"{arm.score:.3f}",
            str(len(arm.runs)),
            words.decades_text(arm.reach),
            style=style,
        )
    return table


def arm_title(arm: Arm) -> str:
    """Return what an arm is called."""
    treatment = arm.treatment
    match treatment.kind:
        case ArmKind.UNTREATED:
            return _("untreated")
        case ArmKind.LONGER:
            return _("untreated, trained for longer")
        case ArmKind.RANDOM:
            return _("drawn blindly: {title}").format(title=treatment.title)
        case ArmKind.PATCHED:
            return _("your source, patched")
        case ArmKind.TREATMENT:
            return treatment.title


def curve(arm: Arm, low: float, high: float, *, unicode: bool) -> str:
    """Return the mean loss curve over the seeds in `CURVE` characters, between two losses."""
    marks = _BLOCKS if unicode else _ASCII
    losses = mean_curve(arm)[1]
    if losses.size == 0 or not high > low:
        return ""
    out = []
    for part in np.array_split(losses, min(CURVE, losses.size)):
        finite = part[np.isfinite(part)]
        if not finite.size:
            out.append("!")
            continue
        share = (float(finite.mean()) - low) / (high - low)
        out.append(marks[round(min(max(share, 0.0), 1.0) * (len(marks) - 1))])
    return "".join(out)


def mean_curve(
    arm: Arm,
) -> tuple[
    np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.float64]]
]:
    """Return the steps and the mean losses of the seeds that have the arm's longest curve."""
    curves = [run for run in arm.runs if run.curve]
    if not curves:
        return np.zeros(0, np.int64), np.zeros(0)
    steps = max((run.curve_steps for run in curves), key=lambda each: each[-1])
    same = [run.curve for run in curves if run.curve_steps == steps]
    return np.array(steps), np.mean(np.array(same, dtype=np.float64), axis=0)


def evidence_lines(trial: Trial) -> Iterator[str]:
    """Yield the paired evidence."""
    found = trial.comparison
    if found is None or not math.isfinite(found.difference):
        return
    low, high = found.interval
    yield _n(
        "Gain {gain:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, over {pairs} pair of one seed "
        "(Student's t); exact sign test p = {p:.3g}.",
        "Gain {gain:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, over {pairs} pairs of one seed "
        "each (Student's t); exact sign test p = {p:.3g}.",
        found.pairs,
    ).format(gain=found.difference, low=low, high=high, pairs=found.pairs, p=found.p_value)


def effect_lines(trial: Trial) -> Iterator[str]:
    """Yield what the treatment costs, and whether the user is to agree to it."""
    before, after = trial.untreated, trial.treated
    if before is None or after is None or not before.runs or not after.runs or after.failed:
        return
    one, other = before.runs[0], after.runs[0]
    yield _(
        "Side effects: step {step:+.0%}, parameters {parameters:+d}, memory {memory:+.0f} MiB."
    ).format(
        step=after.step_seconds / max(before.step_seconds, 1e-12) - 1.0,
        parameters=other.parameters - one.parameters,
        memory=(other.peak_bytes - one.peak_bytes) / 2**20,
    )
    if after.treatment.safety is Safety.UNSAFE:
        yield _("It changes what the network computes: a saved model does not fit afterwards.")


def change_lines(trial: Trial) -> Iterator[str]:
    """Yield why the diff is proven or not, what it leaves out, and where it applies."""
    yield trial.diff_because
    for action, why in trial.unplaced:
        yield _("Left out: {action} {why}").format(action=action, why=why)
    if trial.diff and trial.logits:
        yield _(
            "The patched model puts out logits: take their sigmoid or softmax where you use it."
        )
    if trial.diff and trial.diff_base != str(Path.cwd()):
        yield _("Apply it in {folder}.").format(folder=trial.diff_base)


def _legend(trial: Trial) -> str:
    known = trial.untreated is None or all(run.known for run in trial.untreated.runs)
    loss = _("held-out loss") if trial.held_out else _("training loss")
    if known:
        return _(
            "score: progress of the {loss}, 0 for the best constant prediction, 1 for zero; reach: "
            "decades of the weakest gradient before the first step"
        ).format(loss=loss)
    return _(
        "score: minus the logarithm of the {loss}; reach: decades of the weakest gradient before "
        "the first step"
    ).format(loss=loss)


def cost_line(trial: Trial) -> str:
    """Return what the trial took."""
    return _(
        "Budget: {budget}. Taken: {seconds:.0f} s, {steps} steps in all, {slice} for each training."
    ).format(budget=trial.budget, seconds=trial.seconds, steps=trial.steps, slice=trial.slice_steps)


def _range(arms: tuple[Arm, ...]) -> tuple[float, float]:
    """Return the losses between which all curves are drawn: outliers are cut."""
    finite = [each[np.isfinite(each)] for each in (mean_curve(arm)[1] for arm in arms)]
    finite = [each for each in finite if each.size]
    if not finite:
        return 0.0, 0.0
    low = min(float(each.min()) for each in finite)
    return low, max(float(np.percentile(each, 90)) for each in finite[:1])
