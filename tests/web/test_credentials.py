"""Keys of services: what is one, and that none is ever shown."""

from pathlib import Path

import pytest

from fedbbpt.errors import ConfigError
from fedbbpt.web.credentials import key_from_env, key_from_file, tenant_hash

SECRET = "sk-0123456789"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"“{SECRET}”", "quotation marks around it"),
        (f'"{SECRET}"', "quotation marks"),
        (f"{SECRET}’", "quotation marks"),
        (f"{SECRET}\n{SECRET}", "not several lines"),
        (f"{SECRET}\r{SECRET}", "not several lines"),
        (f"Bearer {SECRET}", "not several words"),
        (f"\ufeff{SECRET}", "not zero width no-break space"),
        (f"{SECRET}\u200b", "not zero width space"),
        (f"{SECRET}ü", "not latin small letter u with diaeresis"),
        (f"{SECRET}\x00", "not character 0x0"),
    ],
)
def test_what_no_header_takes_is_named_and_not_shown(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(text, "utf-8")
    file.chmod(0o600)
    with pytest.raises(ConfigError) as error:
        key_from_file(file)
    assert said in str(error.value)
    assert SECRET not in str(error.value)


def test_blanks_around_a_key_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", f" {SECRET}\n")
    assert key_from_env("A_KEY") == SECRET
    for nothing in ("", "  \n"):
        monkeypatch.setenv("A_KEY", nothing)
        assert key_from_env("A_KEY") is None


def test_a_tenant_tells_keys_apart_and_does_not_tell_them() -> None:
    assert tenant_hash(SECRET) == tenant_hash(SECRET) != tenant_hash(None)
    assert SECRET not in tenant_hash(SECRET)
