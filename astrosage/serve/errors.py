"""Failures as OpenAI's API words them: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import logging
import math

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from astrosage.serve.engine import EngineError, QueueTimeout

logger = logging.getLogger(__name__)

_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "server_error",
}
_RETRY_AFTER_SECONDS = {429: "1", 503: "5"}


class ApiError(Exception):
    """A failure with its HTTP status.

    Args:
        status: HTTP status.
        message: What is wrong and what is allowed.
        param: The request's field that is to blame.
        code: Machine-readable reason.
        retry_after: Seconds after which another try can succeed; some statuses have a usual one.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after

    def body(self) -> dict[str, object]:
        """The error object."""
        return {
            "error": {
                "message": self.message,
                "type": _TYPES.get(self.status, "invalid_request_error"),
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        """The HTTP answer."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        elif self.status in _RETRY_AFTER_SECONDS:
            headers["Retry-After"] = _RETRY_AFTER_SECONDS[self.status]
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers)


def from_validation(error: ValidationError) -> ApiError:
    """The first problem that pydantic found, naming its field."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", first["msg"])
        return ApiError(400, f"the body is not valid JSON: {reason}", code="invalid_json")
    path = first.get("ctx", {}).get("field") or _path(first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return ApiError(
        400, f"{path}: {message}" if path else message, param=path or None, code=first["type"]
    )


def from_failure(error: Exception) -> ApiError:
    """A failure while answering; only the log has its details."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, QueueTimeout):
        return ApiError(503, error.message, code="queue_timeout")
    logger.error("a request failed", exc_info=error)
    if isinstance(error, EngineError):
        return ApiError(503, "the engine failed; try again", code="engine_failed")
    return ApiError(500, "internal error; the server's log has the details", code="internal")


def install(app: FastAPI) -> None:
    """Answer every failure of an application with an error object."""

    @app.exception_handler(ApiError)
    @app.exception_handler(EngineError)
    @app.exception_handler(Exception)
    async def failure(request: Request, error: Exception) -> JSONResponse:
        return from_failure(error).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        message = error.detail
        if error.status_code == 404:
            message = f"no such path: {request.method} {request.url.path}"
        elif error.status_code == 405:
            message = f"{request.url.path} does not take {request.method}"
        response = ApiError(error.status_code, message, code="unknown_url").response()
        response.headers.update(error.headers or {})
        return response


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
