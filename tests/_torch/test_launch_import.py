"""The import of torch is told, and is otherwise the import that ``python`` makes."""

FAKE_TORCH = "print('torch runs')\n"


def told(ending):
    return ending.out.splitlines()


def test_the_import_of_torch_is_told_once_when_it_is_done(bench):
    bench.write("torch/__init__.py", FAKE_TORCH)
    bench.write("torch/nn.py", "")
    bench.write(
        "train.py",
        """
        import importlib.util, sys
        assert "torch" not in sys.modules
        assert importlib.util.find_spec("torch").origin.endswith("__init__.py")
        print("before")
        from torch import nn
        import torch
        print(type(torch.__loader__).__name__, type(torch.__spec__.loader).__name__)
        print(any("Torch" in type(f).__name__ for f in sys.meta_path))
        """,
    )
    assert told(bench.launched("train.py")) == [
        "before",
        "torch runs",
        "told: torch",
        "SourceFileLoader SourceFileLoader",
        "False",
    ]


def test_an_import_of_torch_that_failed_once_is_told_when_it_succeeds(bench):
    bench.write(
        "torch.py", "import sys\nif not hasattr(sys, 'again'):\n    sys.again = 1\n    1 / 0\n"
    )
    bench.write("train.py", "try:\n    import torch\nexcept Exception:\n    import torch\n")
    assert told(bench.launched("train.py")) == ["told: torch"]


def test_a_failing_import_of_torch_shows_the_traceback_of_python(bench):
    bench.write("torch.py", "raise OSError('libtorch is missing')\n")
    bench.write("train.py", "import torch\n")
    assert "libtorch" in bench.same("train.py").err
    bench.write("torch.py", "import not_there_at_all\n")
    assert "not_there_at_all" in bench.same("train.py").err
    (bench.folder / "torch.py").unlink()


def test_a_program_without_torch_is_never_told_and_imports_none_of_the_heavy_ones(bench):
    bench.write(
        "plain.py",
        "import sys; print([m for m in ('torch', 'numpy', 'pyarrow') if m in sys.modules])",
    )
    assert bench.same("plain.py").out == "[]\n"


def test_a_forked_child_that_imports_torch_is_not_told(bench):
    bench.write("torch.py", FAKE_TORCH)
    bench.write(
        "train.py",
        "import os\nif os.fork() == 0:\n    import torch\n    os._exit(0)\nos.wait()\n",
    )
    assert "told: torch" not in bench.launched("train.py").out
