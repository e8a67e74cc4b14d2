from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import torch
import uvicorn

from astrosage.serve.app import create_app
from astrosage.serve.auth import KeyRing
from astrosage.serve.limits import Limits
from astrosage.serve.service import Service
from astrosage.serve.transformers_engine import TransformersEngine

KEY = "sk-test-key"
MODEL = "tiny/astro"


@contextlib.contextmanager
def serving(service: Service) -> Iterator[str]:
    """The application on a real server in a thread; gives its base URL."""
    config = uvicorn.Config(create_app(service), port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def make_service(engine: TransformersEngine | None, limits: Limits | None = None) -> Service:
    keys = KeyRing([hashlib.sha256(KEY.encode()).hexdigest()])
    service = Service(MODEL, limits or Limits(max_tokens=200, max_body_bytes=100_000), keys)
    service.engine = engine
    return service


def client_for(url: str, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30)


@pytest.fixture(scope="session")
def engine(tiny_model: Path) -> Iterator[TransformersEngine]:
    torch.set_num_threads(1)
    engine = TransformersEngine.load(tiny_model, max_concurrent=4, threads=1)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def service(engine: TransformersEngine) -> Service:
    return make_service(engine)


@pytest.fixture(scope="session")
def url(service: Service) -> Iterator[str]:
    with serving(service) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with client_for(url) as client:
        yield client
