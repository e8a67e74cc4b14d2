from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from astroctl.cli import planning
from astrosage.errors import SpecError
from astrosage.plan import preflight
from astrosage.spec import graph
from astrosage.spec.load import load
from tests.astroctl.conftest import Astroctl, job_data, write_run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
POOLS = EXAMPLES / "pools.yaml"
LARGE = ["astrosage-8b", "astrosage-70b"]


@pytest.fixture
def gpu_file(tmp_path: Path, texts: Path, tiny_model: Path) -> Path:
    """A run file on two GPUs."""
    data = job_data(tiny_model, texts)
    data["spec"]["cluster"] = {"workers": 2, "resourcesPerWorker": {"gpu": 1}}
    return write_run(tmp_path / "gpu.yaml", data)


def planned(astroctl: Astroctl, *arguments: object) -> dict[str, Any]:
    result = astroctl("plan", *arguments, "-o", "json")
    assert result.exit_code == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_a_plan_for_people(astroctl: Astroctl, gpu_file: Path) -> None:
    result = astroctl("plan", "-f", gpu_file, "--accelerator", "H100", "--price-per-gpu-hour", 2)
    assert result.exit_code == 0, result.stderr
    text = result.stdout
    assert "cpt: " in text
    assert "H100 workers" in text
    assert "3*" in text  # the run file's own ZeRO stage
    for part in ("PARAMETERS", "GRADIENTS", "OPTIMIZER", "ACTIVATIONS", "LARGEST MICRO-BATCH"):
        assert part in text
    for fact in ("fits: ", "steps: 2 ", "speed: ", "GPU-hours", "USD", "checkpoint: "):
        assert fact in text


def test_json_and_yaml_say_the_same(astroctl: Astroctl, gpu_file: Path) -> None:
    arguments = ("plan", "-f", gpu_file, "--accelerator", "H100")
    told = json.loads(astroctl(*arguments, "-o", "json").stdout)
    assert yaml.safe_load(astroctl(*arguments, "-o", "yaml").stdout) == told
    (stage,) = told["stages"]
    assert stage["zeroStage"] == 3
    assert stage["memory"]["fits"] is True


def test_options_change_the_plan(astroctl: Astroctl, gpu_file: Path) -> None:
    base = ("-f", gpu_file, "--accelerator", "H100")
    plain = planned(astroctl, *base)["stages"][0]
    slow = planned(astroctl, *base, "--mfu", "0.1")["stages"][0]
    assert slow["speed"]["mfu"] == pytest.approx(0.1)
    assert slow["speed"]["stepSeconds"] > plain["speed"]["stepSeconds"]
    tight = planned(astroctl, *base, "--gpu-memory", "1Gi")["stages"][0]
    assert tight["memory"]["fits"] is False
    assert tight["advice"][0]["needed"] is True
    bigger = planned(astroctl, *base, "--model", "llama-3.1-8b")["stages"][0]
    assert bigger["parameters"] == 8_030_261_248
    wire = planned(astroctl, *base, "--write-rate", "1MB/s")["stages"][0]
    assert wire["checkpoint"]["seconds"] > plain["checkpoint"]["seconds"]


def test_a_run_of_this_machine_gives_the_speed(
    astroctl: Astroctl, run_file: Path, tmp_path: Path, home: Path
) -> None:
    from astrosage.runs.directory import RunDirectory
    from astrosage.runs.metrics import MetricsWriter

    job = load(run_file)
    directory = RunDirectory.of(job)
    directory.create(job)
    writer = MetricsWriter(directory.stage("cpt").storage)
    for step in range(1, 9):
        writer.log(step, 8, "steps", tokensPerSecond=500.0, mfu=0.5)
    assert "no time" in astroctl("plan", "-f", run_file).stdout
    for named in (directory.uri, f"{directory.uri}:cpt"):
        speed = planned(astroctl, "-f", run_file, "--measured", named)["stages"][0]["speed"]
        assert speed["tokensPerSecond"] == pytest.approx(500.0)


def test_nothing_heavy_is_imported(gpu_file: Path) -> None:
    code = (
        "import sys\n"
        "from astroctl.cli import cli\n"
        f"try:\n    cli.main(['plan', '-f', {str(gpu_file)!r}, '--accelerator', 'H100'])\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'numpy', 'torch', 'ray', 'transformers', 'deepspeed', 'safetensors'}\n"
        "found = heavy & set(sys.modules)\nassert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--accelerator", "H1000"], 2, "--accelerator: `H1000` is not known"),
        (["--accelerator", "H100", "--gpu-memory", "lots"], 2, "--gpu-memory: `lots`"),
        (["--accelerator", "H100", "--gpu-memory", "0"], 2, "--gpu-memory: `0`"),
        (["--accelerator", "H100", "--network", "fast"], 2, "--network: `fast` is no rate"),
        (["--accelerator", "H100", "--network", "0Gbps"], 2, "--network: `0Gbps` is no rate"),
        (["--accelerator", "H100", "--tokens", "many"], 2, "is no number of tokens"),
        (["--accelerator", "H100", "--tokens", "sft=3B"], 2, "no train stage `sft`"),
        (["--accelerator", "H100", "--mfu", "40"], 2, "40"),
        (["--accelerator", "H100", "--mfu", "0"], 2, "0"),
        (["--accelerator", "H100", "--pools", str(POOLS)], 2, "spec.cluster names no pool"),
        (["--pools", "/nowhere.yaml"], 3, "/nowhere.yaml does not exist"),
        (["--measured", "nothing"], 3, "no run `default/nothing`"),
        (["--measured", "nothing", "--mfu", "0.4"], 2, "exclude each other"),
        (["--accelerator", "H100", "--model", "lama-3.1-8b"], 2, "did you mean `llama-3.1-8b`?"),
        (["--model", "lab/model", "--offline"], 3, "--offline leaves it unread"),
        (
            ["--accelerator", "H100", "--set", "spec.cluster.resourcesPerWorker.gpu=0"],
            2,
            "the workers have no GPUs",
        ),
        (
            [
                "--price-per-gpu-hour",
                "2",
                "--tokens",
                "1B",
                "--set",
                "spec.cluster.resourcesPerWorker.gpu=0",
            ],
            2,
            "--price-per-gpu-hour: the workers have no GPUs",
        ),
        (
            ["--set", "spec.stages.corpus.prepare.pack.sequenceLength=512"],
            2,
            "512 is over the 256 positions",
        ),
    ],
)
def test_bad_input_names_the_option_or_field(
    arguments: list[str], code: int, words: str, astroctl: Astroctl, gpu_file: Path, home: Path
) -> None:
    result = astroctl("plan", "-f", gpu_file, *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "hint: " in result.stderr


def test_a_model_without_configuration(astroctl: Astroctl, gpu_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = astroctl("plan", "-f", gpu_file, "--model", tmp_path / "empty")
    assert result.exit_code == 3
    assert "has no config.json" in result.stderr


@pytest.mark.parametrize(
    ("text", "rate"),
    [("400Gbps", 50e9), ("1GB/s", 1e9), ("100 gbit/s", 12.5e9), ("2.5GB/s", 2.5e9), ("8bps", 1.0)],
)
def test_rates_as_people_write_them(text: str, rate: float) -> None:
    assert planning.parse_rate(text, "--network") == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "400", "Gbps", "-1GB/s", "4 apples/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is no rate"):
        planning.parse_rate(text, "--network")


@pytest.mark.parametrize("name", LARGE)
def test_the_large_examples_plan_and_fit(name: str, astroctl: Astroctl) -> None:
    file = EXAMPLES / f"{name}.yaml"
    told = planned(
        astroctl, "-f", file, "--pools", POOLS, "--tokens", "cpt=3.3B", "--tokens", "sft=2B"
    )
    assert [s["name"] for s in told["stages"]] == ["cpt", "sft"]
    for stage in told["stages"]:
        assert stage["memory"]["fits"] is True
        assert not any(a["needed"] for a in stage["advice"])
        assert stage["sequenceLength"] == 8192
        assert stage["zeroStage"] == 3
    assert told["total"]["usd"] > 0


@pytest.mark.parametrize("name", LARGE)
def test_the_large_examples_render(name: str, astroctl: Astroctl) -> None:
    result = astroctl("render", "-f", EXAMPLES / f"{name}.yaml", "--pool-file", POOLS)
    assert result.exit_code == 0, result.stderr
    kinds = [d["kind"] for d in yaml.safe_load_all(result.stdout)]
    assert {"AstroJob", "RayJob"} <= set(kinds)
    assert "warning" not in result.stderr


@pytest.mark.parametrize("name", LARGE)
def test_the_large_examples_pass_every_check_that_needs_no_store(name: str) -> None:
    job = load(EXAMPLES / f"{name}.yaml")
    assert preflight.check(job, graph.order(job), storage=False, remote=False) == []


@pytest.mark.parametrize("name", LARGE)
def test_the_large_examples_are_the_papers_recipe(name: str) -> None:
    spec = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())["spec"]
    stages = {s["name"]: s for s in spec["stages"]}
    assert list(stages) == ["corpus", "cpt", "chats", "sft", "merged", "score"]
    assert stages["cpt"]["train"]["epochs"] == 2.5
    assert stages["corpus"]["prepare"]["pack"]["sequenceLength"] == 8192
    methods = {"astrosage-8b": "linear", "astrosage-70b": "dare_ties"}
    assert stages["merged"]["merge"]["method"] == methods[name]
    assert set(spec["cluster"]["workers"]) == {"min", "max"}
