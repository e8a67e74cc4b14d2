"""Where every artefact comes from: inputs with hashes and licences, versions, hardware, time.

A stage's key is the hash of its spec and of its inputs' content. A finished stage whose key is
unchanged is not run again.
"""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from astrosage import __version__
from astrosage.errors import StorageError
from astrosage.runs import manifest
from astrosage.runs.directory import RunDirectory
from astrosage.spec import graph
from astrosage.spec.job import AstroJob
from astrosage.spec.stages import BenchSpec, GenerateSpec, PrepareSpec, Source, Stage

_LIBRARIES = ("torch", "ray", "deepspeed", "transformers", "tokenizers", "numpy", "pydantic")


def inputs_of(job: AstroJob, stage: Stage, run: RunDirectory) -> list[dict[str, Any]]:
    """Everything that a stage reads, with content hashes.

    Stages before it must be finished; models must be resolvable.
    """
    found = [_model_or_stage(job, ref, run) for ref in graph.references(job, stage)]
    body = stage.body
    if isinstance(body, PrepareSpec):
        found += _sources("sources", _given(job, body.sources))
        found += _sources("validation", _given(job, body.validation.sources))
        earlier = [p for p in body.deduplication.against if not graph.is_stage_name(p)]
        found += _files("deduplicate", earlier)
        if body.decontaminate.enabled:
            found += _files("decontaminate", decontamination_files(job, body))
    elif isinstance(body, GenerateSpec):
        found += _sources("sources", body.sources)
        if body.kind == "chat" and body.decontaminate:
            found += _files("decontaminate", judged_by(job))
    elif isinstance(body, BenchSpec):
        shots = [body.shots_from] if body.shots_from else []
        found += _files("questions", _not_made(job, [q.path for q in body.questions]))
        found += _files("shots", _not_made(job, shots))
        found += _sources("heldout", body.heldout)
    return found


def decontamination_files(job: AstroJob, prepare: PrepareSpec) -> list[str]:
    """Question files that training data is kept apart from: those named, and all of the run's.

    Questions that a stage of the run makes are not among them; they are inputs as a stage.
    """
    return _not_made(job, list(dict.fromkeys([*prepare.decontaminate.against, *judged_by(job)])))


def judged_by(job: AstroJob) -> list[str]:
    """Question files of the run's bench stages that no stage of the run makes."""
    benches = [s.bench for s in job.spec.stages if s.bench is not None]
    found = dict.fromkeys(q.path for b in benches for q in b.questions)
    return _not_made(job, list(found))


def _not_made(job: AstroJob, paths: list[str]) -> list[str]:
    return [path for path in paths if not graph.makes(job, path)]


def _given(job: AstroJob, sources: Sequence[Source]) -> list[Source]:
    return [source for source in sources if not graph.makes(job, source.path)]


def _model_or_stage(job: AstroJob, ref: graph.Reference, run: RunDirectory) -> dict[str, Any]:
    if ref.value in {s.name for s in job.spec.stages}:
        made = run.finished(job.stage(ref.value))
        return {
            "name": ref.field,
            "kind": "stage",
            "stage": ref.value,
            "digest": manifest.content_digest(made) if made else None,
        }
    return {"name": ref.field, "kind": "model", "reference": ref.value, **model_identity(ref.value)}


@lru_cache
def model_identity(reference: str) -> Mapping[str, Any]:
    """Digest of a model's files and its licence if known.

    Several stages of a run start from one model, whose files are read once.
    """
    from astrosage.models.fetch import ensure_local

    folder = ensure_local(reference)
    try:
        made = manifest.verify(folder)
    except (StorageError, KeyError, ValueError):  # no manifest, or not one of ours: hash its files
        weights = sorted([*folder.glob("*.safetensors"), folder / "config.json"])
        return {"digest": manifest.digest([[f.name, manifest.sha256_file(f)] for f in weights])}
    return {"digest": manifest.content_digest(made), "license": made.get("license")}


def _sources(name: str, sources: Sequence[Source]) -> list[dict[str, Any]]:
    from astrosage.data.sources import digest

    return [
        {"name": name, "kind": "file", "path": path, "digest": sha, "license": source.license}
        for source in sources
        for path, sha in digest(source)
    ]


def _files(name: str, paths: list[str]) -> list[dict[str, Any]]:
    from astrosage.data.sources import digests

    return [
        {"name": name, "kind": "file", "path": file, "digest": sha}
        for path in paths
        for file, sha in digests(path, name)
    ]


def stage_key(stage: Stage, inputs: list[dict[str, Any]]) -> str:
    """Hash of what a stage's result depends on: its spec and its inputs' content.

    Names and places do not count, nor does how a training is carried out.
    """
    return manifest.digest(
        {
            "formatVersion": manifest.FORMAT_VERSION,
            "kind": stage.kind,
            "spec": stage.identity(),
            "inputs": [[i["name"], i["digest"]] for i in inputs],
        }
    )


def versions() -> dict[str, str]:
    """Versions of Python, this project and the libraries that shape results."""
    found = {"python": platform.python_version(), "astrosage": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """The machine that the driver runs on."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memoryBytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def peak_memory_bytes() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")


def record(run: RunDirectory, artefact: dict[str, Any]) -> None:
    """Put an artefact's entry into lineage.json, in place of an earlier one of its stage."""
    lineage = run.lineage()
    others = [a for a in lineage["artefacts"] if a["stage"] != artefact["stage"]]
    lineage["artefacts"] = [*others, artefact]
    run.storage.write_json("lineage.json", lineage)
