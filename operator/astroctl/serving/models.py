"""From what a person names to a model directory and the name it is served under."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astroctl.runs.choose import runs_of
from astroctl.runs.find import find
from astroctl.runs.registry import Record
from astroctl.serving.card import card_of
from astrosage.errors import NotFoundError, SpecError
from astrosage.models import resolve
from astrosage.runs.directory import RunDirectory
from astrosage.spec import graph
from astrosage.spec.base import did_you_mean
from astrosage.spec.job import AstroJob


@dataclass(frozen=True)
class Model:
    """A model that can be served or scored.

    Attributes:
        reference: Directory, URI, alias or hub id.
        name: What it is called.
        job: The run that made it, if one did.
        directory: The directory of the run that made it.
        stage: The stage that made it.
    """

    reference: str
    name: str
    job: AstroJob | None = None
    directory: RunDirectory | None = None
    stage: str = ""

    @property
    def card(self) -> dict[str, Any]:
        """What the run tells of it, for the server's page; read from the run directory."""
        if self.job is None or self.directory is None:
            return {}
        return card_of(self.directory, self.job, self.stage)

    def place(self, target: Any) -> dict[str, Any]:
        """Storage and cluster of the run that made it, where its pods are needed to read it."""
        if self.job is None or getattr(target, "name", "") != "kubernetes":
            return {}
        cluster = self.job.spec.cluster.to_yaml_dict()
        cluster.pop("pricePerHour", None)  # it was that of another number of workers
        return {"storage": self.job.spec.storage, "cluster": cluster}


def find_model(
    model: str,
    namespace: str | None = None,
    storage: str | None = None,
    stage: str | None = None,
    target: Any = None,
) -> Model:
    """A model reference that a stage or server understands, and a name for it.

    Args:
        model: A directory, a URI, an alias, a hub id, or a run's name.
        namespace: Of the run.
        storage: Where the run is, if not in the registry.
        stage: Which of the run's models; default: its last finished one.
        target: Where it is to be used; on Kubernetes, runs are looked for there.

    Raises:
        NotFoundError, SpecError: If it is none of these, or the run has no finished model.
    """
    if "://" in model:
        name = model.rstrip("/").split("/")
        return Model(model, name[-2] if name[-1] == "model" else name[-1])
    if resolve.is_path(model):
        folder = Path(model).expanduser().absolute()
        resolve.check_directory(folder, "MODEL")
        return Model(str(folder), folder.name if folder.name != "model" else folder.parent.name)
    if model in resolve.ALIASES:
        return Model(model, model)
    try:
        on_cluster = storage is None and getattr(target, "name", "") == "kubernetes"
        record = target.find(model) if on_cluster else find(model, namespace, storage)
    except NotFoundError:
        if model.count("/") == 1 and storage is None:
            return Model(model, model.rpartition("/")[2])  # a hub id
        raise
    return model_of_run(record, stage)


def model_of_run(record: Record, stage: str | None) -> Model:
    """A run's last finished model, or a stage's.

    Raises:
        NotFoundError: If there is none.
        SpecError: If the run has no such stage, or the stage makes no model.
    """
    directory = runs_of(record).directory(record)
    job = directory.job()
    makers = [s for s in graph.order(job) if s.kind in graph.MODEL_KINDS]
    names = [s.name for s in makers]
    if stage is not None:
        if stage not in names:
            raise SpecError(
                f"--stage: the run `{record.name}` has no model of a stage `{stage}`",
                did_you_mean(stage, names),
            )
        makers = [s for s in makers if s.name == stage]
    for made in reversed(makers):
        if directory.finished(made) is not None:
            path = directory.stage(made.name).storage.path("model")
            return Model(path, record.name, job, directory, made.name)
    raise NotFoundError(
        f"the run `{record.name}` has no finished model"
        + (f" of stage `{stage}`" if stage else ""),
        f"its state: astroctl status {record.name}",
    )
