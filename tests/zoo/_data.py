"""The tasks of the zoo: small real data sets, a few synthetic ones, and the measure of progress."""

from __future__ import annotations

from functools import cache
from pydoc_data.topics import topics

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor
from torch.nn import functional


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Return 1,797 real handwritten digits `[1797, 64]` in -1..1, and their classes."""
    bunch = datasets.load_digits()
    return _floats(bunch.data / 8.0 - 1.0), torch.as_tensor(bunch.target)


def digit_images() -> tuple[Tensor, Tensor]:
    """Return the digits as images `[1797, 1, 8, 8]`."""
    pixels, labels = digits()
    return pixels.view(-1, 1, 8, 8), labels


@cache
def wine(*, standardized: bool = True) -> tuple[Tensor, Tensor]:
    """Return 178 wines `[178, 13]`, in the units of the laboratory or standardized."""
    bunch = datasets.load_wine()
    return _features(bunch.data, standardized=standardized), torch.as_tensor(bunch.target)


@cache
def breast_cancer(*, standardized: bool = True) -> tuple[Tensor, Tensor]:
    """Return 569 biopsies `[569, 30]` and whether each is benign."""
    bunch = datasets.load_breast_cancer()
    return _features(bunch.data, standardized=standardized), torch.as_tensor(bunch.target)


@cache
def diabetes() -> tuple[Tensor, Tensor]:
    """Return 442 patients `[442, 10]` and the standardized progress of their disease `[442, 1]`."""
    bunch = datasets.load_diabetes()
    return _standardized(bunch.data), _standardized(bunch.target[:, None])


@cache
def prose() -> tuple[Tensor, int]:
    """Return 60,000 letters of Python's own help as indices `[60000]`, and the alphabet's size."""
    text = "".join(topics[key] for key in sorted(topics))[:60_000]
    alphabet = {letter: index for index, letter in enumerate(sorted(set(text)))}
    return torch.tensor([alphabet[letter] for letter in text]), len(alphabet)


def blobs(
    classes: int, *, spread: float, count: int = 2000, width: int = 16
) -> tuple[Tensor, Tensor]:
    """Return `classes` Gaussian clouds; `spread` sets their overlap, which bounds the progress."""
    generator = torch.Generator().manual_seed(classes)
    centers = torch.randn(classes, width, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    return centers[labels] + spread * torch.randn(count, width, generator=generator), labels


def class_progress(logits: Tensor, labels: Tensor) -> float:
    """Return 1 - cross entropy / entropy of the labels; 0 for the best constant prediction."""
    shares = torch.bincount(labels.flatten()).double() / labels.numel()
    entropy = -(shares * shares.clamp_min(1e-12).log()).sum()
    loss = functional.cross_entropy(logits.detach().double(), labels)
    return _finite(1.0 - float(loss / entropy))


def value_progress(predicted: Tensor, target: Tensor) -> float:
    """Return 1 - mean squared error / variance of the target (R squared)."""
    error = (predicted.detach().double() - target.double()).square().mean()
    variance = (target.double() - target.double().mean(0)).square().mean()
    return _finite(1.0 - float(error / variance))


def _finite(progress: float) -> float:
    return progress if np.isfinite(progress) else float("-inf")


def _features(raw: np.ndarray, *, standardized: bool) -> Tensor:
    return _standardized(raw) if standardized else _floats(raw)


def _standardized(raw: np.ndarray) -> Tensor:
    return _floats((raw - raw.mean(0)) / raw.std(0))


def _floats(raw: np.ndarray) -> Tensor:
    return torch.as_tensor(raw, dtype=torch.float32)
