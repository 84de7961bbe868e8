"""Open the compiled modules of a sampled step: each of their calls gets an eager replica."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from .compile_seam import CompiledCall
from .parts import Parts
from .randomness import Randomness, take
from .replica import Replica, replicate, settled, walk_through
from .spies import ForwardSpies, next_number, tensors_in
from .stand_ins import CannotStandInError, StandIns
from .tracebacks import Tracebacks
from .walk import Walk

_REPLICAS = "the eager passes of compiled modules"
_MOST = 256  # calls of compiled modules in one step that are held until its backward pass


@final
class CompiledCalls:
    """The calls of compiled modules in one thread's sampled step.

    Args:
        spies: see the modules of the eager passes, and must not see those of the compiled ones.
        tracebacks: likewise.
        parts: of the observer that still work.
    """

    def __init__(self, spies: ForwardSpies, tracebacks: Tracebacks, parts: Parts) -> None:
        self._spies, self._tracebacks, self._parts = spies, tracebacks, parts
        self._replicas: list[Replica] = []
        self._used: list[Replica] = []
        self.inside = False  # whether an eager pass runs, forward or backward
        self.traced = False  # whether an eager pass knows its source lines
        self._seconds = 0.0  # that eager passes have taken since they were last asked for

    def call(self, call: CompiledCall, *, wanted: bool, sources: bool) -> object:
        """Make the program's call, and run it again where the step's tape will want that.

        Args:
            call: as the program makes it.
            wanted: whether it is.
            sources: whether source lines are wanted.
        """
        if self.inside:
            return call.eager(*call.args, **call.kwargs)
        with self._spies.placed(there=False), self._tracebacks.paused():
            can = wanted and torch.is_grad_enabled() and self._parts.work(_REPLICAS)
            before = self._look(call) if can else None
            first = next_number()
            output = call.run()
            end = next_number()
        if not wanted:
            return output
        started = time.perf_counter()
        back = self._spies.mark()
        replica: Replica | None = None
        if before is not None and self._learns(output, first, end):
            replica = self._run_again(call, before, output, (first, end), sources=sources)
        if replica is None:
            back()
            inputs = list(tensors_in(call.args))
            self._spies.note(call.module, inputs, output, first=first, end=end)
        else:
            self._spies.answer(list(tensors_in(call.args)), output)
            self._replicas.append(replica)
        self._seconds += time.perf_counter() - started
        return output

    def _look(self, call: CompiledCall) -> _Before | None:
        """Copy what the module holds before its call; None where it cannot be run again."""
        if len(self._replicas) >= _MOST:
            return None
        started = time.perf_counter()
        try:
            return _Before(call)
        except CannotStandInError as why:
            self._parts.tell(_closed(call, why))
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self._parts.fail(_REPLICAS, error)
        finally:
            self._seconds += time.perf_counter() - started
        return None

    @staticmethod
    def _learns(output: object, first: int, end: int) -> bool:
        """Whether a gradient will come back through what the call has put out."""
        return any(
            tensor.grad_fn is not None and first <= tensor.grad_fn._sequence_nr() < end  # noqa: SLF001
            for tensor in tensors_in(output)
        )

    def _run_again(
        self,
        call: CompiledCall,
        before: _Before,
        output: object,
        numbers: tuple[int, int],
        *,
        sources: bool,
    ) -> Replica | None:
        self.inside = True
        try:
            before.check()
            if sources:
                self._tracebacks.on()
            with self._spies.placed(there=True):
                replica = replicate(
                    call,
                    before.stand_ins,
                    output=output,
                    first=numbers[0],
                    end=numbers[1],
                    replay=before.randomness.put_back,
                    drew=before.drew,
                )
            self.traced |= torch.is_anomaly_enabled()
            return replica
        except CannotStandInError as why:
            self._parts.tell(_closed(call, why))
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self._parts.fail(_REPLICAS, error)
        finally:
            self.inside = False
            if not self._spies.installed:  # the program's own part is not to be traced
                self._tracebacks.off()
        return None

    # -- the backward pass -----------------------------------------------------------------

    def walk(self, roots: Sequence[Tensor], stands_for: Mapping[int, Tensor]) -> Walk:
        """Walk from `roots`, through the eager passes where they fit, and make these listen."""
        fitting = settled(self._replicas)
        if len(fitting) < len(self._replicas):
            self._parts.tell("the inside of a compiled module (its eager pass differs)")
        path, self._used = walk_through(roots, stands_for, fitting)
        if path.closed:
            self._parts.tell("the inside of what is compiled, except for modules")
        for replica in self._used:
            replica.listen()
        return path

    def run_back(self, *, retain: bool, read: bool) -> None:
        """After the program's backward pass: run those of the eager passes that it went through.

        Args:
            retain: whether the program keeps its own graph for another pass.
            read: whether the pass was read at all.
        """
        used, self._used = self._used, []
        self.inside = True
        try:
            for replica in reversed(used):
                replica.run_back(retain=retain)
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self._parts.fail(_REPLICAS, error)
        finally:
            self.inside = False
            for replica in used:
                replica.hush()
        if not retain:
            self._replicas = [each for each in self._replicas if read and each not in used]

    def take_seconds(self) -> float:
        """Return the seconds that eager passes have taken since this was last asked."""
        taken, self._seconds = self._seconds, 0.0
        return taken

    def forget(self) -> None:
        """Let go of the eager passes of this step."""
        self._replicas.clear()
        self.traced = False


@final
class _Before:
    """What is known before the call of a compiled module."""

    def __init__(self, call: CompiledCall) -> None:
        self.stand_ins = StandIns(call.module)
        self.randomness: Randomness = take(self.stand_ins.leaves)
        self._given = [(t, t._version) for t in tensors_in((call.args, dict(call.kwargs)))]  # noqa: SLF001
        self._after: Randomness | None = None

    def check(self) -> None:
        """The call has been made: see what it has changed.

        Raises:
            CannotStandInError: its inputs or parameters, so that they are no longer at hand.
        """
        self._after = take(self.stand_ins.leaves)
        if any(tensor._version != version for tensor, version in self._given):  # noqa: SLF001
            raise CannotStandInError("it changes its inputs in place")
        if not self.stand_ins.unchanged:
            raise CannotStandInError("it changes its parameters in place")

    def drew(self) -> bool:
        """Whether random numbers have been drawn by the call, or by the pass that runs now."""
        now = take(self.stand_ins.leaves)
        assert self._after is not None
        return not (self._after.same_torch(self.randomness) and now.same_torch(self.randomness))


def _closed(call: CompiledCall, why: CannotStandInError) -> str:
    return f"the inside of the compiled {type(call.module).__name__} ({why})"
