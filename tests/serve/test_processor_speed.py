"""Packed weights and attention by sequence give what transformers gives, up to rounding."""

from __future__ import annotations

import asyncio
import copy
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from astrosage.serve import processor_speed, transformers_engine
from astrosage.serve.engine import GenerationRequest
from astrosage.serve.processor_speed import PackedLinear, pack
from astrosage.serve.streaming import collect
from astrosage.serve.tokens import Tokens
from astrosage.serve.transformers_engine import TransformersEngine

PROMPTS = [
    "A star is",
    "Planets move around the Sun on ellipses; the Sun stands in one focus of each ellipse.",
    "Galaxies rotate faster",
    "The universe expands, and distant galaxies recede",
    "A",
]


@settings(max_examples=30)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.lists(st.integers(1, 5), max_size=2),
    st.booleans(),
    st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_a_packed_layer_is_the_layer(
    inputs: int, outputs: int, shape: list[int], bias: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(inputs * 100 + outputs)
    linear = nn.Linear(inputs, outputs, bias=bias, dtype=dtype).requires_grad_(False)
    rows = torch.randn(*shape, inputs, dtype=dtype)
    model = nn.Sequential(linear)
    if not pack(model):
        assert dtype == torch.bfloat16, "only bf16 may be beyond a processor"
        return
    packed = model[0]
    assert isinstance(packed, PackedLinear)
    assert (packed.weight.shape, packed.weight.dtype) == ((outputs, inputs), dtype)
    found = packed(rows)
    assert found.shape == (*shape, outputs)
    torch.testing.assert_close(found, linear(rows))


def test_all_linear_layers_are_packed_and_the_embedding_stays(tiny_model: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    model = model.requires_grad_(False).eval()
    ids = torch.tensor([[5, 9, 300, 2]])
    before = model(ids).logits
    count = sum(type(m) is nn.Linear for m in model.modules())
    assert pack(model) == count == 2 * 7 + 1
    assert pack(model) == 0
    assert isinstance(model.model.embed_tokens.weight, nn.Parameter)
    torch.testing.assert_close(model(ids).logits, before)


def test_a_layer_goes_before_the_next_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(*(nn.Linear(8, 8).requires_grad_(False) for _ in range(6)))
    alive = [weakref.ref(layer) for layer in model]
    counts = []

    def counted(layer: nn.Linear) -> PackedLinear:
        counts.append(sum(ref() is not None for ref in alive))
        return PackedLinear(layer)

    monkeypatch.setattr(processor_speed, "PackedLinear", counted)
    assert pack(model) == 6
    assert counts == [6, 5, 4, 3, 2, 1]


SMALL = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "grouped": ("Llama", {}),
    "each head its own keys": ("Llama", {"num_key_value_heads": 4}),
    "one head of keys, biases": ("Qwen2", {"num_key_value_heads": 1}),
    "sliding window": ("Mistral", {"sliding_window": 9}),
    "both kinds of layers": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
    ),
    "heads larger than the model": ("Qwen3", {"head_dim": 32}),
}


@pytest.mark.parametrize("step", [8, 256])
@pytest.mark.parametrize("kind", KINDS)
def test_sequences_side_by_side_are_as_each_alone(
    kind: str, step: int, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers_engine, "_STEP_TOKENS", {"cpu": step})
    name, changes = KINDS[kind]
    torch.manual_seed(1)
    config = getattr(transformers, f"{name}Config")(**(SMALL | changes))
    model = getattr(transformers, f"{name}ForCausalLM")(config).requires_grad_(False).eval()
    plain = copy.deepcopy(model)
    model.config._attn_implementation = "sdpa"
    pack(model)
    engine = TransformersEngine(model, Tokens.load(tiny_model, []), max_concurrent=3)
    try:
        asked = [
            GenerationRequest(engine.tokens.encode(p), 24, temperature=0.0, top_logprobs=0)
            for p in PROMPTS
        ]
        answers = asyncio.run(collect(engine, asked))
        scores = asyncio.run(engine.score(asked[1].prompt_ids, 0))
    finally:
        engine.close()
    for request, answer in zip(asked, answers, strict=True):
        own = [score.token_id for score in answer.scores]
        prompt = list(request.prompt_ids)
        logprobs = plain(torch.tensor([prompt + own])).logits[0].log_softmax(-1)
        for place, score in enumerate(answer.scores, start=len(prompt) - 1):
            assert score.logprob == pytest.approx(float(logprobs[place, score.token_id]), abs=2e-4)
            assert score.token_id == int(logprobs[place].argmax())
    whole = plain(torch.tensor([list(asked[1].prompt_ids)])).logits[0].log_softmax(-1)
    for place, score in enumerate(scores[1:]):
        assert score.logprob == pytest.approx(float(whole[place, score.token_id]), abs=2e-4)
