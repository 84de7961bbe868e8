"""The examples are ordinary scripts: they know nothing of gradfuga, and do what they claim."""

import difflib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))

# What each script's last line must show: (pattern, lowest, highest). The two deep ones are
# tested apart.
CLAIMS = {
    "conv_digits": (r"accuracy (.*)%", 93.0, 100.0),
    "diabetes_accumulation": (r"R2 (.*)", 0.4, 0.8),  # linear regression reaches about 0.5
    "functional_digits": (r"accuracy (.*)%", 93.0, 100.0),
    "gan_ring": (r"mean radius (.*)", 0.8, 1.2),  # the ring has radius 1
    "transformer_digits": (r"accuracy (.*)%", 90.0, 100.0),
}


def run(*command, folder):
    """Run python in an empty folder, so that nothing is left in the checkout."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def last_number(done, pattern):
    assert done.returncode == 0, done.stderr
    return float(re.findall(pattern, done.stdout)[-1])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_knows_nothing_of_gradfuga(script):
    text = script.read_text("utf-8")
    assert "gradfuga" not in text
    assert '__name__ == "__main__"' in text


def test_every_example_has_a_claim_that_is_tested():
    named = {script.stem for script in SCRIPTS}
    assert named == {*CLAIMS, "deep_sigmoid_digits", "deep_relu_digits"}


def test_the_twins_differ_in_activation_and_initialisation_alone():
    sick, healthy = (
        (EXAMPLES / f"deep_{name}_digits.py").read_text("utf-8").splitlines()
        for name in ("sigmoid", "relu")
    )
    changed = [line for line in difflib.ndiff(sick, healthy) if line[0] in "+-"]
    about = re.compile(r"sigmoid|relu|nn\.init|for layer in \(self\.stem, \*self\.hidden\)", re.I)
    assert changed
    assert not [line for line in changed if not about.search(line)]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_an_example_learns_what_it_claims(name, tmp_path):
    pattern, lowest, highest = CLAIMS[name]
    done = run("-W", "error", EXAMPLES / f"{name}.py", folder=tmp_path)
    assert lowest <= last_number(done, pattern) <= highest


def test_the_deep_sigmoid_network_stays_at_chance(tmp_path):
    done = run("-W", "error", EXAMPLES / "deep_sigmoid_digits.py", folder=tmp_path)
    # ten classes; the largest one in the test set holds 37 of 360 images
    assert last_number(done, r"accuracy (.*)%") < 15.0


def test_the_same_network_learns_with_relu_and_he_initialisation(tmp_path):
    done = run("-W", "error", EXAMPLES / "deep_relu_digits.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    # single epochs of a rate this high jump by two points; which one does depends on the processor
    last = [float(each) for each in re.findall(r"accuracy (.*)%", done.stdout)[-5:]]
    assert sum(last) / len(last) > 95.0


@pytest.mark.parametrize(
    ("name", "verdict", "severity", "axis"),
    [
        ("deep_sigmoid_digits", "vanishing", "fatal", "depth"),
        ("deep_relu_digits", "healthy", "none", None),
    ],
)
def test_the_twins_get_their_verdicts(name, verdict, severity, axis, tmp_path):
    script = EXAMPLES / f"{name}.py"
    done = run("-m", "gradfuga", "run", "--json", "said.json", script, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "said.json").read_text("utf-8"))
    assert (said["verdict"], said["severity"], said["axis"]) == (verdict, severity, axis)
    shares = [cause["share"] for cause in said["causes"]]
    if verdict == "vanishing":
        assert {"contracting_activation", "small_init"} <= {c["name"] for c in said["causes"]}
        assert sum(shares) + said["unexplained"] == pytest.approx(1.0, abs=1e-9)
        lines = {source["text"].strip() for f in said["findings"] for source in f["source"]}
        assert "x = torch.sigmoid(layer(x))" in lines
