"""TRL's SFTTrainer on the same text, model shape and sequence length, on one device.

As TRL runs it: fp32 weights under bf16 autocast, packing (best-fit decreasing, padding-free), its
loss in chunks, fused AdamW; FlashAttention where it is installed, else PyTorch's SDPA. If asked
for, activation checkpointing and torch.compile are TRL's own.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from typing import Any

import shapes
import text
import torch
from train import WARM_UP_STEPS, peak_memory

_DOCUMENTS = 4_096


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Train for the asked time and say how fast it went."""
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from astrosage.models.arithmetic import fast_bf16
    from astrosage.train import throughput

    device = torch.device(options.device)
    config = shapes.config(options.size, options.sequence_length)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention(device))
    made: dict[str, Any] = {}

    class Clock(TrainerCallback):
        """Counts steps after the warm-up, and ends the training in time."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if made.get("step", 0) == WARM_UP_STEPS:
                wait(device)
                made["began"], made["tokens"], made["flops"] = time.perf_counter(), 0, 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            made["step"] = state.global_step
            if "began" in made and time.perf_counter() - made["began"] > options.seconds:
                wait(device)
                made["seconds"] = time.perf_counter() - made["began"]
                control.should_training_stop = True

    class Counting(SFTTrainer):
        """Counts tokens and the arithmetic that their documents need."""

        def compute_loss(self, model: Any, inputs: dict[str, Any], **kwargs: Any) -> Any:
            if "began" in made:
                ends = inputs["cu_seq_lens_q"].cpu()
                lengths = ends.diff().tolist()
                learnt = sum(lengths) - len(lengths)
                made["tokens"] += sum(lengths)
                made["flops"] += throughput.training_flops(config, lengths, learnt)
            return super().compute_loss(model, inputs, **kwargs)

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=empty_tokenizer(), pad_token="<pad>")
    tokenizer.eos_token = "<pad>"
    with tempfile.TemporaryDirectory() as folder:
        trainer = Counting(
            model=model,
            args=SFTConfig(
                output_dir=folder,
                max_steps=1_000_000,
                per_device_train_batch_size=options.rows,
                gradient_accumulation_steps=options.accumulation,
                learning_rate=1e-4,
                optim="adamw_torch_fused",
                bf16=device.type == "cuda",
                use_cpu=device.type == "cpu",
                gradient_checkpointing=options.activation_checkpointing,
                torch_compile=options.compile,
                max_length=options.sequence_length,
                packing=True,
                save_strategy="no",
                report_to="none",
                logging_steps=1_000_000,
                disable_tqdm=True,
            ),
            train_dataset=dataset(options, config.vocab_size),
            processing_class=tokenizer,
            callbacks=[Clock()],
        )
        trainer.train()
    peak = throughput.peak(device, bf16=fast_bf16(device))
    return {
        "size": options.size,
        "device": throughput.device_name(device),
        "attention": attention(device),
        "tokensPerSecond": round(made["tokens"] / made["seconds"], 1),
        "mfu": round(made["flops"] / made["seconds"] / peak.flops, 4),
        "mfuPeak": peak.source,
        "peakMemoryBytes": peak_memory(device),
        "steps": made["step"] - WARM_UP_STEPS,
    }


def attention(device: torch.device) -> str:
    """The fastest kind that is there and keeps packed documents apart."""
    import importlib.util

    installed = device.type == "cuda" and importlib.util.find_spec("flash_attn")
    return "flash_attention_2" if installed else "sdpa"


def dataset(options: argparse.Namespace, vocabulary: int) -> Any:
    from datasets import Dataset

    source = text.documents(
        text.articles(vocabulary), options.document_tokens, options.sequence_length
    )
    return Dataset.from_dict({"input_ids": list(itertools.islice(source, _DOCUMENTS))})


def empty_tokenizer() -> Any:
    """TRL asks for a tokenizer's padding token even where the data is tokenised."""
    from tokenizers import Tokenizer, models

    return Tokenizer(models.WordLevel({"<pad>": 0}, unk_token="<pad>"))


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
