"""Draw and write the page of one case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

from .cases import Case
from .measure import Repaired, Whole

mpl.use("Agg")
from matplotlib import pyplot as plt  # the backend goes first
from matplotlib.axes import Axes

DOCS = Path(__file__).parents[2] / "docs"
BROKEN, TREATED = "#c0392b", "#2c6fbb"
_LIMIT = -1.30  # decades; the limit of reach, docs/how-it-judges.md

Document = dict[str, Any]  # as JSON gives it


def draw(case: Case, found: Repaired) -> str:
    """Draw the losses and the gradient, broken and repaired; return the picture's path."""
    trial: Document = found.said["trial"]  # type: ignore[assignment]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.4), layout="constrained")
    for arm, color, name in ((trial["untreated"], BROKEN, "as it is"),
                             (trial["treated"], TREATED, "repaired")):  # fmt: skip
        for place, run in enumerate(arm["runs"] if arm else ()):
            curve = run["curve"]
            label = name if place == 0 else None
            left.plot(curve["step"], curve["loss"], color=color, lw=1.3, alpha=0.8, label=label)
    left.set_xlabel("step")
    left.set_ylabel("loss, one line a seed")
    left.set_ylim(bottom=0.0)
    lagged = any(_lags(each) for each in (found.broken, found.repaired))
    (_draw_lags if lagged else _draw_reach)(right, found)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    place = DOCS / "images" / f"repair_{case.script}.png"
    figure.savefig(place, dpi=110)
    plt.close(figure)
    return f"../images/{place.name}"


def _draw_reach(axes: Axes, found: Repaired) -> None:
    """Draw the reach of the layers at the first step, from the input to the output."""
    trial: Document = found.said["trial"]  # type: ignore[assignment]
    for arm, color, name in ((trial["untreated"], BROKEN, "as it is"),
                             (trial["treated"], TREATED, "repaired")):  # fmt: skip
        reach = [value for value in arm["reach"]["reach"] if value is not None] if arm else []
        if reach:
            depth = [1.0 - place / max(len(reach) - 1, 1) for place in range(len(reach))]
            axes.plot(depth, reach, "o-", ms=3, color=color, label=name)
    axes.axhline(_LIMIT, color="#888", lw=1, ls=":")
    axes.annotate("limit", (0.0, _LIMIT), color="#666", fontsize=8, va="bottom")
    axes.set_xticks([0.0, 1.0], ["first layer", "output"])
    axes.set_ylabel("reach at the first step, decades")


def _lags(whole: Whole | None) -> list[Document]:
    if whole is None:
        return []
    profiles: list[Document] = whole.said["time"]  # type: ignore[assignment]
    return [each for each in profiles if each["norm"] and each["norm"][0]]


def _draw_lags(axes: Axes, found: Repaired) -> None:
    """Draw the gradient against the lag in the last samples of the whole runs."""
    for whole, color, name in ((found.broken, BROKEN, "as it is"),
                               (found.repaired, TREATED, "repaired")):  # fmt: skip
        for profile in _lags(whole)[:1]:
            pairs = [(a, b) for a, b in zip(profile["lag"], profile["norm"], strict=True) if b]
            first = pairs[0][1]
            axes.plot([a for a, _ in pairs], [b / first for _, b in pairs], color=color, label=name)
    axes.axhline(1e-3, color="#888", lw=1, ls=":")
    axes.annotate("horizon: a thousandth", (1, 4e-4), color="#666", fontsize=8, va="top")
    axes.set_yscale("log")
    axes.set_ylim(bottom=1e-12, top=10.0)
    axes.set_xlabel("lag, steps")
    axes.set_ylabel("gradient against lag 1")


def write(case: Case, found: Repaired) -> Path:
    """Write the page of `case`."""
    trial: Document = found.said["trial"]  # type: ignore[assignment]
    causes: list[Document] = found.said["causes"]  # type: ignore[assignment]
    named = ", ".join(f"`{each['name']}` {each['share']:.0%}" for each in causes)
    picture = draw(case, found)
    lines = [
        f"# {case.title}",
        "",
        case.about,
        "",
        "```bash",
        f"gradfuga repair --budget {case.budget} examples/repair/{case.script}.py",
        "```",
        "",
        f"The script is [`examples/repair/{case.script}.py`]"
        f"(../../examples/repair/{case.script}.py).",
        "",
        f"**Found**: `{found.said['verdict']}`, {found.said['severity']}; causes: {named}.",
        "",
        *_outcome(trial),
        "",
        f"| script, run to its end | {case.unit} | verdict |",
        "|---|---|---|",
        f"| as it is | {found.broken.result:g} | {found.broken.said['verdict']} |",
    ]
    if found.repaired is not None:
        lines.append(f"| patched | {found.repaired.result:g} | {found.repaired.said['verdict']} |")
    lines += ["", f"![loss and gradient, as it is and repaired]({picture})", "", *_tried(trial)]
    lines += [*(f"* {note}" for note in trial["notes"]), ""] if trial["notes"] else []
    if trial["diff"]:
        lines += ["The patch:", "", "```diff", trial["diff"].rstrip("\n"), "```", ""]
    lines += ["Made by", "", "```bash", f"python -m benchmarks.repaired {case.script}", "```", ""]
    place = DOCS / "repair" / f"{case.script}.md"
    place.parent.mkdir(exist_ok=True)
    place.write_text("\n".join(lines), "utf-8")
    return place


def _outcome(trial: Document) -> list[str]:
    proven = "proven" if trial["proven"] else "not proven"
    lines = [f"**Outcome**: {proven}. {trial['because']}"]
    if trial["treated"]:
        low, high = trial["interval"]
        lines[0] = f"**Repair**: {trial['treated']['title']}. {trial['because']}"
        lines += [
            f"Gain in progress (0 a constant answer, 1 perfect): {trial['difference']:.2f}, "
            f"interval {low:.2f} to {high:.2f}, {trial['pairs']} pairs, "
            f"{trial['slice']['steps']} steps for each training; {proven}. All trainings "
            f"together took {trial['steps']} steps."
        ]
    return lines


def _tried(trial: Document) -> list[str]:
    lines = ["| what was tried | remedy | progress | seeds | steps |", "|---|---|---|---|---|"]
    arms = [trial["untreated"], *trial["tried"], *trial["controls"]]
    names = {"untreated": "as it is", "random": "control, drawn blindly: ",
             "longer": "control: as it is, for longer"}  # fmt: skip
    for arm in (each for each in arms if each):
        title = names.get(arm["kind"], "") + (arm["title"] or "")
        score = "failed" if arm["score"] is None else f"{arm['score']:.2f}"
        steps = max((run["steps"] for run in arm["runs"]), default=0)
        remedies = ", ".join(arm["remedies"])
        lines.append(f"| {title} | {remedies} | {score} | {len(arm['runs'])} | {steps} |")
    return [*lines, ""]
