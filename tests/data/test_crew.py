from __future__ import annotations

import gc
import pickle
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from astrosage.context import StageContext
from astrosage.data import crew
from astrosage.data.crew import Alone, RayCrew, Worker, hire
from astrosage.data.examine import Batch
from astrosage.data.questions import build_index
from astrosage.data.records import Record
from astrosage.data.run import run
from astrosage.data.selection import Chosen
from astrosage.data.tokenise import document_end_id, load_tokenizer
from astrosage.errors import DataError
from astrosage.spec.prepare import PrepareSpec
from astrosage.spec.sources import Source
from tests.data import preparing

pytestmark = pytest.mark.api
SOURCE = Source(path="f")
THREE = {"workers": 3, "resourcesPerWorker": {"cpu": 1}}  # this process and two actors


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture
def context(tmp_path: Path, tiny_model: Path) -> StageContext:
    return preparing.context(tmp_path, tiny_model, "weights", run="three", **THREE)


def worker_of(context: StageContext) -> Worker:
    spec = context.stage.body
    assert isinstance(spec, PrepareSpec)
    index, _ = build_index(context.job, context.stage, spec.decontaminate)
    return Worker(spec, "prepare", load_tokenizer(context.model_path(spec.model)), index)


class Complete(RayCrew):
    """A crew that begins once all its actors work."""

    def lead(self, own: Worker) -> None:
        super().lead(own)
        until = time.monotonic() + 100
        while self.joined < self._count and time.monotonic() < until:
            list(self.map("examine", [Batch([], SOURCE, "s")], lambda b: b))
            time.sleep(0.2)
        assert self.joined == self._count


@contextmanager
def complete(context: StageContext, own: Worker, count: int = 2) -> Iterator[RayCrew]:
    with Complete(context, count, is_large=True) as made:
        made.lead(own)
        yield made


def texts(count: int, bad: int | None = None) -> list[Record]:
    return [
        Record(str(i), "f", i, text=preparing.STEM if i == bad else f"Star {i} shines on.")
        for i in range(count)
    ]


def test_batches_come_back_in_order_and_as_one_worker_makes_them(
    cluster: None, context: StageContext
) -> None:
    own = worker_of(context)
    batches = [Batch(texts(n), SOURCE, "s") for n in (1, 500, 0, 3, 40, 1, 1, 1, 200, 2)]
    with complete(context, own) as made:
        found = list(made.map("examine", enumerate(batches), lambda item: item[1]))
        assert [number for (number, _), _ in found] == list(range(len(batches)))
        one = Alone()
        one.lead(own)
        alone = one.map("examine", batches, lambda b: b)
        for (_, examined), (_, expected) in zip(found, alone, strict=True):
            assert examined.steps == expected.steps
            assert examined.cleaning == expected.cleaning
            assert [g.key for g in examined.good] == [g.key for g in expected.good]
        seen = [0]

        def endless() -> Iterator[Batch]:
            while True:
                seen[0] += 1
                yield batches[0]

        next(made.map("examine", endless(), lambda b: b))
        assert seen[0] <= crew._AHEAD * 2 + crew._OWN_AHEAD  # no more is read than is under way


def test_the_process_works_when_its_actors_have_enough_to_do(
    cluster: None, context: StageContext
) -> None:
    own = worker_of(context)
    mine: list[int] = []
    batches = [Batch(texts(400), SOURCE, str(n)) for n in range(60)]

    class Telling:
        def examine(self, batch: Batch) -> Any:
            mine.append(int(batch.field))
            return own.examine(batch)

    with complete(context, own) as made:
        made._own = Telling()  # type: ignore[assignment]
        found = list(made.map("examine", batches, lambda b: b))
    assert [batch.field for batch, _ in found] == [str(n) for n in range(60)]
    assert {examined.records for _, examined in found} == {400}
    assert mine[0] == crew._AHEAD * 2, "the first ones are the actors'"
    assert 3 < len(mine) < 60 - crew._AHEAD * 2


def test_a_worker_that_died_is_started_again(
    cluster: None, context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [Batch(texts(50), SOURCE, "s") for _ in range(30)]
    with complete(context, worker_of(context)) as made:
        made._own = None  # type: ignore[assignment]  # only actors have done what is seen
        monkeypatch.setattr(crew, "_AHEAD", len(batches))
        results = made.map("examine", batches, lambda b: b)
        next(results)
        gc.collect()  # nothing of what it was made with may be gone
        for actor in made._load:
            ray.kill(actor, no_restart=False)
        assert [found.records for _, found in results] == [50] * 29


def test_an_error_is_that_of_the_first_record_that_fails(
    cluster: None, context: StageContext
) -> None:
    data = context.job_data["spec"]["stages"][0]["prepare"]["decontaminate"]
    data["action"] = "fail"
    with complete(context, worker_of(context)) as made:
        chosen = [
            [Chosen(r, "train", 1, account(), b"") for r in texts(9, bad)] for bad in (None, 4, 2)
        ]
        results = made.map("encode", chosen, lambda b: b)
        next(results)
        with pytest.raises(DataError, match=r"line 4: holds evaluation question `q1`"):
            next(results)


def test_a_worker_that_was_sent_spells_out_control_tokens_as_its_sender_does(
    context: StageContext,
) -> None:
    own = worker_of(context)
    sent = pickle.loads(pickle.dumps(own))
    record = Record("1", "f", 1, text="A star ends.<|endoftext|><|im_start|>Another one begins.")
    batch = [Chosen(record, "train", 1, account(), b"")]
    expected, found = (
        [token for tokens in worker.encode(batch).documents for token in tokens.ids.tolist()]
        for worker in (own, sent)
    )
    assert found == expected
    end = document_end_id(load_tokenizer(context.model_path(context.job.spec.model)))
    assert found.count(end) == 1


def account() -> Any:
    from astrosage.data.account import SourceAccount

    return SourceAccount(SOURCE, False)


def test_an_error_of_the_process_itself_waits_for_its_turn(
    cluster: None, context: StageContext
) -> None:
    context.job_data["spec"]["stages"][0]["prepare"]["decontaminate"]["action"] = "fail"
    batches = [
        [Chosen(r, "train", 1, account(), b"") for r in texts(9, bad)]
        for bad in (*[None] * crew._AHEAD, 4)
    ]
    with complete(context, worker_of(context), 1) as made:
        results = made.map("encode", batches, lambda b: b)
        for _ in range(crew._AHEAD):
            assert len(next(results)[1].documents) == 9
        with pytest.raises(DataError, match=r"line 4: holds evaluation question `q1`"):
            next(results)


@pytest.mark.parametrize("variant", preparing.VARIANTS)
def test_any_number_of_workers_leaves_the_same_bytes(
    cluster: None,
    tmp_path: Path,
    tiny_model: Path,
    variant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    preparing.small(monkeypatch)
    monkeypatch.setattr("astrosage.data.checkpoints.SECONDS", 1e6)
    one = preparing.context(tmp_path, tiny_model, variant, run="one")
    run(one)
    three = preparing.context(tmp_path, tiny_model, variant, run="three", **THREE)
    monkeypatch.setattr(crew, "RayCrew", Complete)
    monkeypatch.setattr(crew, "LARGE_BYTES", 1)
    run(three)
    assert preparing.files(three) == preparing.files(one)


def test_a_small_corpus_asks_for_nobody(context: StageContext) -> None:
    run(context)
    assert not ray.is_initialized() or not ray.util.list_named_actors()
    one = preparing.context(
        Path(context.run_uri).parents[2], Path(context.job.spec.model), "weights", run="one"
    )
    assert isinstance(hire(one).__enter__(), Alone)


def test_each_actor_has_its_share_of_short_and_of_long_batches(context: StageContext) -> None:
    made = RayCrew(context, 2)
    made._actors = SimpleNamespace(present=lambda: ["a", "b"])  # type: ignore[assignment]
    methods = ("examine", "encode") * crew._AHEAD * 2
    given = Counter((method, made._free(method)) for method in methods)  # type: ignore[arg-type]
    assert set(given.values()) == {crew._AHEAD}
    assert made._free("examine") is None
