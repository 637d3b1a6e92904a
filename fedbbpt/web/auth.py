"""The bearer token of a fedbbpt service, read alike by the server and its clients."""

import os
from pathlib import Path

from fedbbpt.web.credentials import key_from_file, parse_key

TOKEN_VARIABLE = "FEDBBPT_TOKEN"


def read_token(file: Path | None) -> str | None:
    """Reads the token from a file, else from `$FEDBBPT_TOKEN`; None if there is neither.

    Raises:
        ConfigError: the file cannot be read, or others may read it; or it holds no token.
    """
    if file is not None:
        return key_from_file(file, "token")
    token = os.environ.get(TOKEN_VARIABLE)
    return None if token is None else parse_key(token, f"${TOKEN_VARIABLE}", "token")
