"""Whom to repair: the members of the zoo and the examples, as scripts that a trial can run."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

# A member is trained from its seed. What is iterated over for at least FEWEST rounds is its loop:
# no network of the zoo is so deep, no training of it so short.
_SCRIPT = """
import builtins, sys
sys.path.insert(0, {tests!r})
import zoo

CONTROL, TIMES, FEWEST = False, 1, 80

def longer(*bounds):
    whole = builtins.range(*bounds)
    if len(whole) < FEWEST:
        return whole
    return builtins.range(whole.start, whole.start + TIMES * len(whole) * whole.step, whole.step)

if TIMES > 1:
    for name, module in list(sys.modules.items()):
        if name.startswith("zoo."):
            module.range = longer
member = {{each.name: each for each in zoo.MEMBERS}}[{name!r}]
(member.control if CONTROL else member.train)({seed})
"""
FILE = "train.py"
_EXAMPLES = ROOT / "examples"
# sick: the example that is the same training with the smallest fix; healthy: None
EXAMPLES = {
    "deep_sigmoid_digits.py": "deep_relu_digits.py",
    "deep_relu_digits.py": None,
    "conv_digits.py": None,
    "functional_digits.py": None,
    "transformer_digits.py": None,
    "diabetes_accumulation.py": None,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A script, the same script repaired as its label says, and the same script for longer.

    Attributes:
        name: of the member or the example.
        sick: what its label says.
        source: its text.
        control: the text with the smallest fix; "" for a healthy one.
        longer: the text whose loop runs twice as long; "" where that is not to be had.
    """

    name: str
    sick: bool
    source: str
    control: str = ""
    longer: str = ""

    def place(self, folder: Path) -> Path:
        """Write the script into a folder of its own."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / FILE).write_text(self.source, "utf-8")
        return folder


def subjects(seed: int) -> list[Subject]:
    """Return every subject, its own randomness drawn from `seed`."""
    from zoo import MEMBERS  # of the tests

    found = []
    for member in MEMBERS:
        text = _SCRIPT.format(tests=str(ROOT / "tests"), name=member.name, seed=1000 * seed)
        fixed = text.replace("CONTROL, TIMES, FEWEST = False", "CONTROL, TIMES, FEWEST = True")
        longer = text.replace("FEWEST = False, 1", "FEWEST = False, 2")
        found.append(
            Subject(member.name, member.sick, text, fixed, longer)
            if member.sick
            else Subject(member.name, False, text)
        )
    for name, control in EXAMPLES.items():
        text = (
            (_EXAMPLES / name).read_text("utf-8").replace("manual_seed(0)", f"manual_seed({seed})")
        )
        fixed = (_EXAMPLES / control).read_text("utf-8") if control else ""
        found.append(Subject(f"examples/{name}", control is not None, text, fixed))
    return found
