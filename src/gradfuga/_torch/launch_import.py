"""Tell when a program has imported torch, without importing it first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import final


@contextmanager
def torch_import_told(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` once, as soon as torch is imported inside the block; at once if it already is."""
    if "torch" in sys.modules:
        tell()
        yield
        return
    finder = _TorchFinder(tell)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        finder.withdraw()


@final
class _TorchFinder(MetaPathFinder):
    """Finds torch as the other finders do, and gives it a loader that tells when it is done.

    It stays until torch is loaded: many libraries ask `importlib.util.find_spec("torch")` long
    before anybody imports it.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torch":
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _TellingLoader(spec.loader, self._loaded)
                return spec
        return None

    def withdraw(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def _loaded(self) -> None:
        self.withdraw()
        self._tell()


@final
class _TellingLoader(Loader):
    """The real loader, which tells when it has executed the module."""

    def __init__(self, real: Loader, loaded: Callable[[], None]) -> None:
        self._real = real
        self._loaded = loaded

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module keeps the real loader: resources and sources are asked of it.
        module.__loader__ = self._real
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        self._loaded()

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)
