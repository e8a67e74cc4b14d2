"""Run a command and print its seconds and its peak resident memory as JSON.

A process of its own, and a small one: Linux counts what a process was before it became another
program, so a large parent would lend its children its own size.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

began = time.monotonic()
status = subprocess.run(sys.argv[2:], check=False).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(
        {
            "status": status,
            "seconds": time.monotonic() - began,
            "processorSeconds": used.ru_utime + used.ru_stime,
            "peak": used.ru_maxrss * 1024,
        },
        file,
    )
