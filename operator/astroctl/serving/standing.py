"""How an endpoint stands: its model, the options it was served with, and what it served before.

That is what a promotion changes and a rollback goes back to. On Kubernetes it is kept in an
annotation of the RayService, so that everybody who may change the endpoint sees it; for a Ray
cluster with what else this machine knows of the endpoint.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from astroctl.kube.resources import RAYSERVICE
from astroctl.serving.models import Model
from astroctl.serving.place import Place, Wanted, place_of
from astroctl.serving.served import Served, all_served, remember
from astrosage.errors import NotFoundError

_ANNOTATION = "astrosage.io/standing"


@dataclass(frozen=True)
class Version:
    """A model that was served.

    Attributes:
        model: Its reference.
        run: The run that made it; empty if none did.
    """

    model: str
    run: str = ""

    @classmethod
    def of(cls, model: Model) -> Version:
        """The version that a model is."""
        return cls(model.reference, model.job.metadata.name if model.job else "")

    def find(self, name: str, namespace: str | None, target: Any) -> Model:
        """The model, with the run that made it where that is still known."""
        from astroctl.serving.models import find_model

        if not self.run:
            return Model(self.model, name)
        try:
            made = find_model(self.run, namespace, target=target)
        except NotFoundError:
            return Model(self.model, name)
        if made.reference == self.model:
            return dataclasses.replace(made, name=name)
        return Model(self.model, name, made.job)


@dataclass(frozen=True)
class Standing:
    """An endpoint's version, the one before, and its options."""

    version: Version
    wanted: Wanted
    previous: Version | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


def deploy(target: Any, model: Model, name: str, wanted: Wanted) -> Served:
    """Serve a model and remember how; the version before stays known."""
    place: Place = place_of(target)
    before = recall(target, name)
    served = place.deploy(model, name, wanted)
    version = Version.of(model)
    previous = None
    if before is not None:
        previous = before.previous if before.version == version else before.version
    _remember(target, served, Standing(version, wanted, previous))
    return served


def anew(wanted: Wanted, model: Model) -> Wanted:
    """The options of an endpoint for another model, with that model's card."""
    limits = {name: value for name, value in wanted.limits.items() if name != "card"}
    if card := model.card:
        limits["card"] = card
    return dataclasses.replace(wanted, limits=limits)


def recall(target: Any, name: str) -> Standing | None:
    """How an endpoint stands; None if it is not known, or was served by an older release."""
    if target.name == "kubernetes":
        from astroctl.serving.on_kubernetes import KubernetesPlace

        place = KubernetesPlace(target)
        try:
            found = target.kube.find(RAYSERVICE, place.endpoint(name), target.namespace)
        except NotFoundError:
            return None
        notes = (found or {}).get("metadata", {}).get("annotations") or {}
        return _parse(json.loads(notes[_ANNOTATION])) if _ANNOTATION in notes else None
    served = all_served().get(name)
    if served is None or not served.standing or served.target != target.name:
        return None
    # The local cluster has another address each time it starts.
    if target.name != "local" and served.address != target.address:
        return None
    return _parse(served.standing)


def required(target: Any, name: str) -> Standing:
    """As :func:`recall`.

    Raises:
        NotFoundError: If it is not known.
    """
    found = recall(target, name)
    if found is None:
        raise NotFoundError(
            f"no endpoint `{name}` is known there that `astroctl serve` made",
            "`astroctl serve --status` shows what is served; serve it once with this release: "
            f"`astroctl serve MODEL --name {name}`",
        )
    return found


def _remember(target: Any, served: Served, standing: Standing) -> None:
    if target.name == "kubernetes":
        note = {"metadata": {"annotations": {_ANNOTATION: json.dumps(standing.to_dict())}}}
        target.kube.patch(RAYSERVICE, served.endpoint, note, target.namespace)
        return
    remember(dataclasses.replace(served, standing=standing.to_dict()))


def _parse(found: dict[str, Any]) -> Standing:
    fields = {f.name for f in dataclasses.fields(Wanted)}
    previous = found.get("previous")
    return Standing(
        Version(**found["version"]),
        Wanted(**{k: v for k, v in found["wanted"].items() if k in fields}),
        Version(**previous) if previous else None,
    )
