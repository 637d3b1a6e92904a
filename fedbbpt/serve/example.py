"""A first request to a service, as a line for a shell."""

import base64
import json
import shlex
from io import BytesIO
from pathlib import Path

from PIL import Image

from fedbbpt.web.auth import TOKEN_VARIABLE

TEXT = "What a beautiful day"
SIDE = 8  # px of the grey image: it fits into a line


def curl_line(url: str, *, reads_texts: bool, needs_token: bool, token_file: Path | None) -> str:
    """The command that asks a service to classify a text, or a small grey image.

    The token itself is not in it, but the environment variable or the file that holds it.

    Args:
        url: of the service.
        reads_texts: whether the model reads texts; else it reads images.
        needs_token: whether the service asks for a token.
        token_file: where the token is; None: in the environment variable.
    """
    words = ["curl", f"{url}/v1/classify", "-H", "Content-Type: application/json"]
    line = shlex.join([*words, "-d", json.dumps({"inputs": [TEXT if reads_texts else _grey_png()]})])
    if needs_token:
        token = f"${TOKEN_VARIABLE}" if token_file is None else f"$(cat {shlex.quote(str(token_file))})"
        line += f' -H "Authorization: Bearer {token}"'
    return line


def _grey_png() -> str:
    """A PNG file in base64."""
    file = BytesIO()
    Image.new("L", (SIDE, SIDE), 128).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()
