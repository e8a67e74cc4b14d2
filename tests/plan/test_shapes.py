from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from astrosage.errors import SpecError
from astrosage.plan.models import BUILT_IN
from astrosage.plan.shapes import from_config
from astrosage.train import throughput

CONFIGS = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}


def counted(config: object) -> int:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(p.numel() for p in model.parameters())


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from(sorted(CONFIGS)),
    layers=st.integers(1, 3),
    groups=st.integers(1, 3),
    key_values=st.integers(1, 2),
    width=st.sampled_from([32, 48]),
    tied=st.booleans(),
)
def test_parameters_are_those_of_the_model(
    kind: str, layers: int, groups: int, key_values: int, width: int, tied: bool
) -> None:
    config = CONFIGS[kind](
        hidden_size=width * groups,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=groups * key_values,
        num_key_value_heads=key_values,
        head_dim=16,
        vocab_size=96,
        tie_word_embeddings=tied,
    )
    assert from_config(config.to_dict(), "config").parameters == counted(config)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("llama-3.1-8b", 8_030_261_248),
        ("llama-3.1-70b", 70_553_706_496),
        ("llama-3.1-405b", 405_853_388_800),
        ("smollm2-135m", 134_515_008),
    ],
)
def test_built_in_shapes_have_the_parameters_that_their_cards_state(
    name: str, parameters: int
) -> None:
    assert BUILT_IN[name].parameters == parameters


def test_operations_are_those_that_training_counts() -> None:
    shape = BUILT_IN["smollm2-135m"]
    config = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        vocab_size=shape.vocabulary,
    )
    lengths = [512, 300, 7]
    expected = throughput.training_flops(config, lengths, 700)
    assert shape.flops(sum(lengths), 700, sum(n * n for n in lengths)) == expected


def test_adapters_have_the_parameters_that_peft_gives_them() -> None:
    from astrosage.plan.setup import Setup
    from astrosage.spec.train import TrainSpec
    from astrosage.train import adapters

    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=128,
    )
    for targets in (["all-linear"], ["q_proj", "down_proj"]):
        spec = TrainSpec.model_validate(
            {"objective": "cpt", "data": "x", "lora": {"rank": 4, "targets": targets}}
        )
        assert spec.lora is not None
        model = AutoModelForCausalLM.from_config(config)
        adapters.inject(model, spec.lora, 0)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        setup = Setup(from_config(config.to_dict(), "config"), spec, 1, 64, 1)
        assert setup.trained == trained
        assert setup.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "mixtral", "num_local_experts": 8}, "models of type `mixtral`"),
        ({"model_type": "llama", "num_local_experts": 8}, "models of type `llama`"),
        ({"hidden_size": "wide"}, "hidden_size is 'wide'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"vocab_size": None}, "vocab_size is None"),
    ],
)
def test_other_configurations_are_refused(change: dict[str, object], words: str) -> None:
    config = {**LlamaConfig().to_dict(), **change}
    with pytest.raises(SpecError) as caught:
        from_config(config, "spec.model: here")
    assert words in caught.value.message
    assert caught.value.message.startswith("spec.model: here")
