"""A Ray cluster as KubeRay wants it, for jobs and for endpoints."""

from __future__ import annotations

import math
from typing import Any

from astroctl.render.names import WORKER_GROUP
from astroctl.render.pods import PodContext, autoscaler_options, head_template, worker_template


def ray_cluster_spec(context: PodContext, token_secret: str) -> dict[str, Any]:
    """The ``rayClusterSpec`` of a RayJob, or the ``rayClusterConfig`` of a RayService.

    Args:
        context: Its pods.
        token_secret: The Secret with Ray's token, under ``auth_token``.
    """
    form = context.form
    spec: dict[str, Any] = {
        "rayVersion": context.settings.ray_version,
        "authOptions": {"mode": "token", "secretName": token_secret},
        "headGroupSpec": {
            # Nothing but the driver runs on the head: a task that takes all memory there would end
            # the whole job.
            "rayStartParams": {"num-cpus": "0", "num-gpus": "0"},
            "template": head_template(context),
        },
        "workerGroupSpecs": [
            {
                "groupName": WORKER_GROUP,
                "replicas": form.min_pods,
                "minReplicas": form.min_pods,
                "maxReplicas": form.max_pods,
                # Said, not guessed from limits: Ray takes whole cores only, and KubeRay knows not
                # every GPU by its resource name.
                "rayStartParams": {
                    "num-cpus": str(math.ceil(form.cpu)),
                    "num-gpus": str(form.gpus),
                },
                "template": worker_template(context),
            }
        ],
    }
    if form.elastic:
        spec["enableInTreeAutoscaling"] = True
        spec["autoscalerOptions"] = autoscaler_options(context.settings)
    return spec
