"""The callback in real Lightning trainings: each number against a float64 copy."""

import math
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_lightning as pl
    from pytorch_lightning.plugins.precision import MixedPrecision

from gradfuga import Verdict, observe
from gradfuga._errors import ObservationError
from gradfuga._types import Kind
from gradfuga.integrations.lightning import GradfugaCallback

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's, of every kind


class Regression(pl.LightningModule):
    """Keeps a copy of its weights and its batch before each step, for the oracle."""

    def __init__(self, *, automatic=True):
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.automatic_optimization = automatic
        self.kept = []

    def training_step(self, batch, _):
        x, y = batch
        self.kept.append(({n: p.detach().clone() for n, p in self.named_parameters()}, x, y))
        loss = nn.functional.mse_loss(self.net(x).float(), y)
        if self.automatic_optimization:
            return loss
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(optimizer, gradient_clip_val=0.1, gradient_clip_algorithm="norm")
        optimizer.step()
        return None

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


def fit(module, *, callbacks=(), epochs=2, **settings):
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    y = x @ torch.randn(4, 1)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **settings,
    )
    trainer.fit(module, DataLoader(TensorDataset(x, y), batch_size=16))
    return module


def check(readings, module, *, accumulate=1, clip=math.inf, rel=1e-5):
    coefficients = readings.series("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient")[1]
    for step in range(len(module.kept) // accumulate):
        weights = module.kept[step * accumulate][0]
        twin = Regression().double()
        twin.load_state_dict(weights)
        taken = module.kept[step * accumulate : (step + 1) * accumulate]
        loss = sum((twin.net(x.double()) - y.double()).square().mean() for _, x, y in taken)
        (loss / accumulate).backward()
        total = math.hypot(*(float(p.grad.norm()) for p in twin.parameters()))
        for name, parameter in twin.named_parameters():
            steps, norms = readings.series(name, Kind.WEIGHT_GRAD, "norm")
            assert steps[step] == step
            assert norms[step] == pytest.approx(float(parameter.grad.norm()), rel=rel)
        assert coefficients[step] == pytest.approx(min(1.0, clip / total), rel=max(rel, 1e-4))
        # the mean over the passes, each of which Lightning has divided already
        given = float(loss) / accumulate / accumulate
        assert readings.losses[1][step] == pytest.approx(given, rel=max(rel, 1e-5))


def test_the_closure_of_automatic_optimisation_gives_gradients_before_clipping():
    callback = GradfugaCallback(every=1)
    module = fit(Regression(), callbacks=[callback], gradient_clip_val=0.1)
    assert callback.readings.record.steps == 8
    check(callback.readings, module, clip=0.1)


def test_accumulated_batches_are_one_step():
    callback = GradfugaCallback(every=1)
    module = fit(
        Regression(), callbacks=[callback], gradient_clip_val=0.1, accumulate_grad_batches=2
    )
    assert callback.readings.record.steps == 4
    check(callback.readings, module, accumulate=2, clip=0.1)


def test_manual_optimisation_gives_gradients_before_clipping():
    callback = GradfugaCallback(every=1)
    module = fit(Regression(automatic=False), callbacks=[callback])
    check(callback.readings, module, clip=0.1)


def test_the_precision_plugin_with_a_scaler_gives_unscaled_gradients():
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))
    callback = GradfugaCallback(every=1)
    module = fit(Regression(), callbacks=[callback], plugins=[plugin], gradient_clip_val=0.1)
    # half precision carries 11 bits, and the loss is squared
    check(callback.readings, module, clip=0.1, rel=2e-2)
    scales = callback.readings.series("optimizer", Kind.WEIGHT_GRAD, "loss_scale")[1]
    assert set(scales.tolist()) == {1024.0}


def test_bf16_gives_the_gradient_to_its_precision():
    callback = GradfugaCallback(every=1)
    module = fit(Regression(), callbacks=[callback], precision="bf16-mixed")
    check(callback.readings, module, rel=5e-2)


@pytest.mark.parametrize("watched", ["callback", "observe"])
def test_the_trained_weights_are_the_same_bits_with_and_without_observation(watched):
    bare = fit(Regression(), gradient_clip_val=0.1)
    callback = GradfugaCallback(every=1)
    if watched == "callback":
        seen = fit(Regression(), callbacks=[callback], gradient_clip_val=0.1)
    else:
        with observe(every=1) as observer:
            seen = fit(Regression(), gradient_clip_val=0.1)
        check(observer.readings, seen, clip=0.1)
    for one, other in zip(bare.parameters(), seen.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_verdict_of_a_training_that_learns_is_healthy():
    callback = GradfugaCallback(every=2)
    fit(Regression(), callbacks=[callback], epochs=30)
    assert callback.diagnosis.verdict is Verdict.HEALTHY


def test_a_callback_asked_before_it_was_used_says_so():
    with pytest.raises(ObservationError, match="this callback was given to"):
        _ = GradfugaCallback().readings


def test_a_training_that_raises_is_observed_no_more():
    class Broken(Regression):
        def training_step(self, batch, place):
            if place == 2:
                raise ArithmeticError
            return super().training_step(batch, place)

    before = torch.autograd.backward
    callback = GradfugaCallback(every=1)
    with pytest.raises(ArithmeticError):
        fit(Broken(), callbacks=[callback])
    assert torch.autograd.backward is before
    assert callback.readings.record.steps == 2
