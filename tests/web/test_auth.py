"""The token of a service is read from a file or the environment, and never shown."""

from pathlib import Path

import pytest

from fedbbpt.errors import ConfigError
from fedbbpt.web.auth import TOKEN_VARIABLE, read_token


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


def _file(folder: Path, contents: bytes, mode: int = 0o600) -> Path:
    file = folder / "token"
    file.write_bytes(contents)
    file.chmod(mode)
    return file


def test_a_token_is_read_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_token(None) is None
    monkeypatch.setenv(TOKEN_VARIABLE, "from-the-environment")
    assert read_token(None) == "from-the-environment"
    assert read_token(_file(tmp_path, b"from-a-file\n")) == "from-a-file"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o700])
def test_a_token_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match="chmod 600") as refused:
        read_token(_file(tmp_path, b"secret", mode))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("contents", [b"", b" \n", b"two secret words", "gehéim".encode(), b"\xff\xfe"])
def test_what_is_no_token_is_refused_without_being_said(tmp_path: Path, contents: bytes) -> None:
    with pytest.raises(ConfigError, match="holds no token") as refused:
        read_token(_file(tmp_path, contents))
    assert "secret" not in str(refused.value)


def test_an_empty_variable_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    with pytest.raises(ConfigError, match=TOKEN_VARIABLE):
        read_token(None)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the token"):
        read_token(tmp_path / "nothing")
