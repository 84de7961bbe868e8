"""Readings: everything that was recorded of one training, as one tidy table."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from ._errors import NewerSchemaError, RunFolderError
from ._messages import _
from ._types import Kind
from .flow import FlowGraph

if TYPE_CHECKING:
    import pyarrow as pa

    Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    Steps = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

Key = tuple[str, Kind, str]  # path, kind, statistic

RUN_SCHEMA = "gradfuga.run/1"
MANIFEST = "manifest.json"
_NOTHING = np.zeros(0, dtype=np.int64), np.zeros(0)


@dataclass(frozen=True, slots=True)
class ParameterRecord:
    """One parameter: all its names (tied weights have several), shape, and whether it trains.

    `optimized` is whether the optimizer holds it, `reached` whether the loss depends on it,
    `opened` whether an op that it enters was read, `registered` whether the model's `parameters()`
    yields it. On how many samples a gradient that is not zero `arrived`, one that was exactly
    `zero`, or none at all (`missing`).
    """

    path: str
    aliases: tuple[str, ...]
    shape: tuple[int, ...]
    trainable: bool
    optimized: bool
    reached: bool
    arrived: int = 0
    zero: int = 0
    missing: int = 0
    opened: bool = True
    registered: bool = True

    @property
    def fed(self) -> bool:
        """Whether a gradient that is not zero ever came to it, as far as was counted."""
        return self.arrived > 0 if self.arrived + self.zero + self.missing else self.reached


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is known of a run besides its readings.

    Attributes:
        steps: optimizer steps taken.
        sampled: the steps at which the tape was read.
        overhead: the observer's time over the bare training's, start-up included.
        startup_seconds: of that, the start-up samples, which no budget limits.
        step_seconds: median bare step.
        settings: the optimizer's first parameter group: lr, momentum, eps, weight_decay, ...
        interrupted: the run was ended from outside, so that its planned length is not known.
        warnings: parts of the observer that failed and were switched off, and by what.
    """

    script: str = ""
    model: str = ""
    optimizer: str = ""
    settings: Mapping[str, float] = field(default_factory=dict)
    parameters: tuple[ParameterRecord, ...] = ()
    steps: int = 0
    sampled: tuple[int, ...] = ()
    overhead: float = 0.0
    startup_seconds: float = 0.0
    step_seconds: float = 0.0
    interrupted: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """One row: `value` of `statistic`, taken of the `kind` of thing at `path`, at `step`."""

    step: int
    path: str
    kind: Kind
    statistic: str
    value: float


@final
class Readings:
    """The tidy table ``step | path | kind | statistic | value``, the graph and the run's record.

    Example:
        >>> rows = [Reading(0, "loss", Kind.LOSS, "value", 2.5)]
        >>> Readings(rows).losses[1].tolist()
        [2.5]
    """

    def __init__(
        self,
        rows: Iterable[Reading] = (),
        *,
        graph: FlowGraph | None = None,
        record: RunRecord | None = None,
    ) -> None:
        series: dict[Key, tuple[list[int], list[float]]] = {}
        for row in rows:
            steps, values = series.setdefault((row.path, row.kind, row.statistic), ([], []))
            steps.append(row.step)
            values.append(row.value)
        self.graph = graph or FlowGraph()
        self.record = record or RunRecord()
        self._series = {key: _ordered(*pair) for key, pair in series.items()}

    @classmethod
    def of(
        cls,
        series: Mapping[Key, tuple[Steps, Floats]],
        *,
        graph: FlowGraph | None = None,
        record: RunRecord | None = None,
    ) -> Readings:
        """Return readings of whole columns: ascending steps and values by path, kind, statistic."""
        made = cls(graph=graph, record=record)
        made._series = dict(series)
        return made

    def at(self, step: int, path: str, kind: Kind, statistic: str) -> float | None:
        """Return the value of one statistic at one path and step, None where unrecorded."""
        steps, values = self._series.get((path, kind, statistic), _NOTHING)
        place = bisect_right(steps, step) - 1
        return float(values[place]) if place >= 0 and steps[place] == step else None

    def series(self, path: str, kind: Kind, statistic: str) -> tuple[Steps, Floats]:
        """Return the steps and values of one statistic at one path, empty where unrecorded."""
        steps, values = self._series.get((path, kind, statistic), _NOTHING)
        return steps.copy(), values.copy()

    def matrix(
        self, paths: Sequence[str], kind: Kind, statistic: str, steps: Sequence[int]
    ) -> Floats:
        """Return values `[len(steps), len(paths)]`, NaN where nothing was recorded."""
        row_of = {step: row for row, step in enumerate(steps)}
        out = np.full((len(steps), len(paths)), np.nan)
        for column, path in enumerate(paths):
            found, values = self._series.get((path, kind, statistic), _NOTHING)
            for step, value in zip(found.tolist(), values.tolist(), strict=True):
                if step in row_of:
                    out[row_of[step], column] = value
        return out

    def paths(self, kind: Kind, statistic: str) -> tuple[str, ...]:
        """Return the paths at which `statistic` was recorded, in the order of recording."""
        return tuple(p for p, k, s in self._series if k == kind and s == statistic)

    def statistics(self, path: str, kind: Kind) -> tuple[str, ...]:
        """Return the statistics that were recorded at `path`, in the order of recording."""
        return tuple(s for p, k, s in self._series if p == path and k == kind)

    def has(self, statistic: str) -> bool:
        """Whether `statistic` was recorded anywhere."""
        return statistic in self._statistics

    @cached_property
    def _statistics(self) -> frozenset[str]:
        return frozenset(s for _, _, s in self._series)

    @cached_property
    def losses(self) -> tuple[Steps, Floats]:
        """Steps and total losses, one per optimizer step as far as memory keeps them."""
        return self.series("loss", Kind.LOSS, "value")

    @property
    def sampled(self) -> tuple[int, ...]:
        """The steps at which the tape was read."""
        return self.record.sampled

    def rows(self) -> Iterable[Reading]:
        """Yield every reading, ordered by path, kind and statistic."""
        for (path, kind, statistic), (steps, values) in self._series.items():
            for step, value in zip(steps.tolist(), values.tolist(), strict=True):
                yield Reading(step, path, kind, statistic, value)

    def __len__(self) -> int:
        return sum(len(steps) for steps, _ in self._series.values())

    @property
    def table(self) -> pa.Table:
        """The readings as a pyarrow table."""
        return _table(self._series)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the readings as one run folder and return it.

        Raises:
            RunFolderError: the folder cannot be written.
        """
        target = Path(folder)
        try:
            target.mkdir(parents=True, exist_ok=True)
            write_part(self, target, 0)
            write_manifest(self, target, parts=1)
        except OSError as error:
            raise RunFolderError(
                _("expected a folder that can be written at '{place}'").format(place=target),
                _("got {value}").format(value=error),
                _("Give another folder."),
            ) from error
        return target

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Readings:
        """Read one recorded training back: its own folder, or a run that holds only one.

        Raises:
            RunFolderError: it is no run folder, it is damaged, or it holds several trainings.
            NewerSchemaError: it was written by a newer gradfuga.
        """
        import pyarrow.parquet as pq  # noqa: PLC0415 (0.4 s that --help must not pay)

        source = _only_training(Path(folder))
        manifest = _read_manifest(source)
        try:
            graph = FlowGraph.from_json(json.loads((source / "graph.json").read_text("utf-8")))
            record = _record_from_json(manifest["record"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise _damaged(source, error) from error
        rows: list[Reading] = []
        kinds = {kind.value: kind for kind in Kind}
        parts = _parts(source, manifest)
        record = replace(record, warnings=(*record.warnings, *_missing(source, manifest, parts)))
        for part in parts:
            try:
                columns = pq.read_table(part).to_pydict()
                rows.extend(
                    Reading(step, path, kinds[kind], statistic, value)
                    for step, path, kind, statistic, value in zip(
                        *(columns[name] for name in _COLUMNS), strict=True
                    )
                )
            except (OSError, KeyError, ValueError) as error:
                raise _damaged(part, error) from error
        return cls(rows, graph=graph, record=record)


_COLUMNS = ("step", "path", "kind", "statistic", "value")


def _ordered(steps: Sequence[int], values: Sequence[float]) -> tuple[Steps, Floats]:
    """Return a column by step; values of one step stay in their order."""
    places, column = np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)
    if (places[1:] < places[:-1]).any():
        order = np.argsort(places, kind="stable")
        places, column = places[order], column[order]
    return places, column


def _table(series: Mapping[Key, tuple[Steps, Floats]]) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 (0.4 s that --help must not pay)

    counts = [len(steps) for steps, _ in series.values()]

    def label(position: int) -> pa.Array:
        names = [str(key[position]) for key in series]
        index = np.repeat(np.arange(len(names), dtype=np.int32), counts)
        return pa.DictionaryArray.from_arrays(index, pa.array(names, pa.string()))

    columns = [_NOTHING, *series.values()]  # NumPy joins no empty list
    steps, values = (np.concatenate(each) for each in zip(*columns, strict=True))
    arrays = [steps, label(0), label(1), label(2), values]
    return pa.table(dict(zip(_COLUMNS, arrays, strict=True)))


def write_part(readings: Readings, folder: Path, number: int) -> None:
    """Write one Parquet part and the graph, each atomically: whole or not at all."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    part = folder / f"part-{number:05d}.parquet"
    scratch = part.with_suffix(".tmp")
    pq.write_table(readings.table, scratch)
    scratch.replace(part)


def write_manifest(readings: Readings, folder: Path, *, parts: int) -> None:
    """Write the graph and the manifest atomically."""
    document = {"schema": RUN_SCHEMA, "parts": parts, "record": asdict(readings.record)}
    for name, content in (("graph.json", readings.graph.to_json()), (MANIFEST, document)):
        scratch = folder / f"{name}.tmp"
        scratch.write_text(json.dumps(content), "utf-8")
        scratch.replace(folder / name)


def _only_training(folder: Path) -> Path:
    """Return the folder of the one training that the run in `folder` holds."""
    if (folder / MANIFEST).exists():
        return folder
    inside = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    if len(inside) > 1:
        raise RunFolderError(
            _("expected the folder of one training at '{place}'").format(place=folder),
            _("got a run of {count}").format(count=len(inside)),
            _("Open one of them: '{place}'.").format(place=inside[0]),
        )
    return inside[0] if inside else folder


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: Any = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError as error:
        raise RunFolderError(
            _("expected a run folder with a {file} at '{place}'").format(
                file=MANIFEST, place=folder
            ),
            _("got none") if not folder.exists() else _("got a folder without one"),
            _("Give the folder that gradfuga run printed at its end."),
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(folder / MANIFEST, error) from error
    schema = str(manifest.get("schema")) if isinstance(manifest, dict) else "none"
    family, _slash, version = schema.partition("/")
    ours = RUN_SCHEMA.partition("/")
    if family != ours[0] or not version.isdigit():
        raise _damaged(folder / MANIFEST, ValueError(f"schema '{schema}'"))
    if int(version) > int(ours[2]):
        raise NewerSchemaError(
            _("expected a run of schema {schema} or older at '{place}'").format(
                schema=RUN_SCHEMA, place=folder
            ),
            _("got '{name}'").format(name=schema),
            _("Read it with the gradfuga that wrote it, or a newer one: pip install -U gradfuga."),
        )
    return dict(manifest)


def _parts(folder: Path, manifest: Mapping[str, object]) -> list[Path]:
    """Return the parts that the manifest counts: others are an older run's in the same folder."""
    count = manifest.get("parts")
    names = sorted(folder.glob("part-*.parquet"))
    if not isinstance(count, int):
        return names
    return [name for name in names if name < folder / f"part-{count:05d}.parquet"]


def _missing(folder: Path, manifest: Mapping[str, object], parts: Sequence[Path]) -> list[str]:
    """Say how many parts are gone.

    Raises:
        RunFolderError: all of them.
    """
    count = manifest.get("parts")
    if not isinstance(count, int) or len(parts) >= count:
        return []
    if not parts:
        raise RunFolderError(
            _("expected the readings, part-*.parquet, beside the manifest at '{place}'").format(
                place=folder
            ),
            _("got none of {count}").format(count=count),
            _("Copy the whole folder that gradfuga run has written."),
        )
    return [f"{count - len(parts)} of the {count} parts of the record (not in its folder)"]


def _record_from_json(raw: dict) -> RunRecord:  # type: ignore[type-arg]
    parameters = tuple(
        ParameterRecord(
            **{**each, "aliases": tuple(each["aliases"]), "shape": tuple(each["shape"])}
        )
        for each in raw["parameters"]
    )
    tuples = {name: tuple(raw[name]) for name in ("sampled", "warnings")}
    return RunRecord(**{**raw, **tuples, "parameters": parameters})


def _damaged(path: Path, error: Exception) -> RunFolderError:
    return RunFolderError(
        _("expected '{place}' as gradfuga wrote it").format(place=path),
        _("got something that cannot be read ({why})").format(
            why=f"{type(error).__name__}: {error}"
        ),
        _("Remove the damaged file if it is a part-*.parquet; the other parts stay readable."),
    )
