"""NVFlare's server or client, as `watcher` starts it: `python -m fedbbpt.federation.node_process ROLE KIT`.

It ends on SIGTERM, and with the process that started it, which its standard input tells; a site logs out first, so that
the server knows at once that it has left.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from nvflare.fuel.f3.mpm import MainProcessMonitor

from fedbbpt.federation.certificates import ORGANISATION
from fedbbpt.federation.kits import Kit, open_kit
from fedbbpt.federation.membership import log_out

HEARTBEAT_INTERVAL = 4  # seconds, an even number; NVFlare's is 10
LOGOUT_TIMEOUT = 2.0  # seconds


def run(kit: Kit) -> int:
    """Runs NVFlare's server or client until it ends; gives its exit code."""
    settings: dict[str, object] = {"secure_train": "true", "org": ORGANISATION, "config_folder": "config"}
    if kit.description.role == "server":
        from nvflare.private.fed.app.server import server_train as program
    else:
        from nvflare.private.fed.app.client import client_train as program

        settings |= {"uid": kit.name, "heart_beat_interval": HEARTBEAT_INTERVAL}
    arguments = argparse.Namespace(
        workspace=str(kit.folder),
        set=[f"{key}={value}" for key, value in settings.items()],
        local_rank=0,
        fed_server="fed_server.json",
        fed_client="fed_client.json",
    )
    return int(MainProcessMonitor.run(main_func=program.main, run_dir=arguments.workspace, args=arguments) or 0)


def stop(*_: int | FrameType | None) -> None:
    """Logs out and ends this process."""
    leaving = threading.Thread(target=log_out, daemon=True)
    leaving.start()
    leaving.join(LOGOUT_TIMEOUT)
    os._exit(0)


def stop_with_parent() -> None:
    """Waits for the end of the process that started this one."""
    sys.stdin.buffer.read()
    stop()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=stop_with_parent, daemon=True).start()
    role, folder = sys.argv[1:]
    sys.exit(run(open_kit(Path(folder), "server" if role == "server" else "site")))
