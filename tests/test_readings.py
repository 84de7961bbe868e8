"""Readings: queries, and a folder that any tool can read and that may be damaged."""

import json
import math
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradfuga._errors import NewerSchemaError, RunFolderError
from gradfuga._types import Kind, SourceLine
from gradfuga.flow import Edge, FlowGraph, Op, OpRole
from gradfuga.readings import ParameterRecord, Reading, Readings, RunRecord
from gradfuga.sinks.parquet import ParquetSink

GRAPH = FlowGraph(
    (
        Op(0, "MmBackward0", "b", OpRole.LINEAR, source=SourceLine("x.py", 2, "b(x)")),
        Op(1, "TanhBackward0", "t", OpRole.ACTIVATION, shape=(2, 3), sequence=1),
    ),
    (Edge(0, 1, 1),),
    (0,),
    (0,),
    ((0,),),
)
RECORD = RunRecord(
    script="a.py",
    model="Net",
    optimizer="SGD",
    settings={"lr": 0.1},
    parameters=(ParameterRecord("b.weight", ("c.weight",), (2, 3), True, True, False),),
    steps=7,
    sampled=(0, 1, 4),
    overhead=0.01,
    interrupted=True,
    warnings=("w",),
)
ROWS = [
    Reading(0, "b", Kind.ACTIVATION_GRAD, "norm", 1.5),
    Reading(1, "b", Kind.ACTIVATION_GRAD, "norm", math.nan),
    Reading(4, "b", Kind.ACTIVATION_GRAD, "norm", math.inf),
    Reading(0, "caminho/ção", Kind.WEIGHT, "norm", -0.0),
    Reading(0, "loss", Kind.LOSS, "value", 5e-324),
    Reading(4, "loss", Kind.LOSS, "value", -math.inf),
]


def same(one, other):
    """Equal bit by bit, NaN included, in the same order for each series."""

    def key(row):
        return (row.path, row.kind, row.statistic, row.step)

    a, b = sorted(one.rows(), key=key), sorted(other.rows(), key=key)
    values = [np.array([row.value for row in rows]).tobytes() for rows in (a, b)]
    return [key(row) for row in a] == [key(row) for row in b] and values[0] == values[1]


rows = st.lists(
    st.builds(
        Reading,
        st.integers(0, 2**40),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.sampled_from(list(Kind)),
        st.sampled_from(["norm", "slope"]),
        st.floats(),
    ),
    max_size=30,
    unique_by=lambda row: (row.step, row.path, row.kind, row.statistic),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows)
def test_readings_survive_a_folder(tmp_path, drawn):
    readings = Readings(drawn, graph=GRAPH, record=RECORD)
    opened = Readings.open(readings.save(tmp_path / "run"))
    assert same(readings, opened)
    assert opened.graph == GRAPH
    assert opened.record == RECORD


def test_queries_give_what_was_recorded_and_nan_where_nothing_was():
    readings = Readings(ROWS, graph=GRAPH, record=RECORD)
    steps, values = readings.series("b", Kind.ACTIVATION_GRAD, "norm")
    assert steps.tolist() == [0, 1, 4]
    assert values[0] == 1.5
    assert readings.series("b", Kind.WEIGHT, "norm")[0].size == 0
    matrix = readings.matrix(["b", "nowhere"], Kind.ACTIVATION_GRAD, "norm", [4, 0, 9])
    assert matrix[:, 0].tolist()[:2] == [math.inf, 1.5]
    assert np.isnan(matrix[2, 0])
    assert np.isnan(matrix[:, 1]).all()
    assert readings.paths(Kind.WEIGHT, "norm") == ("caminho/ção",)
    assert readings.has("norm")
    assert not readings.has("dead_share")
    assert readings.losses[0].tolist() == [0, 4]
    assert len(readings) == readings.table.num_rows == 6
    assert readings.sampled == (0, 1, 4)


@pytest.mark.parametrize("steps", [[0, 3, 7], [7, 0, 3]])
def test_one_value_is_found_by_its_step_in_whatever_order_rows_came(steps):
    rows = [Reading(step, "a", Kind.WEIGHT, "norm", 10.0 * step) for step in steps]
    readings = Readings(rows)
    assert [readings.at(step, "a", Kind.WEIGHT, "norm") for step in (0, 1, 3, 7, 8)] == [
        0.0, None, 30.0, 70.0, None,
    ]  # fmt: skip
    assert readings.at(0, "b", Kind.WEIGHT, "norm") is None


def test_the_table_is_tidy_and_any_tool_reads_it(tmp_path):
    folder = Readings(ROWS, graph=GRAPH, record=RECORD).save(tmp_path)
    table = pq.read_table(folder / "part-00000.parquet")
    assert table.column_names == ["step", "path", "kind", "statistic", "value"]
    assert str(table.schema.field("value").type) == "double"
    assert sorted(p.name for p in folder.iterdir()) == [
        "graph.json", "manifest.json", "part-00000.parquet",
    ]  # fmt: skip


def test_empty_readings_survive_too(tmp_path):
    opened = Readings.open(Readings().save(tmp_path))
    assert len(opened) == 0
    assert opened.record == RunRecord()
    assert opened.graph == FlowGraph()


def test_parts_add_up_and_an_older_run_in_the_same_folder_is_not_read(tmp_path):
    sink = ParquetSink()
    for number in range(4):  # an older, longer run
        sink.write(
            Readings([Reading(90 + number, "old", Kind.LOSS, "value", 1.0)]), tmp_path, number
        )
    batches = [Readings(ROWS[:3], record=RECORD), Readings([]), Readings(ROWS[3:], record=RECORD)]
    for number, batch in enumerate(batches):
        sink.write(batch, tmp_path, number)
    assert same(Readings.open(tmp_path), Readings(ROWS))


def test_saving_over_an_older_run_leaves_nothing_of_it(tmp_path):
    sink = ParquetSink()
    for number in range(3):
        sink.write(Readings([Reading(number, "old", Kind.LOSS, "value", 1.0)]), tmp_path, number)
    Readings(ROWS).save(tmp_path)
    assert same(Readings.open(tmp_path), Readings(ROWS))


def test_a_process_killed_while_it_writes_leaves_what_was_whole(tmp_path):
    program = f"""
import os
from gradfuga._types import Kind
from gradfuga.readings import Reading, Readings
from gradfuga.sinks.parquet import ParquetSink
import pyarrow.parquet as pq
from pathlib import Path
folder, sink = Path({str(tmp_path)!r}), ParquetSink()
sink.write(Readings([Reading(0, "a", Kind.LOSS, "value", 1.0)]), folder, 0)
whole = pq.write_table
def killed(table, where):
    whole(table, where)
    with open(where, "r+b") as file:
        file.truncate(20)
    os._exit(9)
pq.write_table = killed
sink.write(Readings([Reading(1, "a", Kind.LOSS, "value", 2.0)]), folder, 1)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert ended.returncode == 9
    assert [row.value for row in Readings.open(tmp_path).rows()] == [1.0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", "{"),
        ("manifest.json", "[]"),
        ("manifest.json", '{"schema": "other/1"}'),
        ("manifest.json", '{"schema": "gradfuga.run/1"}'),
        ("manifest.json", '{"schema": "gradfuga.run/1", "record": null}'),
        (
            "manifest.json",
            '{"schema": "gradfuga.run/1", "record": {"parameters": [1]}}',
        ),
        ("graph.json", ""),
        ("graph.json", "[1]"),
        ("graph.json", '{"ops": [null]}'),
        ("graph.json", '{"ops": [{"role": "no such role"}]}'),
        ("part-00000.parquet", ""),
        ("part-00000.parquet", "PAR1 but then nothing like it"),
    ],
)
def test_a_damaged_folder_says_which_file_and_what_to_do(tmp_path, name, content):
    folder = Readings(ROWS, graph=GRAPH, record=RECORD).save(tmp_path / "run")
    (folder / name).write_text(content)
    with pytest.raises(RunFolderError, match=r"^expected .* as gradfuga wrote it, got ") as caught:
        Readings.open(folder)
    assert caught.value.instead
    assert type(caught.value) is RunFolderError


def test_a_part_with_other_columns_is_damaged(tmp_path):
    folder = Readings(ROWS).save(tmp_path)
    table = pq.read_table(folder / "part-00000.parquet")
    pq.write_table(table.drop_columns(["kind"]), folder / "part-00000.parquet")
    with pytest.raises(RunFolderError, match=r"part-00000\.parquet"):
        Readings.open(folder)


def test_a_missing_graph_is_damage(tmp_path):
    folder = Readings(ROWS).save(tmp_path)
    (folder / "graph.json").unlink()
    with pytest.raises(RunFolderError, match="as gradfuga wrote it"):
        Readings.open(folder)


def test_a_newer_run_says_so(tmp_path):
    folder = Readings(ROWS).save(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": "gradfuga.run/2"}))
    with pytest.raises(NewerSchemaError, match=r"got 'gradfuga\.run/2'.* newer"):
        Readings.open(folder)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_no_run_says_so(tmp_path, there):
    folder = tmp_path / "x"
    if there:
        folder.mkdir()
    with pytest.raises(RunFolderError, match=r"expected a run folder with a manifest\.json"):
        Readings.open(folder)


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunFolderError, match="expected a folder that can be written"):
        Readings(ROWS).save(tmp_path / "file" / "run")


def test_a_part_that_is_gone_is_said_and_a_folder_without_any_is_refused(tmp_path):
    first, second = (
        Readings([Reading(n, "a", Kind.WEIGHT, "norm", 1.0)], record=RunRecord()) for n in (0, 1)
    )
    sink = ParquetSink()
    for number, batch in enumerate((first, second)):
        sink.write(batch, tmp_path, number)
    assert Readings.open(tmp_path).record.warnings == ()
    (tmp_path / "part-00000.parquet").unlink()
    read = Readings.open(tmp_path)
    assert [row.step for row in read.rows()] == [1]
    assert read.record.warnings == ("1 of the 2 parts of the record (not in its folder)",)
    (tmp_path / "part-00001.parquet").unlink()
    with pytest.raises(RunFolderError, match=r"expected the readings.*got none of 2.*Copy the"):
        Readings.open(tmp_path)
