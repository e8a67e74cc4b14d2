"""The OpenAI-compatible application over an engine; knows nothing of Ray."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Depends, FastAPI
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from astrosage.serve import chat, completions, errors
from astrosage.serve.errors import ApiError, from_validation
from astrosage.serve.limits import read_body
from astrosage.serve.openai_types import ChatBody, CompletionBody, GenerateBody
from astrosage.serve.service import Service

_Body = TypeVar("_Body", bound=GenerateBody)


def create_app(service: Service) -> FastAPI:
    """Build the application.

    Args:
        service: The server's state; requests get 503 until its engine is set.
    """
    # No generated documentation pages: they would be open to everybody and load foreign scripts.
    app = FastAPI(title="astrosage", openapi_url=None)
    errors.install(app)

    async def authorise(request: Request) -> None:
        if service.keys is not None:
            service.keys.require(request.headers.get("authorization"))

    async def parse(request: Request, body: type[_Body]) -> _Body:
        try:
            raw = await read_body(request, service.limits.max_body_bytes)
        except ClientDisconnect:
            raise ApiError(400, "the client left before its request was whole") from None
        try:
            return body.model_validate_json(raw)
        except ValidationError as error:
            raise from_validation(error) from None

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        try:
            service.ready()
        except ApiError as error:
            return JSONResponse({"status": error.code}, error.status)
        return JSONResponse({"status": "ok", "inFlight": service.admission.in_flight})

    @app.get("/v1/models", dependencies=[Depends(authorise)])
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(service)]}

    @app.get("/v1/models/{name:path}", dependencies=[Depends(authorise)])
    async def model(name: str) -> dict[str, Any]:
        service.engine_for(name)
        return _model(service)

    @app.post("/v1/chat/completions", dependencies=[Depends(authorise)])
    async def chat_completions(request: Request) -> Response:
        return await chat.respond(service, await parse(request, ChatBody), request)

    @app.post("/v1/completions", dependencies=[Depends(authorise)])
    async def text_completions(request: Request) -> Response:
        return await completions.respond(service, await parse(request, CompletionBody), request)

    return app


def _model(service: Service) -> dict[str, Any]:
    return {
        "id": service.model_id,
        "object": "model",
        "created": service.created,
        "owned_by": "astrosage",
        "max_model_len": service.ready().context_length,
    }
