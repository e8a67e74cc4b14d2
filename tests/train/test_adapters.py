import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM

from astrosage.errors import SpecError
from astrosage.spec.train import Lora, TrainSpec
from astrosage.train import adapter_names, adapters, deepspeed_config, engine, export, layers
from astrosage.train.model import TrainingModel
from tests.train.test_model import DOCUMENTS, pack

PROJECTIONS = adapter_names.LAYERS["llama"]


def plain(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)


def adapted(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    model = plain(folder, dtype)
    adapters.inject(model, Lora.model_validate({"rank": 4, **options}), seed=3)
    return model


def shaken(model: nn.Module) -> None:
    """Give adapters values as training would."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)


def test_only_adapters_learn_and_all_linear_layers_have_one(tiny_model: Path) -> None:
    model = plain(tiny_model, torch.bfloat16)
    names = adapters.inject(model, Lora(rank=4), seed=0)
    assert names == [
        f"model.layers.{i}.{part}.{p}"
        for i in range(2)
        for part, named in (("self_attn", PROJECTIONS[:4]), ("mlp", PROJECTIONS[4:]))
        for p in named
    ]
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning == {f"{n}.lora_{x}.default.weight" for n in names for x in "AB"}
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_what_is_adapted_is_what_was_named(tiny_model: Path) -> None:
    model = plain(tiny_model)
    found = adapters.targets(model, Lora(targets=["v_proj", "layers.1.mlp.up_proj"]))
    assert found == [
        "model.layers.0.self_attn.v_proj",
        "model.layers.1.self_attn.v_proj",
        "model.layers.1.mlp.up_proj",
    ]


@pytest.mark.parametrize("target", ["q_prj", "lm_head", "self_attn", "embed_tokens", "proj"])
def test_names_that_match_no_layer_are_told_with_those_there_are(
    target: str, tiny_model: Path
) -> None:
    lora = Lora(targets=["v_proj", target])
    with pytest.raises(SpecError, match=rf"s\.lora\.targets\[1\]: `{target}` matches no") as caught:
        adapters.inject(plain(tiny_model), lora, 0, "s")
    for name in (*PROJECTIONS, "all-linear"):
        assert name in caught.value.hint
    with pytest.raises(SpecError, match=r"s\.lora\.targets\[1\]"):
        adapter_names.check(lora, "llama", "s")


def test_names_of_unknown_architectures_are_left_to_the_worker(tiny_model: Path) -> None:
    config = json.loads((tiny_model / "config.json").read_text())
    adapter_names.check(Lora(targets=["q_proj", "mlp.up_proj", "all-linear"]), config["model_type"])
    adapter_names.check(Lora(targets=["query_key_value"]), "gpt_neox")
    adapter_names.check(Lora(targets=["query_key_value"]), None)


def test_a_new_adapter_changes_nothing(tiny_model: Path) -> None:
    tokens = torch.tensor([DOCUMENTS[1]])
    with torch.no_grad():
        before = plain(tiny_model)(tokens).logits
        torch.testing.assert_close(adapted(tiny_model)(tokens).logits, before)


def test_first_values_are_a_function_of_seed_and_name(tiny_model: Path) -> None:
    def values(**options: Any) -> dict[str, torch.Tensor]:
        torch.manual_seed(torch.seed())  # what was drawn before does not count
        found = adapted(tiny_model, **options).named_parameters()
        return {n: p for n, p in found if "lora_A" in n}

    one, other, fewer = values(), values(), values(targets=["down_proj"])
    assert all(torch.equal(one[n], other[n]) for n in one)
    assert all(torch.equal(one[n], fewer[n]) for n in fewer)
    first, second = list(one.values())[:2]
    assert not torch.equal(first, second)
    model = plain(tiny_model)
    adapters.inject(model, Lora(rank=4), seed=4)
    assert not torch.equal(first, next(p for n, p in model.named_parameters() if "lora_A" in n))
    assert first.abs().max() <= 1 / 8  # of a linear layer 64 wide


@pytest.mark.parametrize("checkpointing", [False, True])
def test_loss_and_gradients_equal_those_of_pefts_own_model(
    checkpointing: bool, tiny_model: Path
) -> None:
    reference, model = adapted(tiny_model), adapted(tiny_model)
    shaken(reference)
    shaken(model)
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
        model.train()
    trained = TrainingModel(model)
    assert any(isinstance(m, layers.GatedFeedForward) for m in trained.modules())
    loss = trained(pack(*DOCUMENTS))
    loss.backward()
    expected = torch.zeros(())
    for document in DOCUMENTS:
        ids = torch.tensor([document])
        expected = expected + reference(ids, labels=ids).loss * (len(document) - 1)
    expected.backward()
    torch.testing.assert_close(loss, expected, atol=1e-3, rtol=1e-4)
    theirs = dict(reference.named_parameters())
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=1e-3, rtol=1e-3)
        else:
            assert parameter.grad is None, name


def merged_by_peft(folder: Path, source: nn.Module, **options: Any) -> dict[str, torch.Tensor]:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        plain(folder),
        LoraConfig(
            r=4,
            lora_alpha=options.get("alpha", 32),
            target_modules=options.get("targets", list(PROJECTIONS)),
        ),
    )
    values = dict(source.named_parameters())
    with torch.no_grad():
        for name, parameter in model.base_model.model.named_parameters():
            if "lora_" in name:
                parameter.copy_(values[name])
    merged = model.merge_and_unload()
    found = dict(merged.named_parameters())
    return {name: p.detach() for name, p in found.items()}


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "options", [{}, {"alpha": 8.0, "targets": ["q_proj", "down_proj"]}], ids=["all", "two"]
)
def test_what_is_written_is_what_peft_would_merge(
    options: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    model = adapted(tiny_model, **options)
    shaken(model)
    export.write_weights(TrainingModel(model).model, tmp_path, 0)
    expected = merged_by_peft(tiny_model, model, **options)
    written = load_file(next(tmp_path.glob("*.safetensors")))
    assert written.keys() == expected.keys()
    base = dict(plain(tiny_model).named_parameters())
    changed = 0
    for name, value in written.items():
        assert torch.equal(value, expected[name].bfloat16()), name
        changed += not torch.equal(value, base[name].detach().bfloat16())
    assert changed == 2 * len(options.get("targets", PROJECTIONS))


def test_a_model_without_adapters_is_written_as_it_is(tiny_model: Path) -> None:
    model = plain(tiny_model)
    assert [(w.name, *w.parts) for w in adapters.merged(model)] == list(model.named_parameters())


def test_biases_keep_their_names() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q_proj = nn.Linear(4, 4)

        def get_output_embeddings(self) -> None:
            return None

    model = Small()
    adapters.inject(model, Lora(rank=2), seed=0)
    assert [w.name for w in adapters.merged(model)] == ["q_proj.weight", "q_proj.bias"]


@pytest.fixture
def one_worker(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone, for DeepSpeed."""
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", DS_SKIP_CUDA_CHECK="1")
    torch.distributed.init_process_group(
        "gloo", rank=0, world_size=1, init_method=f"file://{tmp_path}/group"
    )
    yield
    torch.distributed.destroy_process_group()
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        os.environ.pop(name)


@pytest.mark.filterwarnings("ignore")
def test_deepspeed_trains_adapters_alone(
    one_worker: None, tiny_model: Path, tmp_path: Path
) -> None:
    spec = TrainSpec.model_validate(
        {"objective": "cpt", "data": "d", "learningRate": 0.01, "lora": {"rank": 4}}
    )
    model = TrainingModel(adapted(tiny_model, torch.bfloat16))
    before = {n: p.detach().clone() for n, p in model.model.named_parameters()}
    trained = engine.initialize(model, spec, deepspeed_config.build(spec, 1, 1, 1))
    losses = []
    for _ in range(4):
        loss = trained(pack(*DOCUMENTS))
        trained.backward(loss * 0.01)
        trained.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 1
    export.write_weights(trained.module.model, tmp_path, spec.zero.stage)
    written = load_file(next(tmp_path.glob("*.safetensors")))
    for name, value in written.items():
        owner, _, kind = name.rpartition(".")
        old = before.get(f"{owner}.base_layer.{kind}")
        assert torch.equal(value, before[name]) if old is None else not torch.equal(value, old)
