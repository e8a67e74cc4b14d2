"""Answers that a model writes: greedy decoding in batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from astrosage.bench import prompts
from astrosage.bench.language_model import LanguageModel
from astrosage.bench.questions import Question
from astrosage.errors import DataError


@torch.inference_mode()
def answers(model: LanguageModel, questions: Sequence[Question], max_new_tokens: int) -> list[str]:
    """The text that the model writes after each question.

    Decoding is greedy whatever the model's generation configuration says. Prompts are padded on
    the left, so that all answers begin at the same place.

    Raises:
        DataError: If a prompt and its answer do not fit into the model's positions.
    """
    from transformers import GenerationConfig

    encoded = [_prompt(model, question) for question in questions]
    width = max(map(len, encoded))
    for question, ids in zip(questions, encoded, strict=True):
        if len(ids) + max_new_tokens > model.max_positions:
            raise DataError(
                f"question {question.id} has {len(ids)} tokens and its answer up to "
                f"{max_new_tokens}; the model takes {model.max_positions}",
                "shorten or remove it, or lower bench.generation.maxNewTokens",
            )
    padded = [[model.pad_id] * (width - len(ids)) + ids for ids in encoded]
    mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in encoded]
    written = model.model.generate(
        input_ids=model.tensor(padded),
        attention_mask=model.tensor(mask),
        generation_config=GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=model.end_ids or None,
            pad_token_id=model.pad_id,
        ),
    )
    texts: list[str] = model.tokenizer.batch_decode(written[:, width:], skip_special_tokens=True)
    return [text.strip() for text in texts]


def _prompt(model: LanguageModel, question: Question) -> list[int]:
    """Token ids of the question, through the chat template where the model has one."""
    if not model.tokenizer.chat_template:
        return model.encode(prompts.multiple_choice_completion(question))
    messages = [{"role": "user", "content": prompts.multiple_choice(question)}]
    text = model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return model.encode(text, special=False)
