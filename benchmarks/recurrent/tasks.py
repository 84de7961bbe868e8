"""The tasks: what each is, what its cure does, what its script prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """One example script.

    Attributes:
        script: its name under `examples/recurrent`.
        title: heading of its page.
        about: what the task is, in a paragraph.
        cure: what `--cure` changes.
        result: pattern of the number in the last line that it prints.
        unit: of that number.
        better: "lower" or "higher".
        lesson: what the table shows, in a paragraph.
        settings: further arguments of the script, one table each.
    """

    script: str
    title: str
    about: str
    cure: str
    result: str
    unit: str
    better: str
    lesson: str
    settings: tuple[tuple[str, ...], ...] = ((),)


TASKS = (
    Task(
        script="adding_problem",
        title="The adding problem",
        about=(
            "Two of the numbers in a sequence are marked; the answer is their sum. A model that "
            "has forgotten the first mark can do no better than the variance of the sum, 0.167. "
            "(Hochreiter & Schmidhuber 1997)"
        ),
        cure=(
            "LSTM: chrono initialisation; GRU: the same for its keep gate; RNN: identity "
            "recurrence with ReLU"
        ),
        result=r"test error ([\d.]+)",
        unit="mean squared error",
        better="lower",
        settings=(("--length", "50"), ("--length", "100")),
        lesson=(
            "At a length of 50 the GRU opens its gates by itself, and so does the LSTM with two of "
            "three seeds, though the horizon of a random direction stays at 16 steps: it is the "
            "typical direction's, not a bound. At 100 the LSTM needs a horizon that is long from "
            "the start. The identity does not cure the plain RNN: its gradient fades again during "
            "the training, and nothing is learned within the budget."
        ),
    ),
    Task(
        script="copy_memory",
        title="Copy memory",
        about=(
            "Ten symbols, a pause, and then the ten symbols again. Without a memory the loss stays "
            "at 10 ln 8 / (pause + 20). The model is a Python loop over a cell. "
            "(Hochreiter & Schmidhuber 1997)"
        ),
        cure="LSTM: chrono initialisation; GRU: the same for its keep gate; RNN: orthogonal",
        result=r"test loss ([\d.]+)",
        unit="cross entropy",
        better="lower",
        lesson=(
            "Every position has a loss, so that most of the gradient is local and looks sound; the "
            "horizon is measured from single output steps. The gated cells with a long horizon "
            "leave the memoryless loss first; the orthogonal matrix gains the plain RNN nothing "
            "within this budget. All have learned the pause; the RNNs are told that they forget "
            "the symbols, and the LSTM, whose gradient reaches them, is let go on."
        ),
    ),
    Task(
        script="first_token_recall",
        title="First-token recall",
        about=(
            "The label is the first token of a sequence of 60. The parameters' gradients look "
            "sound, since the last steps feed them; the step that matters gets nothing."
        ),
        cure="attention over all steps",
        result=r"test accuracy ([\d.]+)%",
        unit="accuracy, %",
        better="higher",
        lesson=(
            "All three cells lose three decades in about 15 steps at PyTorch's default "
            "initialisation, the LSTM too. Attention does not lengthen the recurrent path: it goes "
            "around it."
        ),
    ),
    Task(
        script="japanese_vowels",
        title="Japanese vowels: who speaks?",
        about=(
            "Real speech: nine speakers, utterances of 7 to 29 frames, packed, two bidirectional "
            "layers. (Kudo, Toyama & Shimbo 1999)"
        ),
        cure="standardised coefficients",
        result=r"test accuracy ([\d.]+)%",
        unit="accuracy, %",
        better="higher",
        lesson=(
            "A healthy task: the utterances are short, and what tells the speakers apart is in "
            "every frame. The gradient fades over the frames and nothing is lost by it. The inputs "
            "are what helps, not the memory."
        ),
    ),
    Task(
        script="language_of_words",
        title="Portuguese or English?",
        about=(
            "Real words, read letter by letter. The classifier reads the last state, and the last "
            "40 - n states have seen padding only: a bug that runs without an error."
        ),
        cure="read the state after the word",
        result=r"test accuracy ([\d.]+)%",
        unit="accuracy, %",
        better="higher",
        lesson=(
            "RNN and LSTM forget the word while they read the padding. The cure does not lengthen "
            "the memory; it shortens the way."
        ),
    ),
    Task(
        script="number_translation",
        title="Numbers in words, from Portuguese into English",
        about=(
            "An encoder reads the number in Portuguese, a decoder writes it in English, letter by "
            "letter. All that passes between them is one vector."
        ),
        cure="attention over the source",
        result=r"letters right ([\d.]+)%",
        unit="letters right, %",
        better="higher",
        lesson=(
            "The bottleneck costs a tenth of the letters: the later ones depend on parts of the "
            "source that are far away through the recurrence, and near through attention. The "
            "horizon is that of encoder or decoder, whichever is shorter; the verdict takes both "
            "as one recurrence, and each of these has learned most of its task."
        ),
    ),
)
