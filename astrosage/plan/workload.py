"""How much a train stage has to learn: from its prepared data, or from what is said or guessed."""

from __future__ import annotations

from dataclasses import dataclass

from astrosage.errors import AstroError, NotFoundError, SpecError
from astrosage.plan.setup import Setup
from astrosage.runs.directory import RunDirectory
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.local import in_pods
from astrosage.spec.stages import PrepareSpec, Stage
from astrosage.spec.train import TrainSpec

# English prose and a vocabulary of 50k to 130k; LaTeX and numbers have fewer.
BYTES_PER_TOKEN = 4.2
# What gzip makes of prose.
GZIP_RATIO = 3.0
_SUFFIXES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclass(frozen=True)
class Rows:
    """Packed data, or what it is taken to be.

    Attributes:
        sequences: Rows; None if nothing is known of the data.
        fill: Share of a row that is tokens and not padding.
        learnt: Share of the tokens that are learnt.
        document: Mean length of the documents in a row, in tokens.
        source: Where this is from, for people.
        estimated: Whether it is a guess.
    """

    sequences: float | None
    fill: float
    learnt: float
    document: float
    source: str
    estimated: bool


@dataclass(frozen=True)
class Work:
    """A stage's optimizer steps.

    Attributes:
        steps: How many; None if that cannot be told.
        step_tokens: Tokens of a step.
        step_flops: Operations of a step, as MFU counts them.
        rows: The data.
    """

    steps: int | None
    step_tokens: float
    step_flops: float
    rows: Rows


def parse_count(text: str, field: str) -> float:
    """A number of tokens such as ``10B``, ``300M`` or ``1.5e9``.

    Raises:
        SpecError: If it is none.
    """
    body = text.strip().upper()
    suffix = body[-1:] if body[-1:] in _SUFFIXES else ""
    try:
        count = float(body[: len(body) - len(suffix)]) * _SUFFIXES[suffix]
    except ValueError:
        count = 0.0
    if not 0 < count < 1e18:
        raise SpecError(
            f"{field}: `{text}` is no number of tokens", "such as 300M, 10B or 1.5e9; above 0"
        )
    return count


def work(setup: Setup, rows: Rows) -> Work:
    """What a stage's steps are, given its data."""
    spec = setup.spec
    tokens = spec.global_batch_size * setup.sequence_length * rows.fill
    flops = setup.shape.flops(tokens, tokens * rows.learnt, tokens * rows.document)
    return Work(_steps(spec, rows.sequences), tokens, flops, rows)


def _steps(spec: TrainSpec, sequences: float | None) -> int | None:
    if spec.max_steps is not None:
        return spec.max_steps
    if sequences is None:
        return None
    return max(1, round((spec.epochs or 1.0) * sequences / spec.global_batch_size))


def rows_of(job: AstroJob, stage: Stage, given: float | None, *, remote: bool) -> Rows:
    """The rows that a train stage learns from.

    Prepared shards of a run of this name count first, unless a number of tokens is given.

    Args:
        job: With absolute paths.
        stage: The train stage.
        given: Tokens of its data, if said.
        remote: Whether stores may be asked.
    """
    assert stage.train is not None
    prepare = job.stage(stage.train.data)
    assert isinstance(prepare.body, PrepareSpec)
    length = prepare.body.pack.sequence_length
    if given is not None:
        return _full(given / length, length, f"--tokens ({given:,.0f})", estimated=True)
    found = _prepared(job, prepare, length, remote)
    if found is not None:
        return found
    if stage.train.max_steps is not None:
        return _full(None, length, "maxSteps; rows are taken to be full", estimated=True)
    size = _bytes(job, prepare, remote)
    if size is None:
        return _full(None, length, "unknown: give --tokens", estimated=True)
    tokens = size / BYTES_PER_TOKEN
    why = f"{size / 1e9:,.3g} GB of sources at {BYTES_PER_TOKEN} bytes a token"
    return _full(tokens / length, length, why, estimated=True)


def _full(sequences: float | None, length: int, source: str, *, estimated: bool) -> Rows:
    """Rows of one document each: as much arithmetic as there can be."""
    return Rows(sequences, 1.0, 1.0, float(length), source, estimated)


def _prepared(job: AstroJob, prepare: Stage, length: int, remote: bool) -> Rows | None:
    if job.spec.storage.startswith("pvc://") or not (remote or _is_local(job.spec.storage)):
        return None
    try:
        manifest = RunDirectory.of(job).finished(prepare)
    except AstroError:
        return None  # a plan does without
    if manifest is None or manifest.get("sequenceLength") != length:
        return None
    train = manifest["splits"]["train"]
    sequences, tokens = train["sequences"], train["tokens"]
    if not sequences or not tokens:
        return None
    return Rows(
        sequences=float(sequences),
        fill=tokens / (sequences * length),
        learnt=train["learnedTokens"] / tokens,
        document=min(float(length), tokens / max(1, train["documents"])),
        source=f"the prepared shards of run {job.key}",
        estimated=False,
    )


def _bytes(job: AstroJob, prepare: Stage, remote: bool) -> float | None:
    """Bytes of a prepare stage's sources, by weight; None if one of them cannot be seen."""
    assert isinstance(prepare.body, PrepareSpec)
    total = 0.0
    for index, source in enumerate(prepare.body.sources):
        if in_pods(source.path) or not (remote or _is_local(source.path)):
            return None
        field = f"{graph.path_of(job, prepare)}.prepare.sources[{index}].path"
        try:
            total += source.weight * _size(source.path, field)
        except (AstroError, OSError):
            return None
    return total


def _size(path: str, field: str) -> float:
    from astrosage.data.sources import expand

    total = 0.0
    for file in expand(path, field):
        size = float(file.stat().st_size) if hasattr(file, "stat") else _remote_size(str(file))
        total += size * (GZIP_RATIO if str(file).endswith(".gz") else 1.0)
    return total


def _remote_size(uri: str) -> float:
    import fsspec

    try:
        fs, inner = fsspec.core.url_to_fs(uri)
        return float(fs.size(inner) or 0)
    except Exception as error:  # each store's driver raises a family of its own
        raise NotFoundError(f"{uri} cannot be read: {error}") from error


def _is_local(path: str) -> bool:
    return "://" not in path or path.startswith("file://")
