"""A slice finds the sequence that it was cut out of."""

import pytest
import torch

from gradfuga._torch.pieces import past_of

TEXT = torch.arange(4 * 40 * 3).reshape(4, 40, 3)


@pytest.mark.parametrize(
    ("piece", "axis", "expected"),
    [
        (TEXT[:, 10:20], 1, TEXT[:, :20]),
        (TEXT[1:3, 10:20], 1, TEXT[1:3, :20]),
        (TEXT.transpose(0, 1)[10:20], 0, TEXT[:, :20]),
        (TEXT.split(10, dim=1)[2], 1, TEXT[:, :30]),
        (TEXT[:, 7], None, TEXT[:, :8]),
        (TEXT.unbind(1)[7], None, TEXT[:, :8]),
        (TEXT[:1, 5:9], 1, TEXT[:1, :9]),
    ],
    ids=["slice", "batch-too", "time-first", "split", "step", "unbind", "one-example"],
)
def test_a_slice_along_time_gives_its_past(piece, axis, expected):
    assert torch.equal(past_of(piece, TEXT, axis=axis), expected)


def test_a_long_text_of_a_few_columns_gives_its_past():
    text = torch.arange(600).reshape(3, 200).t().contiguous()  # time first
    assert torch.equal(past_of(text[35:70], text, axis=0), text[:70].T)
    lone = torch.randn(5, 30, 1)
    assert torch.equal(past_of(lone[:, 4], lone, axis=None), lone[:, :5])


@pytest.mark.parametrize(
    "view", [TEXT[:, :, 1], TEXT.reshape(160, 3), TEXT[:, ::2], TEXT.flatten()], ids=range(4)
)
def test_other_views_have_no_past_to_tell(view):
    found = past_of(view, TEXT, axis=1 if view.dim() > 1 else None)
    assert found is None
