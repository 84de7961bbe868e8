"""The verb prescribe: which remedies, in which order, and when none."""

from typing import ClassVar

import pytest

from gradfuga._contracts import AbstractRemedy
from gradfuga._edits import Advise
from gradfuga._prescribe import MOST_PRESCRIPTIONS, prescribe
from gradfuga._sentences import sentence
from gradfuga._types import Safety, Verdict
from remedies.diagnoses import reading, sick

SIGMOID = (("contracting_activation", 0.70), ("small_init", 0.28))


@pytest.mark.parametrize("verdict", [Verdict.HEALTHY, Verdict.INCONCLUSIVE])
def test_who_is_not_ill_gets_no_prescription(verdict):
    assert prescribe(sick(*SIGMOID, verdict=verdict)) == ()


def test_an_illness_without_a_named_cause_gets_none():
    assert prescribe(sick()) == ()


def test_a_deep_sigmoid_is_first_told_to_swap_its_activation():
    found = prescribe(sick(*SIGMOID, evidence=(reading("mean_squared_slope", 0.045, 1.0),)))
    assert [each.remedy for each in found] == ["RX001", "RX004", "RX007", "RX045", "RX049"]
    assert found[0].treats == ("contracting_activation",)
    assert found[1].treats == ("contracting_activation", "small_init")
    assert found[0].title == "Swap the activation for one that passes the gradient"
    assert found[0].safety is Safety.UNSAFE


def test_small_weights_are_first_told_to_be_drawn_anew():
    found = prescribe(sick(("small_init", 0.99), evidence=(reading("scale", 0.58, 2**0.5),)))
    assert found[0].remedy == "RX002"


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [
        ("learning_rate_too_high", "RX009"),
        ("learning_rate_too_low", "RX010"),
        ("dead_relu", "RX011"),
        ("saturated_output", "RX012"),
        ("gradients_not_zeroed", "RX014"),
        ("frozen", "RX015"),
        ("disconnected", "RX015"),
        ("target_scale", "RX016"),
        ("weight_decay_too_strong", "RX017"),
        ("embedding_scale", "RX018"),
        ("attention_collapse", "RX019"),
        ("clipped_away", "RX020"),
        ("adam_epsilon", "RX021"),
        ("data_or_labels", "RX022"),
        ("unscaled_residual", "RX006"),
        ("saturated_activation", "RX013"),
    ],
)
def test_the_first_choice_for_a_cause_is_the_remedy_made_for_it(cause, remedy):
    assert prescribe(sick((cause, 1.0), verdict=Verdict.STALLED))[0].remedy == remedy


def test_the_list_stays_short():
    many = [(cause, 0.1) for cause in ("small_init", "contracting_activation", "plain_depth")]
    many += [("saturated_activation", 0.2), ("dead_relu", 0.1), ("large_init", 0.1)]
    assert len(prescribe(sick(*many))) == MOST_PRESCRIPTIONS


class _OwnRemedy(AbstractRemedy):
    code: ClassVar[str] = "RX901"
    name: ClassVar[str] = "sleep-over-it"
    treats: ClassVar[frozenset[str]] = frozenset({"small_init"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self):
        return "Sleep over it"

    def prescribe(self, diagnosis):
        return (Advise("time.sleep(8 * 3600)"),)


def test_your_own_remedies_need_no_registration():
    (found,) = prescribe(sick(*SIGMOID), remedies=[_OwnRemedy()])
    assert (found.remedy, found.safety) == ("RX901", Safety.SAFE)
    assert sentence(found.edits[0]) == "time.sleep(8 * 3600)"
