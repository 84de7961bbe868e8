"""Recurrences in the backward graph, and the gradient along them, against autograd."""

import numpy as np
import pytest
import torch
from torch import nn

from gradfuga._torch.chain_probe import probe
from gradfuga._torch.chains import find_chains
from gradfuga._torch.walk import walk

T, B, D, H = 10, 4, 3, 5


def names(**modules):
    found = {
        id(p): f"{name}.{key}" for name, m in modules.items() for key, p in m.named_parameters()
    }
    return lambda: found


def unrolled(cell, x, *, cut=0):
    h = torch.zeros(B, H, dtype=x.dtype)
    state, states = ((h, h.clone()) if isinstance(cell, nn.LSTMCell) else h), []
    for t in range(len(x)):
        if cut and t and t % cut == 0:
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        state = cell(x[t], state)
        states.append(state)
    return states


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_the_gradient_along_a_cell_is_that_of_autograd(kind):
    torch.manual_seed(0)
    cell = kind(D, H, dtype=torch.float64)
    x = torch.randn(T, B, D, dtype=torch.float64)
    states = unrolled(cell, x)
    last = states[-1][0] if kind is nn.LSTMCell else states[-1]
    path = walk([last.sum()])
    (chain,) = find_chains(path, names(cell=cell))
    assert chain.weight is cell.weight_hh
    assert len(chain.uses) == chain.total == T
    curve = probe(path, chain)
    # the loss sits on the state that the last use reads, one step before the end
    u = torch.randn(B, H, generator=torch.Generator().manual_seed(20), dtype=torch.float64)
    u /= u.norm(dim=1, keepdim=True)
    for lag, norm in zip(curve.lag, curve.norm, strict=True):
        early = states[T - 2 - lag]
        leaves = [
            s.detach().requires_grad_() for s in (early if type(early) is tuple else (early,))
        ]
        state = tuple(leaves) if kind is nn.LSTMCell else leaves[0]
        for t in range(T - 1 - lag, T - 1):
            state = cell(x[t], state)
        h = state[0] if kind is nn.LSTMCell else state
        rows = torch.cat(torch.autograd.grad((h * u).sum(), leaves), dim=1).norm(dim=1)
        assert norm == pytest.approx(np.median(rows.numpy()), rel=1e-9)


def test_a_hand_written_recurrence_is_found_and_an_output_layer_is_not():
    torch.manual_seed(0)
    w, u = nn.Linear(H, H, bias=False), nn.Linear(D, H)
    head = nn.Linear(H, 2)
    h, out = torch.zeros(B, H), []
    for _ in range(T):
        h = torch.tanh(w(h) + u(torch.randn(B, D)))
        out.append(head(h))
    path = walk([torch.stack(out).sum()])
    (chain,) = find_chains(path, names(w=w, u=u, head=head))
    assert chain.weight is w.weight
    curve = probe(path, chain)
    assert curve.lag[0] == 1
    assert all(n > 0.0 for n in curve.norm)


def test_a_chain_cut_by_detach_shows_its_length_and_the_cut():
    cell = nn.GRUCell(D, H)
    states = unrolled(cell, torch.randn(24, B, D), cut=8)
    path = walk([torch.stack(states).sum()])
    (chain,) = find_chains(path, names(cell=cell))
    assert (len(chain.uses), chain.total) == (8, 24)
    curve = probe(path, chain)
    assert (curve.statistics["time_cut"], curve.statistics["time_steps"]) == (8.0, 24.0)


def test_a_decoder_fed_with_its_own_output_is_one_recurrence():
    cell, head = nn.GRUCell(D, H), nn.Linear(H, D)
    h, x = torch.zeros(B, H), torch.zeros(B, D)
    for _ in range(T):
        h = cell(x, h)
        x = head(h)
    path = walk([x.sum()])
    (chain,) = find_chains(path, names(cell=cell, head=head))
    assert chain.weight is cell.weight_hh
    assert probe(path, chain) is not None


def test_stacked_cells_in_one_loop_are_two_recurrences():
    low, high = nn.LSTMCell(D, H), nn.LSTMCell(H, H)
    zero = torch.zeros(B, H)
    a, b = (zero, zero), (zero, zero)
    for _ in range(T):
        a = low(torch.randn(B, D), a)
        b = high(a[0], b)
    chains = find_chains(walk([b[0].sum()]), names(low=low, high=high))
    assert [c.weight for c in chains] == [low.weight_hh, high.weight_hh]


def test_gates_of_unrolled_cells_are_read():
    torch.manual_seed(1)
    for cell, wanted in ((nn.LSTMCell(D, H), 0.9), (nn.GRUCell(D, H), 0.9)):
        with torch.no_grad():
            for p in cell.parameters():
                p.zero_()
            cell.bias_ih[H : 2 * H] = np.log(0.9 / 0.1)  # the forget gate, or the update gate
        cell.weight_hh.requires_grad_()
        states = unrolled(cell, torch.randn(T, B, D))
        last = states[-1][0] if isinstance(cell, nn.LSTMCell) else states[-1]
        path = walk([last.sum()])
        (chain,) = find_chains(path, names(cell=cell))
        curve = probe(path, chain)
        assert curve.statistics["gate_keep"] == pytest.approx(wanted, abs=1e-5)


def test_a_probe_leaves_hooks_gradients_and_graph_alone():
    torch.manual_seed(0)
    cell, fired = nn.GRUCell(D, H), []
    states = unrolled(cell, torch.randn(T, B, D))
    states[4].register_hook(lambda g: fired.append(1))
    loss = states[-1].sum()
    path = walk([loss])
    (chain,) = find_chains(path, names(cell=cell))
    before = torch.get_rng_state()
    assert probe(path, chain) is not None
    assert not fired
    assert cell.weight_hh.grad is None
    assert torch.equal(before, torch.get_rng_state())
    loss.backward()
    assert fired == [1]


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.tanh()

    @staticmethod
    def backward(ctx, g):
        raise AssertionError("the probe must not run the user's code")


def test_a_chain_through_a_users_function_is_not_taken_back():
    w = nn.Linear(H, H)
    h = torch.zeros(B, H)
    for _ in range(T):
        h = Own.apply(w(h))
    path = walk([h.sum()])
    for chain in find_chains(path, names(w=w)):
        assert probe(path, chain) is None
