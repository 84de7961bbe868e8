"""Write a treatment into the user's own files, in the ways in which it may be meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .._edits import Initialize, SetBias, SwapActivation
from .._errors import MissingExtraError
from .._messages import _
from .._types import Edit
from ..experiment import ArmKind, PatchedFile, Treatment
from ..flow import FlowGraph, OpRole
from ..patch.encoding import decoded
from .scratch import Place

if TYPE_CHECKING:
    from ..patch.source import Patch

MOST_FILES = 60  # chosen: a project of more is searched where the script looks first
Lines = Mapping[str, AbstractSet[int]]  # by a file's path within the project
# What became of a text, by its file's name, edits and lines: candidates share most of their edits.
Made = dict[tuple[str, str, tuple[Edit, ...], frozenset[int]], "Patch"]


@dataclass(frozen=True, slots=True)
class SourcePatch:
    """Edits as a change of the user's files; whether it helps is not known until it has run.

    Attributes:
        files: what changes, in the order of the diff.
        diff: unified; "" where nothing changes.
        base: the folder in which `git apply` takes the diff.
        unplaced: the edits that it leaves out, and why.
    """

    files: tuple[PatchedFile, ...]
    diff: str
    base: str
    unplaced: tuple[tuple[Edit, str], ...]

    def treatment(self, place: Place) -> Treatment:
        """Return what an arm runs: the patched files in the place of the user's."""
        texts = tuple(
            (str(Path(file.path).relative_to(place.root)), file.after) for file in self.files
        )
        return Treatment(_("your source, patched"), sources=texts, kind=ArmKind.PATCHED)


def demand_libcst() -> None:
    """Refuse to begin what could not be ended.

    Raises:
        MissingExtraError: LibCST is not installed.
    """
    if find_spec("libcst") is None:
        raise MissingExtraError(
            _("expected libcst, which writes a repair into your source"),
            _("got none installed"),
            _("Install it: pip install 'gradfuga[repair]'."),
        )


def patches(
    treatment: Treatment,
    place: Place,
    files: Sequence[str],
    graph: FlowGraph,
    *,
    made: Made | None = None,
) -> Iterator[SourcePatch]:
    """Write a treatment into the user's files: at the lines where it acts, and wherever it fits.

    Args:
        treatment: its edits, or the sources that it brings.
        place: the project.
        files: its files that the script runs, by path within the project, the script first.
        graph: of the untreated run; it knows the lines.
        made: what was patched before, and is added to.

    Yields:
        The distinct patches, the one to be tried first in front; one of them at least. Each is
        worked out when it is asked for: of most treatments nobody asks for the second.
    """
    edits = [_for_source(edit, graph) for edit in treatment.edits]
    texts = {name: text for name in files[:MOST_FILES] if (text := _read(place.root / name))}
    if treatment.sources:
        given = {name: (_read(place.root / name), text) for name, text in treatment.sources}
        yield _joined(given, place, ())
        return
    named = {
        name: lines
        for name, lines in _lines_of(edits, graph, place).items()
        if name in texts
    }  # fmt: skip
    found: list[SourcePatch] = []
    for where in (named, {}) if named else ({},):
        patch = _patch(edits, place, texts, where, {} if made is None else made)
        if all(patch.files != other.files for other in found):
            found.append(patch)
            yield patch


def _read(file: Path) -> str:
    """Return the text of a file with its own line ends, "" where it cannot be read."""
    try:
        return decoded(file.read_bytes())
    except (OSError, UnicodeDecodeError, SyntaxError):
        return ""


def _for_source(edit: Edit, graph: FlowGraph) -> Edit:
    """Return an edit as a person would write it, who sees the file and not the paths.

    A swap names the activation that goes; all layers but the output's are no list of names.
    """
    match edit:
        case SwapActivation(of=""):
            acting = [op for op in graph.ops if op.role is OpRole.ACTIVATION]
            kinds = {op.name for op in acting if not edit.paths or op.path in edit.paths}
            return replace(edit, of=kinds.pop()) if len(kinds) == 1 else edit
        case Initialize(recurrent=False) | SetBias():
            hidden = {graph.ops[index].module for index in graph.layers[1:]}
            return replace(edit, paths=()) if hidden == set(edit.paths) else edit
        case _:
            return edit


def _lines_of(edits: Sequence[Edit], graph: FlowGraph, place: Place) -> dict[str, set[int]]:
    """Return the lines where the ops of the edits' paths ran and where they were built."""
    wanted = {path for edit in edits for path in edit.paths}
    found: dict[str, set[int]] = {}
    for op in graph.ops:
        for line in (op.source, op.built_at):
            if line is not None and (op.path in wanted or op.module in wanted):
                name = place.relative(line.file)
                if name is not None:
                    found.setdefault(name, set()).add(line.line)
    return found


def _patch(
    edits: Sequence[Edit], place: Place, texts: Mapping[str, str], lines: Lines, made: Made
) -> SourcePatch:
    """Give each edit to the named files that have a place for it, else to the first that has."""
    chosen: dict[str, list[Edit]] = {}
    unplaced: list[tuple[Edit, str]] = []
    for edit in edits:
        taken, whys = False, []
        for name in sorted(texts, key=lambda name: name not in lines):
            if taken and name not in lines:
                break
            alone = _patched(texts[name], name, (edit,), lines, made)
            whys += [why for _edit, why in alone.unplaced]
            if alone.placed:
                chosen.setdefault(name, []).append(edit)
                taken = True
        if not taken:
            unplaced.append((edit, whys[0] if whys else _("No file of yours can be read.")))
    changed = {}
    for name, own in chosen.items():
        patch = _patched(texts[name], name, tuple(own), lines, made)
        unplaced += patch.unplaced
        if patch.source != texts[name]:
            changed[name] = (texts[name], patch.source)
    return _joined(changed, place, unplaced)


def _patched(source: str, name: str, edits: tuple[Edit, ...], lines: Lines, made: Made) -> Patch:
    """Patch one file, once."""
    from ..patch.source import patch_source  # noqa: PLC0415 (LibCST is an extra)

    here = frozenset(lines.get(name, ()))
    key = source, name, edits, here
    if key not in made:
        made[key] = patch_source(source, name, edits, lines=here)
    return made[key]


def _joined(
    changed: Mapping[str, tuple[str, str]], place: Place, unplaced: Sequence[tuple[Edit, str]]
) -> SourcePatch:
    """Return the change of several files, each before and after, as one patch."""
    from ..patch.source import unified  # noqa: PLC0415 (LibCST is an extra)

    within = all((place.root / name).is_relative_to(place.folder) for name in changed)
    base = place.folder if within else place.root
    files = []
    for name, (before, after) in changed.items():
        file = place.root / name
        diff = unified(before, after, file.relative_to(base).as_posix())
        files.append(PatchedFile(str(file), before, after, diff))
    diffs = "".join(file.diff for file in files)
    return SourcePatch(tuple(files), diffs, str(base), tuple(unplaced))
