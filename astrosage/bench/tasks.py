"""The work of a benchmark in batches that do not depend on who does them.

Batches are made from the questions alone, so that every number of workers computes the same
batches and comes to the same scores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from astrosage.bench.questions import Question

if TYPE_CHECKING:
    from astrosage.bench.language_model import LanguageModel
    from astrosage.bench.likelihood import LikelihoodScorer

Role = Literal["model", "baseline"]
Work = Literal["heldout", "likelihood", "generation"]
_DOCUMENTS_AT_ONCE = 4


@dataclass(frozen=True)
class Inputs:
    """What is scored, on what.

    Attributes:
        models: For each role the model's reference, as in the run file.
        questions: The questions of all sets, one after another.
        documents: Held-out texts.
        max_new_tokens: Tokens that a generated answer may have.
    """

    models: dict[Role, str]
    questions: tuple[Question, ...]
    documents: tuple[str, ...] = ()
    max_new_tokens: int = 8

    def of(self, task: Task) -> list[Any]:
        """A task's own questions or documents."""
        source = self.documents if task.work == "heldout" else self.questions
        return [source[i] for i in task.items]


@dataclass(frozen=True, slots=True)
class Task:
    """A batch of one kind of work for one model.

    Attributes:
        role: Which model.
        work: What is done.
        items: Indices into the inputs' questions or documents.
    """

    role: Role
    work: Work
    items: tuple[int, ...]

    @property
    def questions(self) -> int:
        """How many questions it answers."""
        return 0 if self.work == "heldout" else len(self.items)


Results = Iterator[tuple[Task, list[Any]]]


def make(
    inputs: Inputs, works: Sequence[Work], batch_size: int, roles: Iterable[Role]
) -> list[Task]:
    """All batches, model by model, each kind sorted from long to short.

    Neighbours of like length need little padding, and the costly batches come first, so that
    workers end together and a lack of memory shows at once.
    """
    size_of = [len(q.question) + sum(map(len, q.choices)) for q in inputs.questions]
    questions = _by_size(size_of, batch_size)
    documents = _by_size([len(d) for d in inputs.documents], _DOCUMENTS_AT_ONCE)
    return [
        Task(role, work, items)
        for role in roles
        for work in works
        for items in (documents if work == "heldout" else questions)
    ]


def _by_size(sizes: Sequence[int], count: int) -> list[tuple[int, ...]]:
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    return [tuple(order[i : i + count]) for i in range(0, len(order), count)]


class Performer:
    """Does tasks with model directories, one model in memory at a time.

    Args:
        models: Reference of each role's model.
        max_new_tokens: Tokens that a generated answer may have.
        find: From a model's reference to its directory on this machine.
        threads: CPU threads; None leaves the setting as it is.
    """

    def __init__(
        self,
        models: Mapping[Role, str],
        max_new_tokens: int,
        find: Callable[[str], Path],
        threads: int | None = None,
    ) -> None:
        self._models, self._max_new_tokens = models, max_new_tokens
        self._find, self._threads = find, threads
        self._role: Role | None = None
        self._model: LanguageModel | None = None
        self._likelihood: LikelihoodScorer | None = None

    def perform(self, role: Role, work: Work, items: list[Any]) -> list[Any]:
        """Results in the order of the items, which are questions or documents.

        Option log-probabilities for ``likelihood``, text for ``generation``,
        :class:`~astrosage.bench.perplexity.Likelihood` for ``heldout``.
        """
        from astrosage.bench import generation, perplexity

        model, scorer = self._load(role)
        if work == "heldout":
            return list(perplexity.likelihoods(model, items, plain=not scorer.packs))
        if work == "likelihood":
            return list(scorer.scores(items))
        return list(generation.answers(model, items, self._max_new_tokens))

    def _load(self, role: Role) -> tuple[LanguageModel, LikelihoodScorer]:
        if self._model is None or self._likelihood is None or self._role != role:
            import torch

            from astrosage.bench.language_model import LanguageModel
            from astrosage.bench.likelihood import LikelihoodScorer

            if self._threads is not None:
                torch.set_num_threads(self._threads)
            self._model = self._likelihood = None  # the earlier model goes before this one comes
            self._model = LanguageModel(self._find(self._models[role]))
            self._likelihood = LikelihoodScorer(self._model)
            self._role = role
        return self._model, self._likelihood


def perform_here(
    inputs: Inputs, todo: Iterable[Task], find: Callable[[str], Path] = Path
) -> Results:
    """Do all tasks in this process, without Ray."""
    performer = Performer(inputs.models, inputs.max_new_tokens, find)
    for task in todo:
        yield task, performer.perform(task.role, task.work, inputs.of(task))


def threads_for(cpu: float) -> int:
    """CPU threads of a worker with that many cores."""
    return max(1, min(int(cpu), os.cpu_count() or 1))
