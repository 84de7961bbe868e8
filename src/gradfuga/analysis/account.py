"""The account: how the main line's gains add up, and which cause claims how much."""

from __future__ import annotations

from dataclasses import dataclass

UNEXPLAINED = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one cause claims of the reach at one op, in decades (log10); negative shrinks.

    `cause` is a cause name of the contract, or `UNEXPLAINED`.
    """

    cause: str
    op: int
    path: str
    decades: float


@dataclass(frozen=True, slots=True)
class Account:
    """The reach of the deepest layer, `total` decades, as a sum of claims.

    The claims, the unexplained ones among them, add up to `total` exactly.
    """

    step: int
    total: float
    claims: tuple[Claim, ...]

    def decades(self, cause: str) -> float:
        """Return the sum of what `cause` claims with the sign of the total."""
        return sum(c.decades for c in self._same_signed() if c.cause == cause)

    def paths(self, cause: str) -> tuple[str, ...]:
        """Return where `cause` claims something, the largest claim first."""
        own = [c for c in self._same_signed() if c.cause == cause]
        ordered = sorted(own, key=lambda c: -abs(c.decades))
        return tuple(dict.fromkeys(c.path for c in ordered))

    def shares(self) -> dict[str, float]:
        """Return each cause's share, largest first, `UNEXPLAINED` among them; they sum to 1.

        The causes share what pulls in the direction of the total. The unexplained rest counts
        with its size, whichever sign it has, so that it cannot hide behind a compensation.
        """
        causes: dict[str, float] = {}
        for claim in self._same_signed():
            if claim.cause != UNEXPLAINED:
                causes[claim.cause] = causes.get(claim.cause, 0.0) + abs(claim.decades)
        rest = abs(sum(c.decades for c in self.claims if c.cause == UNEXPLAINED))
        whole = sum(causes.values()) + rest
        if whole == 0.0:
            return {UNEXPLAINED: 1.0}
        ordered = dict(sorted(causes.items(), key=lambda item: -item[1]))
        return {**{k: v / whole for k, v in ordered.items()}, UNEXPLAINED: rest / whole}

    def _same_signed(self) -> tuple[Claim, ...]:
        return tuple(c for c in self.claims if c.decades * self.total > 0.0)
