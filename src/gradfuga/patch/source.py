"""From edits to a patched copy of a user's file, and a unified diff of it."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import libcst as cst

from .._edits import (
    AddSkip,
    ClearGradients,
    ClipGradient,
    Edit,
    HoldRate,
    Initialize,
    InsertNormalization,
    LoosenClipping,
    MoveNormalization,
    ReplaceRecurrent,
    ScaleBranch,
    SetBias,
    SetOptimizer,
    SetPrecision,
    SwapActivation,
    Unfreeze,
    UseLogits,
    WarmUp,
)
from .._messages import _
from ..theory.isometric_activation import isometric
from . import training
from ._names import CLASS_OF, code, statements
from ._rows import numbered
from .activations import HELPER, SwapActivations, kinds_of
from .drawing import drawing
from .layers import Normalize, normalize_first
from .precision import ScaleLoss, WidenAutocast
from .recipes import named_layers, recipe
from .recurrent import ReplaceRecurrents
from .residual import ScaleBranches
from .skips import LEARN_SKIPS, LEARNED, LEARNED_SKIP, RESIDUAL, SKIP, AddSkips

Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement
_NN = re.compile(r"^(from torch import .*\bnn\b|import .*\btorch\.nn as nn\b)", re.MULTILINE)
_INLINE = (
    SwapActivation,
    InsertNormalization,
    AddSkip,
    ScaleBranch,
    MoveNormalization,
    ReplaceRecurrent,
)


_SHIFTING = (InsertNormalization, AddSkip)  # what stands in a Sequential gets other numbers


class _UnplacedError(Exception):
    """The source has no place for an edit; the text says why."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A patched source. Whether it helps is not known until it has been run.

    Attributes:
        source: the whole file, patched.
        diff: unified, as `git apply` reads it; "" where nothing changed.
        placed: the edits that are in it.
        unplaced: those that are not, and why.
    """

    source: str
    diff: str
    placed: tuple[Edit, ...]
    unplaced: tuple[tuple[Edit, str], ...]


def patch_source(
    source: str, filename: str, edits: Sequence[Edit], *, lines: Collection[int] = ()
) -> Patch:
    r"""Write `edits` into `source`, its formatting kept.

    Args:
        source: of one Python file.
        filename: as the diff shall name it, relative to where it is applied.
        edits: in order. Those that change expressions go first, so that `lines` stay true.
        lines: line numbers where activations act or are built, as a diagnosis names them; none
            means wherever they are hidden ones.

    Returns:
        The patched source with its diff; what found no place is listed with the reason.

    Example:
        >>> from gradfuga._edits import SetOptimizer
        >>> change = SetOptimizer("lr", 0.1, relative=True)
        >>> patch_source("o = SGD(p, lr=0.5)\n", "a.py", [change]).source
        'o = SGD(p, lr=0.05)\n'
    """
    mark = "\ufeff" if source.startswith("\ufeff") else ""  # LibCST takes it off
    try:
        module = cst.parse_module(source.removeprefix(mark))
    except cst.ParserSyntaxError:
        why = _("The file cannot be read as Python.")
        return Patch(source, "", (), tuple((edit, why) for edit in edits))
    helpers: list[str] = []
    placed: list[Edit] = []
    unplaced: list[tuple[Edit, str]] = []
    for edit in sorted(edits, key=lambda each: not isinstance(each, _INLINE)):
        try:
            wanted = _unnumbered(edit) if any(isinstance(e, _SHIFTING) for e in placed) else edit
            module = _place(module, wanted, lines, helpers)
            placed.append(edit)
        except _UnplacedError as error:
            unplaced.append((edit, str(error)))
    if helpers:
        module = _behind_imports(module, "".join(dict.fromkeys(helpers)))
    if placed:
        module = _with_torch(module)
    text = mark + module.code
    return Patch(text, unified(source, text, filename), tuple(placed), tuple(unplaced))


def _place(
    module: cst.Module, edit: Edit, lines: Collection[int], helpers: list[str]
) -> cst.Module:
    match edit:
        case SwapActivation():
            return _swap(module, edit, lines, helpers)
        case InsertNormalization():
            if numbered(module):
                return _by_recipe(module, edit, helpers)
            normalize = Normalize(edit)
            changed = module.visit(normalize)
            # a constructor in a loop may build the output's layer too: then by the model's layers
            return changed if normalize.changed else _by_recipe(module, edit, helpers)
        case AddSkip():
            return _skip(module, edit, helpers)
        case ScaleBranch():
            branches = ScaleBranches(edit, lines)
            changed = cst.MetadataWrapper(module).visit(branches)
            return _kept(changed, 0 if branches.unheld else branches.changed)
        case ReplaceRecurrent():
            gated = ReplaceRecurrents(edit.to)
            return _kept(module.visit(gated), gated.changed)
        case MoveNormalization(to="pre"):
            return _kept(*normalize_first(module))
        case SetOptimizer():
            option = training.SetOption(edit)
            return _kept(module.visit(option), option.changed)
        case UseLogits():
            logits = training.UseLogits()
            changed = module.visit(logits)
            if logits.softmax and logits.outputs == logits.softmax and not logits.losses:
                return changed  # cross entropy takes logits already
            return _kept(changed, min(logits.losses, logits.outputs))
        case ClipGradient(method="norm"):
            clip = "torch.nn.utils.clip_grad_norm_"
            call = f"{clip}({{model}}.parameters(), {edit.threshold:g})\n"
            return _beside(module, {"before_step": call}, hook="pre")
        case LoosenClipping():
            loosen = training.Loosen(edit)
            return _kept(module.visit(loosen), loosen.changed)
        case HoldRate():
            hold = training.HoldRates()
            return _kept(module.visit(hold), hold.changed)
        case ClearGradients(moved=True):
            clearing = training.MoveClearing()
            return _kept(module.visit(clearing), clearing.changed)
        case ClearGradients():
            return _beside(module, {"after_step": "{optimizer}.zero_grad()\n"})
        case WarmUp():
            rises = "torch.optim.lr_scheduler.LinearLR"
            start = f"{rises}({{optimizer}}, 1 / {edit.steps}, total_iters={edit.steps - 1})"
            texts = {
                "after_build": f"{{warm_up}} = {start}\n",
                "after_step": "{warm_up}.step()\n",
            }
            return _beside(module, texts, hook="post")
        case SetPrecision(to="scaled"):
            return _scale_loss(module)
        case SetPrecision(to="bfloat16"):
            widen = WidenAutocast()
            return _kept(module.visit(widen), widen.changed)
        case Initialize(recurrent=False) | SetBias() | Unfreeze():
            text = drawing(edit, "{model}", module.code)
            return _beside(module, {"before_build": text})
        case _:
            return _by_recipe(module, edit, helpers)


def _by_recipe(module: cst.Module, edit: Edit, helpers: list[str]) -> cst.Module:
    """Define a function and call it beside the optimizer."""
    found = recipe(edit, module.code)
    if found is None:
        raise _UnplacedError(_("This edit has no form in source; it is told in words."))
    changed = _beside(module, {"after_build" if found.built else "before_build": found.call})
    helpers.append(found.function)
    return changed


def _unnumbered(edit: Edit) -> Edit:
    """Return the edit at all hidden layers where its paths number the parts of a Sequential."""
    numbered = any(part.isdigit() for path in edit.paths for part in path.split("."))
    return replace(edit, paths=()) if numbered else edit


def _kept(module: cst.Module, changed: int) -> cst.Module:
    if not changed:
        raise _UnplacedError(_("The source has no place that fits the edit."))
    return module


def _swap(
    module: cst.Module, edit: SwapActivation, lines: Collection[int], helpers: list[str]
) -> cst.Module:
    kinds = kinds_of(edit, module)
    affine = isometric(edit.to) if edit.normalized else None
    stretch = None if affine is None else (affine.stretch, affine.shift)
    if edit.to not in CLASS_OF or not kinds:
        raise _UnplacedError(_("The source does not tell which activation is meant."))
    changed, swap = module, None
    for where in (lines, ()) if lines else ((),):  # a choice by name acts elsewhere
        swap = SwapActivations(edit, kinds, where, stretch)
        changed = cst.MetadataWrapper(module).visit(swap)
        if swap.changed:
            break
    assert swap is not None
    if swap.helper and affine is not None:
        sign = "-" if affine.shift < 0.0 else "+"
        values = {"stretch": affine.stretch, "sign": sign, "shift": abs(affine.shift)}
        helpers.append(HELPER.format(name=swap.helper, phi=edit.to, **values))
    return _kept(changed, swap.changed)


def _skip(module: cst.Module, edit: AddSkip, helpers: list[str]) -> cst.Module:
    """Put skips around what stands in a row or is called in a row, else into hooks."""
    skips = AddSkips(edit, joins=not numbered(module))
    changed = module.visit(skips)
    count = max(len(edit.paths), skips.blocks, 1)
    scale = f"{(count**-0.5 if edit.scale is None else edit.scale)!r}"
    if not skips.blocks and not skips.calls:
        return _by_recipe(module, edit, helpers)
    if skips.blocks:
        helpers.append((LEARNED if edit.learned else RESIDUAL).format(scale=scale))
    if skips.calls:
        helpers.append(LEARNED_SKIP if edit.learned else SKIP.format(scale=scale))
    if skips.calls and edit.learned:
        helpers.append(LEARN_SKIPS.replace("<scale>", scale))
        call = f"learn_skips({named_layers(edit.paths)})\n"
        return _beside(changed, {"before_build": call})
    return changed


def _found(module: cst.Module) -> training.FindOptimizer:
    found = training.FindOptimizer()
    module.visit(found)
    if not found.variable:
        raise _UnplacedError(_("The source does not show where the optimizer is built."))
    return found


def _beside(module: cst.Module, texts: Mapping[str, str], *, hook: str = "") -> cst.Module:
    """Insert statements beside the optimizer.

    Args:
        module: the file.
        texts: by their sides; `{model}` and `{optimizer}` stand for the user's expressions.
        hook: what belongs beside the steps may go into a hook of the optimizer, "pre" or "post",
            where the steps are taken in a function that does not know the names.
    """
    found = _found(module)
    wanted = dict(texts)
    beside = f"{'before' if hook == 'pre' else 'after'}_step"
    if hook and not found.reached:
        act = f"def {beside}(*_):\n    {wanted.pop(beside)}\n"
        call = f"{{optimizer}}.register_step_{hook}_hook({beside})\n"
        wanted["after_build"] = wanted.get("after_build", "") + act + call
    if not found.model and any("{model}" in text for text in wanted.values()):
        raise _UnplacedError(_("The source does not show whose parameters are trained."))
    names = {
        "{model}": found.model, "{optimizer}": found.variable, "{warm_up}": found.beside("warm_up")
    }  # fmt: skip
    for name, value in names.items():
        wanted = {side: text.replace(name, value) for side, text in wanted.items()}
    unscaled = "unscale_(" in module.code
    insert = training.Insert(found.variable, unscaled=unscaled, **wanted)
    changed = module.visit(insert)
    return _kept(changed, insert.changed if insert.changed >= len(_sides(wanted)) else 0)


def _sides(wanted: Collection[str]) -> set[str]:
    return {side.rpartition("_")[2] for side in wanted}


def _scale_loss(module: cst.Module) -> cst.Module:
    """Let a GradScaler scale each loss and take the optimizer's steps."""
    found = _found(module)
    if found.count > 1 or not found.reached or not found.model:
        raise _UnplacedError(_("The source has no place for a loss scale of one optimizer."))
    name = found.beside("scaler")
    scale = ScaleLoss(found.variable, name)
    changed = module.visit(scale)
    _kept(changed, min(scale.losses, scale.steps))
    device = f"next({found.model}.parameters()).device.type"
    return _beside(changed, {"after_build": f"{name} = torch.amp.GradScaler({device})\n"})


def _behind_imports(module: cst.Module, text: str) -> cst.Module:
    """Insert definitions behind the first imports that bring torch, two lines apart."""
    if not _NN.search(module.code):
        text = re.sub(r"(?<![\w.])nn\.", "torch.nn.", text)
    body = list(module.body)
    place = next((at for at, each in enumerate(body) if _brings_torch(each)), -1) + 1
    while 0 < place < len(body) and _is_import(body[place]):
        place += 1
    new = [_apart(each) for each in statements(text)]
    rest = body[place:]
    return module.with_changes(body=[*body[:place], *new, *map(_apart, rest[:1]), *rest[1:]])


def _apart(statement: Statement) -> Statement:
    """Return a statement with two empty lines, and its own comments, before it."""
    lines = list(statement.leading_lines)
    while lines and lines[0].comment is None:
        lines.pop(0)
    two = [cst.EmptyLine(indent=False), cst.EmptyLine(indent=False)]
    return statement.with_changes(leading_lines=[*two, *lines])


def _brings_torch(statement: Statement) -> bool:
    return _is_import(statement) and "torch" in code(statement)


def _is_import(statement: Statement) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and isinstance(
        statement.body[0], cst.Import | cst.ImportFrom
    )


def _with_torch(module: cst.Module) -> cst.Module:
    """Import torch by its own name where the edits need it and the file has not done so."""
    tree = ast.parse(module.code)
    bound = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.asname is None or alias.asname == "torch"
    }
    used = any(isinstance(node, ast.Name) and node.id == "torch" for node in ast.walk(tree))
    if "torch" in bound or not used:
        return module
    place = next((at for at, each in enumerate(module.body) if _brings_torch(each)), None)
    if place is None:
        return module
    new = cst.parse_statement("import torch\n")
    return module.with_changes(body=[*module.body[:place], new, *module.body[place:]])


def unified(before: str, after: str, filename: str) -> str:
    """Return a unified diff that `git apply` takes, also where a last line has no newline.

    Lines end at a newline alone: Python sees more ends of lines than git does. The tab behind a
    name with spaces is how git tells where it ends.
    """
    end = "\t" if " " in filename else ""
    lines = difflib.unified_diff(
        _lines(before), _lines(after), f"a/{filename}{end}", f"b/{filename}{end}"
    )
    marked = (
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
    return "".join(marked)


def _lines(text: str) -> list[str]:
    *whole, last = text.split("\n")
    return [f"{line}\n" for line in whole] + ([last] if last else [])
