"""What a plan would change: fields with new values, and what they bring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from astrosage.plan import communication, fit, memory
from astrosage.plan.communication import Fabric
from astrosage.plan.setup import Setup
from astrosage.units import format_bytes

# A worker that is this full has nothing to give away.
_COMFORTABLE = 0.9
_MANY_WORKERS = 4096


@dataclass(frozen=True)
class Change:
    """One field.

    Attributes:
        field: Below the train stage or its cluster, as it is written in the run file.
        old: Its value now.
        new: The value proposed.
    """

    field: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Advice:
    """Changes that belong together.

    Attributes:
        changes: The fields.
        why: What they bring.
        needed: Whether the stage does not fit without.
    """

    changes: tuple[Change, ...]
    why: str
    needed: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Place:
    """Where a stage is in the run file.

    Attributes:
        train: Path of its train section.
        workers: Path of its number of workers, the fewest where it changes.
        length: Path of its data's sequence length.
    """

    train: str
    workers: str
    length: str


Step = tuple[Change, Setup]


def advise(setup: Setup, place: Place, limit: float | None, fabric: Fabric | None) -> list[Advice]:
    """What to change, most important first.

    Args:
        setup: The stage.
        place: Where its fields are.
        limit: Bytes that a worker may use; None if unknown.
        fabric: How workers reach one another; None if unknown.
    """
    if limit is not None and not fit.fits(setup, limit):
        found = list(_to_fit(setup, place, limit))
        return found or [_too_big(setup, limit)]
    return [*_to_speed_up(setup, place, limit), *_to_talk_less(setup, place, limit, fabric)]


def _to_fit(setup: Setup, place: Place, limit: float) -> Iterator[Advice]:
    """The cheapest remedies: every single one that is enough, else the first pair or triple."""
    for count in (1, 2, 3):
        enough = [
            chosen
            for chosen in combinations(range(len(_REMEDIES)), count)
            if _result(setup, place, chosen, limit) is not None
        ]
        for chosen in enough if count == 1 else enough[:1]:
            changes, changed = _result(setup, place, chosen, limit) or ((), setup)
            total = memory.peak(changed).total
            yield Advice(
                changes, f"{format_bytes(total)} of {format_bytes(limit)} a worker", needed=True
            )
        if enough:
            return


def _result(
    setup: Setup, place: Place, chosen: tuple[int, ...], limit: float
) -> tuple[tuple[Change, ...], Setup] | None:
    changes: list[Change] = []
    for index in chosen:
        step = _REMEDIES[index](setup, place, limit)
        if step is None:
            return None
        change, setup = step
        changes.append(change)
    return (tuple(changes), setup) if fit.fits(setup, limit) else None


def _too_big(setup: Setup, limit: float) -> Advice:
    total = format_bytes(memory.peak(setup).total)
    return Advice(
        (),
        f"{total} a worker, {format_bytes(limit)} there: no change of this stage makes it fit; "
        "use larger GPUs, or adapters (lora)",
        needed=True,
    )


def _smaller_micro_batch(setup: Setup, place: Place, limit: float) -> Step | None:
    usable = fit.largest_usable(setup, limit)
    smaller = usable if 0 < usable < setup.micro_batch else 1
    if setup.micro_batch == 1:
        return None
    change = Change(f"{place.train}.microBatchSize", setup.micro_batch, smaller)
    return change, replace(setup, micro_batch=smaller)


def _recompute(setup: Setup, place: Place, limit: float) -> Step | None:
    if setup.spec.activation_checkpointing:
        return None
    spec = setup.spec.model_copy(update={"activation_checkpointing": True})
    change = Change(f"{place.train}.activationCheckpointing", False, True)
    return change, replace(setup, spec=spec)


def _shard_more(setup: Setup, place: Place, limit: float) -> Step | None:
    if setup.workers == 1:
        return None
    for stage in range(setup.stage + 1, 4):
        changed = setup.with_stage(stage)
        if stage == 3 or fit.fits(changed, limit):
            return Change(f"{place.train}.zero.stage", setup.stage, stage), changed
    return None


def _more_workers(setup: Setup, place: Place, limit: float) -> Step | None:
    if not setup.stage:
        return None
    workers = setup.workers * 2
    while workers <= min(setup.spec.global_batch_size // setup.micro_batch, _MANY_WORKERS):
        changed = replace(setup, workers=workers)
        if setup.spec.global_batch_size % (workers * setup.micro_batch) == 0 and fit.fits(
            changed, limit
        ):
            return Change(place.workers, setup.workers, workers), changed
        workers *= 2
    return None


def _offload(setup: Setup, place: Place, limit: float) -> Step | None:
    zero = setup.spec.zero
    if not setup.cuda or not setup.stage or zero.offload_optimizer != "none":
        return None
    zero = zero.model_copy(update={"offload_optimizer": "cpu"})
    spec = setup.spec.model_copy(update={"zero": zero})
    return Change(f"{place.train}.zero.offloadOptimizer", "none", "cpu"), replace(setup, spec=spec)


def _shorter(setup: Setup, place: Place, limit: float) -> Step | None:
    length = setup.sequence_length // 2
    while length >= 512:
        changed = replace(setup, sequence_length=length)
        if fit.fits(changed, limit):
            return Change(place.length, setup.sequence_length, length), changed
        length //= 2
    return None


# From what costs least to what changes most.
_REMEDIES = (
    _smaller_micro_batch,
    _shard_more,
    _recompute,
    _more_workers,
    _offload,
    _shorter,
)


def _to_speed_up(setup: Setup, place: Place, limit: float | None) -> Iterator[Advice]:
    """What a stage that fits could do without, and what it has room for."""
    if limit is None:
        return
    room = limit * _COMFORTABLE
    yield from _without_recomputing(setup, place, room)
    yield from _without_offload(setup, place, room)
    yield from _fuller(setup, place, room)


def _without_recomputing(setup: Setup, place: Place, room: float) -> Iterator[Advice]:
    spec = setup.spec.model_copy(update={"activation_checkpointing": False})
    if setup.spec.activation_checkpointing and fit.fits(replace(setup, spec=spec), room):
        total = format_bytes(memory.peak(replace(setup, spec=spec)).total)
        yield Advice(
            (Change(f"{place.train}.activationCheckpointing", True, False),),
            f"fits without ({total}), and saves about a quarter of the arithmetic",
            needed=False,
        )


def _without_offload(setup: Setup, place: Place, room: float) -> Iterator[Advice]:
    zero = setup.spec.zero
    if zero.offload_optimizer == "none":
        return
    zero = zero.model_copy(update={"offload_optimizer": "none", "offload_parameters": "none"})
    changed = replace(setup, spec=setup.spec.model_copy(update={"zero": zero}))
    if fit.fits(changed, room):
        yield Advice(
            (
                Change(
                    f"{place.train}.zero.offloadOptimizer",
                    setup.spec.zero.offload_optimizer,
                    "none",
                ),
            ),
            f"fits without ({format_bytes(memory.peak(changed).total)}), and spares the way to "
            "the host's memory",
            needed=False,
        )


def _fuller(setup: Setup, place: Place, room: float) -> Iterator[Advice]:
    """A larger micro-batch: fewer gathers, fuller products."""
    if not setup.cuda or setup.accumulation == 1:
        return
    usable = fit.largest_usable(setup, room)
    if usable > setup.micro_batch:
        total = format_bytes(memory.peak(replace(setup, micro_batch=usable)).total)
        saved = "parameters are gathered less often" if setup.stage == 3 else "fuller products"
        yield Advice(
            (Change(f"{place.train}.microBatchSize", setup.micro_batch, usable),),
            f"fits ({total}): {saved}",
            needed=False,
        )


def _to_talk_less(
    setup: Setup, place: Place, limit: float | None, fabric: Fabric | None
) -> Iterator[Advice]:
    """Ways to send less, where workers are on several machines."""
    if fabric is None or setup.workers == 1:
        return
    now = communication.seconds(setup, fabric)
    for change, changed in _quieter(setup, place, fabric):
        then = communication.seconds(changed, fabric)
        if (limit is None or fit.fits(changed, limit * _COMFORTABLE)) and then < 0.9 * now:
            yield Advice(
                (change,),
                f"communication {now:.2g} s a step becomes {then:.2g} s "
                f"({format_bytes(memory.peak(changed).total)} a worker)",
                needed=False,
            )


def _quieter(setup: Setup, place: Place, fabric: Fabric) -> Iterator[Step]:
    zero = setup.spec.zero
    if setup.stage < 3:
        return
    yield Change(f"{place.train}.zero.stage", 3, 2), setup.with_stage(2)
    several = setup.workers > fabric.per_node > 1 and setup.workers % fabric.per_node == 0
    if several and zero.hierarchical_partition is None:
        near = zero.model_copy(update={"hierarchical_partition": fabric.per_node})
        yield (
            Change(f"{place.train}.zero.hierarchicalPartition", None, fabric.per_node),
            replace(setup, spec=setup.spec.model_copy(update={"zero": near})),
        )
