"""Serves a model on a private local Ray cluster until its standard input closes.

A line on standard input is either the arguments of a new version as JSON, answered with READY once
it has taken over, or ``replicas``, answered with how many run.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(port: int, metrics_port: int, temp_dir: str, args: dict[str, Any]) -> None:
    import ray
    from ray import serve

    import ray_jobs.serve

    ray.init(
        address="local",
        namespace="serve-test",
        num_cpus=2,
        object_store_memory=100 << 20,
        include_dashboard=False,
        _metrics_export_port=metrics_port,
        _temp_dir=temp_dir,
    )
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(ray_jobs.serve.app(args))
        print("READY", flush=True)
        for line in iter(sys.stdin.readline, ""):
            if line.strip() == "replicas":
                states = serve.status().applications["default"].deployments["model"].replica_states
                print(f"REPLICAS {sum(states.values())}", flush=True)
            else:
                serve.run(ray_jobs.serve.app(json.loads(line)))
                print("READY", flush=True)
        serve.shutdown()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
