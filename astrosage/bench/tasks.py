"""The work of a benchmark in batches that do not depend on who does them.

Batches are made from the questions alone, so that every number of workers computes the same
batches and comes to the same scores.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from astrosage.bench.orders import ordered
from astrosage.bench.question import Question
from astrosage.endpoints.usage import Usage

if TYPE_CHECKING:
    from astrosage.bench.language_model import LanguageModel
    from astrosage.bench.likelihood import LikelihoodScorer

Role = Literal["model", "baseline"]
Work = Literal["heldout", "likelihood", "letter", "generation"]
Reasoning = Literal["on", "off"]
SHUFFLED: tuple[Work, ...] = ("letter", "generation")
"""Work whose prompt shows the options, so that their order can matter."""
_DOCUMENTS_AT_ONCE = 4


@dataclass(frozen=True)
class Writing:
    """How answers are written.

    Attributes:
        max_new_tokens: Tokens that an answer may have.
        reasoning: Whether the model is asked to think first; None asks for neither.
    """

    max_new_tokens: int = 8
    reasoning: Reasoning | None = None


@dataclass(frozen=True)
class Inputs:
    """What is scored, on what.

    Attributes:
        models: For each role the model's reference, as in the run file.
        questions: The questions of all sets, one after another.
        documents: Held-out texts.
        writing: How answers are written.
        seed: Seeds the orders of options.
    """

    models: dict[Role, str]
    questions: tuple[Question, ...]
    documents: tuple[str, ...] = ()
    writing: Writing = field(default_factory=Writing)
    seed: int = 0

    def of(self, task: Task) -> list[Any]:
        """A task's own questions, in its order of options, or documents."""
        if task.work == "heldout":
            return [self.documents[i] for i in task.items]
        return [ordered(self.questions[i], task.order, self.seed) for i in task.items]


@dataclass(frozen=True, slots=True)
class Task:
    """A batch of one kind of work for one model.

    Attributes:
        role: Which model.
        work: What is done.
        items: Indices into the inputs' questions or documents.
        order: Number of the order of the options; 0 is the file's own.
    """

    role: Role
    work: Work
    items: tuple[int, ...]
    order: int = 0

    @property
    def questions(self) -> int:
        """How many questions it answers."""
        return 0 if self.work == "heldout" else len(self.items)


class Done(NamedTuple):
    """A task's results.

    Attributes:
        task: What was done.
        values: A result for each of its items.
        usage: Tokens that it took.
        seconds: Time that it took a worker, without loading the model.
    """

    task: Task
    values: list[Any]
    usage: Usage = Usage()
    seconds: float = 0.0


Results = Iterator[Done]


def make(
    inputs: Inputs,
    works: Sequence[Work],
    batch_size: int,
    roles: Iterable[Role],
    shuffles: int = 0,
) -> list[Task]:
    """All batches, model by model, each kind sorted from long to short.

    Neighbours of like length need little padding, and the costly batches come first, so that
    workers end together and a lack of memory shows at once.

    Args:
        inputs: What is scored.
        works: What is done.
        batch_size: Questions at once.
        roles: Which models.
        shuffles: Further orders of the options, for work whose prompt shows them.
    """
    size_of = [len(q.question) + sum(map(len, q.choices)) for q in inputs.questions]
    questions = _by_size(size_of, batch_size)
    documents = _by_size([len(d) for d in inputs.documents], _DOCUMENTS_AT_ONCE)
    return [
        Task(role, work, items, which)
        for role in roles
        for work in works
        for which in range(shuffles + 1 if work in SHUFFLED else 1)
        for items in (documents if work == "heldout" else questions)
    ]


def _by_size(sizes: Sequence[int], count: int) -> list[tuple[int, ...]]:
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    return [tuple(order[i : i + count]) for i in range(0, len(order), count)]


class Performer:
    """Does tasks with model directories, one model in memory at a time.

    Args:
        models: Reference of each role's model.
        writing: How answers are written.
        find: From a model's reference to its directory on this machine.
        threads: CPU threads; None leaves the setting as it is.
    """

    def __init__(
        self,
        models: Mapping[Role, str],
        writing: Writing,
        find: Callable[[str], Path],
        threads: int | None = None,
    ) -> None:
        self._models, self._writing = models, writing
        self._find, self._threads = find, threads
        self._role: Role | None = None
        self._model: LanguageModel | None = None
        self._likelihood: LikelihoodScorer | None = None

    def perform(self, task: Task, items: list[Any]) -> Done:
        """Results in the order of the items, which are questions or documents.

        Log-probabilities of the options for ``likelihood`` and ``letter``, an
        :class:`~astrosage.bench.answers.Answer` for ``generation``,
        :class:`~astrosage.bench.perplexity.Likelihood` for ``heldout``.
        """
        from astrosage.bench import generation, perplexity

        model, scorer = self._load(task.role)
        began = time.monotonic()
        if task.work == "heldout":
            values: list[Any] = perplexity.likelihoods(model, items, plain=not scorer.packs)
            used = Usage(prompt=sum(v.tokens for v in values))
        elif task.work == "generation":
            values, used = generation.answers(model, items, self._writing)
        else:
            values, tokens = scorer.scores(items, letters=task.work == "letter")
            used = Usage(prompt=tokens)
        return Done(task, values, used, time.monotonic() - began)

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
    performer = Performer(inputs.models, inputs.writing, find)
    for task in todo:
        yield performer.perform(task, inputs.of(task))


def threads_for(cpu: float) -> int:
    """CPU threads of a worker with that many cores."""
    return max(1, min(int(cpu), os.cpu_count() or 1))
