"""How a client's activations reach the body."""

from collections.abc import MutableMapping
from typing import Any, NamedTuple

import numpy as np

from fedbbpt.split_learning.activations import ActivationDtype
from fedbbpt.split_learning.http_link import HttpLink
from fedbbpt.split_learning.http_transport import CutSpec, RemoteBody
from fedbbpt.split_learning.transport import BodyRunner, ClippedNoisyTransport, InProcessTransport, Transport

LINK = "link"  # in `ClientContext.shared`: the `Link` to the body's server, where that is not reached over HTTP


class BodyAccess(NamedTuple):
    """Whether activations stay in this process or go to a server, in which format, and what is hidden of them."""

    url: str | None  # of the server that runs the body; None if this process does
    cut: CutSpec
    dtype: ActivationDtype | None  # None if the client itself holds the body
    clip_norm: float | None
    noise_multiplier: float

    def transport(
        self,
        runner: BodyRunner | None,
        shared: MutableMapping[str, Any],
        rng: np.random.Generator,
        *,
        backward: bool,
    ) -> Transport:
        """A transport for one client and round.

        Args:
            runner: the body in this process; None if a server runs it.
            shared: of the clients of this process, which share one connection to the server.
            rng: draws the noise. For a server it is drawn afresh, since who knows a run's seed could subtract it.
            backward: whether gradients will come back.
        """
        if runner is not None:
            transport: Transport = InProcessTransport(runner, self.dtype)
        else:
            transport, rng = self._remote_body(shared).transport(backward=backward), np.random.default_rng()
        if self.clip_norm is None:
            return transport
        return ClippedNoisyTransport(transport, self.clip_norm, self.noise_multiplier, rng)

    def _remote_body(self, shared: MutableMapping[str, Any]) -> RemoteBody:
        if "body" not in shared:
            link = shared.get(LINK) or HttpLink(str(self.url))
            shared["body"] = RemoteBody(link, self.dtype or "float32", self.cut)
        remote: RemoteBody = shared["body"]
        return remote
