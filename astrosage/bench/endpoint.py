"""Scoring a served model through the OpenAI API, as vLLM, Ray Serve and others speak it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from astrosage.bench import prompts
from astrosage.bench.kept import KeptAnswers, key_of
from astrosage.bench.question import LETTERS, Question
from astrosage.bench.replies import GarbledError, Reply, chat_reply, option_reply
from astrosage.bench.service import Service
from astrosage.bench.spending import BudgetReachedError, Purse
from astrosage.bench.tasks import Done, Inputs, Results, Task
from astrosage.bench.usage import Usage, total
from astrosage.bench.watch import Watch
from astrosage.errors import ClusterError, SpecError
from astrosage.spec.bench import Endpoint

_GARBLED_ATTEMPTS = 3
_Running = dict["asyncio.Task[list[Any]]", Task]


class EndpointScorer:
    """Performs tasks against an OpenAI-compatible service.

    Args:
        endpoint: Address, model name and the environment variable with the key.
        inputs: What is scored.
        purse: What may be spent; it also keeps the answers.
        seed: Sent along; decoding is greedy.

    Raises:
        SpecError: If the key's environment variable is not set.
    """

    def __init__(self, endpoint: Endpoint, inputs: Inputs, purse: Purse, seed: int = 0) -> None:
        self._endpoint, self._inputs, self._purse, self._seed = endpoint, inputs, purse, seed
        self._kept: KeptAnswers = purse.kept
        self._service = Service(endpoint, inputs.writing.max_new_tokens, purse.check)
        self._watch = Watch(endpoint)
        self._usage: dict[Task, list[Usage]] = {}
        self._done = 0

    def perform(self, todo: Sequence[Task]) -> Results:
        """Do all tasks, so many requests at a time as the endpoint allows.

        Raises:
            ClusterError: If the service cannot be reached or keeps failing.
            SpecError, NotFoundError: If it refuses the key, the model or the address, or if the
                budget is used up.
        """
        asked = sum(task.questions for task in todo)
        with asyncio.Runner() as runner:
            gate = asyncio.Semaphore(self._endpoint.concurrency)
            running: _Running = {}
            try:
                yield from self._windowed(runner, gate, deque(todo), running)
            except BudgetReachedError:
                runner.run(_settled(running))  # what is under way will be paid for: keep it
                raise self._purse.error(self._done, asked) from None
            finally:
                runner.run(_cancelled(running))
                runner.run(self._service.close())
                self._kept.close()

    def facts(self) -> dict[str, Any]:
        """What the service did, for the summary."""
        return self._watch.facts(self._service.retries)

    def _windowed(
        self, runner: asyncio.Runner, gate: asyncio.Semaphore, queue: deque[Task], running: _Running
    ) -> Iterator[Done]:
        """As many tasks under way as keep all requests busy; each as it is done."""
        loop = runner.get_loop()
        while queue or running:
            busy = sum(task.questions for task in running.values())
            while queue and busy < 2 * self._endpoint.concurrency:
                task = queue.popleft()
                running[loop.create_task(self._batch(gate, task))] = task
                busy += task.questions
            for done in runner.run(_first(running)):
                values = done.result()
                task = running.pop(done)
                self._watch.check()
                yield Done(task, values, total(self._usage.pop(task, [])))

    async def _batch(self, gate: asyncio.Semaphore, task: Task) -> list[Any]:
        questions: list[Question] = self._inputs.of(task)
        ask = self._generation if task.work == "generation" else self._options
        found = await asyncio.gather(
            *(self._counted(ask(gate, task, q)) for q in questions), return_exceptions=True
        )
        errors = [f for f in found if isinstance(f, BaseException)]
        # A budget that is used up is told only if nothing worse happened.
        for error in sorted(errors, key=lambda e: isinstance(e, BudgetReachedError)):
            raise error
        return list(found)

    async def _counted(self, asked: Coroutine[Any, Any, Any]) -> Any:
        value = await asked
        self._done += 1
        return value

    async def _generation(self, gate: asyncio.Semaphore, task: Task, question: Question) -> Any:
        writing = self._inputs.writing
        messages = prompts.conversation(question)
        body: dict[str, Any] = {"messages": messages, "max_tokens": writing.max_new_tokens}
        if writing.reasoning is not None:
            body["reasoning"] = writing.reasoning
        prompt = "\n".join(m["content"] for m in messages)

        def read(data: Any) -> Reply:
            return chat_reply(data, prompt, writing.max_new_tokens)

        return (await self._ask(gate, task, "chat/completions", body, read)).answer

    async def _options(self, gate: asyncio.Semaphore, task: Task, question: Question) -> Any:
        """Log-probabilities of a question's options, or of their letters."""
        letters = task.work == "letter"
        prompt = prompts.lettered(question) if letters else prompts.cloze(question)
        options = LETTERS[: len(question.choices)] if letters else question.choices
        return [
            await self._option(gate, task, prompt, prompts.continuation(option))
            for option in options
        ]

    async def _option(self, gate: asyncio.Semaphore, task: Task, prompt: str, option: str) -> float:
        # One token is asked for since some services refuse none; it is not counted.
        body = {"prompt": prompt + option, "max_tokens": 1, "echo": True, "logprobs": 1}

        def read(data: Any) -> Reply:
            return option_reply(data, prompt, option)

        try:
            reply = await self._ask(gate, task, "completions", body, read)
        except ValueError:
            raise SpecError(
                f"bench.endpoint: {self._endpoint.url}/completions does not give the prompt's "
                "log-probabilities (echo with logprobs)",
                "leave `likelihood` and `letter` out of bench.methods for this service",
            ) from None
        if reply.value is None:
            raise ClusterError(
                f"bench.endpoint: {self._endpoint.url}/completions gave no log-probabilities: "
                f"{reply.problem}",
                "see the service's own log, then resume: what it has answered is kept",
            )
        return reply.value

    async def _ask(
        self,
        gate: asyncio.Semaphore,
        task: Task,
        path: str,
        body: dict[str, Any],
        read: Callable[[Any], Reply],
    ) -> Reply:
        """A reply: the one that was kept, or a new one, which is kept."""
        sent = {"model": self._endpoint.model, "temperature": 0, "seed": self._seed} | body
        key = key_of(self._endpoint.url, path, sent)
        reply = self._kept.get(key)
        reused = reply is not None
        if reply is None:
            reply = await self._new(gate, path, sent, read)
            self._kept.add(key, reply)
        self._watch.note(reply, reused=reused)
        self._usage.setdefault(task, []).append(reply.usage)
        return reply

    async def _new(
        self,
        gate: asyncio.Semaphore,
        path: str,
        sent: dict[str, Any],
        read: Callable[[Any], Reply],
    ) -> Reply:
        """Ask, and again if what comes is no answer; then the problem takes the answer's place."""
        problem = ""
        for attempt in range(_GARBLED_ATTEMPTS):
            try:
                return read(await self._service.post(gate, path, sent))
            except GarbledError as error:
                problem = str(error)
                if attempt + 1 < _GARBLED_ATTEMPTS:
                    await self._service.pause(attempt)
        return Reply(problem=problem)


async def _first(running: _Running) -> set[asyncio.Task[list[Any]]]:
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    return done


async def _settled(running: _Running) -> None:
    await asyncio.gather(*running, return_exceptions=True)


async def _cancelled(running: _Running) -> None:
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)
