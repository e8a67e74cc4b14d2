"""The servers that are compared: each a process of its own, on loopback, with the same limits.

``ours`` is the bare application under uvicorn; ``serve`` the same behind Ray Serve, as
``astroctl serve`` deploys it; ``transformers`` is ``transformers serve`` with continuous batching.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from astrosage.processor import has_bf16

ROOT = Path(__file__).parents[2]
NAME = "m"
CONCURRENT, QUEUE = 8, 32
DTYPE = "bfloat16" if has_bf16() else "float32"
"""What all contestants compute in."""
_START_SECONDS = 300.0
_BLOCK, _BLOCKS, _STEP = 32, 750, 256  # about 512 MiB of cache for SmolLM2-135M, as ours takes


def settings(model: Path, threads: int) -> dict[str, Any]:
    """Our server's settings."""
    return {
        "model": str(model),
        "modelId": NAME,
        "allowAnonymous": True,
        "maxConcurrent": CONCURRENT,
        "maxQueue": QUEUE,
        "maxTokens": 1024,
        "numCpus": threads,
    }


@contextlib.contextmanager
def started(kind: str, model: Path, threads: int, transformers: str) -> Iterator[tuple[str, str]]:
    """A server of a kind; gives its base URL and the model's name there.

    Args:
        kind: ``ours``, ``serve`` or ``transformers``.
        model: The model's directory.
        threads: CPU threads of the model.
        transformers: The command ``transformers``.
    """
    port = _free_port()
    url, name = f"http://127.0.0.1:{port}", NAME
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
        if kind == "transformers":
            name = str(model)
            command = [transformers, "serve", name, "--continuous-batching"]
            command += ["--device", "cpu", "--dtype", DTYPE, "--port", str(port)]
            command += ["--cb-block-size", str(_BLOCK), "--cb-num-blocks", str(_BLOCKS)]
            command += ["--cb-max-batch-tokens", str(_STEP), "--host", "127.0.0.1"]
        else:
            arguments = json.dumps(settings(model, threads))
            command = [sys.executable, __file__, kind, str(port), folder, arguments]
        log = Path(folder) / "log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        environment |= {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
        # `transformers serve` wants a hub cache, though its model is a folder.
        hub = Path(folder) / "hub"
        hub.mkdir()
        environment |= {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(hub)}
        with log.open("w") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=output,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            health = "health" if kind == "transformers" else "healthz"
            _wait(f"{url}/{health}", process, log)
            yield f"{url}/v1", name
        finally:
            assert process.stdin is not None
            process.stdin.close()
            if kind == "transformers":
                process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, trust_env=False, timeout=5).status_code == 200:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server does not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ours(port: int, args: dict[str, Any]) -> None:
    import threading

    import uvicorn

    from astrosage.serve import settings as ours
    from astrosage.serve.app import create_app

    service = ours.load(ours.parse(args))
    config = uvicorn.Config(create_app(service), port=port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    server.run()
    service.close()


def _end_with_input(server: Any) -> None:
    sys.stdin.read()
    server.should_exit = True


def _serve(port: int, folder: str, args: dict[str, Any]) -> None:
    import ray
    from ray import serve

    import ray_jobs.serve

    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=100 << 20,
        include_dashboard=False,
        _temp_dir=folder,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(ray_jobs.serve.app(args))
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        _ours(int(sys.argv[2]), json.loads(sys.argv[4]))
    else:
        _serve(int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
