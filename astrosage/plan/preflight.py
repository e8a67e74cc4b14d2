"""Checks before anything starts: everything that can be seen to be wrong without running it.

Pure and light: it reads files and configurations, starts nothing, and imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from astrosage.errors import CapacityError, NotFoundError, SpecError, StorageError
from astrosage.models import resolve
from astrosage.plan import training
from astrosage.plan.machine import Machine
from astrosage.runs.storage import Storage
from astrosage.spec import graph
from astrosage.spec.bench import Layout
from astrosage.spec.cluster import Cluster, Elastic
from astrosage.spec.job import AstroJob
from astrosage.spec.local import in_pods
from astrosage.spec.stages import (
    BenchSpec,
    GenerateSpec,
    MergeSpec,
    PrepareSpec,
    Source,
    Stage,
    TrainSpec,
)
from astrosage.train.tracking import check as tracking
from astrosage.units import parse_bytes


def check(
    job: AstroJob,
    stages: Sequence[Stage],
    *,
    machine: Machine | None = None,
    storage: bool = True,
    remote: bool = True,
) -> list[str]:
    """Refuse a job that cannot end well, cheapest checks first.

    Args:
        job: With absolute paths.
        stages: Those that will run.
        machine: Where they run, if it is this machine; None leaves resources unchecked.
        storage: Whether this machine writes to the storage itself, and should be seen to.
        remote: Whether data at URIs is read too; a cluster may reach what this machine cannot, and
            nobody wants a corpus fetched twice.

    Returns:
        Warnings, for people.

    Raises:
        AstroError: The first thing that is wrong, naming its field and what to do.
    """
    for stage in stages:
        check_batches(job, stage)
        _check_objective(job, stage)
        training.check(job, stage, _config_of(job, stage), machine)
    if machine is not None:
        for field, cluster in _clusters(job, stages):
            _check_resources(field, cluster, machine)
        for stage in stages:
            if stage.train is not None:
                field = f"{graph.path_of(job, stage)}.train.tracking"
                tracking.check(stage.train.tracking, field)
    for field, reference in graph.external_models(job, stages):
        resolve.check(reference, field)
    for stage in stages:
        _check_length(job, stage)
    _check_inputs(job, stages, remote)
    if storage:
        check_storage(job.spec.storage)
    return list(_warnings(job, stages, machine))


def check_storage(uri: str) -> None:
    """Refuse storage that cannot be written; a folder that trying made is removed again.

    Raises:
        StorageError: Saying what stands in the way.
    """
    storage = Storage(uri)
    folder = storage.local
    made = [p for p in (folder, *folder.parents) if not p.exists()] if folder else []
    try:
        storage.check_writable()
    except NotFoundError as error:  # a folder that cannot be made, such as below /proc
        raise StorageError(
            f"spec.storage: {uri} cannot be written: {error.message}", "choose another storage"
        ) from None
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # another run may have put something there
                path.rmdir()


def check_batches(job: AstroJob, stage: Stage) -> None:
    """Refuse a global batch that the workers cannot share out.

    Raises:
        SpecError: Naming the nearest that they can.
    """
    train = stage.train
    if train is None:
        return
    workers = job.cluster_of(stage).workers
    if isinstance(workers, Elastic):
        return  # no size divides by every number of workers; then some compute a batch less
    micro, size = train.micro_batch_size or 1, train.global_batch_size
    divisor = workers * micro
    if size % divisor:
        what = f"{workers} workers" + (f" x microBatchSize {micro}" if micro > 1 else "")
        raise SpecError(
            f"{graph.path_of(job, stage)}.train.globalBatchSize: {size} is not divisible by "
            f"{what}" + (f" = {divisor}" if micro > 1 else ""),
            f"nearest valid values: {_nearest_multiples(size, divisor)}",
        )


def _nearest_multiples(value: int, divisor: int) -> str:
    below = value // divisor * divisor
    return f"{below} or {below + divisor}" if below else str(divisor)


def _check_objective(job: AstroJob, stage: Stage) -> None:
    train = stage.train
    if train is None or train.objective != "sft":
        return
    prepare = job.stage(train.data).prepare
    if prepare is not None and prepare.format != "chat":
        raise SpecError(
            f"{graph.path_of(job, stage)}.train.objective: sft learns from assistant tokens, but "
            f"stage `{train.data}` prepares format: text",
            "give that stage `format: chat`, or train with `objective: cpt`",
        )


def _clusters(job: AstroJob, stages: Iterable[Stage]) -> Iterator[tuple[str, Cluster]]:
    """``(field path, cluster)`` of every cluster that these stages want."""
    if any(stage.cluster is None for stage in stages):
        yield "spec.cluster", job.spec.cluster
    for stage in stages:
        if stage.cluster is not None:
            yield f"{graph.path_of(job, stage)}.cluster", stage.cluster


def _check_resources(field: str, cluster: Cluster, machine: Machine) -> None:
    workers = cluster.workers
    need = workers.min if isinstance(workers, Elastic) else workers
    each = cluster.resources_per_worker
    for name, amount, has in (("cpu", each.cpu, machine.cpus), ("gpu", each.gpu, machine.gpus)):
        if need * amount > has:
            fits = int(has // amount)
            raise CapacityError(
                f"{field}.workers: {need} workers x {amount:g} {name} = {need * amount:g} "
                f"{name}, this machine has {has}",
                f"at most {fits} such workers fit: --set {field}.workers={fits}"
                if fits
                else f"lower {field}.resourcesPerWorker.{name}, or use another target",
            )
    memory = parse_bytes(each.memory) if each.memory else 0
    if need * memory > machine.memory:
        raise CapacityError(
            f"{field}.resourcesPerWorker.memory: {need} workers x {each.memory} exceed this "
            f"machine's {machine.memory / 2**30:.1f}Gi",
            "lower it or the number of workers",
        )


def base_of(job: AstroJob, reference: str | None) -> str:
    """The model outside the run that a reference comes from, through the stages between."""
    value = reference or job.spec.model
    names = {s.name for s in job.spec.stages}
    while value in names:
        body = job.stage(value).body
        if isinstance(body, MergeSpec):
            value = body.base or body.models[0].model
        else:
            value = getattr(body, "model", None) or job.spec.model
    return value


def _config_of(job: AstroJob, stage: Stage) -> dict[str, Any] | None:
    """The configuration of the model that a stage trains, if it can be read from here."""
    return resolve.read_config(base_of(job, stage.train.model)) if stage.train else None


def _check_length(job: AstroJob, stage: Stage) -> None:
    if isinstance(stage.body, PrepareSpec):
        prepare, users = stage, [(stage.body.model, "tokenized")]
    elif isinstance(stage.body, TrainSpec):
        prepare, users = job.stage(stage.body.data), [(stage.body.model, "trained")]
    else:
        return
    assert isinstance(prepare.body, PrepareSpec)
    length = prepare.body.pack.sequence_length
    for reference, what in users:
        model = base_of(job, reference)
        config = resolve.read_config(model) or {}
        positions = config.get("max_position_embeddings")
        if positions and length > positions:
            raise SpecError(
                f"{graph.path_of(job, prepare)}.prepare.pack.sequenceLength: {length} is over the "
                f"{positions} positions of model `{model}`, which is {what} with it",
                f"at most {positions}: --set spec.stages.{prepare.name}"
                f".prepare.pack.sequenceLength={positions}",
            )


def _check_inputs(job: AstroJob, stages: Iterable[Stage], remote: bool) -> None:
    from astrosage.data.licenses import check_licenses
    from astrosage.data.sources import check_source

    for stage in stages:
        if isinstance(stage.body, PrepareSpec):
            check_licenses(stage.body, f"{graph.path_of(job, stage)}.prepare")
    for field, source, format_ in _sources(job, stages):
        if _can_read(source.path, remote) and not graph.makes(job, source.path):
            check_source(source, format_, field)
    _check_earlier(job, stages, remote)
    seen: set[str] = set()
    for field, path, layout in _question_files(job, stages):
        if path not in seen and _can_read(path, remote) and not graph.makes(job, path):
            from astrosage.bench.questions import load

            load(path, field, layout)
            seen.add(path)


def _check_earlier(job: AstroJob, stages: Iterable[Stage], remote: bool) -> None:
    """Refuse earlier data that holds no signatures to compare with."""
    from astrosage.data import signature_file

    for stage in stages:
        if not isinstance(stage.body, PrepareSpec):
            continue
        options = stage.body.deduplication
        for i, path in enumerate(options.against):
            field = f"{graph.path_of(job, stage)}.prepare.deduplicate.against[{i}]"
            if graph.makes(job, path):
                other = job.stage(path).body
                assert isinstance(other, PrepareSpec)  # references are checked as they are read
                signature_file.check_stages(path, other.deduplication.near, options.near, field)
            elif _can_read(path, remote):
                signature_file.of_run(path, options.near, field)


def _can_read(path: str, remote: bool) -> bool:
    """Whether data is to be read from here."""
    if in_pods(path):
        return False
    return remote or "://" not in path or path.startswith("file://")


def _sources(
    job: AstroJob, stages: Iterable[Stage]
) -> Iterator[tuple[str, Source, Literal["text", "chat"]]]:
    for stage in stages:
        where, body = graph.path_of(job, stage), stage.body
        if isinstance(body, PrepareSpec):
            for i, source in enumerate(body.sources):
                yield f"{where}.prepare.sources[{i}]", source, body.format
            for i, source in enumerate(body.validation.sources):
                yield f"{where}.prepare.validation.sources[{i}]", source, body.format
        elif isinstance(body, GenerateSpec):
            for i, source in enumerate(body.sources):
                yield f"{where}.generate.sources[{i}]", source, "text"
        elif isinstance(body, BenchSpec):
            for i, source in enumerate(body.heldout):
                yield f"{where}.bench.heldout[{i}]", source, "text"


def _question_files(
    job: AstroJob, stages: Iterable[Stage]
) -> Iterator[tuple[str, str, Layout | None]]:
    """Question files of the stages, and, where data is prepared, those it is cleaned against."""
    chosen = list(stages)
    prepares = any(s.prepare and s.prepare.decontaminate.enabled for s in chosen)
    for stage in job.spec.stages if prepares else chosen:
        where, body = graph.path_of(job, stage), stage.body
        if isinstance(body, BenchSpec):
            for i, item in enumerate(body.questions):
                yield f"{where}.bench.questions[{i}].path", item.path, item.layout
            if body.shots_from:
                yield f"{where}.bench.shotsFrom", body.shots_from, None
        elif isinstance(body, PrepareSpec) and body.decontaminate.enabled:
            for i, path in enumerate(body.decontaminate.against):
                yield f"{where}.prepare.decontaminate.against[{i}]", path, None


def _warnings(job: AstroJob, stages: Sequence[Stage], machine: Machine | None) -> Iterator[str]:
    for stage in stages:
        if stage.prepare and not stage.prepare.decontaminate.enabled:
            yield (
                f"{graph.path_of(job, stage)}.prepare.decontaminate is off: a score on questions "
                "that were trained on says nothing"
            )
        if stage.generate:
            yield from _generating(f"{graph.path_of(job, stage)}.generate", stage.generate)
        for name in dict.fromkeys(e.api_key_env for e in stage.endpoints):
            if machine is not None and name and not os.environ.get(name, "").strip():
                yield (
                    f"{graph.path_of(job, stage)}: `apiKeyEnv` names {name}, which is not set in "
                    "this shell; export it, or the stage fails"
                )
    for field, cluster in _clusters(job, stages):
        if machine is not None and isinstance(cluster.workers, Elastic):
            fits = int(machine.cpus // cluster.resources_per_worker.cpu)
            if cluster.max_workers > fits:
                yield f"{field}.workers.max: {cluster.max_workers}, but this machine fits {fits}"


def _generating(field: str, spec: GenerateSpec) -> Iterator[str]:
    """What to know of a generate stage before money is spent."""
    writer, grader = spec.writer, spec.grader
    if grader is None:
        yield f"{field}.grader is not given: nobody judges what is written, only automatic checks"
    elif (grader.url, grader.model) == (writer.url, writer.model):
        yield f"{field}.grader: the writer grades itself; another model sees more of its mistakes"
    if spec.budget is None:
        yield f"{field}.budget is not given: the stage asks until all passages are done"
