"""Run requests on a Ray cluster."""

from __future__ import annotations

import importlib
import logging
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import final

from .._errors import MissingExtraError, UsageError
from .._messages import _
from ..experiment import TrialRun
from .request import Request
from .workers import AbstractPool, run_request

LOCAL = "local"
_LAST_WORDS = 10.0  # seconds that a canceled task has to end what it started
_CALLED = 5.0  # seconds, as Ray waits itself
_ENDED = 300  # characters of why a worker ended


@final
class RayPool(AbstractPool):
    """One Ray task a run, one core each; the untreated script is observed on this machine.

    The nodes need gradfuga, what the script imports, and the user's folder under the same path,
    as clusters with a shared file system have it. A task whose worker dies is run once more.

    Args:
        address: of the cluster, ``"auto"`` for the one of this machine, ``"local"`` to start one.
        jobs: tasks side by side; as many as the cluster has cores where left out.

    Attributes:
        jobs: tasks side by side.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: no cluster answers at the address.
    """

    def __init__(self, address: str, jobs: int | None = None) -> None:
        try:
            ray = importlib.import_module("ray")  # an optional extra
        except ImportError as error:
            raise MissingExtraError(
                _("expected ray, on which --ray runs the trials"),
                _("got none installed"),
                _("Install it: pip install 'gradfuga[ray]'."),
            ) from error
        self._ray = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            try:
                _call(address)
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.WARNING,
                    # a cluster that is there has made up its own mind
                    **({"include_dashboard": False} if address == LOCAL else {}),
                )
            except (OSError, ValueError, RuntimeError) as error:
                raise UsageError(
                    _("expected a Ray cluster at '{address}'").format(address=address),
                    str(error).splitlines()[0] if str(error) else type(error).__name__,
                    _("Start one with: ray start --head, or let --ray local start one."),
                ) from error
        self.jobs = jobs or max(1, int(ray.cluster_resources().get("CPU", 1.0)))
        self._task = ray.remote(num_cpus=1, max_retries=1, retry_exceptions=False)(_on_node)
        # A thread waits for each task, so that what waits for room can be taken back.
        self._threads = ThreadPoolExecutor(self.jobs, thread_name_prefix="gradfuga-ray")
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._running: set[object] = set()

    def submit(self, request: Request) -> Future[TrialRun]:
        """Run `request` on a node with a free core.

        One whose readings are recorded runs here: the folder for them is this machine's.
        """
        if request.record:
            return self._threads.submit(run_request, request, None, self._closed)
        return self._threads.submit(self._there, request)

    def close(self) -> None:
        """Cancel what still runs; leave a cluster that was there before. Harmless when done twice.

        A task is asked to end, and ends the training that it has started; what does not answer is
        killed with its worker, and its training with it.
        """
        if self._closed.is_set():
            return
        with self._lock:
            self._closed.set()
            running = list(self._running)
        self._threads.shutdown(wait=False, cancel_futures=True)
        for reference in running:
            self._ray.cancel(reference, force=False)
        if running:
            late = self._ray.wait(running, num_returns=len(running), timeout=_LAST_WORDS)[1]
            for reference in late:
                self._ray.cancel(reference, force=True)
        self._threads.shutdown()
        if self._ours:
            self._ray.shutdown()

    def _there(self, request: Request) -> TrialRun:
        with self._lock:
            if self._closed.is_set():
                return TrialRun(request.seed, failed=_("canceled"))
            reference = self._task.remote(request)
            self._running.add(reference)
        try:
            run: TrialRun = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            why = " ".join(str(error).split())[:_ENDED]
            run = TrialRun(
                request.seed, failed=_("lost with its Ray worker: {why}").format(why=why)
            )
        finally:
            with self._lock:
                self._running.discard(reference)
        return run


def _call(address: str) -> None:
    """Raise an OSError where nothing listens at an address: Ray would end this process."""
    host, _colon, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_CALLED).close()


def _on_node(request: Request) -> TrialRun:
    return run_request(request)
