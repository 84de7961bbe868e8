"""A signal ends a launched program as it ends one under ``python``."""

import signal

import pytest


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
    launched = bench.signalled(signal.SIGINT, str(bench.driver), "wait.py")
    plain = bench.signalled(signal.SIGINT, "wait.py")
    # The line that was interrupted is chance; that nothing else is printed is not.
    assert launched[:2] == plain[:2] == (-signal.SIGINT, "finally\natexit\n")
    assert len(launched.err.splitlines()) == len(plain.err.splitlines()) == 4
    assert "gradfuga" not in launched.err
    bench.write("raise.py", "import signal\nsignal.raise_signal(signal.SIGINT)\n")
    assert bench.same("raise.py").code == -signal.SIGINT


def test_sigterm_kills_without_unwinding_after_we_were_told(bench):
    bench.write("wait.py", WAIT.format(handler=""))
    launched = bench.signalled(signal.SIGTERM, str(bench.driver), "wait.py")
    assert bench.signalled(signal.SIGTERM, "wait.py") == (-signal.SIGTERM, "", "")
    assert launched == (-signal.SIGTERM, "told: terminated\n", "")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_handler_of_the_program_stays_in_force(bench, name):
    handler = f"signal.signal(signal.{name}, lambda n, f: sys.exit(n + 40))"
    bench.write("wait.py", WAIT.format(handler=handler))
    number = getattr(signal, name)
    launched = bench.signalled(number, str(bench.driver), "wait.py")
    assert launched == bench.signalled(number, "wait.py")
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
        here, there = os.pipe()
        child = os.fork()
        if child == 0:
            print(signal.getsignal(signal.SIGTERM), flush=True)
            os.write(there, b"x")
            time.sleep(60)
        os.read(here, 1)
        os.kill(child, signal.SIGTERM)
        print(os.waitpid(child, 0)[1])
        """,
    )
    assert bench.same("parent.py").out.splitlines()[-1] == str(int(signal.SIGTERM))
