from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from astrosage.bench import generation, prompts
from astrosage.bench.generation import answers
from astrosage.bench.language_model import LanguageModel
from astrosage.bench.question import Question
from astrosage.bench.tasks import Writing
from astrosage.errors import DataError
from tests.bench.samples import questions


def greedy(model: LanguageModel, text: str, count: int) -> str:
    """Token after token with the whole text computed each time."""
    ids = model.tokenizer(text, add_special_tokens=False).input_ids
    start = len(ids)
    for _ in range(count):
        with torch.inference_mode():
            best = int(model.model(torch.tensor([ids])).logits[0, -1].argmax())
        if best == model.tokenizer.eos_token_id:
            break
        ids.append(best)
    return str(model.tokenizer.decode(ids[start:], skip_special_tokens=True)).strip()


def texts(model: LanguageModel, asked: list[Question], most: int) -> list[str]:
    found, used = answers(model, asked, Writing(most))
    assert used.completion <= most * len(asked)
    assert used.prompt > 0
    return [answer.text for answer in found]


def test_batches_equal_greedy_decoding_one_by_one(exact: LanguageModel) -> None:
    asked = questions(5)
    expected = [
        greedy(
            exact,
            f"<|im_start|>user\n{prompts.multiple_choice(q)}<|im_end|>\n<|im_start|>assistant\n",
            6,
        )
        for q in asked
    ]
    assert texts(exact, asked, 6) == expected


def test_a_model_without_chat_template_completes(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "base")
    (folder / "chat_template.jinja").unlink()
    model = LanguageModel(folder, torch.float32)
    asked = questions(3)
    expected = [greedy(model, prompts.multiple_choice_completion(q), 4) for q in asked]
    assert texts(model, asked, 4) == expected


def test_sampling_options_of_the_model_are_not_used(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "hot")
    (folder / "generation_config.json").write_text(
        '{"do_sample": true, "temperature": 9.0, "eos_token_id": 2, "pad_token_id": 2}'
    )
    hot, cold = LanguageModel(folder, torch.float32), LanguageModel(tiny_model, torch.float32)
    assert texts(hot, questions(4), 6) == texts(cold, questions(4), 6)


def test_a_prompt_without_room_for_its_answer_is_named(exact: LanguageModel) -> None:
    with pytest.raises(DataError, match=r"question q has .* tokens and its answer up to 8"):
        answers(exact, [Question("q", "why? " * 200, ("a", "b"), 0)], Writing(8))


def test_reasoning_is_asked_for_as_the_sample_chats_train_it(exact: LanguageModel) -> None:
    shot = Question("s", "What shines?", ("A star", "A stone"), 1)
    question = replace(questions(1)[0], shots=(shot,))
    text = generation._prompt(exact, question, "on")
    assert text.startswith("<|im_start|>system\nReasoning: on<|im_end|>\n<|im_start|>user\n")
    assert "<|im_start|>assistant\nB<|im_end|>\n<|im_start|>user\nWhat is the Sun?" in text
    assert generation._prompt(exact, questions(1)[0], None) == (
        f"<|im_start|>user\n{prompts.multiple_choice(questions(1)[0])}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_template_without_system_messages_is_named(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "strict")
    template = "{{ raise_exception('no system role') if messages[0]['role'] == 'system' }}"
    (folder / "chat_template.jinja").write_text(template)
    model = LanguageModel(folder, torch.float32)
    with pytest.raises(DataError, match="takes no system message: no system role"):
        answers(model, questions(1), Writing(2, "off"))


@pytest.mark.parametrize(
    ("written", "thinks", "text", "limited", "thinking"),
    [
        ("<think>It is A.</think>B<|im_end|>", False, "<think>It is A.</think>B", False, False),
        ("<think>It is A, or", False, "<think>It is A, or", True, True),
        ("It is A.</think>B<|im_end|>", True, "<think>\nIt is A.</think>B", False, False),
        ("It is A, or", True, "<think>\nIt is A, or", True, True),
        ("B<|im_end|>", False, "B", False, False),
    ],
)
def test_thoughts_are_told_from_answers(
    exact: LanguageModel, written: str, thinks: bool, text: str, limited: bool, thinking: bool
) -> None:
    ids = exact.encode(written, special=False)
    padded = [*ids, *[exact.pad_id] * 3] if written.endswith("<|im_end|>") else ids
    answer, count = generation._answer(exact, padded, thinks, len(ids))
    assert (answer.text, answer.limited, answer.thinking) == (text, limited, thinking)
    assert count == len(ids)
    assert (answer.reasoning_tokens > 0) == ("think>" in text)
