from __future__ import annotations

import math

import pytest
import torch

from astrosage.bench.language_model import LanguageModel
from astrosage.bench.perplexity import likelihoods, summarize
from tests.tiny import TEXT


def by_hand(model: LanguageModel, ids: list[int]) -> float:
    with torch.inference_mode():
        found = model.model(torch.tensor([[model.tokenizer.bos_token_id, *ids]])).logits[0]
    logs = found.log_softmax(-1)
    return -sum(float(logs[i, token]) for i, token in enumerate(ids))


def test_every_token_from_the_first_on(exact: LanguageModel) -> None:
    found = likelihoods(exact, TEXT)
    for text, value in zip(TEXT, found, strict=True):
        ids = exact.tokenizer(text, add_special_tokens=False).input_ids
        assert value.tokens == len(ids)
        assert value.bytes == len(text)
        assert value.nats == pytest.approx(by_hand(exact, ids), rel=1e-4)


def test_long_documents_are_cut_into_windows(exact: LanguageModel) -> None:
    text = " ".join(TEXT * 12)
    ids = exact.tokenizer(text, add_special_tokens=False).input_ids
    assert len(ids) > 2 * 256
    found = likelihoods(exact, [text, TEXT[0]])[0]
    first = by_hand(exact, ids[:256])
    logs = []
    for begin in range(256, len(ids), 256):
        part = [ids[begin - 1], *ids[begin : begin + 256]]
        with torch.inference_mode():
            logs.append(-float(exact.plain_log_probabilities(part, 1).sum()))
    assert found.tokens == len(ids)
    assert found.nats == pytest.approx(first + sum(logs), rel=1e-4)


def test_plain_and_batched_agree(exact: LanguageModel) -> None:
    batched, plain = likelihoods(exact, TEXT), likelihoods(exact, TEXT, plain=True)
    assert [b.nats for b in batched] == pytest.approx([p.nats for p in plain], rel=1e-5)


def test_bytes_are_utf8(exact: LanguageModel) -> None:
    assert likelihoods(exact, ["Ö"])[0].bytes == 2


def test_summary(exact: LanguageModel) -> None:
    found = likelihoods(exact, TEXT)
    summary = summarize(found)
    nats, tokens = sum(f.nats for f in found), sum(f.tokens for f in found)
    assert summary["perplexity"] == pytest.approx(math.exp(nats / tokens))
    assert summary["bitsPerByte"] == pytest.approx(nats / math.log(2) / sum(map(len, TEXT)))
    assert (summary["tokens"], summary["documents"]) == (tokens, 4)
    # A random model knows no more than the size of its vocabulary.
    assert 256 < summary["perplexity"] < 1024
    assert summarize([])["perplexity"] is None
