"""A launched program against the same program under ``python``: each test runs both."""

import os
import zipfile

import pytest

from gradfuga._errors import UsageError
from gradfuga._torch.launch import Program, check

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


def test_standard_input_runs_as_under_python(bench):
    source = NAMESPACE.replace('"__loader__", ', "") + "print(repr(sys.stdin.read()))\n1 / 0\n"
    for text in (source, "print(1)\nx = (\n", "print('\u00e9')\n"):
        ending = bench.same_fed(text.encode(), "-", "a", "--json")
        assert ending.code == ("\u00e9" not in text)
    assert Program("-").name == "stdin"


def test_a_terminal_is_no_script(monkeypatch):
    class Terminal:
        def isatty(self):
            return True

    for stdin in (Terminal(), None):
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(UsageError, match=r"standard input after -, got a terminal"):
            check(Program("-"))


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


def test_executors_stay_usable_for_the_atexit_functions_as_under_python(bench):
    bench.write(
        "late.py",
        """
        import atexit
        from concurrent.futures import ThreadPoolExecutor

        def late():
            try:
                with ThreadPoolExecutor(1) as pool:
                    print(pool.submit(pow, 2, 3).result())
            except RuntimeError as error:
                print(error)

        atexit.register(late)
        """,
    )
    bench.same("late.py")


def test_atexit_functions_run_after_the_threads_ended(bench):
    bench.write(
        "late.py",
        """
        import atexit, os, threading, time
        from concurrent.futures import ThreadPoolExecutor

        main_ended = threading.Event()

        def work():
            main_ended.wait()
            time.sleep(0.1)
            os.write(1, b"thread\\n")  # whole, where print may be cut in two

        atexit.register(print, "atexit", flush=True)
        threading.Thread(target=work).start()
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
        pool = ThreadPoolExecutor(2)
        pool.submit(work)
        print("main", flush=True)
        main_ended.set()
        """,
    )
    assert bench.same("late.py").out == "main\nthread\nthread\natexit\n"


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
