"""Score questions as the bench stage does, without Ray around it; prints JSON.

python ours.py --model … --questions … --dtype float32 --threads 2
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from astrosage.bench import answers, questions
from astrosage.bench.language_model import LanguageModel
from astrosage.bench.likelihood import LikelihoodScorer
from astrosage.bench.tasks import Inputs, make
from astrosage.spec.bench import BenchSpec


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = tuple(questions.load(options.questions))
    scorer = LikelihoodScorer(LanguageModel(options.model, getattr(torch, options.dtype)))
    inputs = Inputs({"model": str(options.model)}, found)
    size = BenchSpec.model_fields["batch_size"].default
    began, tokens = time.monotonic(), 0
    scores: dict[str, list[float]] = {}
    for task in make(inputs, ["likelihood"], size, ["model"]):
        batch = inputs.of(task)
        values, used = scorer.scores(batch, letters=False)
        tokens += used
        scores |= {q.id: v for q, v in zip(batch, values, strict=True)}
    seconds = time.monotonic() - began
    chosen = {
        name: [
            question.is_right(answers.choose(scores[question.id], question.choices, normalized=n))
            for question in found
        ]
        for name, n in (("acc", False), ("acc_norm", True))
    }
    print(
        json.dumps(
            {
                "seconds": seconds,
                "tokens": tokens,
                "scores": scores,
                **{name: sum(right) / len(right) for name, right in chosen.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
