"""Failures of Kubernetes' API as errors that say what to do."""

from __future__ import annotations

import json
from typing import Any

from astrosage.errors import AstroError, ClusterError, ConflictError, NotFoundError, SpecError


class ApiError(ClusterError):
    """The API server answered with an error, or not at all.

    Args:
        message: What was asked and what came back.
        hint: What to do.
        status: HTTP status; 0 if no answer came.
        reason: Kubernetes' reason, such as ``Forbidden``.
        retry_after: Seconds that the server asks to wait.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        status: int = 0,
        reason: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.status, self.reason, self.retry_after = status, reason, retry_after


class Forbidden(ApiError):
    """The account may not do this."""

    retryable = False


class Unauthorized(ApiError):
    """The credentials are wrong or have expired."""

    retryable = False


class Gone(ApiError):
    """A watch or a page is too old (410): list again."""


class Missing(NotFoundError):
    """The object does not exist (404)."""


class NoSuchKind(NotFoundError):
    """The cluster does not know the kind: its definition is not installed (404 without details)."""


class AlreadyExists(ConflictError):
    """An object of that name exists (409 on create)."""


class Changed(ConflictError):
    """The object was changed in between (409): read it again."""

    retryable = True


class Invalid(SpecError):
    """The API server refuses the object (400, 422).

    Args:
        message: What it says.
        hint: What to do.
        causes: ``(field, message)`` of each wrong field.
    """

    def __init__(
        self, message: str, hint: str = "", causes: list[tuple[str, str]] | None = None
    ) -> None:
        super().__init__(message, hint)
        self.causes = causes or []


def explain(status: int, body: bytes | str, asked: str, headers: Any = None) -> AstroError:
    """The error for an answer.

    Args:
        status: HTTP status.
        body: Kubernetes' Status object, or whatever came.
        asked: What was asked, such as ``GET /api/v1/pods``.
        headers: The answer's headers, for Retry-After.
    """
    said = _parse(body)
    reason = str(said.get("reason") or "")
    text = str(said.get("message") or "").strip() or f"HTTP {status}"
    message = f"{asked}: {text}"
    if status == 401:
        return Unauthorized(
            f"{asked}: the cluster does not accept the credentials (401)",
            "they have expired or belong to another cluster: log in again, then "
            "`kubectl auth whoami` shows who you are",
            status,
            reason,
        )
    if status == 403:
        return Forbidden(
            message,
            "ask for this right; `astroctl doctor --target kubernetes` lists all that are needed",
            status,
            reason,
        )
    if status == 404:
        if not said.get("details"):
            return NoSuchKind(
                f"{asked}: the cluster does not know this kind of object",
                "its definitions are missing: `astroctl install` brings ours and KubeRay's",
            )
        return Missing(text)
    if status == 409:
        kind = AlreadyExists if reason == "AlreadyExists" else Changed
        return kind(text, "" if reason == "AlreadyExists" else "read it again and repeat")
    if status == 410:
        return Gone(message, "list again", status, reason)
    if status in (400, 422):
        causes = [
            (str(c.get("field") or ""), str(c.get("message") or ""))
            for c in (said.get("details") or {}).get("causes") or []
        ]
        return Invalid(text, "", causes)
    after = headers.get("Retry-After") if headers is not None else None
    return ApiError(
        message,
        "the API server is busy or restarting; try again",
        status,
        reason,
        float(after) if after and str(after).isdigit() else None,
    )


def _parse(body: bytes | str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        text = body.decode(errors="replace") if isinstance(body, bytes) else body
        return {"message": text[:300]}
    return found if isinstance(found, dict) else {}
