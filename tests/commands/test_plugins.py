"""A third party's command is one of ours as soon as it is installed."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_command_by_entry_point(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(
        "import click\n\n@click.command(short_help='Says hello.')\ndef hello():\n    click.echo('hello from them')\n"
    )
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedbbpt.commands]\nhello = theirs:hello\n")

    def fedbbpt(*arguments: str) -> str:
        command = [sys.executable, "-m", "fedbbpt", *arguments]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    assert fedbbpt("hello") == "hello from them\n"
    listed = fedbbpt("--help")
    assert "Says hello." in listed
    assert "bench" in listed
