"""The line that tries a service works as it is printed."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fedbbpt.serve.example import TEXT, curl_line

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


def sent(recording_server, line: str, **environment: str) -> dict[str, str]:
    """Runs the line; returns the headers that came."""
    done = subprocess.run(["sh", "-c", line], env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == recording_server.bodies[-1]
    assert recording_server.paths[-1] == "/v1/classify"
    return recording_server.headers[-1]


def test_a_text_is_sent_as_json(recording_server) -> None:
    line = curl_line(recording_server.url, reads_texts=True, needs_token=False, token_file=None)
    headers = sent(recording_server, line)
    assert recording_server.bodies == [{"inputs": [TEXT]}]
    assert headers["Content-Type"] == "application/json"
    assert "Authorization" not in headers


def test_the_token_comes_from_the_variable(recording_server) -> None:
    line = curl_line(recording_server.url, reads_texts=False, needs_token=True, token_file=None)
    assert sent(recording_server, line, FEDBBPT_TOKEN="correct-horse")["Authorization"] == "Bearer correct-horse"


def test_the_token_comes_from_the_file(recording_server, tmp_path: Path) -> None:
    (file := tmp_path / "it's a token").write_text("correct-horse\n")
    line = curl_line(recording_server.url, reads_texts=False, needs_token=True, token_file=file)
    assert sent(recording_server, line)["Authorization"] == "Bearer correct-horse"
