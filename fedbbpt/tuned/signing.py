"""Signatures of exported models, with Ed25519 keys in PEM files, as OpenSSL makes them.

The key pair: `openssl genpkey -algorithm ed25519 -out KEY` and `openssl pkey -in KEY -pubout -out KEY.pub`.
"""

from pathlib import Path
from typing import Any

from fedbbpt.errors import ConfigError, MissingExtra, RunError
from fedbbpt.run.atomic_files import reading, write_atomic

SIGNATURE = "config.json.sig"  # 64 bytes


def read_private_key(key: Path) -> Any:
    """The private key in a file.

    Raises:
        ConfigError: it cannot be used.
        MissingExtra: cryptography is not installed.
    """
    from_pem, kinds = _cryptography()
    return _loaded(key, lambda content: from_pem.load_pem_private_key(content, None), kinds.Ed25519PrivateKey)


def sign(file: Path, private: Any) -> None:
    """Signs a file with a private key, next to it."""
    write_atomic(file.with_name(SIGNATURE), private.sign(file.read_bytes()))


def verify(file: Path, key: Path) -> None:
    """Checks a file's signature with a public key.

    Raises:
        RunError: there is no signature, or it is another's or of another file.
        ConfigError, MissingExtra: as in `read_private_key`.
    """
    from_pem, kinds = _cryptography()
    from cryptography.exceptions import InvalidSignature

    public = _loaded(key, from_pem.load_pem_public_key, kinds.Ed25519PublicKey)
    signature = file.with_name(SIGNATURE)
    if not signature.is_file():
        raise RunError(f"{file.parent} is not signed; ask who exported it for a signed one, or load it without a key")
    with reading(signature):
        content = signature.read_bytes()
    try:
        public.verify(content, file.read_bytes())
    except InvalidSignature as e:
        raise RunError(f"the signature of {file.parent} is not by the key {key}; do not use the folder") from e


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as e:
        raise MissingExtra("signing a model", "sign", e) from e
    return serialization, ed25519


def _loaded(file: Path, load: Any, kind: type) -> Any:
    try:
        with reading(file):
            content = file.read_bytes()
        found = load(content)
    except (ValueError, TypeError) as e:  # no PEM, or one that needs a password
        raise ConfigError(f"{file} is no Ed25519 key in PEM without a password; make one with openssl genpkey") from e
    if not isinstance(found, kind):
        raise ConfigError(f"{file} holds a key of another kind, and an Ed25519 key is wanted; make one with openssl")
    return found
