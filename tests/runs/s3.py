"""An S3 server on loopback for tests, with the real client library on our side."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def server() -> Iterator[str]:
    """The address of an S3 server that is empty and ends with the block."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        running.stop()


def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket's name; the environment leads every client to the server."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    forget_clients()
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    client().create_bucket(Bucket=name)
    return name


def client() -> Any:
    """The other library, as a second opinion on what is there."""
    import boto3

    return boto3.client("s3")


def forget_clients() -> None:
    """File systems are kept by their arguments, which do not show the environment."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
