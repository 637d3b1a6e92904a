"""Exported models are signed, and a signature by another key, or of another folder, is refused."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import fedbbpt
from fedbbpt.errors import ConfigError, RunError
from fedbbpt.tuned.export import export

pytestmark = pytest.mark.usefixtures("backends")


def keys(folder: Path, name: str, private=None) -> tuple[Path, Path]:
    """The files of a new pair of keys."""
    private = private or ed25519.Ed25519PrivateKey.generate()
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    public = private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / name).write_bytes(secret)
    (folder / f"{name}.pub").write_bytes(public)
    return folder / name, folder / f"{name}.pub"


def test_a_signed_folder_is_loaded_with_its_key_alone(image_run: Path, tmp_path: Path) -> None:
    ours, public = keys(tmp_path, "ours")
    _, other = keys(tmp_path, "other")
    export(image_run, tmp_path / "signed", key=ours)
    assert fedbbpt.load(tmp_path / "signed", key=public).queries == 8
    with pytest.raises(RunError, match="not by the key"):
        fedbbpt.load(tmp_path / "signed", key=other)
    config = tmp_path / "signed" / "config.json"
    config.write_bytes(config.read_bytes() + b" ")
    with pytest.raises(RunError, match="not by the key"):
        fedbbpt.load(tmp_path / "signed", key=public)
    with pytest.raises(RunError, match="is not signed"):
        fedbbpt.load(image_run, key=public)


def test_what_is_no_such_key_is_refused(image_run: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no key")
    other, _ = keys(tmp_path, "p256", ec.generate_private_key(ec.SECP256R1()))
    for key, says in ((tmp_path / "text", "no Ed25519 key"), (other, "another kind")):
        with pytest.raises(ConfigError, match=says):
            export(image_run, tmp_path / "out", key=key)
    with pytest.raises(RunError, match="cannot read"):
        export(image_run, tmp_path / "out", key=tmp_path / "gone")
    assert not (tmp_path / "out").exists()
