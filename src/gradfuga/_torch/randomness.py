"""Take and put back the random state of the process: Python's, NumPy's, PyTorch's."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Randomness:
    """The random state at one moment; made by `take`.

    Attributes:
        python: of `random`.
        numpy: of NumPy's global generator: its name, key, position, and a normal left over.
        states: of PyTorch: of the CPU's generator, then of each device's.
        devices: the accelerators whose generators are among them.
    """

    python: tuple[object, ...]
    numpy: tuple[str, np.ndarray[tuple[int], np.dtype[np.uint32]], int, int, float]
    states: tuple[Tensor, ...]
    devices: tuple[torch.device, ...]

    def put_back(self) -> None:
        """Make the process draw what it would have drawn at that moment."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.states[0])
        for device, state in zip(self.devices, self.states[1:], strict=True):
            _module_of(device).set_rng_state(state, device)

    def same_torch(self, other: Randomness) -> bool:
        """Whether PyTorch has drawn nothing between the two moments."""
        return all(torch.equal(a, b) for a, b in zip(self.states, other.states, strict=True))


def take(tensors: Iterable[Tensor]) -> Randomness:
    """Return the random state now, with that of the accelerators that hold `tensors`."""
    devices = tuple({t.device: None for t in tensors if t.device.type not in ("cpu", "meta")})
    states = (torch.get_rng_state(), *(_module_of(d).get_rng_state(d) for d in devices))
    numpy = np.random.get_state(legacy=True)
    return Randomness(random.getstate(), numpy, states, devices)  # type: ignore[arg-type]  # a tuple where legacy


def _module_of(device: torch.device):  # type: ignore[no-untyped-def]  # noqa: ANN202 (torch.cuda and its like)
    return torch.get_device_module(device)
