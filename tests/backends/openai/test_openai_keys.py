"""The key of the OpenAI API: where it comes from, and that nobody sees it."""

import os

import pytest

from fedbbpt.errors import ConfigError


def test_the_key_is_not_shown_by_a_debugger(service, open_backend):
    assert os.environ["OPENAI_API_KEY"] not in repr(vars(open_backend())["_endpoint"])


def test_openai_needs_a_key(service, monkeypatch, open_backend):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="the key of OpenAI's API is missing: set OPENAI_API_KEY"):
        open_backend()


def test_another_server_may_need_no_key(service, monkeypatch, open_backend, texts):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere")
    open_backend(base_url="http://127.0.0.1:9/v1").query(texts)
    assert str(service.requests[0].url).startswith("http://127.0.0.1:9/v1/")


def test_a_key_may_be_in_a_file_that_only_its_owner_reads(service, tmp_path, open_backend, texts):
    file = tmp_path / "key"
    file.write_text("of-a-file\n")
    file.chmod(0o600)
    open_backend(key_file=str(file)).query(texts[:1])
    assert service.requests[0].headers["authorization"] == "Bearer of-a-file"
    file.chmod(0o640)
    with pytest.raises(ConfigError, match=r"others must not read a key: chmod 600"):
        open_backend(key_file=str(file))
    with pytest.raises(ConfigError, match="cannot read the key in"):
        open_backend(key_file=str(tmp_path / "none"))


def test_two_keys_do_not_share_answers(service, monkeypatch, open_backend, texts):
    open_backend().query(texts[:1])
    open_backend().query(texts[:1])
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    open_backend().query(texts[:1])
    assert len(service.bodies) == 2


def test_nothing_that_is_written_holds_the_key(service, tmp_path, open_backend, texts):
    open_backend().query(texts)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert written
    assert os.environ["OPENAI_API_KEY"].encode() not in written
