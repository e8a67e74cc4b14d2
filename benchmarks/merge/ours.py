"""One merge stage in a process of its own, without a Ray cluster.

python ours.py spec.json out
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from astrosage.context import StageContext
from astrosage.merge.run import run
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import parse


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # One worker of two cores: all of it in this process, whose memory is measured.
    cluster = {"workers": 1, "resourcesPerWorker": {"cpu": 2}}
    job = parse(
        {
            "metadata": {"name": "merge"},
            "spec": {
                "model": "smollm2-135m",
                "storage": sys.argv[2],
                "stages": [{"name": "merged", "merge": spec, "cluster": cluster}],
            },
        }
    )
    directory = RunDirectory.of(job)
    began = time.monotonic()
    run(StageContext(job.to_yaml_dict(), "merged", directory.uri, "benchmark"))
    print(
        json.dumps(
            {"seconds": time.monotonic() - began, "model": f"{directory.uri}/stages/merged/model"}
        )
    )


if __name__ == "__main__":
    main()
