from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from astrosage.errors import TrainingError
from astrosage.train import model
from astrosage.train.batches import FlatBatch


def pack(*documents: list[int]) -> FlatBatch:
    tokens = [t for d in documents for t in d]
    starts = [sum(map(len, documents[:i])) for i in range(len(documents))]
    learnt = [s + i for s, d in zip(starts, documents, strict=True) for i in range(len(d) - 1)]
    return FlatBatch(
        tokens=torch.tensor([tokens]),
        positions=torch.tensor([[i for d in documents for i in range(len(d))]]),
        lengths=[len(d) for d in documents],
        learnt=torch.tensor(learnt, dtype=torch.long),
        targets=torch.tensor([t for d in documents for t in d[1:]]),
    )


DOCUMENTS = [[5, 9, 100, 31, 7], [44] * 3 + list(range(3, 60)), [8, 8, 2]]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_documents_in_a_pack_equal_documents_alone(tiny_model: Path, checkpointing: bool) -> None:
    trained = model.load(tiny_model, bf16=False, activation_checkpointing=checkpointing)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        packed = trained.logits(pack(*DOCUMENTS))[0].split([len(d) for d in DOCUMENTS])
        for document, logits in zip(DOCUMENTS, packed, strict=True):
            alone = plain(torch.tensor([document])).logits[0]
            torch.testing.assert_close(logits, alone, atol=1e-4, rtol=1e-4)


def test_loss_and_gradients_equal_those_of_the_plain_model(tiny_model: Path) -> None:
    trained = model.load(tiny_model, bf16=False, activation_checkpointing=False)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    loss = trained(pack(*DOCUMENTS))
    loss.backward()
    expected = torch.zeros(())
    for document in DOCUMENTS:
        ids = torch.tensor([document])
        expected = expected + plain(ids, labels=ids).loss * (len(document) - 1)
    expected.backward()
    torch.testing.assert_close(loss, expected, atol=1e-3, rtol=1e-4)
    theirs = dict(plain.named_parameters())
    for name, parameter in trained.model.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=1e-3, rtol=1e-3)


def test_names_of_parameters_are_those_of_the_plain_model(tiny_model: Path) -> None:
    trained = model.load(tiny_model, bf16=True, activation_checkpointing=False)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert [n for n, _ in trained.model.named_parameters()] == [
        n for n, _ in plain.named_parameters()
    ]


def test_weights_that_do_not_fit_are_a_training_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(TrainingError, match="cannot be loaded"):
        model.load(tmp_path, bf16=True, activation_checkpointing=False)
