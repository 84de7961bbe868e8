"""`gradfuga run` on unmodified scripts of each framework, without its callback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradfuga.readings import Readings

SCRIPTS = Path(__file__).parents[2] / "examples" / "frameworks"

CASES = [
    pytest.param(
        "lightning_fit.py",
        160,
        {"net.4", "net.2", "net.0"},
        "Regression",
        id="lightning",
    ),
    pytest.param(
        "transformers_trainer.py",
        120,
        {"transformer.wte", "transformer.h.1.mlp.c_proj", "transformer.h.0.attn.c_attn"},
        "GPT2LMHeadModel",
        id="transformers",
    ),
    pytest.param("accelerate_loop.py", 160, {"4", "2", "0"}, "Sequential", id="accelerate"),
    pytest.param(
        "keras_fit.py",
        192,
        {"sequential/dense_2", "sequential/dense_1", "sequential/dense"},
        "Sequential",
        id="keras",
    ),
]


def run(folder, *words):
    environment = {**os.environ, "KERAS_BACKEND": "torch", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(("script", "steps", "layers", "model"), CASES)
def test_an_unmodified_script_is_seen_whole(tmp_path, script, steps, layers, model):
    words = ("-m", "gradfuga", "run", "--json", "d.json", "--out", "run", str(SCRIPTS / script))
    run(tmp_path, *words)
    document = json.loads((tmp_path / "d.json").read_text("utf-8"))
    assert document["verdict"] == "healthy"
    assert document["run"]["steps"] == steps
    [described] = document["run"]["models"]
    assert described["model"] == model
    graph = Readings.open(tmp_path / "run").graph
    assert layers <= {graph.ops[place].path for place in graph.layers}
