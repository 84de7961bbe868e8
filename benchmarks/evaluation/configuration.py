"""One training, drawn at random from what people do right and wrong, as data."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from . import tasks


class Fault(StrEnum):
    """What is done to the training besides its architecture, activation and initialisation."""

    NONE = "none"
    TINY_RATE = "tiny_rate"
    HUGE_RATE = "huge_rate"
    DECAY = "decay"
    CLIP = "clip"
    SHUFFLED = "shuffled"  # the labels belong to other inputs
    TARGET_SCALE = "target_scale"
    NOT_ZEROED = "not_zeroed"
    FROZEN = "frozen"  # all but the last bias
    LOW_BIAS = "low_bias"  # a hidden layer whose biases switch every unit off


class Decoy(StrEnum):
    """What looks odd and does no harm."""

    NONE = "none"
    SMALL_LOSS = "small_loss"
    LARGE_LOSS = "large_loss"
    WARM_UP = "warm_up"
    CLIPPED = "clipped"
    DROPOUT = "dropout"
    NOISE = "noise"  # four labels of ten at random
    FEW = "few"  # sixty-four samples, learned by heart
    FROZEN_STEM = "frozen_stem"
    ACCUMULATED = "accumulated"


@dataclass(frozen=True, slots=True)
class Menu:
    """What a set draws from."""

    tasks: tuple[str, ...]
    architectures: tuple[str, ...]
    activations: tuple[str, ...]
    initializations: tuple[str, ...]
    optimizers: tuple[str, ...]


MENUS = {
    "dev": Menu(
        tuple(tasks.DEV),
        ("mlp", "mlp", "mlp", "mlp_bn", "mlp_ln", "residual", "residual_bn", "conv", "conv_bn"),
        ("relu", "relu", "tanh", "sigmoid", "gelu", "silu", "leaky_relu"),
        ("default", "default", "critical", "small", "large", "xavier"),
        ("sgd", "momentum", "adam", "adamw", "rmsprop"),
    ),
    "heldout": Menu(
        tuple(tasks.HELDOUT),
        ("pyramid", "pyramid", "dense", "gated", "pre_norm", "post_norm", "conv1d", "highway"),
        ("relu", "elu", "tanh", "sigmoid", "softplus", "mish", "softsign"),
        ("default", "default", "critical", "truncated", "orthogonal", "wild"),
        ("sgd", "nesterov", "adam", "nadam", "adagrad"),
    ),
    # tasks that neither of the two has seen, on what either of them builds
    "fresh": Menu(
        tuple(tasks.FRESH),
        ("mlp", "mlp", "mlp_ln", "residual", "pyramid", "dense", "gated", "pre_norm", "highway"),
        ("relu", "relu", "gelu", "tanh", "sigmoid", "elu", "softplus"),
        ("default", "default", "critical", "small", "orthogonal", "wild"),
        ("sgd", "momentum", "adam", "adamw", "nadam"),
    ),
    # losses that the script writes out itself, and families that none of the three has built
    "written": Menu(
        tuple(tasks.WRITTEN),
        ("mlp", "mlp_gn", "bottleneck", "bottleneck", "maxout", "residual", "pyramid"),
        ("relu", "leaky_relu", "tanh", "sigmoid", "silu", "mish", "softsign"),
        ("default", "default", "critical", "xavier", "truncated", "large"),
        ("sgd", "nesterov", "adam", "adamw", "rmsprop"),
    ),
}

# Ordinary learning rates, from low to high.
RATES = {
    "sgd": (0.03, 0.2),
    "momentum": (0.005, 0.03),
    "nesterov": (0.005, 0.03),
    "adam": (1e-3, 5e-3),
    "adamw": (1e-3, 5e-3),
    "nadam": (1e-3, 5e-3),
    "rmsprop": (3e-4, 2e-3),
    "adagrad": (5e-3, 3e-2),
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that a training is made from."""

    task: str
    architecture: str
    depth: int
    width: int
    activation: str
    initialization: str
    optimizer: str
    rate: float
    steps: int
    batch: int
    fault: Fault
    decoy: Decoy


def draw(name: str, seed: int, index: int) -> Configuration:
    """Draw configuration number `index` of a set; the same numbers give the same one."""
    menu = MENUS[name]
    rng = random.Random(f"{name}/{seed}/{index}")
    architecture = rng.choice(menu.architectures)
    is_conv = architecture in ("conv", "conv_bn")
    is_attention = architecture in ("pre_norm", "post_norm")
    depth = rng.choice((1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20))
    # What one such layer costs, so that no training takes more than about a second.
    if is_attention:
        depth = min(depth, 3)
    elif "conv" in architecture:
        depth = min(depth, 8)
    elif architecture == "highway":
        depth = min(depth, 10)
    optimizer = rng.choice(menu.optimizers)
    low, high = RATES[optimizer]
    # Half of the trainings have neither fault nor decoy: their build alone decides.
    kind = rng.choice(("plain", "plain", "fault", "decoy"))
    fault = rng.choice(list(Fault)[1:]) if kind == "fault" else Fault.NONE
    decoy = rng.choice(list(Decoy)[1:]) if kind == "decoy" else Decoy.NONE
    return Configuration(
        task="digits" if is_conv else rng.choice(menu.tasks),
        architecture=architecture,
        depth=depth,
        width=8 if is_conv else rng.choice((24, 32, 48, 64)),
        activation=rng.choice(menu.activations),
        initialization=rng.choice(menu.initializations),
        optimizer=optimizer,
        rate=low * (high / low) ** rng.random(),
        steps=rng.choice((100, 150) if is_conv or is_attention else (120, 200, 300)),
        batch=16 if is_conv else rng.choice((32, 64)),
        fault=fault,
        decoy=decoy,
    )
