"""Give every op a readable path: its parameters' names, its module, its place in the module."""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from torch import Tensor, nn

from .._types import SourceLine
from ..flow import Edge, FlowGraph, Op, OpRole, snake_name
from .sharding import class_of
from .sources import built_at, line_of
from .spies import Span
from .unregistered import unregistered
from .walk import Walk

# What wrappers put into names; the user's own names are without them.
_WRAPPERS = ("_orig_mod.", "module.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_LAYER_ROLES = frozenset({OpRole.LINEAR, OpRole.EMBEDDING, OpRole.RECURRENT})


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one training's parameters and modules, by identity.

    Attributes:
        parameters: all dotted names of each parameter, the first one leading.
        modules: dotted path of each module.
        model: class name of the root module, "" where there is none.
        tensors: the parameters themselves, held weakly.
        unregistered: trainable ones of modules that the model keeps in plain lists or dicts, which
            its `parameters()` leaves out; held weakly too.
    """

    parameters: Mapping[int, tuple[str, ...]]
    modules: Mapping[int, str]
    model: str
    tensors: Mapping[int, weakref.ref[Tensor]]
    unregistered: Mapping[int, weakref.ref[Tensor]] = field(default_factory=dict)

    def of(self, parameter: Tensor) -> str:
        """Return the leading name of `parameter`."""
        names = self.parameters.get(id(parameter))
        return names[0] if names else "tensor" + "x".join(str(n) for n in parameter.shape)

    def of_module(self, module: nn.Module, otherwise: str = "") -> str:
        """Return the path of `module`; Keras keeps lists of layers out of `named_modules`."""
        known = self.modules.get(id(module))
        return known if known is not None else _keras_path(module) or otherwise


# Keras files a layer's variables under their paths: `_torch_params.sequential/dense/kernel`.
_KERAS = "_torch_params"


def _keras_path(module: nn.Module) -> str:
    is_layer = _KERAS in module._modules  # noqa: SLF001
    return str(module.path) if is_layer else ""


def clean(name: str) -> str:
    """Return a dotted name without what wrappers put into it."""
    if _KERAS in name:
        layer, _, last = name.rpartition(f"{_KERAS}.")[2].rpartition("/")
        return f"{layer}.{last}" if layer else last
    whole = f"{name}."  # the wrapped module itself ends with what its parts' names contain
    for wrapper in _WRAPPERS[:1] + _WRAPPERS[2:]:
        whole = whole.replace(wrapper, "")
    return whole.removesuffix(".").removeprefix("module.")


def names_of(
    optimized: Sequence[Tensor], candidates: Iterable[tuple[str, nn.Module]], frames: bool = True
) -> Names:
    """Name the tensors that an optimizer holds.

    The root is the candidate module that holds all of them, with the frozen weights beside them
    where one holds those too, and the fewest others; of modules around the same parameters, the
    outermost that is no mere wrapper. Where none does, each candidate that holds some names its
    own, under the variable's name; tensors that no module holds are named after the variables of
    the running script.

    Args:
        optimized: the optimizer's parameters.
        candidates: (variable name, module) pairs.
        frames: whether the running frames may be searched for names.
    """
    wanted = {id(parameter) for parameter in optimized}
    seen: dict[int, tuple[str, nn.Module]] = {}
    searched = [*candidates, *(variables() if frames else ())]
    for name, wrapped in searched:
        averaged = isinstance(wrapped, nn.parallel.DistributedDataParallel)
        module: nn.Module = wrapped.module if averaged else wrapped
        if not seen.get(id(module), ("",))[0]:  # a variable's name rather than none
            seen[id(module)] = (name, module)
    held = [
        (name, module, frozenset(id(p) for p in module.parameters()))
        for name, module in seen.values()
    ]
    # frozen weights belong to the model, though its optimizer does not get them
    beside = (module for _name, module, own in held if own & wanted)
    frozen = {id(p) for module in beside for p in module.parameters() if not p.requires_grad}
    whole = wanted | frozen
    around = [each for each in held if wanted <= each[2]]
    roots = [each for each in around if whole <= each[2]] or around
    if roots:
        chosen = [("", min(roots, key=_how_far_out)[1])]
    else:
        chosen = []
        left = set(wanted)
        for name, module, own in sorted(held, key=lambda each: -len(each[2] & whole)):
            if own & left:
                left -= own
                prefix = name or type(module).__name__.lower()
                taken = sum(type(m) is type(module) and not name for _, m in chosen)
                chosen.append((f"{prefix}_{taken + 1}" if taken else prefix, module))
    parameters: dict[int, list[str]] = {}
    modules: dict[int, str] = {}
    tensors = {id(parameter): weakref.ref(parameter) for parameter in optimized}
    for prefix, module in chosen:
        start = f"{prefix}." if prefix else ""
        for name, each in module.named_parameters(remove_duplicate=False):
            leading = clean(start + name)
            if leading not in parameters.setdefault(id(each), []):  # Keras files one twice
                parameters[id(each)].append(leading)
            tensors.setdefault(id(each), weakref.ref(each))
        for name, child in module.named_modules():
            path = _keras_path(child) if name else ""
            modules.setdefault(id(child), path or clean(start + name if name else prefix))
    outside: dict[int, weakref.ref[Tensor]] = {}
    for prefix, module in chosen:
        for name, kept in unregistered(module):
            leading = f"{prefix}.{name}" if prefix else name
            modules.setdefault(id(kept), _keras_path(kept) or leading)
            for last, each in kept.named_parameters():
                if each.requires_grad and id(each) not in parameters:
                    parameters[id(each)] = [f"{leading}.{last}"]
                    if id(each) not in tensors:  # the optimizer may have got it by hand
                        outside[id(each)] = weakref.ref(each)
    missing = [p for p in optimized if id(p) not in parameters]
    if missing and frames:
        for name, value in _tensor_variables({id(p) for p in missing}):
            parameters.setdefault(value, []).append(name)
    for place, parameter in enumerate(optimized):
        parameters.setdefault(id(parameter), [f"parameter_{place}"])
    model = " + ".join(class_of(module).__name__ for _, module in chosen)
    named = _told_apart(parameters)
    return Names(named, modules, model, tensors, outside)


def devices_of(model: nn.Module | None) -> tuple[int, ...]:
    """Return the devices over which an nn.DataParallel copies its module at every step."""
    return tuple(model.device_ids) if isinstance(model, nn.DataParallel) else ()


def _how_far_out(held: tuple[str, nn.Module, frozenset[int]]) -> tuple[int, int, int]:
    """Order modules: fewest parameters, then the longest names, then the fewest wrappers."""
    _, module, own = held
    name = next((clean(name) for name, _ in module.named_parameters()), "")
    return len(own), -name.count("."), sum(1 for _ in module.modules())


def _told_apart(parameters: Mapping[int, Sequence[str]]) -> dict[int, tuple[str, ...]]:
    """Number the leading names that several parameters share: two loops may call both `w`."""
    uses: dict[str, int] = {}
    out: dict[int, tuple[str, ...]] = {}
    for key, (leading, *others) in parameters.items():
        uses[leading] = count = uses.get(leading, 0) + 1
        out[key] = (f"{leading}_{count}" if count > 1 else leading, *others)
    return out


def _user_frames() -> Iterable[tuple[FrameType, Mapping[str, object]]]:
    """Yield the frames of the running program with their variables, innermost first.

    Before Python 3.13 reading a function's `f_locals` leaves a snapshot on the frame that would
    keep the user's tensors alive until the function returns: it is emptied again.
    """
    frame = inspect.currentframe()
    while frame is not None:
        owner = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if owner not in {"torch", "gradfuga"}:
            variables = frame.f_locals
            yield frame, dict(variables)
            if sys.version_info < (3, 13) and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
                variables.clear()
        frame = frame.f_back


def variables() -> list[tuple[str, nn.Module]]:
    """Return the modules that variables of the running program hold, with the variables' names."""
    found: list[tuple[str, nn.Module]] = []
    main = sys.modules.get("__main__")
    scopes = [scope for _, scope in _user_frames()]
    if main is not None:
        scopes.append(dict(vars(main)))
    for scope in scopes:
        for name, value in scope.items():
            if isinstance(value, nn.Module):
                found.append((name, value))
            elif name == "self":
                owned = getattr(value, "__dict__", {})
                found.extend((n, v) for n, v in owned.items() if isinstance(v, nn.Module))
            elif isinstance(value, list | tuple) and len(value) <= 64:  # noqa: PLR2004
                found.extend(
                    (f"{name}.{place}", each)
                    for place, each in enumerate(value)
                    if isinstance(each, nn.Module)
                )
            elif isinstance(value, dict) and name != "__builtins__" and len(value) <= 64:  # noqa: PLR2004
                found.extend(
                    (f"{name}.{key}", each)
                    for key, each in list(value.items())
                    if isinstance(each, nn.Module)
                )
    return found


def _tensor_variables(wanted: set[int]) -> list[tuple[str, int]]:
    """Return (variable name, identity) of the wanted tensors that variables hold."""
    found: list[tuple[str, int]] = []
    main = sys.modules.get("__main__")
    scopes = [scope for _, scope in _user_frames()]
    if main is not None:
        scopes.append(dict(vars(main)))
    for scope in scopes:
        for name, value in scope.items():
            if name.startswith("_"):
                continue
            _search(name, value, wanted, found, depth=0)
    return sorted(found, key=lambda pair: len(pair[0]))


def _search(
    name: str, value: object, wanted: set[int], found: list[tuple[str, int]], *, depth: int
) -> None:
    if id(value) in wanted and isinstance(value, Tensor):
        found.append((name, id(value)))
    elif depth < 3 and isinstance(value, list | tuple) and len(value) <= 1024:  # noqa: PLR2004
        for place, each in enumerate(value):
            _search(f"{name}.{place}", each, wanted, found, depth=depth + 1)
    elif depth < 3 and isinstance(value, dict) and len(value) <= 1024:  # noqa: PLR2004
        for key, each in list(value.items()):
            _search(f"{name}.{key}", each, wanted, found, depth=depth + 1)
    elif depth == 0 and name == "self":
        for key, each in list(getattr(value, "__dict__", {}).items()):
            _search(key, each, wanted, found, depth=1)


def owners(sequences: Sequence[int], spans: Sequence[Span]) -> list[Span | None]:
    """Return, for each op's sequence number, the innermost module call that made it."""
    out: list[Span | None] = [None] * len(sequences)
    nested = sorted(spans, key=lambda span: (span.first, -span.end, span.depth))
    open_spans: list[Span] = []
    place = 0
    for position in sorted(range(len(sequences)), key=lambda p: sequences[p]):
        number = sequences[position]
        while place < len(nested) and nested[place].first <= number:
            open_spans.append(nested[place])
            place += 1
        while open_spans and open_spans[-1].end <= number:
            open_spans.pop()
        inside = [span for span in reversed(open_spans) if span.first <= number < span.end]
        out[position] = max(inside, key=lambda span: span.depth) if inside else None
    return out


def layer_weight(walk: Walk, place: int) -> Tensor | None:
    """Return the weight of dim > 1 that makes the op at `place` a layer, None where it is none."""
    if walk.roles[place] not in _LAYER_ROLES:
        return None
    heavy = [p for _, p in walk.leaves[place] if p.dim() > 1]
    return max(heavy, key=lambda p: p.numel()) if heavy else None


def build_graph(
    walk: Walk,
    names: Names,
    spans: Sequence[Span],
    outputs: Sequence[int],
    shapes: Mapping[int, tuple[int, ...]],
    *,
    read_sources: bool,
) -> FlowGraph:
    """Build the FlowGraph of a walk: paths, owners, source lines, layers.

    Args:
        walk: the ops.
        names: of the training's parameters and modules.
        spans: the module calls of the same forward pass.
        outputs: positions of the ops whose outputs are the model's output.
        shapes: of the ops' outputs, where they were seen.
        read_sources: whether anomaly mode was on, so that the ops know their source lines.
    """
    sequences = [node._sequence_nr() for node in walk.nodes]  # noqa: SLF001
    start = min(sequences, default=0)  # of the graph: a process counts on from step to step
    owned_by = owners(sequences, spans)
    lines = [line_of(node) if read_sources else (None, False) for node in walk.nodes]
    files = tuple(dict.fromkeys(line.file for line, _ in lines if line is not None))
    weights = [layer_weight(walk, place) for place in range(len(walk.nodes))]
    # in a GAN the generator's loss crosses the discriminator, whose weights are another training's
    weights = [w if w is not None and id(w) in names.parameters else None for w in weights]
    backward_order = sorted(range(len(walk.nodes)), key=lambda place: -sequences[place])
    paths = _unique(
        {p: _plain_path(walk, p, names, owned_by[p], weights[p]) for p in backward_order},
        layers={p for p in backward_order if weights[p] is not None},
    )
    ops = []
    for place, node in enumerate(walk.nodes):
        span = owned_by[place]
        line, in_container = lines[place]
        kind = class_of(span.module).__name__ if span is not None else ""
        built: SourceLine | None = None
        if span is not None and read_sources and _is_ready_made(span.module):
            built = built_at(kind, names.of_module(span.module), files)
        ops.append(
            Op(
                index=place,
                node=node.name(),
                path=paths[place],
                role=_role(walk.roles[place], kind),
                module=names.of_module(span.module) if span is not None else "",
                module_type=kind,
                parameters=tuple(dict.fromkeys(names.of(p) for _, p in walk.leaves[place])),
                source=(built if in_container and built is not None else line),
                built_at=built,
                shape=shapes.get(place, ()),
                sequence=sequences[place] - start,
            )
        )
    uses: dict[int, list[int]] = {}
    for place in backward_order:
        weight = weights[place]
        if weight is not None:
            uses.setdefault(id(weight), []).append(place)
    groups = list(uses.values())  # the last use leads each group, the output's side comes first
    return FlowGraph(
        ops=tuple(ops),
        edges=tuple(Edge(*edge) for edge in walk.edges),
        outputs=tuple(outputs),
        layers=tuple(group[0] for group in groups),
        uses=tuple(tuple(group) for group in groups),
    )


def _is_ready_made(module: nn.Module) -> bool:
    """Whether the user has only built the module: its forward is a library's."""
    return class_of(module).__module__.startswith(("torch.", "keras."))


def _unique(plain: Mapping[int, str], *, layers: set[int]) -> dict[int, str]:
    """Number the repeats of each path in forward order; a layer's last use keeps the plain one.

    Args:
        plain: path by position, in backward order.
        layers: the positions of layers.
    """
    groups: dict[str, list[int]] = {}
    for place, path in plain.items():
        groups.setdefault(path, []).append(place)
    paths: dict[int, str] = {}
    for path, places in groups.items():
        layered = [place for place in places if place in layers]
        ordered = [place for place in reversed(places) if place != (layered or [-1])[0]]
        if layered:
            paths[layered[0]] = path
        lone = len(places) == 1
        for number, place in enumerate(ordered, start=1):
            paths[place] = path if lone else f"{path}#{number}"
    return paths


def _plain_path(
    walk: Walk, place: int, names: Names, span: Span | None, weight: Tensor | None
) -> str:
    if weight is not None:
        name = names.of(weight).partition(".parametrizations.")[0]
        owner, _, last = name.rpartition(".")
        return owner if owner and last in {"weight", "weight_v", "kernel"} else name
    op = snake_name(walk.nodes[place].name())
    if span is None:
        return op
    module = names.of_module(span.module, type(span.module).__name__)
    is_leaf = all(isinstance(c, nn.ParameterDict) and not c for c in span.module.children())
    if is_leaf and module and walk.roles[place] in (OpRole.ACTIVATION, OpRole.NORMALIZATION):
        return module
    return f"{module}/{op}" if module else op


def _role(role: OpRole, kind: str) -> OpRole:
    """Return the role of an op in a module of class `kind`: a dropout's mask is no scale."""
    return OpRole.STRUCTURAL if role is OpRole.SCALE and "Dropout" in kind else role
