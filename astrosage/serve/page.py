"""The page for people: one static file, which tells nothing of the model without a key."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from starlette.responses import Response


def response() -> Response:
    """The page with headers that keep everything foreign out of it."""
    html, policy = _page()
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return Response(html, media_type="text/html", headers=headers)


@cache
def _page() -> tuple[str, str]:
    """The page, and its content security policy: its own style and script by hash, no others."""
    html = files("astrosage.serve").joinpath("page.html").read_text(encoding="utf-8")
    directives = {
        "default-src": "'none'",
        "style-src": _hashes(html, "style"),
        "script-src": _hashes(html, "script"),
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    return html, "; ".join(f"{name} {value}" for name, value in directives.items())


def _hashes(html: str, tag: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
