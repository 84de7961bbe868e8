"""Run requests on a Ray cluster."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, final

from .._errors import MissingExtraError
from .._messages import _
from ..experiment import TrialRun
from .request import Request
from .workers import AbstractPool, run_request

if TYPE_CHECKING:
    from collections.abc import Callable

LOCAL = "local"


@final
class RayPool(AbstractPool):
    """One Ray task a run, one core each.

    The nodes need gradfuga, what the script imports, and the user's folder under the same path,
    as clusters with a shared file system have it.

    Args:
        address: of the cluster, ``"auto"`` for the one of this machine, ``"local"`` to start one.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(self, address: str) -> None:
        try:
            import ray  # noqa: PLC0415 (an optional extra)
        except ImportError as error:
            raise MissingExtraError(
                _("expected ray, on which --ray runs the trials"),
                _("got none installed"),
                _("Install it: pip install 'gradfuga[ray]'."),
            ) from error
        self._ray = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            ray.init(
                address=None if address == LOCAL else address,
                log_to_driver=False,
                include_dashboard=False,
            )
        self._run: Callable[[Request], object] = ray.remote(num_cpus=1, max_retries=0)(
            _on_node
        ).remote
        self._waiting: list[object] = []

    def submit(self, request: Request) -> Future[TrialRun]:
        """Run `request` on a node with a free core."""
        reference = self._run(request)
        self._waiting.append(reference)
        future: Future[TrialRun] = reference.future()  # type: ignore[attr-defined]  # an ObjectRef's
        return future

    def close(self) -> None:
        """Cancel what still runs; leave a cluster that was there before."""
        for reference in self._waiting:
            self._ray.cancel(reference, force=True)
        if self._ours:
            self._ray.shutdown()


def _on_node(request: Request) -> TrialRun:
    return run_request(request)
