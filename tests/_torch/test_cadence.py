"""The cadence on a simulated clock: its grid, its budget, its bursts."""

import math
import random

import pytest

from gradfuga._torch.cadence import STARTUP_SAMPLES, STARTUP_SECONDS, Cadence


class Clock:
    """A training whose steps and samples take what the test says, with noise."""

    def __init__(self, cadence, *, step=0.01, sample=0.02, look=0.0, noise=0.3, seed=0):
        self.cadence, self.step, self.sample, self.look = cadence, step, sample, look
        self.chance, self.noise = random.Random(seed), noise
        self.sampled = []
        self.ours = self.bare = 0.0
        self.startup = 0.0

    def noisy(self, seconds):
        return seconds * self.chance.lognormvariate(0.0, self.noise)

    def run(self, steps, *, start=0, stir=()):
        for number in range(start, start + steps):
            sampled = self.cadence.due(number)
            bare = self.noisy(self.step)
            ours = self.noisy(self.sample) if sampled else self.look
            before = self.cadence.startup_samples
            self.cadence.note(number, seconds=bare + ours, ours=ours, sampled=sampled)
            self.bare += bare
            if self.cadence.startup_samples > before:
                self.startup += ours
            else:
                self.ours += ours
            if sampled:
                self.sampled.append(number)
            if number in stir:
                self.cadence.stir(number)
        return self


@pytest.mark.parametrize("every", [1, 3, 100])
def test_every_nth_step_is_sampled_and_no_other(every):
    clock = Clock(Cadence(every=every), sample=10.0).run(1000)
    assert clock.sampled == list(range(0, 1000, every))


def test_the_start_up_grid_grows_by_the_square_root_of_two_whatever_it_costs():
    cheap = Clock(Cadence(budget=0.01), step=1e-4, sample=0.02).run(600)
    assert cheap.sampled == [0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362,
                             512]  # fmt: skip
    assert cheap.cadence.overhead > 0.01  # and says so


def test_the_start_up_ends_after_its_samples():
    clock = Clock(Cadence(budget=1e-9), step=1e-3, sample=1e-3).run(100_000)
    assert len(clock.sampled) == STARTUP_SAMPLES == 20


def test_the_start_up_ends_after_its_seconds():
    clock = Clock(Cadence(budget=1e-9), step=0.01, sample=1.0, noise=0.0).run(10_000)
    assert clock.startup <= STARTUP_SECONDS + 1.0
    assert len(clock.sampled) <= 6


@pytest.mark.parametrize("budget", [0.001, 0.01, 0.1])
@pytest.mark.parametrize(
    ("step", "sample"), [(0.01, 0.02), (0.0003, 0.003), (1.0, 0.5)], ids=["ms", "tiny", "slow"]
)
@pytest.mark.parametrize("noise", [0.0, 0.8])
def test_a_hundred_thousand_noisy_steps_stay_within_the_budget(budget, step, sample, noise):
    steps = 100_000 if (noise, budget) == (0.8, 0.01) else 10_000
    clock = Clock(Cadence(budget=budget), step=step, sample=sample, noise=noise).run(steps)
    # a sample is taken once its usual cost is saved up: the last one may cost more than usual
    dearest = sample * math.exp(4.5 * noise)
    assert clock.ours <= budget * clock.bare + dearest
    assert clock.cadence.spent <= budget * clock.cadence.bare + dearest
    # and the budget is used: at least half of what it allows, where that is several samples
    allowed = budget * clock.bare / (sample * math.exp(noise**2 / 2))
    later = len(clock.sampled) - clock.cadence.startup_samples
    assert later >= 0.5 * allowed - 2


def test_what_the_looks_between_samples_cost_is_taken_off_the_budget():
    looking = Clock(Cadence(budget=0.01), step=0.01, sample=0.02, look=0.00005).run(50_000)
    idle = Clock(Cadence(budget=0.01), step=0.01, sample=0.02).run(50_000)
    assert looking.ours <= 0.01 * looking.bare + 0.2
    assert len(looking.sampled) < 0.7 * len(idle.sampled)


def test_a_pause_of_the_program_in_a_sampled_step_is_not_charged_to_us():
    cadence = Cadence(every=10)
    for number in range(100):
        sampled = cadence.due(number)
        pause = 60.0 if number == 50 else 0.0  # an evaluation, say
        ours = 0.02 if sampled else 0.0
        cadence.note(number, seconds=0.01 + pause + ours, ours=ours, sampled=sampled)
    assert cadence.spent <= 10 * 0.02 + 2 * 0.02
    assert cadence.step_seconds == pytest.approx(0.01)


def test_something_that_moves_is_sampled_densely_on_credit():
    calm = Clock(Cadence(budget=0.01), noise=0.0).run(20_000)
    moved = Clock(Cadence(budget=0.01), noise=0.0).run(20_000, stir=[10_001])
    near = range(10_002, 10_018)
    assert sum(step in near for step in calm.sampled) <= 1
    burst = [step for step in moved.sampled if step in near]
    assert {10_002, 10_003, 10_005, 10_009} <= set(burst)
    # what was borrowed is paid back
    assert moved.ours <= 0.01 * moved.bare + 0.02
    assert len(moved.sampled) <= len(calm.sampled) + 5


def test_bursts_without_end_do_not_burst_the_budget():
    clock = Clock(Cadence(budget=0.01)).run(30_000, stir=range(0, 30_000))
    assert clock.ours <= 0.01 * clock.bare + 5 * 0.02 * math.exp(4.5 * 0.3)


def test_a_burst_that_is_over_makes_room_for_the_next():
    cadence = Cadence(budget=1.0)
    clock = Clock(cadence, step=0.01, sample=0.011, noise=0.0).run(3000, stir=[1000, 2000])
    for start in (1000, 2000):
        assert {start + 1, start + 2, start + 4} & set(clock.sampled)


def test_an_unpaid_burst_does_not_block_later_ones():
    cadence = Cadence(budget=1e-6)
    Clock(cadence, noise=0.0).run(5000, stir=[4000])  # no credit: nothing is sampled
    cadence.budget = 0.5
    cadence.bare += 1e3  # credit again
    cadence.stir(6000)
    assert cadence.due(6001)
