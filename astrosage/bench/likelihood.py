"""How likely a model holds each option, or its letter: log-probabilities after the prompt.

All options of a question are computed in one row: the prompt once, then the options one after
another, with a mask that lets each option see the prompt and itself only and positions that start
again after the prompt. So a question costs its own tokens and no more. (Computing the prompt, then
all options with its repeated key-value cache, was a third slower on a CPU.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from astrosage.bench import prompts
from astrosage.bench.language_model import LanguageModel
from astrosage.bench.question import LETTERS, Question
from astrosage.errors import DataError

log = logging.getLogger(__name__)

_PROBE = Question("probe", "What is the Sun?", ("A star", "One of the planets"), 0)
_TOLERANCE_PER_TOKEN = 0.25


@dataclass(frozen=True)
class Row:
    """A question as tokens.

    Attributes:
        prompt: Tokens that all options share.
        options: Each option's own tokens, at least one.
    """

    prompt: list[int]
    options: list[list[int]]

    @property
    def inputs(self) -> int:
        """Tokens to compute; an option's last token is only predicted."""
        return len(self.prompt) + sum(len(o) - 1 for o in self.options)


class LikelihoodScorer:
    """Scores options by likelihood.

    Args:
        model: The model. If its answer to a probe differs between one row and one by one (layers
            that ignore the mask, changed logits), it is scored one by one.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self.packs = self._is_right_when_packed()
        if not self.packs:
            log.warning("%s: options are scored one by one, which is slower", model.folder)

    def scores(
        self, questions: Sequence[Question], *, letters: bool = False
    ) -> tuple[list[list[float]], int]:
        """The log-probability of each option's text after the prompt, in nats.

        Args:
            questions: What is scored.
            letters: Show all options in the prompt and score their letters instead.

        Returns:
            For each question its options' scores; and the tokens that were computed.

        Raises:
            DataError: If a question is longer than the model's positions.
        """
        rows = [self.row(question, letters=letters) for question in questions]
        found = packed(self._model, rows) if self.packs else one_by_one(self._model, rows)
        return found, sum(row.inputs for row in rows)

    def row(self, question: Question, *, letters: bool = False) -> Row:
        """Tokenise a question.

        Prompt and option are tokenised as one text, since that is how a model reads text; what
        all of these begin with is shared.
        """
        text = prompts.lettered(question) if letters else prompts.cloze(question)
        options = LETTERS[: len(question.choices)] if letters else question.choices
        encode = self._model.encode
        whole = [encode(text + prompts.continuation(option)) for option in options]
        shared = _common_prefix([encode(text), *whole])
        longest = max(map(len, whole))
        if longest > self._model.max_positions:
            raise DataError(
                f"question {question.id} has {longest} tokens, the model takes "
                f"{self._model.max_positions}",
                "shorten or remove it" + (", or lower bench.shots" if question.shots else ""),
            )
        return Row(whole[0][:shared], [w[shared:] for w in whole])

    def _is_right_when_packed(self) -> bool:
        row = self.row(_PROBE)
        alone = one_by_one(self._model, [row])[0]
        try:
            together = packed(self._model, [row])[0]
        except (RuntimeError, ValueError, TypeError, AttributeError):
            return False  # an architecture that takes no mask or positions of ours
        return all(
            abs(a - b) <= _TOLERANCE_PER_TOKEN * len(option)
            for a, b, option in zip(together, alone, row.options, strict=True)
        )


def _common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Tokens that all begin with, leaving at least one of each option to score."""
    shortest = min(min(map(len, sequences)), min(map(len, sequences[1:])) - 1)
    for i in range(shortest):
        if len({s[i] for s in sequences}) > 1:
            return i
    return shortest


@torch.inference_mode()
def packed(model: LanguageModel, rows: Sequence[Row]) -> list[list[float]]:
    """Score a batch, one row a question, in one forward pass."""
    batch, width = len(rows), max(row.inputs for row in rows)
    ids = torch.full((batch, width), model.pad_id)
    positions = torch.zeros(batch, width, dtype=torch.long)
    seen = torch.eye(width, dtype=torch.bool).repeat(batch, 1, 1)  # padding sees itself
    sources: list[int] = []  # for each scored token, the flat position that predicts it
    targets: list[int] = []
    for b, row in enumerate(rows):
        shared = len(row.prompt)
        _place(ids[b], positions[b], seen[b], row.prompt, 0, 0)
        at = shared
        for option in row.options:
            inner = len(option) - 1
            _place(ids[b], positions[b], seen[b], option[:-1], at, shared)
            seen[b, at : at + inner, :shared] = True
            sources += [b * width + shared - 1, *range(b * width + at, b * width + at + inner)]
            targets += option
            at += inner
    hidden = _forward(model, ids, positions, seen)
    needed, index = torch.unique(model.tensor(sources), return_inverse=True)
    found = model.log_probabilities(hidden.flatten(0, 1)[needed], index, model.tensor(targets))
    lengths = [len(option) for row in rows for option in row.options]
    sums = iter([part.sum().item() for part in torch.split(found, lengths)])
    return [[next(sums) for _ in row.options] for row in rows]


def _place(
    ids: torch.Tensor,
    positions: torch.Tensor,
    seen: torch.Tensor,
    tokens: list[int],
    at: int,
    first_position: int,
) -> None:
    """Write tokens into a row from ``at`` on, causal among themselves."""
    end = at + len(tokens)
    ids[at:end] = torch.tensor(tokens, dtype=torch.long)
    positions[at:end] = torch.arange(first_position, first_position + len(tokens))
    seen[at:end, at:end] = torch.ones(len(tokens), len(tokens), dtype=torch.bool).tril()


def _forward(
    model: LanguageModel, ids: torch.Tensor, positions: torch.Tensor, seen: torch.Tensor
) -> torch.Tensor:
    dtype = model.model.dtype
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)
    device = model.device
    return model.hidden(ids.to(device), positions.to(device), mask[:, None].to(device))


@torch.inference_mode()
def one_by_one(model: LanguageModel, rows: Sequence[Row]) -> list[list[float]]:
    """Score each option alone: the reference that :func:`packed` must equal."""
    return [
        [
            model.plain_log_probabilities([*row.prompt, *option], len(row.prompt)).sum().item()
            for option in row.options
        ]
        for row in rows
    ]
