"""A merge of models larger than the memory that it may take: time and peak memory.

python large.py --scratch /somewhere/with/50/gigabytes [--method dare_ties]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import models

from astrosage.models.fetch import ensure_local

HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument(
        "--method", default="dare_ties", choices=("ties", "dare_linear", "dare_ties")
    )
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--hidden", type=int, default=4096)
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="merge-", dir=options.scratch))
    try:
        small = ensure_local("smollm2-135m")
        base, donor = (
            models.synthetic(small, scratch / name, options.layers, options.hidden, seed)
            for seed, name in enumerate(("base", "donor"))
        )
        size = sum(f.stat().st_size for f in base.glob("*.safetensors"))
        listed = [{"model": str(donor), "weight": 0.7, "density": 0.5}]
        spec = {"method": options.method, "base": str(base), "models": listed, "normalize": False}
        (scratch / "spec.json").write_text(json.dumps(spec))
        launch = [sys.executable, str(HERE / "launch.py"), str(scratch / "used.json")]
        merge = [sys.executable, str(HERE / "ours.py"), str(scratch / "spec.json")]
        subprocess.run([*launch, *merge, str(scratch / "out")], check=True)
        used = json.loads((scratch / "used.json").read_text())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    found = {
        "method": options.method,
        "gigabytesEach": round(size / 1e9, 1),
        "seconds": round(used["seconds"], 1),
        "gigabytesReadPerSecond": round(2 * size / 1e9 / used["seconds"], 2),
        "peakMiB": round(used["peak"] / 2**20),
    }
    print(json.dumps(found))
    return int(used["status"])


if __name__ == "__main__":
    sys.exit(main())
