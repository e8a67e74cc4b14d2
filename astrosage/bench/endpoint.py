"""Scoring a served model through the OpenAI API, as vLLM, Ray Serve and others speak it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from astrosage.bench import prompts
from astrosage.bench.answers import Answer
from astrosage.bench.question import LETTERS, Question
from astrosage.bench.tasks import Done, Inputs, Results, Task
from astrosage.endpoints.client import Client
from astrosage.endpoints.replies import Reply, chat_reply, option_reply
from astrosage.endpoints.spending import BudgetReachedError, Purse
from astrosage.endpoints.usage import Usage, total
from astrosage.errors import ClusterError, SpecError
from astrosage.spec.bench import Endpoint

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
        self._client = Client(endpoint, purse, inputs.writing.max_new_tokens)
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
            running: _Running = {}
            try:
                yield from self._windowed(runner, deque(todo), running)
            except BudgetReachedError:
                runner.run(_settled(running))  # what is under way will be paid for: keep it
                raise self._purse.error(self._done, asked) from None
            finally:
                runner.run(_cancelled(running))
                runner.run(self._client.close())

    def facts(self) -> dict[str, Any]:
        """What the service did, for the summary."""
        return self._client.facts()

    def _windowed(
        self, runner: asyncio.Runner, queue: deque[Task], running: _Running
    ) -> Iterator[Done]:
        """As many tasks under way as keep all requests busy; each as it is done."""
        loop = runner.get_loop()
        while queue or running:
            busy = sum(task.questions for task in running.values())
            while queue and busy < 2 * self._endpoint.concurrency:
                task = queue.popleft()
                running[loop.create_task(self._batch(task))] = task
                busy += task.questions
            for done in runner.run(_first(running)):
                values = done.result()
                task = running.pop(done)
                self._client.check()
                yield Done(task, values, total(self._usage.pop(task, [])))

    async def _batch(self, task: Task) -> list[Any]:
        questions: list[Question] = self._inputs.of(task)
        ask = self._generation if task.work == "generation" else self._options
        found = await asyncio.gather(
            *(self._counted(ask(task, q)) for q in questions), return_exceptions=True
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

    async def _generation(self, task: Task, question: Question) -> Answer:
        writing = self._inputs.writing
        messages = prompts.conversation(question)
        body: dict[str, Any] = {"messages": messages, "max_tokens": writing.max_new_tokens}
        if writing.reasoning is not None:
            body["reasoning"] = writing.reasoning
        prompt = "\n".join(m["content"] for m in messages)

        def read(data: Any) -> Reply:
            return chat_reply(data, prompt, writing.max_new_tokens)

        reply = await self._ask(task, "chat/completions", body, read)
        return Answer(
            reply.text, reply.limited, reply.thinking, reply.reasoning, problem=reply.problem
        )

    async def _options(self, task: Task, question: Question) -> Any:
        """Log-probabilities of a question's options, or of their letters."""
        letters = task.work == "letter"
        prompt = prompts.lettered(question) if letters else prompts.cloze(question)
        options = LETTERS[: len(question.choices)] if letters else question.choices
        return [
            await self._option(task, prompt, prompts.continuation(option)) for option in options
        ]

    async def _option(self, task: Task, prompt: str, option: str) -> float:
        # One token is asked for since some services refuse none; it is not counted.
        body = {"prompt": prompt + option, "max_tokens": 1, "echo": True, "logprobs": 1}

        def read(data: Any) -> Reply:
            return option_reply(data, prompt, option)

        try:
            reply = await self._ask(task, "completions", body, read)
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
        self, task: Task, path: str, body: dict[str, Any], read: Callable[[Any], Reply]
    ) -> Reply:
        """A reply, on the task's account."""
        sent = {"temperature": 0, "seed": self._seed} | body
        reply = await self._client.ask(path, sent, read)
        self._usage.setdefault(task, []).append(reply.usage)
        return reply


async def _first(running: _Running) -> set[asyncio.Task[list[Any]]]:
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    return done


async def _settled(running: _Running) -> None:
    await asyncio.gather(*running, return_exceptions=True)


async def _cancelled(running: _Running) -> None:
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)
