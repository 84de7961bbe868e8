"""Truth against verdict: the confusion matrix, its error rates and their Wilson intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .truth import ACCEPTED, Truth

VERDICTS = ("healthy", "vanishing", "exploding", "dead_units", "stalled", "inconclusive")
ACCUSING = ("vanishing", "exploding", "dead_units", "stalled")
FATAL = tuple(t for t in Truth if t not in (Truth.HEALTHY, Truth.SLOW, Truth.UNSCORED))


@dataclass(frozen=True, slots=True)
class Row:
    """One observed training: which configuration, what it is, what was said."""

    index: int
    seed: int
    truth: Truth
    verdict: str
    cause: str = ""


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share by Wilson's score; (0, 1) where nothing was counted.

    Example:
        >>> [round(bound, 3) for bound in wilson(0, 100)]
        [0.0, 0.037]
    """
    if count == 0:
        return 0.0, 1.0
    share = hits / count
    center = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (center - half) / scale), min(1.0, (center + half) / scale)


def counts(rows: Sequence[Row]) -> Mapping[str, Mapping[str, int]]:
    """Return the number of trainings by truth and verdict."""
    cells = Counter((row.truth, row.verdict) for row in rows)
    return {t.value: {v: cells[t, v] for v in VERDICTS} for t in Truth}


def rates(rows: Sequence[Row]) -> Mapping[str, Mapping[str, float]]:
    """Return the error rates, counted over configurations: seeds of one are not independent.

    A configuration counts as an error if any of its seeds does.
    """
    healthy = [row for row in rows if row.truth is Truth.HEALTHY]
    fatal = [row for row in rows if row.truth in FATAL]
    vanishing = [row for row in rows if row.truth is Truth.VANISHING]
    return {
        "false alarms (healthy accused of anything)": _share(
            healthy, [row for row in healthy if row.verdict in ACCUSING]
        ),
        "healthy called vanishing": _share(
            healthy, [row for row in healthy if row.verdict == "vanishing"]
        ),
        "misses (sick called healthy)": _share(
            fatal, [row for row in fatal if row.verdict == "healthy"]
        ),
        "fatal vanishing not found": _share(
            vanishing, [row for row in vanishing if row.verdict != "vanishing"]
        ),
        "sick not given its own verdict": _share(
            fatal, [row for row in fatal if row.verdict not in ACCEPTED[row.truth]]
        ),
        "inconclusive": _share(
            [*healthy, *fatal], [row for row in [*healthy, *fatal] if row.verdict == "inconclusive"]
        ),
    }


def _share(rows: Sequence[Row], wrong: Sequence[Row]) -> Mapping[str, float]:
    count, hits = len({row.index for row in rows}), len({row.index for row in wrong})
    low, high = wilson(hits, count)
    return {
        "configurations": count,
        "wrong": hits,
        "share": hits / count if count else math.nan,
        "low": low,
        "high": high,
        "trainings": len(rows),
        "wrong_trainings": len(wrong),
    }


def markdown(rows: Sequence[Row], heading: str) -> str:
    """Write the matrix and the rates as a page."""
    cells = counts(rows)
    lines = [f"# {heading}", "", "| truth | " + " | ".join(VERDICTS) + " | right |"]
    lines.append("|---" * (len(VERDICTS) + 2) + "|")
    for truth in Truth:
        row = cells[truth.value]
        total = sum(row.values())
        right = sum(row[v] for v in ACCEPTED[truth])
        said = f"{right}/{total}" if ACCEPTED[truth] else f"({total})"
        lines.append(
            f"| {truth.value} | " + " | ".join(str(row[v]) for v in VERDICTS) + f" | {said} |"
        )
    lines += ["", "| rate | configurations | share | 95 % interval | trainings |", "|---" * 5 + "|"]
    for name, rate in rates(rows).items():
        share = "-" if math.isnan(rate["share"]) else f"{rate['share']:.3f}"
        lines.append(
            f"| {name} | {rate['wrong']:.0f}/{rate['configurations']:.0f} | {share} | "
            f"{rate['low']:.3f} to {rate['high']:.3f} | "
            f"{rate['wrong_trainings']:.0f}/{rate['trainings']:.0f} |"
        )
    return "\n".join([*lines, ""])
