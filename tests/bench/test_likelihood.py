from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from astrosage.bench import prompts
from astrosage.bench.language_model import LanguageModel
from astrosage.bench.likelihood import LikelihoodScorer, one_by_one, packed
from astrosage.bench.question import Question
from astrosage.errors import DataError
from tests.bench.samples import questions


def by_hand(model: LanguageModel, question: Question) -> list[float]:
    """The definition, written without any of the code under test but the prompts."""
    scores = []
    for choice in question.choices:
        context = model.tokenizer(prompts.cloze(question)).input_ids
        ids = model.tokenizer(prompts.cloze(question) + prompts.continuation(choice)).input_ids
        assert ids[: len(context)] == context
        with torch.inference_mode():
            logits = model.model(torch.tensor([ids])).logits[0]
        scores.append(
            sum(float(logits[i - 1].log_softmax(-1)[ids[i]]) for i in range(len(context), len(ids)))
        )
    return scores


def test_batches_equal_the_definition(exact: LanguageModel) -> None:
    asked = questions()
    scorer = LikelihoodScorer(exact)
    assert scorer.packs
    for question, found in zip(asked, scorer.scores(asked)[0], strict=True):
        assert found == pytest.approx(by_hand(exact, question), abs=2e-4)


def test_letters_are_the_next_token_after_all_options(exact: LanguageModel) -> None:
    asked = questions(5)
    found, tokens = LikelihoodScorer(exact).scores(asked, letters=True)
    for question, scores in zip(asked, found, strict=True):
        lines = [f"{x}. {c}" for x, c in zip("ABCDE", question.choices, strict=False)]
        text = "\n".join([question.question, *lines, "Answer:"])
        start = exact.tokenizer(text).input_ids
        with torch.inference_mode():
            logs = exact.model(torch.tensor([start])).logits[0, -1].log_softmax(-1)
        for letter, score in zip("ABCDE", scores, strict=False):
            ids = exact.tokenizer(f"{text} {letter}").input_ids
            assert ids[: len(start)] == start
            if len(ids) == len(start) + 1:
                assert score == pytest.approx(float(logs[ids[-1]]), abs=2e-4)
            else:  # the tiny tokenizer has no token for this letter after a space
                assert score < 0
    assert tokens > sum(len(exact.tokenizer(prompts.lettered(q)).input_ids) for q in asked) - 1


def test_examples_stand_before_the_question(exact: LanguageModel) -> None:
    shot = Question("s", "What shines?", ("A star", "A stone"), 0)
    question = replace(questions(1)[0], shots=(shot,))
    assert prompts.cloze(question).startswith("Question: What shines?\nAnswer: A star\n\nQuestion:")
    found = LikelihoodScorer(exact).scores([question])[0][0]
    assert found == pytest.approx(by_hand(exact, question), abs=2e-4)
    assert found != LikelihoodScorer(exact).scores(questions(1))[0][0]


def test_packed_equals_one_by_one(exact: LanguageModel) -> None:
    scorer = LikelihoodScorer(exact)
    rows = [scorer.row(q) for q in questions()]
    for together, alone in zip(packed(exact, rows), one_by_one(exact, rows), strict=True):
        assert together == pytest.approx(alone, abs=2e-4)


def test_scores_do_not_depend_on_the_batch(exact: LanguageModel) -> None:
    scorer, asked = LikelihoodScorer(exact), questions()
    alone = [scorer.scores([q])[0][0] for q in asked]
    for a, b in zip(scorer.scores(asked)[0], alone, strict=True):
        assert a == pytest.approx(b, abs=2e-4)


def test_bf16_stays_near_fp32(exact: LanguageModel, tiny_model: Path) -> None:
    half = LikelihoodScorer(LanguageModel(tiny_model))
    asked = questions()
    pairs = zip(half.scores(asked)[0], LikelihoodScorer(exact).scores(asked)[0], strict=True)
    assert all(a == pytest.approx(b, rel=0.02) for a, b in pairs)


def test_options_that_begin_alike_share_no_option_token(exact: LanguageModel) -> None:
    question = Question("q", "What?", ("the core of a star", "the core"), 0)
    row = LikelihoodScorer(exact).row(question)
    assert row.prompt == exact.tokenizer(prompts.cloze(question)).input_ids
    assert all(row.options)


def test_a_model_that_ignores_the_mask_is_scored_one_by_one(
    exact: LanguageModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = exact.hidden

    def sees_everything_before(ids: Any, positions: Any, mask: Any) -> Any:
        return hidden(ids, positions, None)

    monkeypatch.setattr(exact, "hidden", sees_everything_before)
    # A random model hardly cares what it sees; this makes it care.
    monkeypatch.setattr("astrosage.bench.likelihood._TOLERANCE_PER_TOKEN", 1e-3)
    scorer = LikelihoodScorer(exact)
    assert not scorer.packs
    assert "one by one" in caplog.text
    assert scorer.scores(questions(2))[0][1] == pytest.approx(
        by_hand(exact, questions(2)[1]), abs=2e-4
    )


def test_a_question_too_long_for_the_model_is_named(exact: LanguageModel) -> None:
    question = Question("long-1", "why? " * 300, ("a", "b"), 0)
    with pytest.raises(DataError, match=r"question long-1 has \d+ tokens, the model takes 256"):
        LikelihoodScorer(exact).scores([question])


def test_probabilities_are_probabilities(exact: LanguageModel) -> None:
    hidden = torch.randn(3, 64)
    every = torch.arange(512)
    for row in range(3):
        found = exact.log_probabilities(hidden, torch.full((512,), row), every)
        assert math.isclose(float(found.detach().exp().sum()), 1.0, abs_tol=1e-4)
