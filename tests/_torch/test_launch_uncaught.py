"""An uncaught exception reads as under ``python``."""

from pathlib import Path

import pytest

from gradfuga._torch import launch_uncaught


def test_an_uncaught_exception_is_printed_as_python_prints_it(bench):
    bench.write(
        "fail.py",
        """
        def inner():
            raise KeyError("gone")

        try:
            inner()
        except KeyError as error:
            raise ValueError("worse") from error
        """,
    )
    ending = bench.same("fail.py")
    assert ending.code == 1
    assert "direct cause" in ending.err
    assert "launch" not in ending.err
    bench.same("-m", "fail")


def test_an_exception_group_and_notes_are_printed_as_python_prints_them(bench):
    bench.write(
        "fail.py",
        """
        error = ExceptionGroup("two", [ValueError(1), TypeError(2)])
        error.add_note("look here")
        raise error
        """,
    )
    assert "look here" in bench.same("fail.py").err


@pytest.mark.parametrize("source", ["x = (\n", "if x:\npass\n", "def f(:\n", "a b\n", "\tx\n y\n"])
def test_a_syntax_error_is_printed_as_python_prints_it(bench, source):
    bench.write("broken.py", "").write_text(source)
    ending = bench.same("broken.py")
    assert ending.code == 1
    assert "Error" in ending.err
    bench.same("-m", "broken")


def test_a_file_that_is_no_text_is_a_syntax_error(bench):
    (bench.folder / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\xff")
    ending = bench.launched("image.png")
    assert ending.code == 1
    assert "Traceback" not in ending.err
    assert "SyntaxError" in ending.err


def test_a_module_that_is_not_there_gets_pythons_own_words(bench):
    bench.write("pkg/__init__.py", "")
    assert "No module named pkg.gone" in bench.same("-m", "pkg.gone").err
    assert "cannot be directly executed" in bench.same("-m", "pkg").err


def test_an_excepthook_of_the_program_stays_in_force(bench):
    bench.write(
        "hook.py",
        """
        import sys

        def hook(kind, value, tb):
            print("hook", kind, value, tb.tb_frame.f_code.co_name, sys.exc_info())

        sys.excepthook = hook
        raise RuntimeError("x")
        """,
    )
    assert "hook" in bench.same("hook.py").out
    bench.write("leaving.py", "import sys\nsys.excepthook = lambda *_: sys.exit(9)\n1 / 0\n")
    assert bench.same("leaving.py").code == 9


def test_a_failing_excepthook_is_told_with_the_original_error(bench):
    bench.write("hook.py", "import sys\nsys.excepthook = lambda *_: {}['no']\n1 / 0\n")
    ending = bench.same("hook.py")
    assert "Error in sys.excepthook" in ending.err
    assert "ZeroDivisionError" in ending.err


def error_through(*files):
    """An error raised in the last of `files`, each calling the next."""

    def call(number):
        scope = {"call": call, "number": number}
        source = "call(number + 1)" if number + 1 < len(files) else "raise ValueError"
        exec(compile(source, files[number], "exec"), scope)  # noqa: S102 (frames with these file names)

    try:
        call(0)
    except ValueError as error:
        return error


def files_of(tb):
    names = []
    while tb is not None:
        names.append(tb.tb_frame.f_code.co_filename)
        tb = tb.tb_next
    return [name for name in names if name != __file__]


def test_our_frames_inside_the_program_are_hidden_unless_the_fault_is_ours():
    package = Path(launch_uncaught.__file__).parents[1]
    watch, launching = str(package / "_torch/watch.py"), str(package / "_torch/launch.py")
    innocent = error_through(launching, "train.py", watch, "torch.py")
    assert files_of(launch_uncaught.without_our_frames(innocent)) == ["train.py", "torch.py"]
    guilty = error_through(launching, "train.py", watch)
    assert files_of(launch_uncaught.without_our_frames(guilty)) == ["train.py", watch]
