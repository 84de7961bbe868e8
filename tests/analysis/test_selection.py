import numpy as np
import pytest

from gradfuga.analysis.selection import FOLDS, Candidates, cross_fitted


def folds_of(count):
    return np.arange(count) % FOLDS


def test_a_predictor_that_beats_the_constant_everywhere_is_taken():
    constant, better, best = np.ones(80), np.full((1, 80), 0.6), np.full((1, 80), 0.5)
    offers = [Candidates("linear", better), Candidates("kernel", best)]
    chosen = cross_fitted(constant, offers, folds_of(80))
    assert chosen.kind == "kernel"
    assert chosen.losses.tolist() == [0.5] * 80


def test_an_example_never_chooses_its_own_predictor():
    # each candidate is perfect on one fold, and far worse than the constant on the others
    folds = folds_of(80)
    losses = np.stack([np.where(folds == fold, 0.0, 1.5) for fold in range(FOLDS)])
    chosen = cross_fitted(np.ones(80), [Candidates("kernel", losses)], folds)
    assert chosen.kind == "constant"
    assert chosen.losses.tolist() == [1.0] * 80


@pytest.mark.parametrize(("gain", "kind"), [(0.30, "kernel"), (0.18, "constant")])
def test_the_margin_is_in_standard_errors_of_the_other_folds(gain, kind):
    # 300 others, gains of sd 1.5: error .0866, margin 2.1 errors = .182
    spread = np.where(np.arange(400) // FOLDS % 2, 1.5, -1.5)
    offer = Candidates("kernel", (1.0 - gain + spread)[None])
    assert cross_fitted(np.ones(400), [offer], folds_of(400)).kind == kind


def test_without_offers_there_is_the_constant():
    chosen = cross_fitted(np.arange(8.0), [], folds_of(8))
    assert chosen.kind == "constant"
    assert chosen.losses.tolist() == list(range(8))
