"""Columns: what goes in comes out by key and step, also where the keys change from step to step."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gradfuga._torch.columns import Columns
from gradfuga._types import Kind

KEYS = [(path, Kind.WEIGHT, "norm") for path in "abcd"]

rows = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.lists(st.tuples(st.sampled_from(KEYS), st.floats(-9, 9)), min_size=1, max_size=6),
    ),
    max_size=20,
)


@given(rows, st.sets(st.integers(0, 6)))
def test_columns_hold_what_a_dictionary_holds(taken, gone):
    columns, expected = Columns(), {}
    for step, pairs in taken:
        columns.put(step, [key for key, _ in pairs], [value for _, value in pairs])
        expected.update({(key, step): value for key, value in pairs})
    assert found(columns) == expected
    assert columns.values == sum(len(pairs) for _, pairs in taken)

    columns.drop(gone)
    assert found(columns) == {pair: v for pair, v in expected.items() if pair[1] not in gone}
    assert columns.values == sum(len(pairs) for step, pairs in taken if step not in gone)

    columns.put(7, KEYS, range(4))  # goes on after that
    assert found(columns)[KEYS[3], 7] == 3.0


def found(columns):
    series = columns.series()
    for steps, _ in series.values():
        assert (np.diff(steps) > 0).all()
    return {
        (key, step): value
        for key, pair in series.items()
        for step, value in zip(*(each.tolist() for each in pair), strict=True)
    }
