import pytest
import torch

from gradfuga.theory.attention import softmax_jacobian_norm, uniform_jacobian_norm


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0, 1000.0])
def test_the_jacobian_norm_is_that_of_the_dense_jacobian(temperature):
    logits = torch.randn(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = temperature * logits
    dense = torch.func.jacrev(lambda x: torch.softmax(x, 0))(logits)
    ours = softmax_jacobian_norm(torch.softmax(logits, 0).numpy())
    # at one-hot rows the difference of squares cancels down to sqrt(1e-16)
    assert float(ours) == pytest.approx(dense.norm().item(), rel=1e-10, abs=3e-8)


def test_uniform_attention_over_t_tokens_has_its_closed_form():
    assert float(softmax_jacobian_norm([1 / 16] * 16)) == pytest.approx(uniform_jacobian_norm(16))


def test_rows_are_taken_one_by_one():
    rows = softmax_jacobian_norm([[[1.0, 0.0], [0.5, 0.5]]])
    assert rows.tolist() == [[0.0, 0.5]]
