"""Seed a program from outside, and tell whether it seeds itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import final

import numpy as np

_STRIDE = 1_000_003  # a prime: shifted seeds of one trial meet no other seed of the script
_LIMIT = 2**32  # numpy takes no larger seed


@final
class Seeds:
    """The randomness of one run of a trial: Python's, NumPy's and PyTorch's.

    A seed that the program sets is shifted by `number` strides: run 0 is the program's own, the
    others are as different as any seeds. `np.random.default_rng()` without a seed gets one.
    Generators that the program makes and seeds itself stay as they are, in every run the same.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.own = False  # whether the program has seeded itself

    def plant(self) -> None:
        """Seed Python and NumPy, and shift what the program sets from now on."""
        random.seed(self.number)
        np.random.seed(self.number)
        random.seed = self._shifting(random.seed)  # type: ignore[assignment]
        np.random.seed = self._shifting(np.random.seed)  # type: ignore[assignment]
        made = np.random.default_rng

        def default_rng(seed: object = None) -> np.random.Generator:
            return made(self.number if seed is None else seed)  # type: ignore[arg-type]

        np.random.default_rng = default_rng

    def plant_torch(self) -> None:
        """Seed PyTorch and shift what the program sets, as soon as it is imported."""
        import torch  # noqa: PLC0415 (the program decides when)

        torch.manual_seed(self.number)
        shifted = self._shifting(torch.manual_seed)
        torch.manual_seed = torch.random.manual_seed = shifted  # type: ignore[assignment]

        def seed() -> int:
            torch.default_generator.manual_seed(self.number)
            return self.number

        torch.seed = torch.random.seed = seed

    def replant(self) -> None:
        """Seed all again, so that what follows is drawn alike whatever a treatment has drawn."""
        import torch  # noqa: PLC0415

        own = self.own  # these are not the program's
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        self.own = own

    def _shifting(self, seed: Callable[..., object]) -> Callable[..., object]:
        def shifted(value: object = None, *rest: object, **named: object) -> object:
            given = value if value is not None else named.pop("seed", named.pop("a", None))
            self.own = self.own or given is not None
            if given is None:
                return seed(self.number, *rest, **named)
            if not isinstance(given, int | np.integer):
                return seed(given, *rest, **named)
            shift = _STRIDE * self.number
            return seed((int(given) + shift) % _LIMIT if shift else given, *rest, **named)

        return shifted
