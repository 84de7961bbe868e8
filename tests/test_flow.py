"""The flow graph: names, dominators against plain reachability, JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradfuga._types import SourceLine
from gradfuga.flow import Edge, FlowGraph, Op, OpRole, base_name, snake_name


def graph_of(count, edges, outputs, layers=()):
    return FlowGraph(
        ops=tuple(
            Op(i, f"Op{i}Backward0", f"op{i}", OpRole.LINEAR, sequence=count - i)
            for i in range(count)
        ),
        edges=tuple(Edge(consumer, slot, producer) for consumer, slot, producer in edges),
        outputs=tuple(outputs),
        layers=tuple(layers),
        uses=tuple((layer,) for layer in layers),
    )


def reached(edges, outputs, *, without=None):
    """Every op that the gradient at `outputs` goes on to, by plain search."""
    below = {}
    for consumer, _, producer in edges:
        below.setdefault(consumer, []).append(producer)
    stack = [index for index in outputs if index != without]
    found = set(stack)
    while stack:
        for producer in below.get(stack.pop(), ()):
            if producer != without and producer not in found:
                found.add(producer)
                stack.append(producer)
    return found


@st.composite
def graphs(draw):
    """A DAG in backward order: some ops above the outputs, some that nobody reaches."""
    count = draw(st.integers(2, 14))
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=3 * count, unique=True))
    edges = [(consumer, slot, producer) for slot, (consumer, producer) in enumerate(chosen)]
    candidates = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=3, unique=True))
    # an output lies below no other output
    outputs = [o for o in candidates if o not in reached(edges, [c for c in candidates if c != o])]
    return count, edges, outputs or [min(candidates)]


@given(graphs())
def test_the_line_to_an_op_holds_what_every_path_from_the_outputs_crosses(drawn):
    count, edges, outputs = drawn
    graph = graph_of(count, edges, outputs)
    whole = reached(edges, outputs)
    for target in range(count):
        if target not in whole:
            assert graph.dominators[target] == -2
            continue
        crossed = {
            each
            for each in whole
            if each == target or target not in reached(edges, outputs, without=each)
        }
        line = graph.line_to(target)
        assert set(line) == crossed
        assert list(line) == sorted(line)  # output first
        assert line[-1] == target


@given(graphs(), st.data())
def test_the_main_line_ends_at_the_earliest_layer_that_is_reached(drawn, data):
    count, edges, outputs = drawn
    layers = data.draw(st.lists(st.integers(0, count - 1), max_size=4, unique=True))
    graph = graph_of(count, edges, outputs, sorted(layers))
    below = [layer for layer in layers if layer in reached(edges, outputs)]
    if below:
        assert graph.main_line == graph.line_to(max(below))  # the last is the earliest made
    else:
        assert graph.main_line == ()


@given(graphs(), st.data())
def test_every_op_knows_the_earliest_layer_below_it_and_what_leads_to_it(drawn, data):
    count, edges, outputs = drawn
    layers = data.draw(st.lists(st.integers(0, count - 1), max_size=4, unique=True))
    graph = graph_of(count, edges, outputs, sorted(layers))
    below = {index: reached(edges, [index]) for index in range(count)}
    for index in range(count):
        assert graph.deepest[index] == max(below[index] & set(layers), default=-1)
        assert graph.leading_to(index) == {each for each in below if index in below[each]}


def test_a_branch_beside_the_line_is_no_part_of_it():
    # 0 -> 1 -> 2 -> 4 and 0 -> 3 -> 4: only 0 and 4 are on every path
    graph = graph_of(5, [(0, 0, 1), (1, 0, 2), (2, 0, 4), (0, 1, 3), (3, 0, 4)], [0], [4])
    assert graph.main_line == (0, 4)


def test_two_outputs_meet_where_their_paths_do():
    graph = graph_of(4, [(0, 0, 2), (1, 0, 2), (2, 0, 3)], [0, 1], [3])
    assert graph.main_line == (2, 3)
    assert graph.dominators == (-1, -1, -1, 2)


def test_the_loss_above_the_outputs_is_reached_by_none():
    graph = graph_of(3, [(0, 0, 1), (1, 0, 2)], [1], [2])
    assert graph.dominators == (-2, -1, 1)


def test_a_chain_of_ten_thousand_ops_needs_no_recursion():
    count = 10_000
    graph = graph_of(count, [(i, 0, i + 1) for i in range(count - 1)], [0], [count - 1])
    assert graph.main_line == tuple(range(count))


def test_an_unknown_path_is_a_key_error():
    with pytest.raises(KeyError):
        graph_of(2, [(0, 0, 1)], [0]).op("nowhere")


@given(graphs())
def test_a_graph_survives_json(drawn):
    graph = graph_of(*drawn)
    assert FlowGraph.from_json(json.loads(json.dumps(graph.to_json()))) == graph


def test_source_lines_and_shapes_survive_json():
    op = Op(
        0, "MmBackward0", "a.b", OpRole.LINEAR, "a", "Linear", ("a.weight",),
        SourceLine("x.py", 3, "y = a(x)  # ção"), SourceLine("x.py", 1, "a = Linear()"), (2, 3), 17,
    )  # fmt: skip
    graph = FlowGraph((op,), (), (0,), (0,), ((0,),))
    assert FlowGraph.from_json(json.loads(json.dumps(graph.to_json()))) == graph


def test_names_are_those_a_user_would_write():
    assert base_name("torch::autograd::AccumulateGrad") == "AccumulateGrad"
    assert base_name("ThresholdBackwardBackward0") == "ThresholdBackward"
    assert snake_name("ScaledDotProductFlashAttentionForCpuBackward0") == (
        "scaled_dot_product_flash_attention_for_cpu"
    )
    assert snake_name("MaxPool2DWithIndicesBackward0") == "max_pool2d_with_indices"
