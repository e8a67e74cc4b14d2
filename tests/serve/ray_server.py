"""Serves a model on a private local Ray cluster until its standard input closes."""

from __future__ import annotations

import json
import sys
from typing import Any


def main(port: int, temp_dir: str, args: dict[str, Any]) -> None:
    import ray
    from ray import serve

    import ray_jobs.serve

    ray.init(
        address="local",
        namespace="serve-test",
        num_cpus=2,
        object_store_memory=100 << 20,
        include_dashboard=False,
        _temp_dir=temp_dir,
    )
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(ray_jobs.serve.app(args))
        print("READY", flush=True)
        sys.stdin.read()
        serve.shutdown()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
