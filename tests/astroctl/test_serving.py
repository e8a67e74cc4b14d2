from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from astroctl.cli.commands import bench
from astroctl.runs import registry
from astroctl.runs.registry import Record
from astroctl.serving import models
from astroctl.serving.models import Model
from astrosage.errors import NotFoundError, SpecError
from astrosage.runs.directory import RunDirectory
from astrosage.spec.load import load, parse
from tests.astroctl.conftest import Astroctl, job_data, write_run

Script = dict[str, Any]


@pytest.fixture
def endpoint() -> Iterator[tuple[str, Script]]:
    """A small HTTP server that answers as scripted and keeps what it was asked."""
    script: Script = {"status": 200, "lines": [], "asked": [], "key": None}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            script["asked"].append(json.loads(body))
            script["key"] = self.headers.get("Authorization")
            self.send_response(script["status"])
            self.end_headers()
            self.wfile.write("".join(f"{line}\n\n" for line in script["lines"]).encode())

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", script
    server.shutdown()
    thread.join()
    server.server_close()


def event(text: str) -> str:
    return "data: " + json.dumps({"choices": [{"delta": {"content": text}}]})


def test_ask_prints_the_stream_and_sends_what_was_wanted(
    endpoint: tuple[str, Script], astroctl: Astroctl, home: Path, tmp_path: Path
) -> None:
    url, script = endpoint
    script["lines"] = [event("A "), ": comment", event("star."), "data: [DONE]", event("never")]
    (tmp_path / "key").write_text("sk-test\n")
    result = astroctl(
        *("ask", "What?", "--url", url, "--model", "m", "--key-file", tmp_path / "key"),
        *("--reasoning", "on", "--system", "Be brief.", "--temperature", 0.5, "--seed", 3),
    )
    assert result.stdout == "A star.\n"
    assert script["key"] == "Bearer sk-test"
    assert script["asked"] == [
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Reasoning: on\n\nBe brief."},
                {"role": "user", "content": "What?"},
            ],
            "max_tokens": 256,
            "temperature": 0.5,
            "seed": 3,
            "stream": True,
        }
    ]


@pytest.mark.parametrize(
    ("status", "line", "code", "named"),
    [
        (401, '{"error": {"message": "no key"}}', 2, "no key"),
        (429, '{"error": {"message": "queue is full"}}', 5, "busy"),
        (400, '{"error": {"message": "max_tokens is too large"}}', 2, "max_tokens"),
        (200, 'data: {"error": {"message": "out of memory"}}', 5, "out of memory"),
        (502, "bad gateway", 2, "502"),
    ],
)
def test_refusals_are_told_of(
    status: int,
    line: str,
    code: int,
    named: str,
    endpoint: tuple[str, Script],
    astroctl: Astroctl,
    home: Path,
) -> None:
    url, script = endpoint
    script["status"], script["lines"] = status, [line]
    result = astroctl("ask", "What?", "--url", url, "--model", "m")
    assert result.exit_code == code
    assert named in result.stderr


def test_ask_without_a_served_model(astroctl: Astroctl, home: Path) -> None:
    result = astroctl("ask", "What?")
    assert result.exit_code == 3
    assert "astroctl serve" in result.stderr


def test_an_endpoint_that_is_not_there(astroctl: Astroctl, home: Path) -> None:
    result = astroctl("ask", "x", "--url", "http://127.0.0.1:18298/v1", "--model", "m")
    assert result.exit_code == 5


@pytest.fixture
def run(tmp_path: Path, tiny_model: Path, texts: Path, home: Path) -> Record:
    """A run that this machine knows, without any finished stage."""
    job = load(write_run(tmp_path / "job.yaml", job_data(tiny_model, texts)))
    directory = RunDirectory.of(job)
    directory.create(job)
    record = Record("default", "small", directory.uri, stages=["corpus", "cpt"])
    registry.put(record)
    return record


def test_models_are_found_by_path_alias_run_and_hub_id(run: Record, tiny_model: Path) -> None:
    assert models.find_model(str(tiny_model)).reference == str(tiny_model)
    assert models.find_model("smollm2-135m") == Model("smollm2-135m", "smollm2-135m")
    assert models.find_model("org/model-7b") == Model("org/model-7b", "model-7b")
    assert models.find_model("s3://b/x/sft/model") == Model("s3://b/x/sft/model", "sft")
    with pytest.raises(NotFoundError, match="no finished model"):
        models.find_model("small")
    storage = RunDirectory(run.uri).stage("cpt").storage
    storage.write_json("model/manifest.json", {"key": "k", "files": []})
    assert models.find_model("small").reference == storage.path("model")
    assert models.find_model("small").name == "small"
    assert models.find_model("small", stage="cpt").reference == storage.path("model")
    with pytest.raises(SpecError, match="no model of a stage `corpus`"):
        models.find_model("small", stage="corpus")
    with pytest.raises(NotFoundError, match="smal"):
        models.find_model("smal")


def options(**given: Any) -> dict[str, Any]:
    base: dict[str, Any] = dict.fromkeys(
        ("subject", "url", "model", "api_key_env", "baseline", "limit", "max_new_tokens", "name")
    )
    return base | {
        "questions": ("quiz.jsonl",),
        "heldout": (),
        "methods": (),
        "namespace": "default",
        "storage": "./runs",
        "workers": 1,
        **given,
    }


def test_bench_of_a_model_becomes_a_run_of_one_stage(home: Path) -> None:
    data = bench._job(
        options(subject="smollm2-135m", baseline="org/m", limit=5, methods=("likelihood",))
    )
    job = parse(data)
    (stage,) = job.spec.stages
    assert stage.bench is not None
    assert stage.bench.model == "smollm2-135m"
    assert stage.bench.baseline == "org/m"
    assert stage.bench.questions[0].limit == 5
    assert job.metadata.name.startswith("bench-smollm2-135m-")


def test_bench_of_an_endpoint_names_the_keys_variable_only(home: Path) -> None:
    data = bench._job(options(url="http://x/v1", model="m", api_key_env="KEY"))
    (stage,) = parse(data).spec.stages
    assert stage.bench is not None
    assert stage.bench.endpoint is not None
    assert stage.bench.endpoint.api_key_env == "KEY"
    assert stage.bench.model is None


def test_bench_needs_a_model_or_an_endpoint(astroctl: Astroctl, home: Path) -> None:
    for arguments in ([], ["--url", "http://x/v1"], ["m", "--url", "http://x/v1", "--model", "m"]):
        result = astroctl("bench", *arguments, "--questions", "q.jsonl")
        assert result.exit_code == 2
        assert "hint: " in result.stderr


def test_report_goes_into_the_run_directory_or_a_file(
    run: Record, astroctl: Astroctl, tmp_path: Path
) -> None:
    pytest.importorskip("astrosage.report.build")
    inside = astroctl("report", "small")
    assert inside.exit_code == 0, inside.stderr
    assert Path(inside.stdout.strip()) == Path(run.uri) / "report.html"
    assert "<html" in Path(inside.stdout.strip()).read_text()
    astroctl("report", "small", "--output", tmp_path / "r.html")
    assert (tmp_path / "r.html").exists()
    assert astroctl("report", "small", "--output", tmp_path / "no/r.html").exit_code == 5


def test_a_run_directory_of_another_version_is_refused(run: Record, astroctl: Astroctl) -> None:
    storage = RunDirectory(run.uri).storage
    storage.write_json("lineage.json", {"formatVersion": 99, "artefacts": []})
    result = astroctl("resume", "small")
    assert result.exit_code == 4
    assert "99" in result.stderr


def test_a_run_directory_that_is_gone(run: Record, astroctl: Astroctl) -> None:
    RunDirectory(run.uri).delete()
    assert astroctl("status", "small").exit_code == 3
    assert json.loads(astroctl("list", "-o", "json").stdout)[0]["phase"] == "gone"
    assert astroctl("delete", "small", "-y").exit_code == 0
    assert json.loads(astroctl("list", "-o", "json").stdout) == []


def test_stages_to_resume_are_checked(run: Record, astroctl: Astroctl) -> None:
    result = astroctl("resume", "small", "--stages", "corpsu")
    assert result.exit_code == 2
    assert "did you mean `corpus`?" in result.stderr
