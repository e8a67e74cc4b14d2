"""Make what an attempt needs: the token's Secret, disruption budgets, and the RayJob."""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import Iterable

from astroctl.controller.accept import Accepted, Refusal
from astroctl.controller.attempts import CONTENT, SPEC_HASH
from astroctl.kube.client import Kube, Object
from astroctl.kube.errors import AlreadyExists, Forbidden, Invalid, NoSuchKind
from astroctl.kube.resources import PDB, SECRET
from astroctl.render.extras import TOKEN_KEY, disruption_budgets, token_secret
from astroctl.render.fit import fit
from astroctl.render.groups import Group
from astroctl.render.linter import lint
from astroctl.render.names import owner_reference, token_secret_name
from astroctl.render.rayjob import rayjob
from astroctl.render.settings import Settings
from astroctl.render.shape import shape
from astrosage.spec.job import AstroJob
from astrosage.spec.pool import GPUNodePool

log = logging.getLogger("astroctl.operator")


class Creator:
    """Creates attempts; what is there already is left as it is.

    Args:
        kube: The cluster.
        settings: The operator's.
    """

    def __init__(self, kube: Kube, settings: Settings) -> None:
        self._kube, self._settings = kube, settings
        self._tokens: dict[str, str] = {}

    def create(
        self,
        obj: Object,
        accepted: Accepted,
        group: Group,
        number: int,
        pool: GPUNodePool | None,
        fallback: GPUNodePool | None = None,
    ) -> str:
        """Make an attempt; returns the RayJob's name.

        Raises:
            Refusal: If KubeRay would refuse it, is not installed, or the operator may not.
        """
        meta = obj["metadata"]
        owner = owner_reference(meta["name"], meta["uid"])
        job = _priced(accepted.job, group, pool)
        manifest = rayjob(
            job,
            group,
            number,
            settings=self._settings,
            pool=pool,
            fallback=fallback,
            owner=owner,
            job_uid=meta["uid"],
        )
        annotations = manifest["metadata"].setdefault("annotations", {})
        annotations[SPEC_HASH] = accepted.spec_hash(group)
        annotations[CONTENT] = accepted.contents[group.index]
        for reason, problems in (
            ("DoesNotFitPool", fit(job, group, pool) if pool else []),
            ("ManifestInvalid", lint(manifest)),
        ):
            if problems:
                first = problems[0]
                raise Refusal(reason, f"{first.path}: {first.message}", first.hint)
        secret = token_secret(job, secrets.token_hex(32), owner)
        self._make([secret, *disruption_budgets(job, group, owner, pool), manifest])
        return str(manifest["metadata"]["name"])

    def token(self, job: AstroJob, uid: str) -> str | None:
        """The job's Ray token."""
        if uid not in self._tokens:
            found = self._kube.find(SECRET, token_secret_name(job), job.metadata.namespace)
            if found is None:
                return None
            raw = (found.get("data") or {}).get(TOKEN_KEY, "")
            self._tokens[uid] = base64.b64decode(raw).decode()
        return self._tokens[uid]

    def forget(self, uid: str) -> None:
        """Drop what is remembered of a job."""
        self._tokens.pop(uid, None)

    def _make(self, manifests: Iterable[Object]) -> None:
        for manifest in manifests:
            kind = manifest["kind"]
            try:
                self._kube.create(manifest)
            except AlreadyExists:
                continue
            except NoSuchKind as error:
                if kind == PDB.kind:
                    log.warning("the cluster has no %s %s", PDB.api_version, kind)
                    continue
                raise Refusal(
                    "KubeRayMissing",
                    f"the cluster does not know {kind}s: KubeRay is not installed",
                    "`astroctl install` brings it",
                ) from error
            except Invalid as error:
                raise Refusal("ManifestInvalid", f"{kind}: {error.message}", error.hint) from error
            except Forbidden as error:
                raise Refusal("NotAllowed", f"{kind}: {error.message}", error.hint) from error


def _priced(job: AstroJob, group: Group, pool: GPUNodePool | None) -> AstroJob:
    """The job with the price of its cluster where the pool knows it and the job does not say."""
    if pool is None or pool.spec.price_per_hour is None or group.cluster.price_per_hour is not None:
        return job
    price = pool.spec.price_per_hour * shape(group.cluster, pool).max_pods
    job = job.model_copy(deep=True)
    for name in group.stages:
        stage = job.stage(name)
        cluster = stage.cluster or job.spec.cluster
        cluster.price_per_hour = price
    return job
