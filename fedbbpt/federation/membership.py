"""Keeps hold of NVFlare's client in a site's process, so that `node_process` can log it out.

NVFlare builds `Membership` as a component of the site's own settings (`local_settings`); jobs may not build it.
"""

from contextlib import suppress
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey

_clients: list[Any] = []  # NVFlare's client, once it has registered


class Membership(FLComponent):  # type: ignore[misc]
    """Hears of NVFlare's events."""

    def handle_event(self, event_type: str, fl_ctx: Any) -> None:
        """See `FLComponent`."""
        if event_type == EventType.SYSTEM_START:
            _clients.append(fl_ctx.get_prop(FLContextKey.SITE_OBJ))


def log_out() -> None:
    """Tells the server, if it can be reached, that this site leaves."""
    for client in _clients:
        with suppress(Exception):  # whatever NVFlare raises when the server is away
            client.close()
