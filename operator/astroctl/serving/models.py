"""From what a person names to a model directory and the name it is served under."""

from __future__ import annotations

from pathlib import Path

from astroctl.runs.find import find
from astroctl.runs.registry import Record
from astrosage.errors import NotFoundError, SpecError
from astrosage.models import resolve
from astrosage.runs.directory import RunDirectory
from astrosage.spec import graph
from astrosage.spec.base import did_you_mean


def find_model(
    model: str, namespace: str = "default", storage: str | None = None, stage: str | None = None
) -> tuple[str, str]:
    """A model reference that a stage or server understands, and a name for it.

    Args:
        model: A directory, an alias, a hub id, or a run's name.
        namespace: Of the run.
        storage: Where the run is, if not in the registry.
        stage: Which of the run's models; default: its last finished one.

    Raises:
        NotFoundError, SpecError: If it is none of these, or the run has no finished model.
    """
    if resolve.is_path(model):
        folder = Path(model).expanduser().absolute()
        resolve.check_directory(folder, "MODEL")
        return str(folder), folder.name if folder.name != "model" else folder.parent.name
    if model in resolve.ALIASES:
        return model, model
    try:
        record = find(model, namespace, storage)
    except NotFoundError:
        if model.count("/") == 1 and storage is None:
            return model, model.rpartition("/")[2]  # a hub id
        raise
    return model_of_run(record, stage), record.name


def model_of_run(record: Record, stage: str | None) -> str:
    """The directory of a run's last finished model, or of a stage's.

    Raises:
        NotFoundError: If there is none.
        SpecError: If the run has no such stage, or the stage makes no model.
    """
    directory = RunDirectory(record.uri)
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
            return directory.stage(made.name).storage.path("model")
    raise NotFoundError(
        f"the run `{record.name}` has no finished model"
        + (f" of stage `{stage}`" if stage else ""),
        f"its state: astroctl status {record.name}",
    )
