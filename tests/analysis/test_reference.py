"""The reference learner on tasks whose best reachable progress is known."""

import math

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits

from gradfuga.analysis.reference import Reference, reference, sequence_reference


def shuffled_digits():
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    return digits.data[order], digits.target[order]


def two_spirals(count, turns=1.5):
    generator = np.random.default_rng(0)
    arm = generator.integers(0, 2, count)
    angle = np.sqrt(generator.random(count)) * turns * 2 * np.pi
    x = np.stack([angle * np.cos(angle + np.pi * arm), angle * np.sin(angle + np.pi * arm)], 1)
    return x + 0.1 * generator.standard_normal((count, 2)), arm


def test_diabetes_permits_half_of_the_variance():
    data = load_diabetes()
    found = reference(data.data, data.target, family="regression")
    # the R2 that published ridge fits reach on held-out patients is .40 to .50
    assert 0.40 < found.u < 0.55
    assert 0.01 < found.error < 0.06


def test_handwritten_digits_permit_nearly_everything():
    x, y = shuffled_digits()
    found = reference(x[:512], y[:512], family="classification")
    assert found.u > 0.9
    assert found.kind == "kernel"
    # the same with the other losses that such a network may have
    one_hot = np.eye(10)[y[:512]]
    assert reference(x[:512], one_hot, family="regression").u > 0.85
    assert reference(x[:512], one_hot, family="binary").u > 0.75


def test_wrong_labels_lower_what_can_be_reached_to_their_ceiling():
    x, y = shuffled_digits()
    generator = np.random.default_rng(1)
    wrong = generator.random(len(y)) < 0.4
    noisy = np.where(wrong, generator.integers(0, 10, len(y)), y)
    found = reference(x, noisy, family="classification")
    # the label is right with .64 and each other one with .04: nothing can do better than this
    ceiling = 1.0 - (-0.64 * math.log(0.64) - 9 * 0.04 * math.log(0.04)) / math.log(10)
    assert ceiling - 0.1 < found.u < ceiling + 2 * found.error


def test_the_kernel_sees_what_no_line_separates():
    x, arm = two_spirals(400)
    spirals = reference(x, arm, family="classification")
    assert spirals.u > 0.9
    assert spirals.kind == "kernel"
    generator = np.random.default_rng(0)
    corners = generator.standard_normal((500, 4))
    exclusive = ((corners[:, 0] * corners[:, 1]) > 0).astype(int)
    assert reference(corners, exclusive, family="classification").kind == "kernel"


def test_a_linear_task_is_told_to_its_noise():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((800, 10))
    y = x @ generator.standard_normal((10, 2))
    noise = generator.standard_normal(y.shape) * y.std()
    found = reference(x, y + noise, family="regression")
    assert found.u == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("count", "seeds"), [(64, 20), (256, 4), (1024, 1)])
@pytest.mark.parametrize("classes", [2, 10])
def test_random_labels_never_look_learnable(count, seeds, classes):
    found = []
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        x, y = generator.standard_normal((count, 20)), generator.integers(0, classes, count)
        found.append(reference(x, y, family="classification").u)
    assert max(found) <= 0.02


@pytest.mark.parametrize("family", ["regression", "binary"])
def test_random_numbers_never_look_learnable(family):
    for seed in range(10):
        generator = np.random.default_rng(seed)
        x = generator.standard_normal((100, 150))
        heavy_tailed = generator.standard_t(2, (100, 3))
        y = heavy_tailed if family == "regression" else (heavy_tailed > 1.0).astype(float)
        assert reference(x, y, family=family).u <= 0.02


def test_an_example_sampled_twice_does_not_betray_its_label():
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((100, 20)), generator.integers(0, 2, 100)
    assert reference(np.tile(x, (5, 1)), np.tile(y, 5), family="classification").u <= 0.02


def test_soft_targets_are_probabilities():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((300, 3))
    weights = np.exp(2.0 * x)
    soft = weights / weights.sum(axis=1, keepdims=True)
    found = reference(x, soft, family="classification")
    entropy = -(soft * np.log(soft)).sum(axis=1).mean()
    mean = soft.mean(axis=0)
    ceiling = 1.0 - entropy / -(mean * np.log(mean)).sum()
    assert ceiling - 0.06 < found.u <= ceiling


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        (np.arange(20.0)[:, None], np.arange(20.0)),  # too few
        (np.arange(90.0)[:, None], np.zeros(90)),  # nothing varies
        (np.full((90, 3), np.nan), np.arange(90.0)),  # nothing is left
        (np.tile(np.eye(4), (30, 1)), np.arange(120.0)),  # four distinct inputs
        (np.arange(90.0)[:, None], np.arange(80.0)),  # they do not belong together
        (np.zeros((0, 3)), np.zeros(0)),
    ],
)
@pytest.mark.parametrize("family", ["regression", "classification", "language"])
def test_what_cannot_be_told_is_nan(inputs, targets, family):
    if family != "regression" and targets.size in {90, 120, 20} and np.ptp(targets) > 0:
        targets = targets % 2
    found = reference(inputs, targets, family=family)
    assert math.isnan(found.u)
    assert math.isnan(found.error)
    assert found.kind == "none"


def test_constant_inputs_permit_what_a_constant_does():
    varied = np.column_stack([np.ones(90), np.arange(90.0) * 1e-18 + 1.0])
    distinct_but_flat = np.column_stack([varied, np.nextafter(1.0, np.arange(90.0) % 2 * 2)])
    found = reference(distinct_but_flat, np.arange(90.0) % 3, family="classification")
    assert math.isnan(found.u) or found == Reference(0.0, 0.0, "constant")


def test_damaged_rows_absurd_values_and_ignored_labels_change_little():
    x, y = shuffled_digits()
    x, y = x[:400], y[:400].copy()
    clean = reference(x, y, family="classification")
    damaged = x.copy()
    damaged[:10, 3] = np.nan
    damaged[10:15, 5] = np.inf
    damaged[15, 6] = 1e30
    y[20:25] = -100  # torch's ignore_index
    found = reference(damaged, y, family="classification")
    assert found.u == pytest.approx(clean.u, abs=0.05)


def test_the_same_data_gives_the_same_reference():
    x, arm = two_spirals(100)
    assert reference(x, arm, family="classification") == reference(x, arm, family="classification")


def test_units_of_inputs_and_targets_do_not_matter():
    data = load_diabetes()
    x, y = data.data[:200], data.target[:200]
    plain = reference(x, y, family="regression")
    scaled = reference(1e6 * x + 3.0, 1e-7 * y - 5.0, family="regression")
    # an offset of 3e6 of the spread costs 6 of 16 digits
    assert scaled.u == pytest.approx(plain.u, rel=1e-4)


def test_short_token_sequences_are_read_position_by_position():
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, 2, (600, 12))
    exclusive = tokens[:, 2] ^ tokens[:, 7]
    assert reference(tokens, exclusive, family="classification").u > 0.8
    first = generator.integers(0, 500, (400, 40))
    assert reference(first, first[:, 0] % 2, family="classification").kind == "constant"


def markov_text(length, vocabulary=12):
    """A text whose next token depends on the current one, and the u of knowing how."""
    generator = np.random.default_rng(0)
    matrix = generator.dirichlet(np.full(vocabulary, 0.2), vocabulary)
    cumulative, draws = matrix.cumsum(axis=1), generator.random(length)
    text = np.zeros(length, dtype=np.int64)
    for place in range(1, length):
        text[place] = min(
            np.searchsorted(cumulative[text[place - 1]], draws[place]), vocabulary - 1
        )
    share = np.bincount(text, minlength=vocabulary) / length
    entropy = -(share * np.log(share)).sum()
    logs = np.log(np.maximum(matrix, 1e-300))
    return text, 1.0 + (share[:, None] * matrix * logs).sum() / entropy


def test_language_is_told_to_the_entropy_of_its_bigrams():
    text, ceiling = markov_text(20_001)
    x, y = text[:-1].reshape(200, 100), text[1:].reshape(200, 100)
    found = reference(x, y, family="language")
    assert found.kind == "ngram"
    # the chances of 144 pairs are learned from 15 000 tokens
    assert found.u == pytest.approx(ceiling, abs=0.02)
    # flattened targets, as cross entropy takes them
    assert reference(x, y.ravel(), family="language") == found


def test_windows_that_overlap_do_not_betray_a_random_text():
    generator = np.random.default_rng(0)
    text = generator.integers(0, 1000, 4000)
    starts = generator.integers(0, 3900, 400)
    windows = np.stack([text[start : start + 65] for start in starts])
    assert sequence_reference(windows[:, :-1], windows[:, 1:]).u <= 0.02


def test_a_text_without_structure_permits_nothing():
    text = np.random.default_rng(0).integers(0, 30, (100, 41))
    assert sequence_reference(text[:, :-1], text[:, 1:]) == Reference(
        0.0, pytest.approx(0.0, abs=1e-3), "constant"
    )


def test_positions_that_are_not_predicted_do_not_count():
    text, _ = markov_text(8_001)
    x, y = text[:-1].reshape(80, 100), text[1:].reshape(80, 100).copy()
    full = sequence_reference(x, y)
    y[:, ::2] = -100
    assert sequence_reference(x, y).u == pytest.approx(full.u, abs=0.05)
    y[:] = -100
    assert math.isnan(sequence_reference(x, y).u)
