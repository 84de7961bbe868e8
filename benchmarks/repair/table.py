"""Say what the cells come to: success with Wilson intervals, steps with a paired test."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from benchmarks.evaluation.matrix import wilson
from scipy import stats

from .cell import BUDGET, FRESH, PAIRS, Cell
from .methods import METHODS

OURS = METHODS[0].name
_ALL = {method.name for method in METHODS}
_RESAMPLES = 10_000
Costs = Mapping[str, Mapping[str, float]]  # method, subject: mean trainings; BUDGET where in vain


def costs(cells: Sequence[Cell]) -> Costs:
    """Return what each method spends on each sick subject, over seeds and draws."""
    found: dict[str, dict[str, list[float]]] = {method.name: {} for method in METHODS}
    for cell in cells:
        for each in cell.results:
            spent = each.trainings if each.repaired else float(BUDGET)
            found[each.method].setdefault(cell.name, []).append(spent)
    return {
        method: {name: statistics.fmean(values) for name, values in by_name.items()}
        for method, by_name in found.items()
    }


def share(cells: Sequence[Cell], method: str, name: str | None = None) -> tuple[float, float]:
    """Return how many of a method's attempts repaired, each cell counting once, and of how many."""
    hits, count = 0.0, 0.0
    for cell in cells:
        own = [each.repaired for each in cell.results if each.method == method]
        if own and name in (None, cell.name):
            hits += statistics.fmean(own)
            count += 1
    return hits, count


def interval(
    values: Sequence[float], of: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a statistic over subjects."""
    known = np.asarray(values)
    drawn = np.random.default_rng(0).integers(0, known.size, (_RESAMPLES, known.size))
    low, high = np.quantile(of(known[drawn]), (0.025, 0.975))
    return float(low), float(high)


def _median(rows: np.ndarray) -> np.ndarray:
    return np.median(rows, axis=-1)


def summary(cells: Sequence[Cell]) -> list[str]:
    """Return the table with one row a method, over the cells that all methods have looked at."""
    cells = [cell for cell in cells if {each.method for each in cell.results} == _ALL]
    if not cells:
        return []
    spent = costs(cells)
    ours = spent[OURS]
    names = sorted(ours)
    lines = [
        "| method | repaired | 95 % | trainings, median | 95 % | gradfuga less / as many / more "
        "| Wilcoxon p |",
        "|---|---:|---|---:|---|---|---:|",
    ]
    for method, by_name in spent.items():
        hits, count = share(cells, method)
        low, high = wilson(round(hits), round(count))
        values = [by_name[name] for name in names]
        between = interval(values, _median)
        pairs = np.array([by_name[name] - ours[name] for name in names])
        against, p = "", ""
        if method != OURS:
            against = (
                f"{(pairs > 1e-9).sum()} / {(abs(pairs) <= 1e-9).sum()} / {(pairs < -1e-9).sum()}"
            )
            p = f"{stats.wilcoxon(pairs, alternative='greater').pvalue:.1e}" if pairs.any() else "1"
        lines.append(
            f"| {method} | {hits:.3g}/{count:.0f} | {low:.2f} to {high:.2f} "
            f"| {statistics.median(values):.2f} | {between[0]:.2f} to {between[1]:.2f} "
            f"| {against} | {p} |"
        )
    return lines


def by_subject(cells: Sequence[Cell]) -> list[str]:
    """Return the table with one row a sick subject: shares repaired and mean trainings."""
    spent = costs(cells)
    looked = {each.method for cell in cells for each in cell.results}
    methods = [method.name for method in METHODS if method.name in looked]
    lines = [
        f"| subject | verdict | untreated | control | {' | '.join(methods)} | its treatment |",
        "|---|---|---:|---:|" + "---:|" * len(methods) + "---|",
    ]
    for name in dict.fromkeys(cell.name for cell in cells if cell.sick):
        own = [cell for cell in cells if cell.name == name]
        verdicts = ", ".join(dict.fromkeys(f"{c.verdict}, {c.severity}" for c in own))
        tries = []
        for method in methods:
            hits, count = share(own, method)
            tried = f"{hits / count:.2g} in {spent[method][name]:.1f}" if hits else "-"
            tries.append(tried if count else "")
        treatments = dict.fromkeys(
            each.treatment for c in own for each in c.results if each.method == OURS
        )
        lines.append(
            f"| {name} | {verdicts} | {_mean(own, 'untreated')} | {_mean(own, 'control')} "
            f"| {' | '.join(tries)} | {'; '.join(filter(None, treatments)) or '-'} |"
        )
    return lines


def _mean(cells: Sequence[Cell], field: str) -> str:
    return f"{statistics.fmean(getattr(cell, field) for cell in cells):.2f}"


def missed(cells: Sequence[Cell]) -> list[str]:
    """Return the fatal subjects that another method repairs (in any draw) and gradfuga does not."""
    found = []
    for cell in cells:
        repaired = {each.method for each in cell.results if each.repaired}
        if cell.severity == "fatal" and repaired and OURS not in repaired:
            found.append(f"{cell.name} (seed {cell.seed}: {', '.join(sorted(repaired))})")
    return found


def ours(cells: Sequence[Cell]) -> str:
    """Return how many gradfuga repairs, in one sentence for each severity."""
    said = []
    for severity in ("fatal", "serious", "mild", "none"):
        own = [cell for cell in cells if cell.severity == severity]
        hits, count = share(own, OURS)
        if count:
            low, high = wilson(round(hits), round(count))
            said.append(f"{hits:.3g} of {count:.0f} {severity} ({low:.2f} to {high:.2f})")
    return f"gradfuga repairs {', '.join(said)}, by the severity that it finds itself."


def markdown(cells: Sequence[Cell]) -> str:
    """Return the page."""
    sick = [cell for cell in cells if cell.sick]
    healthy = [cell for cell in cells if not cell.sick]
    alone = sum(cell.left_alone for cell in healthy)
    low, high = wilson(len(healthy) - alone, len(healthy))
    seeds = sorted({cell.seed for cell in cells})
    treated = [f"{c.name} (seed {c.seed}: {c.verdict})" for c in healthy if not c.left_alone]
    lost = missed(sick)
    return "\n".join(
        [
            "# Repairs, measured",
            "",
            f"{len({c.name for c in sick})} sick trainings of the zoo and the examples, "
            f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}. Each method looks "
            "for a treatment with the same trainings, the same hurdle (a quarter of a training) "
            f"and the same proof ({PAIRS} pairs), and has failed after {BUDGET} trainings' worth "
            "of steps, the proof (6 trainings) included. **Repaired** means: proven, and on "
            f"{len(FRESH)} seeds that no method has seen, the treated script makes at least .8 of "
            "the progress of the control, which is the same training with the smallest fix, as its "
            "label says.",
            "",
            ours(sick),
            "",
            *summary(sick),
            "",
            "A training is as many optimizer steps as the script takes. What is not repaired "
            f"counts as {BUDGET}. Medians over subjects of the mean over seeds and draws; their "
            "intervals are bootstrapped over subjects, those of the shares are Wilson's. The sixth "
            "column counts the subjects on which gradfuga needs less than the method, as many, "
            "more; the test is the one-sided Wilcoxon signed-rank test over subjects.",
            "",
            "* gradfuga: `gradfuga repair`'s own search.",
            *(f"* {m.name}: {_first_line(m.look.__doc__)}" for m in METHODS[1:]),
            "",
            "Fatal ones that another method repairs and gradfuga does not: "
            + ("; ".join(lost) if lost else "none")
            + ".",
            "",
            f"Healthy trainings left alone: {alone} of {len(healthy)} (treated: "
            f"{low:.3f} to {high:.3f} with 95 % confidence)"
            + (f"; treated: {', '.join(treated)}" if treated else "")
            + ".",
            "",
            "## By subject",
            "",
            "Progress on the fresh seeds (1 perfect, 0 the best constant); share repaired and mean "
            "trainings up to the proof.",
            "",
            *by_subject(sick),
            "",
            "```bash",
            "python -m benchmarks.repair --seeds N --write",
            "```",
            "",
        ]
    )


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]
