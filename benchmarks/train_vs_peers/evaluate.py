"""One yardstick for all trained models: mean loss on the held-out conversations' answers.

    python evaluate.py MODEL BASE HELDOUT

Plain transformers, one conversation at a time, fp32: nothing of anybody's training code.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM


@torch.no_grad()
def loss(model_folder: Path, base_folder: Path, heldout: Path) -> float:
    """Mean cross entropy in nats over the learnt tokens."""
    model = _load(model_folder, base_folder).eval()
    total, count = 0.0, 0
    for line in heldout.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        ids = torch.tensor([record["input_ids"]])
        learnt = torch.tensor(record["assistant_masks"])[1:] > 0
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1][learnt]
        total += float(
            torch.nn.functional.cross_entropy(logits.float(), ids[0, 1:][learnt], reduction="sum")
        )
        count += int(learnt.sum())
    return total / count


def _load(folder: Path, base: Path) -> torch.nn.Module:
    plain = folder / "pytorch_model.bin"
    if not plain.exists():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)  # type: ignore[no-any-return]
    # DeepSpeed's own export: weights without a configuration.
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base), dtype=torch.float32)
    state = torch.load(plain, map_location="cpu", weights_only=True)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert set(missing) <= {"lm_head.weight"}, missing
    return model  # type: ignore[no-any-return]


if __name__ == "__main__":
    print(loss(*(Path(argument) for argument in sys.argv[1:4])))
