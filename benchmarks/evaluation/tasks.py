"""The tasks: real and synthetic, easy and with a low ceiling; `dev` and `heldout` share none."""

from __future__ import annotations

import inspect
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pydoc_data.topics import topics

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Task:
    """Inputs `[N, width]` and targets: class indices `[N]`, or values `[N, 1]`."""

    name: str
    inputs: Tensor
    targets: Tensor
    outputs: int
    is_image: bool = False
    written: str = ""  # how the script writes its loss out; torch's own where empty

    @property
    def has_classes(self) -> bool:
        """Whether the targets are class indices."""
        return not self.targets.is_floating_point()

    def loss(self, answer: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch."""
        if self.written:
            return _WRITTEN[self.written](answer, targets)
        if self.has_classes:
            return functional.cross_entropy(answer, targets)
        return functional.mse_loss(answer, targets)

    def baseline(self, targets: Tensor) -> float:
        """Return the best constant answer's loss: the labels' entropy, the values' variance."""
        if not self.has_classes:
            return float(targets.double().var(correction=0))
        shares = torch.bincount(targets).double() / len(targets)
        shares = shares[shares > 0]
        return float(-(shares * shares.log()).sum())


def _digits() -> Task:
    bunch = datasets.load_digits()
    return Task("digits", _floats(bunch.data / 8 - 1), torch.as_tensor(bunch.target), 10, True)


def _table(name: str, load: Callable[[], object]) -> Task:
    bunch = load()
    inputs, target = _standardized(vars_of(bunch, "data")), vars_of(bunch, "target")
    if np.issubdtype(target.dtype, np.integer):
        return Task(name, inputs, torch.as_tensor(target).long(), int(target.max()) + 1)
    return Task(name, inputs, _standardized(target[:, None]), 1)


def vars_of(bunch: object, name: str) -> np.ndarray:
    """Return one array of a scikit-learn bunch."""
    return np.asarray(getattr(bunch, name))


def _clouds(classes: int, spread: float) -> Task:
    generator = torch.Generator().manual_seed(classes)
    centers = torch.randn(classes, 16, generator=generator)
    labels = torch.randint(classes, (4000,), generator=generator)
    inputs = centers[labels] + spread * torch.randn(4000, 16, generator=generator)
    return Task(f"clouds{classes}", inputs / (1 + spread**2) ** 0.5, labels, classes)


def _text(name: str, text: str) -> Task:
    """The next letter from the eight before it, each letter a fixed random vector of eight."""
    alphabet = {letter: index for index, letter in enumerate(sorted(set(text)))}
    letters = torch.tensor([alphabet[letter] for letter in text])
    vectors = torch.randn(len(alphabet), 8, generator=torch.Generator().manual_seed(0))
    windows = letters.unfold(0, 9, 4)
    return Task(name, vectors[windows[:, :8]].flatten(1), windows[:, 8].clone(), len(alphabet))


def _moons() -> Task:
    points, labels = datasets.make_moons(1500, noise=0.15, random_state=0)
    return Task("moons", _standardized(points), torch.as_tensor(labels), 2)


def _friedman() -> Task:
    inputs, values = datasets.make_friedman1(1500, noise=4.0, random_state=0)
    return Task("friedman", _standardized(inputs), _standardized(values[:, None]), 1)


def _spirals() -> Task:
    generator = np.random.default_rng(0)
    turn = np.sqrt(generator.uniform(0.05, 1, 1500)) * 2 * np.pi
    labels = generator.integers(3, size=1500)
    angle = turn + labels * 2 * np.pi / 3
    points = np.stack((turn * np.cos(angle), turn * np.sin(angle)), 1)
    noisy = points + 0.15 * generator.normal(size=points.shape)
    return Task("spirals", _standardized(noisy), torch.as_tensor(labels), 3)


def _digits_parity() -> Task:
    bunch = datasets.load_digits()
    return Task("digits_parity", _floats(bunch.data / 8 - 1), torch.as_tensor(bunch.target % 2), 2)


def _column(name: str, load: Callable[[], object], column: int) -> Task:
    """One measured column from the others."""
    measured = vars_of(load(), "data")
    others = np.delete(measured, column, axis=1)
    return Task(name, _standardized(others), _standardized(measured[:, [column]]), 1)


def _characters() -> Task:
    """Names of characters, as Unicode has them."""
    names = (unicodedata.name(chr(code), "") for code in range(0x20, 0x3000))
    return _text("characters", "\n".join(name for name in names if name)[:40_000])


def _circles() -> Task:
    points, labels = datasets.make_circles(1500, noise=0.1, factor=0.5, random_state=0)
    return Task("circles", _standardized(points), torch.as_tensor(labels), 2)


def _quantiles() -> Task:
    points, labels = datasets.make_gaussian_quantiles(
        n_samples=3000, n_features=6, n_classes=4, random_state=0
    )
    return Task("quantiles", _standardized(points), torch.as_tensor(labels), 4)


def _sparse() -> Task:
    inputs, values = datasets.make_sparse_uncorrelated(2000, 20, random_state=0)
    return Task("sparse", _standardized(inputs), _standardized(values[:, None]), 1)


def _prose() -> Task:
    return _text("prose", "".join(topics[key] for key in sorted(topics))[:40_000])


def _source() -> Task:
    return _text("source", inspect.getsource(inspect)[:40_000])


def _picked(answer: Tensor, targets: Tensor) -> Tensor:
    return -answer.log_softmax(1)[torch.arange(len(targets)), targets].mean()


def _normalized(answer: Tensor, targets: Tensor) -> Tensor:
    return (answer.logsumexp(1) - answer.gather(1, targets[:, None]).squeeze(1)).mean()


def _one_hot(answer: Tensor, targets: Tensor) -> Tensor:
    wanted = functional.one_hot(targets, answer.shape[1])
    return -(wanted * torch.log(answer.softmax(1) + 1e-9)).sum(1).mean()


def _squared(answer: Tensor, targets: Tensor) -> Tensor:
    return ((answer - targets) ** 2).mean()


def _flat(answer: Tensor, targets: Tensor) -> Tensor:
    return torch.mean(torch.square(targets.view(-1) - answer.view(-1)))


_WRITTEN: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "picked": _picked,
    "normalized": _normalized,
    "one_hot": _one_hot,
    "squared": _squared,
    "flat": _flat,
}


def _digit_halves() -> Task:
    """Whether the lower half of a picture holds more ink than the upper, from the picture."""
    pictures = datasets.load_digits().images
    labels = pictures[:, 4:].sum((1, 2)) > pictures[:, :4].sum((1, 2))
    inputs = _floats(pictures.reshape(len(pictures), -1) / 8 - 1)
    return Task("digit_halves", inputs, torch.as_tensor(labels).long(), 2, written="picked")


def _roll() -> Task:
    points, place = datasets.make_swiss_roll(1500, noise=0.3, random_state=0)
    return Task("roll", _standardized(points), _standardized(place[:, None]), 1, written="squared")


def _hastie() -> Task:
    points, labels = datasets.make_hastie_10_2(3000, random_state=0)
    return Task(
        "hastie", _standardized(points), torch.as_tensor(labels > 0).long(), 2, written="one_hot"
    )


def _impedance() -> Task:
    inputs, values = datasets.make_friedman2(1500, noise=100.0, random_state=0)
    return Task(
        "impedance", _standardized(inputs), _standardized(values[:, None]), 1, written="flat"
    )


def _clusters() -> Task:
    points, labels = datasets.make_classification(
        2500, 12, n_informative=6, n_redundant=3, n_classes=3, flip_y=0.1, random_state=0
    )
    return Task("clusters", _standardized(points), torch.as_tensor(labels), 3, written="normalized")


def _concavity() -> Task:
    found = _column("concavity", datasets.load_breast_cancer, 6)
    return Task(found.name, found.inputs, found.targets, 1, written="squared")


DEV: Mapping[str, Callable[[], Task]] = {
    "digits": _digits,
    "wine": lambda: _table("wine", datasets.load_wine),
    "breast_cancer": lambda: _table("breast_cancer", datasets.load_breast_cancer),
    "diabetes": lambda: _table("diabetes", datasets.load_diabetes),
    "clouds5": lambda: _clouds(5, 0.8),
    "clouds40": lambda: _clouds(40, 2.0),
    "prose": _prose,
}

HELDOUT: Mapping[str, Callable[[], Task]] = {
    "iris": lambda: _table("iris", datasets.load_iris),
    "moons": _moons,
    "spirals": _spirals,
    "friedman": _friedman,
    "source": _source,
    "clouds12": lambda: _clouds(12, 1.5),
}


FRESH: Mapping[str, Callable[[], Task]] = {
    "digits_parity": _digits_parity,
    "iris_petal": lambda: _column("iris_petal", datasets.load_iris, 3),
    "wine_alcohol": lambda: _column("wine_alcohol", datasets.load_wine, 0),
    "cancer_texture": lambda: _column("cancer_texture", datasets.load_breast_cancer, 1),
    "characters": _characters,
    "circles": _circles,
    "quantiles": _quantiles,
    "sparse": _sparse,
}

# losses written out by hand
WRITTEN: Mapping[str, Callable[[], Task]] = {
    "digit_halves": _digit_halves,
    "roll": _roll,
    "hastie": _hastie,
    "impedance": _impedance,
    "clusters": _clusters,
    "concavity": _concavity,
}


@cache
def load(name: str) -> Task:
    """Return a task by name, of any set."""
    return {**DEV, **HELDOUT, **FRESH, **WRITTEN}[name]()


def _standardized(raw: np.ndarray) -> Tensor:
    return _floats((raw - raw.mean(0)) / raw.std(0).clip(1e-9))


def _floats(raw: np.ndarray) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(raw), dtype=torch.float32)
