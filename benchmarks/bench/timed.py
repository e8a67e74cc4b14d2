"""lm-evaluation-harness's command line with its model's scoring timed and its tokens counted.

    python timed.py THREADS run --model hf …

Runs in the harness's environment. The last line of its output is JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from lm_eval.__main__ import cli_evaluate
from lm_eval.models.huggingface import HFLM

_spent = {"seconds": 0.0, "tokens": 0}


def main() -> None:
    torch.set_num_threads(int(sys.argv.pop(1)))
    score, call = HFLM._loglikelihood_tokens, HFLM._model_call

    def timed(self: Any, *arguments: Any, **options: Any) -> Any:
        began = time.monotonic()
        try:
            return score(self, *arguments, **options)
        finally:
            _spent["seconds"] += time.monotonic() - began

    def counted(self: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        _spent["tokens"] += inputs.numel()
        return call(self, inputs, *arguments, **options)

    HFLM._loglikelihood_tokens, HFLM._model_call = timed, counted
    cli_evaluate()
    print(json.dumps(_spent))


if __name__ == "__main__":
    main()
