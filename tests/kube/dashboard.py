"""The dashboard of scripted Ray heads: the Jobs API, and the log file with the driver's figures."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.kube.loops import LoopServer

if TYPE_CHECKING:
    from tests.kube.heads import ScriptedHead, ScriptedHeads, ScriptedJob

MIRROR = "astrosage-progress.json"


class Dashboard(LoopServer):
    """One port for all heads; a job's id tells which one is meant.

    Args:
        heads: The heads.
    """

    def __init__(self, heads: ScriptedHeads) -> None:
        super().__init__("dashboards")
        self._heads = heads

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/api/version", self._get_version)
        app.router.add_get("/api/jobs/", self._get_jobs)
        app.router.add_get("/api/jobs/{id}", self._get_job)
        app.router.add_get("/api/jobs/{id}/logs", self._get_logs)
        app.router.add_post("/api/jobs/{id}/stop", self._post_stop)
        app.router.add_get("/api/v0/logs/file", self._get_file)

    def _allowed(self, request: web.Request) -> list[ScriptedHead]:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        found = [h for h in self._heads.all() if h.token in (None, given)]
        if not found:
            known = bool(self._heads.all())
            raise web.HTTPUnauthorized(text="Invalid token") if known else web.HTTPBadGateway()
        return found

    def _find(self, request: web.Request, job_id: str) -> tuple[ScriptedHead, ScriptedJob]:
        for head in self._allowed(request):
            if job_id in head.jobs:
                if not head.jobs[job_id].script.reachable:
                    raise web.HTTPBadGateway
                return head, head.jobs[job_id]
        raise web.HTTPNotFound(text=f"Job {job_id} does not exist")

    async def _get_version(self, request: web.Request) -> web.Response:
        self._allowed(request)
        return web.json_response({"version": "4", "ray_version": "2.60.0"})

    async def _get_jobs(self, request: web.Request) -> web.Response:
        heads = self._allowed(request)
        return web.json_response([told(i, j) for h in heads for i, j in h.jobs.items()])

    async def _get_job(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        return web.json_response(told(job_id, self._find(request, job_id)[1]))

    async def _get_logs(self, request: web.Request) -> web.Response:
        _, job = self._find(request, request.match_info["id"])
        return web.json_response({"logs": f"{job.script.message}\n"})

    async def _post_stop(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        head, _ = self._find(request, job_id)
        return web.json_response({"stopped": self._heads.end_job(head, job_id)})

    async def _get_file(self, request: web.Request) -> web.Response:
        _, job = self._find(request, request.query["node_id"].removeprefix("node-"))
        figures = job.script.progress(job.elapsed)
        if figures is None or request.query["filename"] != MIRROR:
            raise web.HTTPNotFound(text="no such file")
        # The first byte says that what follows is the file.
        return web.Response(text="1" + json.dumps(figures) + "\n")


def told(job_id: str, job: ScriptedJob) -> dict[str, Any]:
    """What the Jobs API tells of a job."""
    status = job.status()
    began = time.time() - job.elapsed
    facts: dict[str, Any] = {
        "type": "SUBMISSION",
        "submission_id": job_id,
        "status": status,
        "message": job.script.message if status == "FAILED" else "",
        "start_time": int(began * 1000),
        "end_time": None,
        "driver_node_id": f"node-{job_id}",
        "driver_exit_code": None,
    }
    if status != "RUNNING":
        facts["end_time"] = int(time.time() * 1000)
    return facts
