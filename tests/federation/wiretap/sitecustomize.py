"""Keeps all that the processes of a federation's server receive, behind TLS, in files of the folder FEDBBPT_WIRETAP.

With this folder in PYTHONPATH, every Python process runs this before anything else.
"""

import os
from pathlib import Path
from threading import Lock
from typing import Any

if "FEDBBPT_WIRETAP" in os.environ and Path(os.environ.get("FEDBBPT_KIT", "")).name == "server":
    from nvflare.fuel.f3.sfm.conn_manager import ConnManager

    received = (Path(os.environ["FEDBBPT_WIRETAP"]) / str(os.getpid())).open("ab", buffering=0)
    passed_on, turn = ConnManager.process_frame, Lock()

    def process_frame(self: Any, connection: Any, frame: Any) -> None:
        """Keeps what came, and passes it on."""
        with turn:
            received.write(frame)
        passed_on(self, connection, frame)

    ConnManager.process_frame = process_frame
