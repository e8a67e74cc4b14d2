from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from astrosage.errors import SpecError
from astrosage.serve import settings
from astrosage.serve.vllm import llm_config

# Of Ray's own modules, when they are imported into a process with strict warnings.
pytestmark = pytest.mark.filterwarnings("ignore:.*on `Field` is deprecated")

ARGS: dict[str, Any] = {
    "model": "org/model-70b",
    "modelId": "astro",
    "engine": "vllm",
    "allowAnonymous": True,
    "numGpus": 4,
    "maxConcurrent": 64,
    "maxQueue": 64,
}


def test_the_configuration_is_one_that_ray_serve_llm_takes() -> None:
    # The public name can be imported only where vLLM is installed.
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig

    from ray_jobs.serve import deployment_options

    checked = settings.parse(
        ARGS | {"maxReplicas": 3, "surge": True, "engineOptions": {"max_model_len": 8192}}
    )
    found = LLMConfig.model_validate(llm_config(checked, deployment_options(checked)))
    assert found.model_loading_config.model_id == "astro"
    assert found.engine_kwargs["tensor_parallel_size"] == 4
    assert found.engine_kwargs["max_model_len"] == 8192
    assert found.deployment_config["autoscaling_config"]["max_replicas"] == 3
    assert found.deployment_config["max_ongoing_requests"] == 128
    assert found.accelerator_config.kind == "gpu"


def test_a_machine_without_vllm_is_told_of() -> None:
    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed here")
    from ray_jobs.serve import app

    with pytest.raises(SpecError, match="vLLM is not installed"):
        app(ARGS)


def test_models_in_a_bucket_are_mirrored() -> None:
    checked = settings.parse(ARGS | {"model": "s3://bucket/sft/model"})
    loading = llm_config(checked, {})["model_loading_config"]
    assert loading["model_source"] == {"bucket_uri": "s3://bucket/sft/model"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"allowAnonymous": False, "keyHashes": ["0" * 64]}, "keyHashes: .*does not know it"),
        ({"rateLimits": {"requestsPerMinute": 5}}, "rateLimits: .*does not know it"),
        ({"requestTimeoutSeconds": 5}, "requestTimeoutSeconds"),
        ({"accessLog": "-"}, "accessLog"),
        ({"numGpus": 0}, "numGpus: .*found 0"),
        ({"numGpus": 1.5}, "numGpus: .*found 1.5"),
        ({"model": "smollm2-135m"}, "alias"),
        ({"engine": "vlm"}, "engine"),
        ({"engine": "transformers", "engineOptions": {"a": 1}}, "engineOptions"),
    ],
)
def test_what_vllm_cannot_do_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError, match=named) as caught:
        settings.parse(ARGS | changes)
    assert caught.value.hint or "engine" in changes
