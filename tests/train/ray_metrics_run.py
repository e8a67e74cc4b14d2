"""Logs a few steps on a private Ray cluster and prints what its Prometheus endpoint says."""

from __future__ import annotations

import sys
import time
import urllib.request
from pathlib import Path


def main(temp_dir: str, stage: str) -> None:
    import ray

    ray.init(
        address="local",
        num_cpus=1,
        object_store_memory=100 << 20,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=temp_dir,
    )
    try:

        @ray.remote(num_cpus=1)
        class Worker:
            def train(self, folder: str) -> None:
                from astrosage.runs.directory import StageDirectory
                from astrosage.runs.storage import Storage
                from astrosage.train.trackers import Trackers

                self.trackers = Trackers([], StageDirectory(Storage(folder), "cpt"), "r", "cpt", {})
                self.trackers.log(41, {"loss": 9.0})
                self.trackers.log(
                    42,
                    {
                        "loss": 2.5,
                        "learningRate": 1e-4,
                        "gradientNorm": 0.5,
                        "tokensPerSecond": 1000.0,
                        "mfu": 0.4,
                        "stepSeconds": 1.5,
                        "memoryBytes": 123456789,
                        "seconds": {"forward": 0.5, "backward": 1.0},
                        "validationLosses": {'odd "name"\\*.md': 3.0},
                    },
                )
                self.trackers.close()

        worker = Worker.remote()
        ray.get(worker.train.remote(stage))
        node = ray.nodes()[0]
        address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        deadline = time.monotonic() + 60
        found = ""
        while "astrosage_train_source_validation_loss" not in found:
            if time.monotonic() > deadline:
                sys.exit(f"not exported within a minute: {found[:2000]}")
            time.sleep(1.0)
            found = urllib.request.urlopen(address, timeout=10).read().decode()
        Path(stage).mkdir(parents=True, exist_ok=True)
        (Path(stage) / "metrics.txt").write_text(found)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
