"""The tools: how each is put to work on one training, at every step.

Every entry is used as its own documentation shows. A tool is imported where it is used, so that
one that is not installed costs nothing but its own row.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import torch
from benchmarks.cost.workloads import Workload
from torch import nn

Action = Callable[[], object]


def _nothing() -> None:
    """A tool that has nothing to do here."""


@dataclass(frozen=True, slots=True)
class Use:
    """A tool at work on one training.

    Attributes:
        attach: before a block of watched steps.
        detach: after it.
        step: a whole watched step; None where it is the workload's own, with `between`.
        between: what a script calls between `backward` and `optimizer.step`.
        close: when all is over, so that what it writes is written.
    """

    attach: Action = _nothing
    detach: Action = _nothing
    step: Action | None = None
    between: Action | None = None
    close: Action = _nothing


@dataclass(frozen=True, slots=True)
class Tool:
    """One row of the table.

    Attributes:
        name: as it is printed.
        what: what a step of it records.
        packages: what pip installs for it, beside torch.
        modules: what it must be possible to import.
        use: puts it to work on a training, recording into a folder.
        ours: whether it is gradfuga.
    """

    name: str
    what: str
    use: Callable[[Workload, Path], Use]
    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = field(default=())
    ours: bool = False


def _gradfuga(*, every: int | None, tape: bool) -> Callable[[Workload, Path], Use]:
    def use(workload: Workload, folder: Path) -> Use:
        from benchmarks.cost.paired import pause, resume

        from gradfuga import observe

        observer = observe(
            workload.model, workload.optimizer, every=every, tape=tape, out=folder / "run"
        )
        return Use(
            attach=lambda: resume(observer),
            detach=lambda: pause(observer),
            close=observer.close,
        )

    return use


def _clip(workload: Workload, folder: Path) -> Use:
    parameters = list(workload.model.parameters())
    return Use(between=lambda: nn.utils.clip_grad_norm_(parameters, 1e9))


def _anomaly(workload: Workload, folder: Path) -> Use:
    return Use(
        attach=lambda: torch.autograd.set_detect_anomaly(True),
        detach=lambda: torch.autograd.set_detect_anomaly(False),
    )


def _wandb(workload: Workload, folder: Path) -> Use:
    import wandb

    run = wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True))

    def step() -> None:
        workload.step()
        run.log({})

    return Use(
        attach=lambda: run.watch(workload.model, log="all", log_freq=1),
        detach=lambda: run.unwatch(workload.model),
        step=step,
        close=run.finish,
    )


def _lightning(workload: Workload, folder: Path) -> Use:
    from pytorch_lightning.utilities import grad_norm

    return Use(between=lambda: grad_norm(workload.model, norm_type=2))


def _tensorboard(workload: Workload, folder: Path) -> Use:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder)
    step = 0

    def between() -> None:
        nonlocal step
        for name, parameter in workload.model.named_parameters():
            writer.add_histogram(name, parameter, step)
            if parameter.grad is not None:
                writer.add_histogram(f"{name}.grad", parameter.grad, step)
        step += 1

    return Use(between=between, close=writer.close)


def _cockpit(workload: Workload, folder: Path) -> Use:
    from backpack import extend
    from cockpit import Cockpit
    from cockpit.utils.configuration import configuration

    model = extend(workload.model)
    each, mean = (extend(nn.CrossEntropyLoss(reduction=how)) for how in ("none", "mean"))
    cockpit = Cockpit(list(model.parameters()), quantities=configuration("economy"))
    count = 0

    def step() -> None:
        nonlocal count
        workload.optimizer.zero_grad()
        outputs = model(workload.inputs)
        loss = mean(outputs, workload.targets)
        about = {
            "batch_size": len(workload.targets),
            "individual_losses": each(outputs, workload.targets),
            "loss": loss,
            "optimizer": workload.optimizer,
        }
        with cockpit(count, info=about):
            loss.backward(create_graph=cockpit.create_graph(count))
        workload.optimizer.step()
        count += 1

    return Use(step=step)


def _neuraldbg(workload: Workload, folder: Path) -> Use:
    from neuraldbg import NeuralDbg

    watcher = NeuralDbg(workload.model)

    def step() -> None:
        workload.step()
        watcher.step += 1

    return Use(
        attach=watcher.__enter__, detach=lambda: watcher.__exit__(None, None, None), step=step
    )


def _torch_surgeon(workload: Workload, folder: Path) -> Use:
    from torch_surgeon import Surgeon

    with redirect_stdout(StringIO()):
        surgeon = Surgeon(workload.model, rules="default")

    def quietly(action: Action) -> Action:
        def run() -> None:
            with redirect_stdout(StringIO()):
                action()

        return run

    return Use(
        attach=quietly(surgeon.attach),
        detach=quietly(surgeon.detach),
        step=quietly(workload.step),
    )


def _traintools(workload: Workload, folder: Path) -> Use:
    from traintools import GradientHealthMonitor

    monitor = GradientHealthMonitor(max_grad_norm=1.0)
    rate = workload.optimizer.param_groups[0]["lr"]
    return Use(between=lambda: monitor.inspect(workload.model, step=0, lr=rate))


TOOLS: tuple[Tool, ...] = (
    Tool("gradfuga", "default budget of 1 %", _gradfuga(every=None, tape=True), ours=True),
    Tool("gradfuga every=1, tape=False", "parameters", _gradfuga(every=1, tape=False), ours=True),
    Tool("gradfuga every=1", "the whole backward graph", _gradfuga(every=1, tape=True), ours=True),
    Tool("clip_grad_norm_", "the total norm", _clip),
    Tool(
        "Lightning grad_norm",
        "a norm a parameter",
        _lightning,
        packages=("pytorch-lightning==2.6.6",),
        modules=("pytorch_lightning",),
    ),
    Tool(
        "traintools",
        "norms and update ratios",
        _traintools,
        packages=("traintools==0.6.2",),
        modules=("traintools",),
    ),
    Tool("detect_anomaly", "NaN at every node", _anomaly),
    Tool(
        "torch-surgeon",
        "norms by module hooks",
        _torch_surgeon,
        packages=("torch-surgeon==0.1.0",),
        modules=("torch_surgeon",),
    ),
    Tool(
        "NeuralDBG",
        "events by module hooks",
        _neuraldbg,
        packages=("neuraldbg==1.3.2",),
        modules=("neuraldbg",),
    ),
    Tool(
        "TensorBoard",
        "histograms of weights and gradients",
        _tensorboard,
        packages=("tensorboard==2.21.0",),
        modules=("tensorboard",),
    ),
    Tool(
        "wandb.watch, offline",
        "histograms of weights and gradients",
        _wandb,
        packages=("wandb==0.31.0",),
        modules=("wandb",),
    ),
    Tool(
        "Cockpit economy",
        "statistics of single examples' gradients",
        _cockpit,
        packages=("cockpit-for-pytorch==1.0.2", "backpack-for-pytorch==1.7.1", "setuptools<81"),
        modules=("cockpit", "backpack"),
    ),
)
