"""The callback in real Trainers: gradients before clipping, the loss as it is."""

import copy
import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from gradfuga import Verdict
from gradfuga._types import Kind
from gradfuga.integrations.transformers import GradfugaCallback

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch's and the Trainer's own parts


def tiny():
    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 32, "n_positions": 16}
    drop = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(**sizes, **drop, bos_token_id=0, eos_token_id=0))


class Keeping(Trainer):
    """Keeps a copy of the model and of the batch before each backward pass."""

    kept: list

    def training_step(self, model, inputs, *more):
        self.kept.append((copy.deepcopy(model), {k: v.clone() for k, v in inputs.items()}))
        return super().training_step(model, inputs, *more)


class Broken(Keeping):
    """Its third loss is NaN, which the Trainer's log would not show."""

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        return loss * float("nan") if len(self.kept) == 3 else loss


def train(tmp_path, *, kind=Keeping, callbacks=(), steps=4, **settings):
    torch.manual_seed(1)
    start, stride = torch.randint(32, (64, 1)), torch.randint(1, 4, (64, 1))
    rows = (start + stride * torch.arange(8)) % 32
    arguments = TrainingArguments(
        str(tmp_path),
        per_device_train_batch_size=8,
        max_steps=steps,
        learning_rate=3e-3,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        logging_steps=1,
        **settings,
    )
    trainer = kind(
        model=tiny(),
        args=arguments,
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
        callbacks=list(callbacks),
    )
    trainer.kept = []
    trainer.train()
    return trainer


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_are_those_before_clipping_of_the_whole_step(tmp_path, accumulate):
    callback = GradfugaCallback(every=1)
    trainer = train(
        tmp_path,
        callbacks=[callback],
        max_grad_norm=0.1,
        gradient_accumulation_steps=accumulate,
    )
    readings = callback.readings
    assert readings.record.steps == 4
    logged = [each["grad_norm"] for each in trainer.state.log_history if "grad_norm" in each]
    coefficients = readings.series("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient")[1]
    for step in range(4):
        taken = trainer.kept[step * accumulate : (step + 1) * accumulate]
        twin = taken[0][0].double()
        # the Trainer divides the sum over 7 predicted tokens by the number of labels, 8
        sum(twin(**inputs).loss * 7 / 8 / accumulate for _, inputs in taken).backward()
        total = math.hypot(*(float(p.grad.norm()) for p in twin.parameters()))
        for name, parameter in twin.named_parameters():
            norms = readings.series(name, Kind.WEIGHT_GRAD, "norm")[1]
            assert norms[step] == pytest.approx(float(parameter.grad.norm()), rel=1e-3)
        assert logged[step] == pytest.approx(total, rel=1e-4)  # the Trainer's own, before clipping
        assert coefficients[step] == pytest.approx(0.1 / total, rel=1e-4)


def test_a_nan_loss_that_the_trainers_log_hides_is_recorded(tmp_path):
    callback = GradfugaCallback(every=1)
    trainer = train(tmp_path, kind=Broken, callbacks=[callback])
    logged = [each["loss"] for each in trainer.state.log_history if "loss" in each]
    assert all(math.isfinite(float(loss)) for loss in logged)
    assert math.isnan(callback.readings.losses[1][2])


def test_a_model_that_learns_is_healthy_and_trains_to_the_same_bits(tmp_path):
    callback = GradfugaCallback()
    seen = train(tmp_path, kind=Trainer, callbacks=[callback], steps=300)
    bare = train(tmp_path, kind=Trainer, callbacks=[TrainerCallback()], steps=300)
    for one, other in zip(bare.model.parameters(), seen.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert callback.diagnosis.verdict is Verdict.HEALTHY
    assert callback.readings.record.model == "GPT2LMHeadModel"
