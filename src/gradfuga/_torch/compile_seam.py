"""See the calls of compiled modules, and notice that a program compiles functions."""

from __future__ import annotations

import functools
import gc
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, cast, final

import torch
from torch import nn

_EVAL_FRAME = "torch._dynamo.eval_frame"
_IN_PLACE = "_compiled_call_impl"  # where `nn.Module.compile` keeps what runs instead


@dataclass(frozen=True, slots=True)
class CompiledCall:
    """One call of a compiled module.

    Attributes:
        module: the module that was compiled.
        run: makes the call, as the program would.
        eager: the same computation, not compiled.
        args: what the program gives.
        kwargs: likewise.
    """

    module: nn.Module
    run: Callable[[], object]
    eager: Callable[..., object]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]


@final
class CompileSeam:
    """Stands between a program and its compiled modules while attached.

    `torch.compile` is replaced, and the call of what it returns: on the class for modules that it
    wraps, on the module where `module.compile()` is used.

    Args:
        call: makes the call of a compiled module.
        function: told before the program compiles a function for the first time, or at once
            where it has: what a function calls is compiled into it, hooks of ours too.
    """

    def __init__(
        self, call: Callable[[CompiledCall], object], function: Callable[[], None]
    ) -> None:
        self._call, self._function = call, function
        self._attached = False
        self._original: Callable[..., Any] | None = None
        self._wrapper: Callable[..., Any] | None = None
        self._kind: type[nn.Module] | None = None  # the class of what torch.compile returns
        self._kind_call: Callable[..., Any] | None = None
        self._in_place: list[tuple[weakref.ref[nn.Module], Callable[..., Any]]] = []

    def attach(self) -> None:
        """Put the seam in place."""
        self._attached = True
        original: Callable[..., Any] = torch.compile

        @functools.wraps(original)
        def compile(*args: object, **kwargs: object) -> object:
            given = args[0] if args else kwargs.get("model")
            if given is not None and not isinstance(given, nn.Module) and not _of_module(given):
                self._function()
            compiled = original(*args, **kwargs)
            self._watch_class()
            if _of_module(given) and callable(compiled):
                return self._seen(cast("MethodType", given), compiled)
            return compiled

        self._original, self._wrapper = original, compile
        torch.compile = cast("Any", compile)
        if _EVAL_FRAME in sys.modules:
            self._watch_class()
            self._look_around()

    def detach(self) -> None:
        """Put everything back that is still ours."""
        self._attached = False
        if self._original is not None and torch.compile is self._wrapper:
            torch.compile = self._original
        self._original = None
        if self._kind is not None:
            cast("Any", self._kind).__call__ = self._kind_call
            self._kind = None
        for reference, original in self._in_place:
            module = reference()
            if module is not None and getattr(vars(module).get(_IN_PLACE), "gradfuga", None):
                vars(module)[_IN_PLACE] = original
        self._in_place.clear()

    def _watch_class(self) -> None:
        """See the calls of what `torch.compile(module)` returns."""
        loaded = sys.modules.get(_EVAL_FRAME)
        kind = vars(loaded).get("OptimizedModule") if loaded is not None else None
        if kind is None or self._kind is not None or not self._attached:
            return
        original = kind.__call__

        def called(compiled: nn.Module, *args: object, **kwargs: object) -> object:
            if torch.compiler.is_compiling():
                return original(compiled, *args, **kwargs)
            module = cast("nn.Module", compiled._orig_mod)  # noqa: SLF001
            run = functools.partial(original, compiled, *args, **kwargs)
            return self._call(CompiledCall(module, run, module, args, kwargs))

        self._kind, self._kind_call = kind, original
        cast("Any", kind).__call__ = called

    def _seen(self, method: MethodType, compiled: Callable[..., Any]) -> Callable[..., Any]:
        """Return what runs instead of a module that is compiled in place."""
        module = cast("nn.Module", method.__self__)

        def called(*args: object, **kwargs: object) -> object:
            if torch.compiler.is_compiling() or not self._attached:
                return compiled(*args, **kwargs)
            run = functools.partial(compiled, *args, **kwargs)
            return self._call(CompiledCall(module, run, method, args, kwargs))

        called.gradfuga = True  # type: ignore[attr-defined]  # to know it again
        self._in_place.append((weakref.ref(module), compiled))
        return called

    def _look_around(self) -> None:
        """Find what was compiled before."""
        for each in gc.get_objects():
            kind = type(each)
            if kind is FunctionType:
                if "get_compiler_config" in vars(each) and not _inside_module(each):
                    self._function()
            elif issubclass(kind, nn.Module):
                compiled = vars(each).get(_IN_PLACE)
                if compiled is not None:
                    method = cast("MethodType", each._call_impl)  # noqa: SLF001
                    vars(each)[_IN_PLACE] = self._seen(method, compiled)


def _of_module(given: object) -> bool:
    """Whether `given` is what `nn.Module.compile` compiles."""
    return (
        isinstance(given, MethodType)
        and isinstance(given.__self__, nn.Module)
        and given.__name__ == "_call_impl"
    )


def _inside_module(compiled: FunctionType) -> bool:
    """Whether a compiled function is what a compiled module runs."""
    inner = vars(compiled).get("_torchdynamo_orig_callable")
    owner = inner.__self__ if isinstance(inner, MethodType) else vars(inner).get("__wrapped__")
    return isinstance(owner, nn.Module)
