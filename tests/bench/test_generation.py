from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from astrosage.bench import prompts
from astrosage.bench.generation import answers
from astrosage.bench.language_model import LanguageModel
from astrosage.bench.questions import Question
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
    assert answers(exact, asked, 6) == expected


def test_a_model_without_chat_template_completes(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "base")
    (folder / "chat_template.jinja").unlink()
    model = LanguageModel(folder, torch.float32)
    asked = questions(3)
    expected = [greedy(model, prompts.multiple_choice_completion(q), 4) for q in asked]
    assert answers(model, asked, 4) == expected


def test_sampling_options_of_the_model_are_not_used(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "hot")
    (folder / "generation_config.json").write_text(
        '{"do_sample": true, "temperature": 9.0, "eos_token_id": 2, "pad_token_id": 2}'
    )
    hot, cold = LanguageModel(folder, torch.float32), LanguageModel(tiny_model, torch.float32)
    assert answers(hot, questions(4), 6) == answers(cold, questions(4), 6)


def test_a_prompt_without_room_for_its_answer_is_named(exact: LanguageModel) -> None:
    with pytest.raises(DataError, match=r"question q has .* tokens and its answer up to 8"):
        answers(exact, [Question("q", "why? " * 200, ("a", "b"), 0)], 8)
