"""The cases: what each broken script is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One broken script.

    Attributes:
        script: its name under `examples/repair`.
        title: heading of its page.
        about: what it does and what is wrong, in a paragraph.
        result: pattern of the number in the last line that it prints.
        unit: of that number.
        budget: of the trial; steps, so that the machine does not matter.
    """

    script: str
    title: str
    about: str
    result: str
    unit: str
    budget: str


CASES = (
    Case(
        script="vision",
        title="Vision: a deep convolutional network of sigmoids",
        about=(
            "Ten 3x3 convolutions, each with a sigmoid, read the 8x8 digits of scikit-learn. "
            "A sigmoid's slope is a quarter at most, so that each layer hands on a fraction of "
            "its gradient, and PyTorch's default weights are too small besides."
        ),
        result=r"test accuracy ([\d.]+)%",
        unit="test accuracy, %",
        budget="150steps",
    ),
    Case(
        script="speech",
        title="Speech: a recurrent network drawn too large",
        about=(
            "Nine speakers say /ae/: real recordings of 7 to 29 frames (Kudo, Toyama & Shimbo "
            "1999). All weights of the recurrent network are drawn from N(0, 1), the habit of a "
            "first NumPy network."
        ),
        result=r"test accuracy ([\d.]+)%",
        unit="test accuracy, %",
        budget="150steps",
    ),
    Case(
        script="language",
        title="Language: a reader that forgets the word behind its padding",
        about=(
            "Portuguese or English? An LSTM reads real words letter by letter and answers from "
            "its last state, up to 28 steps of padding behind the last letter. At PyTorch's "
            "default its gates keep 0.64 of the gradient a step."
        ),
        result=r"test accuracy ([\d.]+)%",
        unit="test accuracy, %",
        budget="300steps",
    ),
    Case(
        script="translation",
        title="Translation: a deep post-norm transformer",
        about=(
            "Numbers in words, from English into Portuguese: six encoder and six decoder blocks "
            "that normalize behind the sum, Adam at 0.01, no warm-up."
        ),
        result=r"words right ([\d.]+)%",
        unit="words right, %",
        budget="120steps",
    ),
)
