"""Keys of services: from the environment or a file that only its owner can read, and never shown."""

import hashlib
import os
import stat
from pathlib import Path

from fedbbpt.errors import ConfigError


def secret(variable: str, file: str | None) -> str | None:
    """The key; None if the variable is not set and no file is named.

    Raises:
        ConfigError: the file cannot be read, is empty, or others than its owner can read it.
    """
    if file is None:
        return os.environ.get(variable) or None
    path = Path(file)
    try:
        mode = path.stat().st_mode
        key = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"cannot read the key file {path}: {getattr(e, 'strerror', None) or 'not UTF-8'}") from e
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(f"others can read the key file {path}; close it with chmod 600 {path}")
    if not key:
        raise ConfigError(f"the key file {path} is empty")
    return key


def tenant(key: str | None) -> str:
    """What tells the answers of one key from those of another, and does not tell the key."""
    return hashlib.sha256((key or "").encode()).hexdigest()[:12]
