"""Draw and write the page of one task."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from statistics import median

import matplotlib as mpl

from .measure import Run
from .tasks import Task

mpl.use("Agg")
from matplotlib import pyplot as plt  # the backend goes first

CELLS = ("rnn", "lstm", "gru")
DOCS = Path(__file__).parents[2] / "docs"
COLORS = {"rnn": "#c0392b", "lstm": "#2c6fbb", "gru": "#2e8b57"}

Runs = dict[tuple[tuple[str, ...], str, bool], list[Run]]  # by settings, cell, cured


def draw(task: Task, runs: Runs) -> str:
    """Draw the gradient against the lag, untreated and cured; return the picture's path."""
    settings = task.settings[-1]
    figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    for cell in CELLS:
        for cured, style in ((False, "-"), (True, "--")):
            for run in runs[settings, cell, cured][:1]:
                if run.lag:
                    name = f"{cell.upper()}, {'with the cure' if cured else 'as it is'}"
                    axes.plot(run.lag, run.norm, style, color=COLORS[cell], label=name, lw=1.6)
    axes.axhline(1e-3, color="#888", lw=1, ls=":")
    axes.annotate("horizon: a thousandth", (1, 1.2e-3), color="#666", fontsize=8)
    axes.set_yscale("log")
    axes.set_ylim(bottom=1e-12)
    axes.set_xlabel("lag (steps)")
    axes.set_ylabel("gradient against lag 1")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    place = DOCS / "images" / f"recurrent_{task.script}.png"
    figure.savefig(place, dpi=110)
    plt.close(figure)
    return f"../images/{place.name}"


def write(task: Task, runs: Runs, seeds: int) -> Path:
    """Write the page of `task`."""
    picture = draw(task, runs)
    lines = [
        f"# {task.title}",
        "",
        task.about,
        "",
        f"The script is [`examples/recurrent/{task.script}.py`]"
        f"(../../examples/recurrent/{task.script}.py). Its cure (`--cure`): {task.cure}.",
        "",
    ]
    for settings in task.settings:
        lines += _table(task, runs, settings, seeds)
    lines += [
        task.lesson,
        "",
        f"![gradient against lag]({picture})",
        "",
        "The gradient against the lag in the last samples of the first seed. Made by",
        "",
        "```bash",
        f"python -m benchmarks.recurrent {task.script}",
        "```",
        "",
    ]
    place = DOCS / "recurrent" / f"{task.script}.md"
    place.parent.mkdir(exist_ok=True)
    place.write_text("\n".join(lines), "utf-8")
    return place


def _table(task: Task, runs: Runs, settings: tuple[str, ...], seeds: int) -> list[str]:
    head = f" with `{' '.join(settings)}`" if settings else ""
    lines = [
        f"Median of {seeds} seeds (lowest to highest){head}; {task.better} is better:",
        "",
        f"| cell | cure | {task.unit} | horizon, steps | verdicts |",
        "|---|---|---|---|---|",
    ]
    for cell in CELLS:
        for cured in (False, True):
            found = runs[settings, cell, cured]
            verdicts = Counter(run.verdict for run in found)
            said = ", ".join(f"{count} {name}" for name, count in verdicts.most_common())
            lines.append(
                f"| {cell.upper()} | {'yes' if cured else 'no'} "
                f"| {_spread([run.result for run in found], '{:.3g}')} "
                f"| {_spread([run.horizon for run in found], '{:.0f}')} | {said} |"
            )
    return [*lines, ""]


def _spread(values: list[float], form: str) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "beyond the sequence"
    low, middle, high = (form.format(f(known)) for f in (min, median, max))
    return middle if low == high else f"{middle} ({low} to {high})"
