"""A launched program against the same program under ``python``: each test runs both."""

import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from gradfuga._errors import UsageError
from gradfuga._torch import launch_uncaught
from gradfuga._torch.launch import Program, check

DRIVER = """
import sys
from gradfuga._torch.launch import Program, check, launch

module = sys.argv[1] == "-m"
target, *arguments = sys.argv[1 + module:]
program = Program(target, tuple(arguments), module=module)
check(program)
outcome = launch(
    program,
    torch_imported=lambda: print("told: torch", flush=True),
    terminated=lambda: print("told: terminated", flush=True),
)
outcome.leave()
"""


@dataclass(frozen=True)
class Ending:
    code: int
    out: str
    err: str


class Bench:
    """A folder with programs in it, and the two ways to run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.driver = folder / "driver.py"
        self.driver.write_text(DRIVER)

    def write(self, name: str, source: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source))
        return path

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, *words: str) -> Ending:
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        return Ending(process.returncode, out, err)

    def plain(self, *words: str) -> Ending:
        return self.end(*words)

    def launched(self, *words: str) -> Ending:
        return self.end(str(self.driver), *words)

    def same(self, *words: str) -> Ending:
        """Run both ways, demand equality, return what both gave."""
        launched = self.launched(*words)
        assert launched == self.plain(*words)
        return launched


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


NAMESPACE = """
import sys
shown = {k: v for k, v in globals().items() if k not in ("__builtins__", "__loader__", "sys")}
spec = shown.pop("__spec__")
print(sorted(shown.items()), spec and (spec.name, spec.origin))
print(type(__builtins__), type(__loader__), sys.argv, sys.path, sys.exc_info())
print(sys.modules["__main__"].__dict__ is globals(), __name__ == "__main__")
"""


def test_a_file_sees_the_namespace_argv_and_path_that_python_gives(bench):
    bench.write("sub/show.py", NAMESPACE)
    (bench.folder / "link.py").symlink_to("sub/show.py")
    ending = bench.same("./sub/show.py", "--json", "x", "--", "-m", "--help", "")
    assert "['./sub/show.py', '--json', 'x', '--', '-m', '--help', '']" in ending.out
    bench.same("sub/../sub/show.py")
    bench.same("link.py")
    bench.same(str(bench.folder / "link.py"))


def test_a_module_sees_the_namespace_argv_and_path_that_python_gives(bench):
    bench.write("pkg/__init__.py", "import sys; print(sys.argv)")
    bench.write("pkg/beside.py", "VALUE = 7")
    bench.write("pkg/tool.py", NAMESPACE + "from .beside import VALUE; print(VALUE)\n")
    bench.write("pkg/__main__.py", NAMESPACE + "from . import beside\n")
    ending = bench.same("-m", "pkg.tool", "--lr", "3")
    assert ending.out.endswith("7\n")
    bench.same("-m", "pkg", "x")


def test_a_folder_and_a_zip_run_their_main(bench):
    path = bench.write("folder/__main__.py", NAMESPACE)
    with zipfile.ZipFile(bench.folder / "packed.zip", "w") as packed:
        packed.write(path, "__main__.py")
    bench.same("folder", "a")
    bench.same("folder/", "a")
    bench.same("packed.zip", "b")


def test_a_compiled_file_runs(bench):
    bench.write("show.py", "print('hi', __file__, __cached__)")
    bench.end("-c", "import py_compile; py_compile.compile('show.py', 'show.pyc')")
    assert bench.same("show.pyc").out.startswith("hi")


def test_safe_path_keeps_the_scripts_folder_off_the_path(bench):
    bench.write("show.py", "import sys; print(sys.path)")
    launched = bench.end("-P", str(bench.driver), "show.py")
    assert launched == bench.end("-P", "show.py")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ("", 0),
        ("0", 0),
        ("7", 7),
        ("True", 1),
        ("-1", 255),
        ("2**80", 255),
        ("None", 0),
        ("'no data'", 1),
        ("(1, 'two')", 1),
        ("1.0", 1),
    ],
)
def test_an_exit_keeps_its_code_and_message(bench, payload, code):
    bench.write("leave.py", f"import sys; print('out'); sys.exit({payload})")
    assert bench.same("leave.py").code == code


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


def test_atexit_functions_run_after_the_threads_ended(bench):
    bench.write(
        "late.py",
        """
        import atexit, threading, time
        from concurrent.futures import ThreadPoolExecutor

        def work():
            time.sleep(0.1)
            print("thread", flush=True)

        atexit.register(print, "atexit", flush=True)
        threading.Thread(target=work).start()
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
        pool = ThreadPoolExecutor(2)
        pool.submit(work)
        print("main", flush=True)
        """,
    )
    assert bench.same("late.py").out == "main\nthread\nthread\natexit\n"


def test_a_keyboard_interrupt_nobody_caught_dies_of_the_signal(bench):
    bench.write(
        "stop.py", "import atexit\natexit.register(print, 'bye')\nraise KeyboardInterrupt\n"
    )
    ending = bench.same("stop.py")
    assert ending.code == -signal.SIGINT
    assert ending.out == "bye\n"
    assert ending.err.count("Traceback") == 1


def test_a_keyboard_interrupt_the_program_catches_is_its_own(bench):
    bench.write(
        "stop.py", "try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt:\n    exit(4)"
    )
    assert bench.same("stop.py").code == 4


def signalled(bench, number, *words):
    process = bench.start(*words)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return Ending(process.returncode, out, err)


WAIT = """
import atexit, signal, sys, time
atexit.register(print, "atexit")
{handler}
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    print("finally", flush=True)
"""


def test_ctrl_c_ends_as_under_python(bench):
    bench.write("wait.py", WAIT.format(handler=""))
    launched = signalled(bench, signal.SIGINT, str(bench.driver), "wait.py")
    assert launched == signalled(bench, signal.SIGINT, "wait.py")
    assert launched.code == -signal.SIGINT
    assert launched.out == "finally\natexit\n"


def test_sigterm_kills_without_unwinding_after_we_were_told(bench):
    bench.write("wait.py", WAIT.format(handler=""))
    launched = signalled(bench, signal.SIGTERM, str(bench.driver), "wait.py")
    assert signalled(bench, signal.SIGTERM, "wait.py") == Ending(-signal.SIGTERM, "", "")
    assert launched == Ending(-signal.SIGTERM, "told: terminated\n", "")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_handler_of_the_program_stays_in_force(bench, name):
    handler = f"signal.signal(signal.{name}, lambda n, f: sys.exit(n + 40))"
    bench.write("wait.py", WAIT.format(handler=handler))
    number = getattr(signal, name)
    launched = signalled(bench, number, str(bench.driver), "wait.py")
    assert launched == signalled(bench, number, "wait.py")
    assert launched.code == number + 40


def test_an_ignored_sigterm_stays_ignored(bench):
    bench.write("show.py", "import signal; print(repr(signal.getsignal(signal.SIGTERM)))")
    code = (
        "import os, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    launched = bench.end("-c", code, str(bench.driver), "show.py")
    assert launched == bench.end("-c", code, "show.py")
    assert "SIG_IGN" in launched.out


def test_a_forked_child_dies_of_sigterm_in_silence(bench):
    bench.write(
        "parent.py",
        """
        import os, signal, time
        child = os.fork()
        if child == 0:
            print(signal.getsignal(signal.SIGTERM), flush=True)
            time.sleep(60)
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        print(os.waitpid(child, 0)[1])
        """,
    )
    assert bench.same("parent.py").out.splitlines()[-1] == str(int(signal.SIGTERM))


def test_a_forked_child_that_returns_through_the_end_leaves_at_once(bench):
    source = """
        import os, sys
        child = os.fork()
        if child == 0:
            {end}
        else:
            print(os.waitpid(child, 0)[1] >> 8)
        """
    bench.write("a.py", source.format(end="sys.exit(5)"))
    assert bench.same("a.py").out == "5\n"
    bench.write("b.py", source.format(end="pass"))
    assert bench.same("b.py").out == "0\n"
    bench.write("c.py", source.format(end="1 / 0"))
    assert "ZeroDivisionError" in bench.same("c.py").err


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_worker_processes_import_the_main_script_as_under_python(bench, method):
    bench.write(
        "workers.py",
        f"""
        import multiprocessing, sys

        def square(x):
            return x * x, __name__, "gradfuga" in sys.modules

        if __name__ == "__main__":
            context = multiprocessing.get_context("{method}")
            with context.Pool(1) as pool:
                answers = pool.map(square, range(3))
            print([a[:2] for a in answers])
            print("alone" if "{method}" == "fork" or not answers[0][2] else "watched")
        else:
            print("imported as", __name__, flush=True)
        """,
    )
    ending = bench.same("workers.py")
    assert "(4, " in ending.out
    assert "alone" in ending.out
    assert bench.same("-m", "workers").out == ending.out


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


def test_bad_targets_are_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"gone\.py.*does not exist"):
        check(Program("gone.py"))
    with pytest.raises(UsageError, match=r"empty.*no __main__"):
        check(Program("empty"))
    with pytest.raises(UsageError, match="no_such_module_here"):
        check(Program("no_such_module_here.train", module=True))
    with pytest.raises(UsageError, match="after -m"):
        check(Program(".relative", module=True))
    with pytest.raises(UsageError, match="''"):
        check(Program(""))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    path = tmp_path / "secret.py"
    path.write_text("")
    path.chmod(0)
    with pytest.raises(UsageError, match="cannot be read"):
        check(Program(str(path)))


def test_the_name_of_a_program_is_its_stem_or_its_dotted_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Program("a/b/train.py").name == "train"
    assert Program("pkg.train", module=True).name == "pkg.train"
    assert Program(".").name == tmp_path.name


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
