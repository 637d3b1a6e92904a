"""What a person sees in a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path


def test_a_terminal_shows_a_bar_that_fills(third_party: Path, quick: list[str], tmp_path: Path) -> None:
    master, slave = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(third_party), "TERM": "xterm", "COLUMNS": "140"}
    command = [sys.executable, "-m", "fedbbpt", "train", *quick, "--out", str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        shown = bytearray()
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:  # the other side has closed
                break
            if not piece:
                break
            shown += piece
    os.close(master)
    text = shown.decode()
    assert process.returncode == 0, text
    assert "━" in text
    assert "accuracy" in text
    assert "test accuracy" in text
    assert "report" in text
