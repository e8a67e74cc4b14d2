"""Likelihood, generation and perplexity on a real tiny model, against plain forward passes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from astrosage.bench import generation, perplexity, prompts
from astrosage.bench.language_model import LanguageModel
from astrosage.bench.likelihood import LikelihoodScorer, one_by_one, packed
from astrosage.bench.questions import Question
from astrosage.bench.tasks import Inputs, make, perform_here
from astrosage.errors import DataError

QUESTIONS = [
    Question("a", "What is a star?", ("A ball of hot gas", "A rock", "Ice", "A very old lamp"), 0),
    Question("b", "Planets move on", ("ellipses", "squares"), 0),
    Question("c", "Why?", ("Because", "Because of the Sun", "No"), 1),
    Question("d", "Galaxies rotate faster than mass allows " * 3, ("yes", "no", "both"), 2),
]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LanguageModel:
    return LanguageModel(tiny_model, torch.float32)


def by_hand(folder: Path, text: str, option: str) -> float:
    """The option's log-probability by transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt, whole = tokenizer(text).input_ids, tokenizer(text + option).input_ids
    with torch.no_grad():
        logs = plain(torch.tensor([whole])).logits[0].log_softmax(-1)
    begin = next(
        (i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), len(prompt)
    )
    return sum(float(logs[i - 1, whole[i]]) for i in range(begin, len(whole)))


def test_scores_are_the_options_log_probabilities(model: LanguageModel, tiny_model: Path) -> None:
    found = LikelihoodScorer(model).scores(QUESTIONS[:2])
    for question, scores in zip(QUESTIONS, found, strict=False):
        for choice, score in zip(question.choices, scores, strict=True):
            text, option = prompts.cloze(question), prompts.continuation(choice)
            assert score == pytest.approx(by_hand(tiny_model, text, option), abs=1e-3)


def test_packed_equals_one_by_one(model: LanguageModel) -> None:
    scorer = LikelihoodScorer(model)
    assert scorer.packs
    rows = [scorer.row(q) for q in QUESTIONS]
    for together, alone in zip(packed(model, rows), one_by_one(model, rows), strict=True):
        assert together == pytest.approx(alone, abs=1e-3)


def test_batches_do_not_change_scores(model: LanguageModel) -> None:
    scorer = LikelihoodScorer(model)
    whole = scorer.scores(QUESTIONS)
    for question, scores in zip(QUESTIONS, whole, strict=True):
        assert scorer.scores([question])[0] == pytest.approx(scores, abs=1e-3)


def test_a_question_over_the_positions_is_named(model: LanguageModel) -> None:
    long = Question("long", "word " * 300, ("a", "b"), 0)
    with pytest.raises(DataError, match=r"question long has .* tokens, the model takes 256"):
        LikelihoodScorer(model).scores([long])
    with pytest.raises(DataError, match="question long"):
        generation.answers(model, [long], 8)


def test_generated_answers_do_not_depend_on_the_batch(model: LanguageModel) -> None:
    short = [q for q in QUESTIONS if q.id != "d"]
    together = generation.answers(model, short, 6)
    assert together == [generation.answers(model, [q], 6)[0] for q in short]


def test_perplexity_is_the_mean_loss_of_the_model(model: LanguageModel, tiny_model: Path) -> None:
    texts = ["A star is a ball of hot gas.", "Planets move around the Sun. " * 20, "Ö"]
    found = perplexity.likelihoods(model, texts)
    alone = perplexity.likelihoods(model, texts, plain=True)
    for one, other in zip(found, alone, strict=True):
        assert one.tokens == other.tokens
        assert one.nats == pytest.approx(other.nats, rel=1e-4)
    assert found[2].bytes == 2
    summary = perplexity.summarize(found)
    tokens = sum(f.tokens for f in found)
    assert summary["tokens"] == tokens
    expected = math.exp(sum(f.nats for f in found) / tokens)
    assert summary["perplexity"] == pytest.approx(expected)


def test_tasks_give_every_item_once_whatever_the_batch_size(tiny_model: Path) -> None:
    inputs = Inputs(
        models={"model": str(tiny_model)},
        questions=tuple(QUESTIONS),
        documents=("A text.",),
        max_new_tokens=2,
    )
    by_size = {}
    for size in (1, 3, 16):
        todo = make(inputs, ["likelihood", "heldout"], size, ["model"])
        found: dict[tuple[str, int], object] = {}
        for task, values in perform_here(inputs, todo):
            found |= {(task.work, i): v for i, v in zip(task.items, values, strict=True)}
        assert len(found) == len(QUESTIONS) + 1
        by_size[size] = found
    for i in range(len(QUESTIONS)):
        first = by_size[1]["likelihood", i]
        assert by_size[16]["likelihood", i] == pytest.approx(first, abs=0.3)  # bf16 weights
