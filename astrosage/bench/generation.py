"""Answers that a model writes: greedy decoding in batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from astrosage.bench import prompts
from astrosage.bench.answers import Answer
from astrosage.bench.language_model import LanguageModel
from astrosage.bench.question import Question
from astrosage.bench.tasks import Reasoning, Writing
from astrosage.endpoints.usage import Usage
from astrosage.errors import DataError
from astrosage.spec.chat import THINK_CLOSE as _CLOSE
from astrosage.spec.chat import THINK_OPEN as _OPEN
from astrosage.spec.chat import reasoning_switch, with_system_prompt


@torch.inference_mode()
def answers(
    model: LanguageModel, questions: Sequence[Question], writing: Writing
) -> tuple[list[Answer], Usage]:
    """What the model writes after each question, and the tokens that it took.

    Decoding is greedy whatever the model's generation configuration says. Prompts are padded on
    the left, so that all answers begin at the same place.

    Raises:
        DataError: If a prompt and its answer do not fit into the model's positions.
    """
    from transformers import GenerationConfig

    texts = [_prompt(model, question, writing.reasoning) for question in questions]
    special = not model.tokenizer.chat_template
    encoded = [model.encode(text, special=special) for text in texts]
    width = max(map(len, encoded))
    for question, ids in zip(questions, encoded, strict=True):
        if len(ids) + writing.max_new_tokens > model.max_positions:
            raise DataError(
                f"question {question.id} has {len(ids)} tokens and its answer up to "
                f"{writing.max_new_tokens}; the model takes {model.max_positions}",
                "shorten or remove it, or lower bench.generation.maxNewTokens",
            )
    padded = [[model.pad_id] * (width - len(ids)) + ids for ids in encoded]
    mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in encoded]
    written = model.model.generate(
        input_ids=model.tensor(padded),
        attention_mask=model.tensor(mask),
        generation_config=GenerationConfig(
            do_sample=False,
            max_new_tokens=writing.max_new_tokens,
            eos_token_id=model.end_ids or None,
            pad_token_id=model.pad_id,
        ),
    )[:, width:]
    found = [
        _answer(model, ids, text.rstrip().endswith(_OPEN), writing.max_new_tokens)
        for ids, text in zip(written.tolist(), texts, strict=True)
    ]
    used = Usage(
        prompt=sum(map(len, encoded)),
        completion=sum(count for _, count in found),
        reasoning=sum(answer.reasoning_tokens for answer, _ in found),
    )
    return [answer for answer, _ in found], used


def _answer(model: LanguageModel, ids: list[int], thinks: bool, most: int) -> tuple[Answer, int]:
    """An answer and its number of tokens.

    Args:
        model: The model.
        ids: What was written, padded behind its end.
        thinks: Whether the prompt ended by opening the model's thoughts.
        most: Tokens that were allowed.
    """
    end = next((i for i, token in enumerate(ids) if token in model.end_ids), None)
    count = len(ids) if end is None else end + 1
    text = str(model.tokenizer.decode(ids, skip_special_tokens=True)).strip()
    if thinks and not text.startswith(_OPEN):
        text = f"{_OPEN}\n{text}"
    opened = _OPEN in text
    thought = text.partition(_OPEN)[2].partition(_CLOSE)[0] if opened else ""
    return (
        Answer(
            text,
            limited=end is None and count >= most,
            thinking=opened and _CLOSE not in text.rpartition(_OPEN)[2],
            reasoning_tokens=len(model.encode(thought, special=False)) if thought else 0,
        ),
        count,
    )


def _prompt(model: LanguageModel, question: Question, reasoning: Reasoning | None) -> str:
    """The question as the model reads it, through the chat template where it has one."""
    if not model.tokenizer.chat_template:
        return prompts.multiple_choice_completion(question)
    messages = prompts.conversation(question)
    if reasoning:
        # What models are fine-tuned with here, and what the endpoint sends for `reasoning`.
        messages = with_system_prompt(messages, reasoning_switch(reasoning))
    try:
        text: str = model.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
    except Exception as error:  # templates raise errors of their own, in Jinja's name
        if not reasoning:
            raise
        raise DataError(
            f"{model.folder}: the chat template takes no system message: {error}",
            "leave out bench.generation.reasoning for this model",
        ) from error
    return text
