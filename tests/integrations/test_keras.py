"""Keras 3 on torch: neither its optimizers nor its layers are torch's own."""

import keras
import numpy as np
import pytest
import torch

from gradfuga import Verdict, observe
from gradfuga._errors import UsageError
from gradfuga._types import Kind
from gradfuga.integrations.keras import GradfugaCallback

pytestmark = pytest.mark.filterwarnings("ignore")


class Keeping(keras.Sequential):
    """Keeps its weights and its batch before each step."""

    def train_step(self, data):
        self.kept.append(([np.array(w) for w in self.get_weights()], *data))
        return super().train_step(data)


def fit(*, kind=Keeping, optimizer=None, epochs=2, callbacks=()):
    keras.utils.set_random_seed(0)
    x = np.random.randn(64, 4).astype("float32")
    y = x @ np.random.randn(4, 1).astype("float32")
    dense = keras.layers.Dense
    layers = [keras.Input((4,)), dense(8, activation="tanh", name="first"), dense(1, name="last")]
    model = kind(layers, name="net")
    model.kept = []
    model.compile(optimizer=optimizer or keras.optimizers.SGD(0.05, clipnorm=1e-3), loss="mse")
    model.fit(x, y, epochs=epochs, batch_size=16, verbose=0, shuffle=False, callbacks=callbacks)
    return model


def check(readings, model):
    assert readings.record.steps == len(model.kept) == 8
    for step, (weights, x, y) in enumerate(model.kept):
        w, b, v, c = (torch.tensor(each).double().requires_grad_() for each in weights)
        ((torch.tanh(x.double() @ w + b) @ v + c - y.double()) ** 2).mean().backward()
        expected = {"first.kernel": w, "first.bias": b, "last.kernel": v, "last.bias": c}
        for name, parameter in expected.items():
            norms = readings.series(f"net/{name}", Kind.WEIGHT_GRAD, "norm")[1]
            assert norms[step] == pytest.approx(float(parameter.grad.norm()), rel=1e-5)


def test_gradients_are_those_before_clipping_under_the_names_of_keras():
    callback = GradfugaCallback(every=1)
    model = fit(callbacks=[callback])
    check(callback.readings, model)
    graph = callback.readings.graph
    assert [graph.ops[place].path for place in graph.layers] == ["net/last", "net/first"]
    assert "net/first/tanh" in {op.path for op in graph.ops}


def test_a_loss_scale_is_taken_off():
    callback = GradfugaCallback(every=1)
    model = fit(
        callbacks=[callback], optimizer=keras.optimizers.SGD(0.05, loss_scale_factor=1024.0)
    )
    check(callback.readings, model)


def test_a_dynamic_loss_scale_is_taken_off_and_its_skipped_steps_are_counted():
    callback = GradfugaCallback(every=1)
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=1024.0)
    model = fit(callbacks=[callback], optimizer=scaled)
    check(callback.readings, model)
    beyond = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=2.0**127)
    callback = GradfugaCallback(every=1)
    fit(callbacks=[callback], optimizer=beyond)
    readings = callback.readings
    skipped = readings.series("optimizer", Kind.UPDATE, "skipped_steps")[1]
    assert readings.record.steps == 8
    assert skipped[0] == 1.0


def test_the_update_is_the_one_that_keras_made():
    callback = GradfugaCallback(every=1)
    model = fit(callbacks=[callback], optimizer=keras.optimizers.Adam(1e-2))
    norms = callback.readings.series("net/first.kernel", Kind.UPDATE, "norm")[1]
    for step in range(7):
        moved = model.kept[step + 1][0][0].astype("float64") - model.kept[step][0][0]
        assert norms[step] == pytest.approx(float(np.linalg.norm(moved)), rel=1e-4)
    share = callback.readings.series("net/first.kernel", Kind.UPDATE, "attenuation")[1]
    held = model.optimizer._velocities[0].value.double().sqrt()  # of sqrt(v) / (sqrt(v) + eps)
    assert share[-1] == pytest.approx(float((held / (held + 1e-7)).mean()), rel=1e-9)


def test_the_weights_are_the_same_bits_and_keras_is_as_before():
    apply, call = keras.optimizers.Optimizer.apply, keras.layers.Layer.__call__
    bare = fit()
    with observe(every=1) as observer:
        seen = fit()
    check(observer.readings, seen)
    for one, other in zip(bare.get_weights(), seen.get_weights(), strict=True):
        assert np.array_equal(one, other)
    assert keras.optimizers.Optimizer.apply is apply
    assert keras.layers.Layer.__call__ is call


def test_a_model_that_learns_is_healthy():
    callback = GradfugaCallback(every=2)
    fit(
        kind=keras.Sequential,
        optimizer=keras.optimizers.Adam(0.02),
        epochs=40,
        callbacks=[callback],
    )
    assert callback.diagnosis.verdict is Verdict.HEALTHY


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match="got the backend 'jax'"):
        GradfugaCallback()
