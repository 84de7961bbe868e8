"""Find modules that a model keeps where torch does not look for them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

_MOST = 1024  # of a container's items
_DEEPEST = 3  # containers in containers


def unregistered(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules in plain lists, tuples and dicts of `model` and its modules, with a path.

    `model.parameters()` leaves them out, and so does an optimizer that was given it. Some are kept
    so on purpose: a teacher, a pre-trained network that a loss is measured with.
    """
    registered = {id(module) for module in model.modules()}
    for path, module in model.named_modules():
        for name, value in list(vars(module).items()):
            if name != "_modules" and isinstance(value, list | tuple | dict):
                for place, each in _within(f"{path}.{name}" if path else name, value, _DEEPEST):
                    if id(each) not in registered:
                        yield place, each


def _within(name: str, value: object, depth: int) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(value, nn.Module):
        yield name, value
    elif depth and isinstance(value, list | tuple | dict):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in list(items)[:_MOST]:
            yield from _within(f"{name}.{key}", each, depth - 1)
