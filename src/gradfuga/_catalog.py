"""Find the one constant that each file of a folder declares."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from ._contracts import Coded
from ._errors import CatalogError

T = TypeVar("T", bound=Coded)


def collect(package: str, constant: str, *, of: type[T]) -> Mapping[str, T]:
    """Collect `constant` from every public module of `package`, keyed by the item's `code`.

    Args:
        package: dotted name of the folder, such as ``"gradfuga.rules"``.
        constant: the name that each file declares as its last line, such as ``"RULE"``.
        of: the contract that every item fulfils.

    Returns:
        A read-only mapping from code to item, sorted by code.

    Raises:
        CatalogError: a file declares no such constant, or two declare the same code.
    """
    found: dict[str, T] = {}
    folder = importlib.import_module(package)
    for info in pkgutil.iter_modules(folder.__path__):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{info.name}")
        item = vars(module).get(constant)
        if not isinstance(item, of):
            raise CatalogError(
                f"expected '{constant}' of type {of.__name__} in {package}.{info.name}",
                f"got {type(item).__name__}",
                f"Declare it as the last line of the file: {constant} = ...",
            )
        code = item.code
        if code in found:
            raise CatalogError(
                f"expected every code of {package} once",
                f"got '{code}' again in {package}.{info.name}",
                "Give the new item a code of its own.",
            )
        found[code] = item
    return MappingProxyType(dict(sorted(found.items())))
