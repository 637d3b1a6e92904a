"""The front door stays light, and so does a client that only queries."""

import os
import subprocess
import sys
from pathlib import Path


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from fedbbpt.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "print([m for m in ('torch', 'transformers', 'timm', 'numpy', 'pydantic', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, NoTorch())
from fedbbpt.cli import main

main()
"""


def _without_torch(site: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(site)})


def test_a_remote_model_needs_no_torch(third_party: Path, quick: list[str], tmp_path: Path) -> None:
    done = _without_torch(third_party, "train", *quick, "--rounds", 1, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr


def test_a_local_model_without_torch_names_the_extra(third_party: Path, tmp_path: Path) -> None:
    done = _without_torch(third_party, "train", "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "pip install 'fedbbpt[local]'" in done.stderr
    assert "Traceback" not in done.stderr
