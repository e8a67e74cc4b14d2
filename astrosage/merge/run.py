"""The merge stage: stream over the tensors of all models, write one model."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from torch import Tensor

from astrosage.context import StageContext
from astrosage.merge import methods
from astrosage.merge.tensors import ModelTensors, check_alike
from astrosage.models.writing import ShardWriter, copy_companions
from astrosage.runs import manifest
from astrosage.spec.stages import MergeSpec


def run(context: StageContext) -> dict[str, Any]:
    """Merge and write the stage's ``model/``; memory holds one tensor of each model at a time.

    Returns:
        Facts for the lineage.

    Raises:
        DataError, NotFoundError: Naming the model and tensor that do not fit.
    """
    spec = context.stage.merge
    assert spec is not None
    metrics = context.metrics()
    with ExitStack() as stack:
        donors = [
            stack.enter_context(ModelTensors(context.model_path(d.model), d.model))
            for d in spec.models
        ]
        base = None
        if spec.base is not None:
            base = stack.enter_context(ModelTensors(context.model_path(spec.base), spec.base))
        check_alike([*([base] if base else []), *donors])
        names = donors[0].names()
        with context.directory.storage.writing("model") as folder:
            writer = ShardWriter(folder)
            for step, name in enumerate(names, start=1):
                tensors = [d.load(name) for d in donors]
                writer.add(name, merged(spec, name, tensors, base.load(name) if base else None))
                metrics.log(step, len(names), "tensors")
            writer.finish()
            copy_companions(context.model_path(spec.base or spec.models[0].model), folder)
            manifest.write(folder, key=context.key, method=spec.method)
    metrics.close()
    return {"tensors": len(names)}


def merged(spec: MergeSpec, name: str, tensors: list[Tensor], base: Tensor | None) -> Tensor:
    """One merged tensor, fp32."""
    weights = [d.weight for d in spec.models]
    if base is None:
        return methods.linear(tensors, weights, normalize=spec.normalize)
    if spec.method == "slerp":
        return methods.slerp(base, tensors[0], weights[0])
    deltas = [t - base for t in tensors]
    densities = [d.density for d in spec.models]
    if spec.method == "ties":
        deltas = [methods.trim(d, k) for d, k in zip(deltas, densities, strict=True)]
    else:
        deltas = [
            methods.drop_and_rescale(d, k, spec.seed, f"{i}:{name}")
            for i, (d, k) in enumerate(zip(deltas, densities, strict=True))
        ]
    return base + methods.elect_and_merge(deltas, weights, normalize=spec.normalize)
