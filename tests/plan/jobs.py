"""Jobs to plan, whose files lie in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from astrosage.spec.job import AstroJob
from astrosage.spec.load import load


def job(
    folder: Path,
    *,
    model: str = "llama-3.1-8b",
    length: int = 8192,
    cluster: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    storage: str = "runs",
) -> AstroJob:
    """A corpus of 42,000 bytes and one train stage, ``cpt``."""
    (folder / "texts").mkdir(exist_ok=True)
    (folder / "texts" / "a.md").write_text("star " * 8400)
    data = {
        "metadata": {"name": "planned"},
        "spec": {
            "model": model,
            "storage": storage,
            "stages": [
                {
                    "name": "corpus",
                    "prepare": {
                        "sources": [{"path": "texts/*.md"}],
                        "pack": {"sequenceLength": length},
                    },
                },
                {
                    "name": "cpt",
                    "train": {
                        "objective": "cpt",
                        "data": "corpus",
                        "globalBatchSize": 64,
                        **(train or {}),
                    },
                },
            ],
            "cluster": cluster or {"workers": 8, "resourcesPerWorker": {"gpu": 1}},
        },
    }
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(data))
    return load(file)
