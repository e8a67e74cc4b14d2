"""The OpenAI-compatible application over an engine; knows nothing of Ray."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Depends, FastAPI
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from astrosage.serve import chat, completions, errors, page
from astrosage.serve.errors import ApiError, from_validation
from astrosage.serve.limits import read_body
from astrosage.serve.metrics import CONTENT_TYPE
from astrosage.serve.observe import Observer, record_of
from astrosage.serve.openai_types import ChatBody, CompletionBody, GenerateBody
from astrosage.serve.openapi import describe
from astrosage.serve.service import Service

_Body = TypeVar("_Body", bound=GenerateBody)


def create_app(service: Service) -> FastAPI:
    """Build the application.

    Args:
        service: The server's state; requests get 503 until its engine is set.
    """
    # The description is our own, and there are no pages made of it: they load foreign scripts.
    app = FastAPI(title="astrosage", openapi_url=None)
    errors.install(app)
    app.add_middleware(Observer, watch=service.watch)
    description = describe(service.limits)

    async def authorise(request: Request) -> None:
        key = service.key_of(request.headers.get("authorization"))
        record_of(request).key = key.name

    async def count(request: Request) -> None:
        key = service.key_of(request.headers.get("authorization"))
        record = record_of(request)
        record.key, record.quota = key.name, service.limiter.quota(key)
        record.quota.count()

    async def parse(request: Request, body: type[_Body]) -> _Body:
        try:
            raw = await read_body(request, service.limits.max_body_bytes)
        except ClientDisconnect:
            raise ApiError(400, "the client left before its request was whole") from None
        try:
            return body.model_validate_json(raw)
        except ValidationError as error:
            raise from_validation(error) from None

    @app.get("/")
    async def index() -> Response:
        return page.response()

    @app.get("/openapi.json")
    async def openapi() -> JSONResponse:
        return JSONResponse(description)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        try:
            service.ready()
        except ApiError as error:
            return JSONResponse({"status": error.code}, error.status)
        return JSONResponse({"status": "ok", "inFlight": service.admission.in_flight})

    @app.get("/metrics", dependencies=[Depends(authorise)])
    async def metrics() -> Response:
        meters = service.watch.meters
        # Without keys everybody could read how much is asked here.
        if meters is None or meters.expose is None or service.keys is None:
            raise ApiError(404, "metrics are not exposed here", code="no_metrics")
        service.tell_state()
        return Response(meters.expose(), media_type=CONTENT_TYPE)

    @app.get("/v1/models", dependencies=[Depends(authorise)])
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(service)]}

    @app.get("/v1/models/{name:path}", dependencies=[Depends(authorise)])
    async def model(name: str) -> dict[str, Any]:
        service.engine_for(name)
        return _model(service)

    @app.post("/v1/chat/completions", dependencies=[Depends(count)])
    async def chat_completions(request: Request) -> Response:
        return await chat.respond(service, await parse(request, ChatBody), request)

    @app.post("/v1/completions", dependencies=[Depends(count)])
    async def text_completions(request: Request) -> Response:
        return await completions.respond(service, await parse(request, CompletionBody), request)

    return app


def _model(service: Service) -> dict[str, Any]:
    found = {
        "id": service.model_id,
        "object": "model",
        "created": service.created,
        "owned_by": "astrosage",
        "max_model_len": service.ready().context_length,
    }
    card = service.card.to_dict()
    return {**found, "card": card} if card else found
