import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from astrosage.context import StageContext
from astrosage.errors import AstroError, DataError, SpecError
from astrosage.merge import run as run_module
from astrosage.merge import tensors
from astrosage.merge.run import run
from astrosage.models import writing
from astrosage.runs import manifest, metrics
from astrosage.runs.directory import RunDirectory
from astrosage.runs.storage import Storage
from astrosage.spec.load import parse
from tests import tiny


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [tiny.make_model(folder / f"m{seed}", seed) for seed in range(3)]


def merge(folder: Path, workers: int = 1, **spec: Any) -> Path:
    cluster = {"workers": workers, "resourcesPerWorker": {"cpu": 1}}
    job = parse(
        {
            "metadata": {"name": "m"},
            "spec": {
                "model": "smollm2-135m",
                "storage": str(folder),
                "stages": [{"name": "merged", "merge": spec}],
                "cluster": cluster,
            },
        }
    )
    directory = RunDirectory.of(job)
    run(StageContext(job.to_yaml_dict(), "merged", directory.uri, "k"))
    return Path(directory.uri) / "stages/merged/model"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    merged: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        merged |= load_file(file)
    return merged


def test_linear_merge_loads_and_is_the_mean(tmp_path: Path, models: list[Path]) -> None:
    donors = [{"model": str(m), "weight": w} for m, w in zip(models[:2], (3, 1), strict=True)]
    made = merge(tmp_path, method="linear", models=donors)
    manifest.verify(made, full=True)
    a, b, found = weights(models[0]), weights(models[1]), weights(made)
    assert found.keys() == a.keys()
    for name, tensor in found.items():
        expected = (0.75 * a[name].float() + 0.25 * b[name].float()).to(torch.bfloat16)
        assert torch.equal(tensor, expected), name
    model = AutoModelForCausalLM.from_pretrained(made)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert AutoTokenizer.from_pretrained(made).chat_template


def deltas(model: Path, base: Path) -> dict[str, torch.Tensor]:
    start = weights(base)
    return {name: t.float() - start[name].float() for name, t in weights(model).items()}


def test_ties_trims_over_the_whole_model_and_merges_what_agrees(
    tmp_path: Path, models: list[Path]
) -> None:
    """Against the paper's algorithm on flat vectors of all weights at once."""
    shares, densities = (0.7, 0.4), (0.2, 0.6)
    donors = [
        {"model": str(m), "weight": w, "density": d}
        for m, w, d in zip(models[1:], shares, densities, strict=True)
    ]
    made = merge(tmp_path, method="ties", base=str(models[0]), models=donors)
    base = weights(models[0])
    flat = [
        torch.cat([delta[name].flatten() for name in sorted(base)])
        for delta in (deltas(m, models[0]) for m in models[1:])
    ]
    trimmed = []
    for vector, density in zip(flat, densities, strict=True):
        smallest = vector.abs().sort(descending=True).values[round(density * vector.numel()) - 1]
        trimmed.append(torch.where(vector.abs() >= smallest, vector, torch.zeros(())))
    a, b = trimmed
    sign = (shares[0] * a + shares[1] * b).sign()
    first = ((a != 0) & (a.sign() == sign)) * shares[0]
    second = ((b != 0) & (b.sign() == sign)) * shares[1]
    mean = torch.nan_to_num((first * a + second * b) / (first + second))
    start = torch.cat([base[name].float().flatten() for name in sorted(base)])
    found = torch.cat([t.flatten() for _, t in sorted(weights(made).items())])
    torch.testing.assert_close(found, (start + mean).to(torch.bfloat16), atol=0, rtol=2**-7)
    assert (found != start).float().mean() < 0.7  # much was trimmed


def test_dare_adds_a_rescaled_share_of_the_difference(tmp_path: Path, models: list[Path]) -> None:
    donors = [{"model": str(models[1]), "weight": 0.5, "density": 0.25}]
    made = merge(
        tmp_path, method="dare_ties", base=str(models[0]), models=donors, normalize=False, seed=1
    )
    base, kept, total = weights(models[0]), 0, 0
    for name, delta in deltas(models[1], models[0]).items():
        found, start = weights(made)[name], base[name]
        changed = found != start
        expected = (start.float() + 0.5 * delta / 0.25).to(torch.bfloat16)
        torch.testing.assert_close(found[changed], expected[changed], atol=1e-6, rtol=2**-7)
        kept, total = kept + int(changed.sum()), total + int((expected != start).sum())
    assert kept / total == pytest.approx(0.25, abs=0.01)


def test_each_donor_has_drops_of_its_own(tmp_path: Path, models: list[Path]) -> None:
    donors = [{"model": str(models[1]), "density": 0.5}] * 2
    made = merge(tmp_path, method="dare_ties", base=str(models[0]), models=donors)
    name = "model.embed_tokens.weight"
    moved = deltas(models[1], models[0])[name] != 0
    untouched = weights(made)[name] == weights(models[0])[name]
    assert float(untouched[moved].float().mean()) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("method", ["ties", "dare_ties"])
def test_the_inputs_type_changes_nothing(tmp_path: Path, models: list[Path], method: str) -> None:
    def widened(tensors: dict[str, torch.Tensor]) -> None:
        tensors.update({n: t.float() for n, t in tensors.items()})

    wide = [changed(m, tmp_path / m.name, widened) for m in models]
    made = []
    for folder, used in ((tmp_path / "bf16", models), (tmp_path / "fp32", wide)):
        donors = [{"model": str(m), "density": 0.5} for m in used[1:]]
        made.append(weights(merge(folder, method=method, base=str(used[0]), models=donors)))
    assert all(torch.equal(t, made[1][n]) for n, t in made[0].items())


def test_slerp_goes_from_the_base_to_the_model(tmp_path: Path, models: list[Path]) -> None:
    a, b = weights(models[0]), weights(models[1])
    for t in (0.0, 0.3, 1.0):
        donor = {"model": str(models[1]), "weight": t}
        found = weights(
            merge(tmp_path / str(t), method="slerp", base=str(models[0]), models=[donor])
        )
        for name, tensor in found.items():
            x, y = a[name].double(), b[name].double()
            cosine = (x * y).sum() / x.norm() / y.norm()
            angle = torch.arccos(cosine.clamp(-1, 1))
            arc = (torch.sin((1 - t) * angle) * x + torch.sin(t * angle) * y) / torch.sin(angle)
            expected = arc if angle > 1e-3 else (1 - t) * x + t * y
            torch.testing.assert_close(
                tensor, expected.to(torch.bfloat16), atol=1e-6, rtol=2**-7, msg=name
            )


@pytest.mark.parametrize("method", ["ties", "dare_ties"])
def test_one_donor_of_full_density_is_the_donor(
    tmp_path: Path, models: list[Path], method: str
) -> None:
    made = merge(tmp_path, method=method, base=str(models[0]), models=[{"model": str(models[1])}])
    donor = weights(models[1])
    for name, tensor in weights(made).items():
        torch.testing.assert_close(tensor, donor[name], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("method", ["slerp", "ties", "dare_linear", "dare_ties"])
def test_the_result_does_not_depend_on_pieces_threads_or_shards(
    tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    donors = [{"model": str(m), "weight": 0.5, "density": 0.4} for m in models[1:]]
    donors = donors[:1] if method == "slerp" else donors
    spec = {"method": method, "base": str(models[0]), "models": donors, "seed": 3}
    whole = merge(tmp_path / "a", **spec)
    if method in ("slerp", "ties"):  # a piece has random numbers of its own
        monkeypatch.setattr(tensors, "PIECE", 1000)
    monkeypatch.setattr(run_module, "_threads", lambda context: 5)
    cut = merge(tmp_path / "b", **spec, shardSize="40K")
    assert len(list(cut.glob("*.safetensors"))) > 2 > len(list(whole.glob("*.safetensors"))) - 1
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(cut)[name]), name
    assert AutoModelForCausalLM.from_pretrained(cut).num_parameters() > 0
    index = json.loads((cut / writing.INDEX).read_text())
    assert index["weight_map"].keys() == weights(cut).keys()
    manifest.verify(cut, full=True)


def test_dare_linear_adds_every_kept_difference(tmp_path: Path, models: list[Path]) -> None:
    """Of opposed differences, dare_ties would leave one out."""
    donors = [{"model": str(m), "weight": w} for m, w in zip(models[1:], (0.5, 0.25), strict=True)]
    made = weights(
        merge(tmp_path, method="dare_linear", base=str(models[0]), models=donors, normalize=False)
    )
    a, b = deltas(models[1], models[0]), deltas(models[2], models[0])
    for name, start in weights(models[0]).items():
        expected = (start.float() + 0.5 * a[name] + 0.25 * b[name]).to(torch.bfloat16)
        torch.testing.assert_close(made[name], expected, atol=1e-6, rtol=2**-7)


def test_scale_multiplies_the_merged_difference(tmp_path: Path, models: list[Path]) -> None:
    spec = {"method": "ties", "base": str(models[0]), "models": [{"model": str(models[1])}]}
    made = weights(merge(tmp_path, **spec, scale=0.5))
    for name, delta in deltas(models[1], models[0]).items():
        expected = (weights(models[0])[name].float() + 0.5 * delta).to(torch.bfloat16)
        torch.testing.assert_close(made[name], expected, atol=1e-6, rtol=2**-7)


def test_ties_can_trim_each_tensor_for_itself(tmp_path: Path, models: list[Path]) -> None:
    donor = {"model": str(models[1]), "density": 0.3}
    spec = {"method": "ties", "base": str(models[0]), "models": [donor]}
    made = weights(merge(tmp_path, **spec, trim="tensor"))
    for name, delta in deltas(models[1], models[0]).items():
        kept = max(1, round(0.3 * delta.numel()))
        smallest = delta.abs().flatten().sort(descending=True).values[kept - 1]
        trimmed = torch.where(delta.abs() >= smallest, delta, 0.0)
        expected = (weights(models[0])[name].float() + trimmed).to(torch.bfloat16)
        assert torch.equal(made[name], expected), name


def test_bfloat16_arithmetic_stays_near(tmp_path: Path, models: list[Path]) -> None:
    donors = [{"model": str(m), "weight": 0.5} for m in models[1:]]
    spec = {"method": "ties", "base": str(models[0]), "models": donors}
    exact = weights(merge(tmp_path / "a", **spec))
    rounded = weights(merge(tmp_path / "b", **spec, arithmetic="bfloat16"))
    assert any(not torch.equal(t, rounded[n]) for n, t in exact.items())
    for name, tensor in exact.items():  # where rounding turns a sign, single entries differ much
        far = (tensor.float() - rounded[name].float()).abs().mean()
        assert float(far) < 0.02 * float(tensor.float().abs().mean()), name


def test_layers_and_modules_have_values_of_their_own(tmp_path: Path, models: list[Path]) -> None:
    donor = {
        "model": str(models[1]),
        "weight": 0.0,
        "overrides": [{"weights": [1.0, 0.5]}, {"tensors": "*.mlp.*", "layers": "1", "weight": 0}],
    }
    made = weights(merge(tmp_path, method="slerp", base=str(models[0]), models=[donor]))
    base, end = weights(models[0]), weights(models[1])
    for name, tensor in made.items():
        if "layers.0." in name:
            assert torch.equal(tensor, end[name]), name
        elif "layers.1." not in name or ".mlp." in name:
            assert torch.equal(tensor, base[name]), name
        elif base[name].ndim == 2:
            assert not torch.equal(tensor, base[name]), name
            assert not torch.equal(tensor, end[name]), name


def test_an_override_that_meets_nothing_is_refused(tmp_path: Path, models: list[Path]) -> None:
    donors = [{"model": str(models[1]), "overrides": [{"tensors": "*.atn.*", "weight": 1}]}]
    with pytest.raises(SpecError, match=r"models\[0\].overrides\[0\]: no tensor is called"):
        merge(tmp_path, method="linear", models=donors)


def changed(model: Path, folder: Path, edit: Any) -> Path:
    shutil.copytree(model, folder)
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_what_does_not_fit_is_named_and_leaves_nothing(tmp_path: Path, models: list[Path]) -> None:
    norm = "model.norm.weight"

    def longer(tensors: dict[str, torch.Tensor]) -> None:
        tensors[norm] = torch.ones(65, dtype=torch.bfloat16)

    def poisoned(tensors: dict[str, torch.Tensor]) -> None:
        tensors[norm][3] = float("nan")

    def missing(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[norm]

    for edit, words in (
        (longer, r"model.norm.weight is \[64\] in .* and \[65\] in"),
        (poisoned, "model.norm.weight has values that are not finite"),
        (missing, "has model.norm.weight"),
    ):
        bad = changed(models[1], tmp_path / edit.__name__, edit)
        donors = [{"model": str(models[0])}, {"model": str(bad)}]
        with pytest.raises(DataError, match=words):
            merge(tmp_path / "out", method="linear", models=donors)
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def linear(folder: Path, *models: Path) -> Path:
    return merge(folder, method="linear", models=[{"model": str(m)} for m in models])


def test_a_tied_head_that_is_stored_twice_is_left_out(tmp_path: Path, models: list[Path]) -> None:
    def doubled(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    twice = changed(models[1], tmp_path / "twice", doubled)
    made, expected = linear(tmp_path / "a", models[0], twice), linear(tmp_path / "b", *models[:2])
    assert weights(made).keys() == weights(expected).keys()
    assert all(torch.equal(t, weights(expected)[n]) for n, t in weights(made).items())


def test_tied_and_untied_models_do_not_mix(tmp_path: Path, models: list[Path]) -> None:
    untied = tiny.make_model(tmp_path / "untied", 1, tied=False)
    with pytest.raises(DataError, match=r"only .*untied has lm_head.weight \(1 tensors in all\)"):
        linear(tmp_path / "out", models[0], untied)
    assert "lm_head.weight" in weights(linear(tmp_path / "out2", untied, untied))


def with_json(model: Path, folder: Path, name: str, edit: Any) -> Path:
    shutil.copytree(model, folder)
    content = json.loads((folder / name).read_text())
    edit(content)
    (folder / name).write_text(json.dumps(content))
    return folder


def test_settings_that_shapes_do_not_show_are_compared(tmp_path: Path, models: list[Path]) -> None:
    heads = with_json(
        models[1], tmp_path / "heads", "config.json", lambda c: c.update(num_attention_heads=8)
    )
    with pytest.raises(DataError, match=r"`num_attention_heads` in config.json is 4 in .* and 8"):
        linear(tmp_path / "out", models[0], heads)
    rope = with_json(
        models[1],
        tmp_path / "rope",
        "config.json",
        lambda c: c.update(rope_parameters={"rope_theta": 5e5, "rope_type": "default"}),
    )
    with pytest.raises(DataError, match=r"`rope_theta` in config.json is 10000.0 in .* 500000.0"):
        linear(tmp_path / "out", models[0], rope)


def test_other_vocabularies_of_the_same_size_are_refused(
    tmp_path: Path, models: list[Path]
) -> None:
    def swap(tokenizer: Any) -> None:
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]

    swapped = with_json(models[1], tmp_path / "swapped", "tokenizer.json", swap)
    with pytest.raises(DataError, match=r"tokenizers differ: 'a' is token \d+ .*\(2 tokens in all"):
        linear(tmp_path / "out", models[0], swapped)


def test_sharded_models_are_read_by_their_index(tmp_path: Path, models: list[Path]) -> None:
    sharded = tmp_path / "sharded"
    AutoModelForCausalLM.from_pretrained(models[1]).save_pretrained(sharded, max_shard_size="100KB")
    AutoTokenizer.from_pretrained(models[1]).save_pretrained(sharded)
    # What lies beside the shards is none of the model's.
    save_file({"stray": torch.ones(1)}, sharded / "adapter_model.safetensors")
    made, expected = linear(tmp_path / "a", models[0], sharded), linear(tmp_path / "b", *models[:2])
    assert all(torch.equal(t, weights(expected)[n]) for n, t in weights(made).items())

    shard = sorted(sharded.glob("model-*.safetensors"))[1]
    names = sorted(load_file(shard))
    save_file({n: t for n, t in load_file(shard).items() if n != names[0]}, shard)
    with pytest.raises(DataError, match=f"{shard.name} has no {names[0]}, which"):
        linear(tmp_path / "out", models[0], sharded)
    shard.unlink()
    with pytest.raises(DataError, match=f"{shard.name} is missing"):
        linear(tmp_path / "out", models[0], sharded)


def test_damaged_and_quantised_weights_are_refused(tmp_path: Path, models: list[Path]) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(models[1], damaged)
    whole = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"model\.safetensors is no sound safetensors file"):
        linear(tmp_path / "out", models[0], damaged)

    def quantised(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"] = torch.ones(64, dtype=torch.int8)

    small = changed(models[1], tmp_path / "small", quantised)
    with pytest.raises(DataError, match=r"weight model.norm.weight has type I8"):
        linear(tmp_path / "out", models[0], small)


def test_progress_is_recorded_once_however_often_it_runs(
    tmp_path: Path, models: list[Path]
) -> None:
    for _ in range(2):
        made = linear(tmp_path, *models[:2])
    lines = metrics.read(Storage(str(made.parent)))
    count = len(weights(made))
    assert [line["step"] for line in lines] == list(range(count + 1))
    assert {(line["total"], line["unit"]) for line in lines} == {(count, "tensors")}


def test_pickles_are_refused(tmp_path: Path, models: list[Path]) -> None:
    bad = tmp_path / "pickle"
    shutil.copytree(models[0], bad)
    (bad / "model.safetensors").rename(bad / "pytorch_model.bin")
    with pytest.raises(AstroError, match=r"pytorch_model.bin \(pickle, not accepted\)"):
        merge(tmp_path / "out", method="linear", models=[{"model": str(bad)}])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"method": "ties", "models": [{"model": "a/b"}]}, "needs `base`"),
        ({"method": "linear", "base": "a/b", "models": [{"model": "a/b"}]}, "has no `base`"),
        ({"method": "slerp", "base": "a/b", "models": [{"model": "a/b", "weight": 2}]}, "0 to 1"),
        (
            {"models": [{"model": "a/b", "weight": 1}, {"model": "a/c", "weight": -1}]},
            "cannot be normalized",
        ),
        (
            {"models": [{"model": "a/b", "overrides": [{"layers": "7-3", "weight": 1}]}]},
            "`layers: 7-3` ends before it starts; write `3-7`",
        ),
        ({"models": [{"model": "a/b", "overrides": [{"layers": "7"}]}]}, "says nothing"),
        (
            {"models": [{"model": "a/b", "overrides": [{"weight": 1, "weights": [0, 1]}]}]},
            "`weight` or `weights`, not both",
        ),
    ],
)
def test_specs_that_cannot_work(tmp_path: Path, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        merge(tmp_path, **spec)
