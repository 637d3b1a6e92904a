"""`fedbbpt serve` as a command, with a third party's backend."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from fedbbpt.cli import main

BACKEND = """
import numpy as np

from fedbbpt.backend import BackendOutput, Backend, BackendInfo


class Lengths(Backend):
    \"\"\"The longer a text, the higher the score of the first class.\"\"\"

    modalities = ("text",)

    def __init__(self, provider, /, *, slope: float = 1.0) -> None:
        self.info = BackendInfo("lengths", None, provider.classes, "logits", 8)
        self._slope = slope

    def query(self, inputs):
        rows = [[self._slope * len(text)] + [0.0] * (len(self.info.classes) - 1) for text in inputs]
        return BackendOutput(np.float32(rows))
"""

Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in which the backend `lengths` is installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "lengths.py").write_text(BACKEND)
    info = site / "lengths-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lengths\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedbbpt.backends]\nlengths = lengths:Lengths\n")
    known = {name: value for name, value in os.environ.items() if name != "FEDBBPT_TOKEN"}
    return known | {"PYTHONPATH": str(site)}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Texts of two classes."""
    file = tmp_path / "table.csv"
    rows = [f"text {i},{'ham' if i % 2 else 'spam'}" for i in range(400)]
    file.write_text("\n".join(["body,label", *rows]))
    return file


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "fedbbpt", "serve", *map(str, arguments)]


def test_it_serves_until_ctrl_c(environment: dict[str, str], table: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("correct-horse")
    token.chmod(0o600)
    options = ("--backend", "lengths", "--task", f"csv:{table}", "--text-column", "body", "-o", "slope=.5")
    command = _command(*options, "--port", 0, "--token-file", token)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdout is not None
        url, example = process.stdout.readline().strip(), process.stdout.readline()
        headers = {"Authorization": "Bearer correct-horse"}
        with httpx2.Client(base_url=url, headers=headers) as client:
            response = client.post("/v1/classify?x=1", json={"inputs": ["four"], "model": "lengths"}).json()
            assert client.get("/v1/models", headers={"Authorization": "Bearer x"}).status_code == 401
            tried = subprocess.run(["sh", "-c", example], capture_output=True, text=True)
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=10)
    assert url.startswith("http://127.0.0.1:")
    assert "correct-horse" not in example
    assert json.loads(tried.stdout)["classes"] == response["classes"], tried
    first, second = response["classes"]
    assert dict(zip(response["classes"], response["scores"][0], strict=True)) == {first: 2, second: 0}
    assert process.returncode == 130
    assert (out, errors) == ("", "\nStopped.\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--backend", "local-vit", "--host", "0.0.0.0"), "a token is needed"),
        (("--backend", "hf-text", "--port", 0), "give the --task whose classes it scores"),
        (("--backend", "hf-text", "--port", 0, "--task", "digits"), "cannot read images, which the task digits holds"),
        (("--backend", "nothing", "--port", 0), "unknown backend 'nothing'"),
        (("--backend", "local-vit", "--port", 0, "-o", "modle=x"), "Did you mean 'model'?"),
        (("--backend", "local-vit", "--port", 0, "-o", "model"), "-o expects key=value"),
        (("--backend", "local-vit", "--port", 0, "--token-file", "/nowhere"), "cannot read the token"),
    ],
)
def test_wrong_options_are_one_sentence(
    arguments: tuple[object, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FEDBBPT_TOKEN", raising=False)
    done = CliRunner().invoke(main, ["serve", *map(str, arguments)])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr


def test_a_model_that_cannot_be_partitioned_has_no_body_to_serve() -> None:
    done = CliRunner().invoke(main, ["serve-body", "--backend", "hf-text", "--port", "0"])
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: the backend 'hf-text' has no model that can be partitioned; use --backend local-vit\n"
    )


@pytest.mark.parametrize(
    ("command", "module"), [("serve", "fedbbpt.serve.app"), ("serve-body", "fedbbpt.serve.split_body")]
)
def test_a_missing_extra_is_named(command: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    done = CliRunner().invoke(main, [command, "--backend", "local-vit"])
    assert done.exit_code == 1
    assert f"fedbbpt {command} needs" in done.stderr
    assert "pip install 'fedbbpt[serve]'" in done.stderr


def test_help_imports_no_server() -> None:
    program = (
        "import sys; from click.testing import CliRunner; import fedbbpt; from fedbbpt.cli import main;"
        "assert CliRunner().invoke(main, ['serve', '--help']).exit_code == 0;"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'starlette', 'uvicorn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
