"""The service's own web pages: one to try a tuned model, and one that describes the API. They load nothing else."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from fedbbpt.templates import render

POLICY = (
    "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


class Page(NamedTuple):
    """A page, and the policy that allows a browser its own script and style, and requests to this service."""

    content: str
    policy: str


def page_of(name: str, **values: Any) -> Page:
    """Renders the template `name.html.j2` of this package."""
    content = render("fedbbpt.serve", f"{name}.html.j2", values | {"kind_of": kind_of})
    allowed: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in INLINE.findall(content):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        allowed[kind].append(f"'sha256-{digest}'")
    inline = "; ".join(f"{kind}-src {' '.join(hashes)}" for kind, hashes in allowed.items() if hashes)
    return Page(content, f"{POLICY}; {inline}")


def kind_of(field: Mapping[str, Any]) -> str:
    """The type of a field in a JSON schema, in words.

    >>> kind_of({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]})
    'list of string, or null'
    """
    if "anyOf" in field or "oneOf" in field:
        return ", or ".join(kind_of(one) for one in field.get("anyOf", field.get("oneOf", ())))
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2])
    if "const" in field or "enum" in field:
        return " or ".join(json.dumps(one) for one in field.get("enum", [field.get("const")]))
    kind = str(field.get("type", "anything"))
    return f"list of {kind_of(field.get('items', {}))}" if kind == "array" else kind


async def respond(page: Page, request: Request) -> Response:
    """The page as a response."""
    headers = {
        "Content-Security-Policy": page.policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return HTMLResponse(page.content, headers=headers)
