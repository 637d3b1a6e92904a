"""Commands of installed packages are found by their entry points."""

import os
import subprocess
import sys
from pathlib import Path


def test_an_installed_command_is_found(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(
        "import click\n\n@click.command(short_help='Says hello.')\ndef hello():\n  click.echo('hello from a plugin')\n"
    )
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedbbpt.commands]\nhello = plugin:hello\n")

    def fedbbpt(*arguments: str) -> str:
        command = [sys.executable, "-m", "fedbbpt", *arguments]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    assert fedbbpt("hello") == "hello from a plugin\n"
    listed = fedbbpt("--help")
    assert "Says hello." in listed
    assert "bench" in listed
