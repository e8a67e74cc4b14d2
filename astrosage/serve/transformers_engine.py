"""An engine over transformers' continuous batching, on CPU or on one GPU."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from astrosage.errors import CapacityError, DataError
from astrosage.models.arithmetic import compute_type
from astrosage.models.resolve import check_directory
from astrosage.serve.assembly import Assembler
from astrosage.serve.engine import (
    EngineError,
    GenerationRequest,
    QueueTimeout,
    TokenEvent,
    TokenScore,
)
from astrosage.serve.picker import FailureRouter, Item, RunningSequence, TokenPicker
from astrosage.serve.processor_speed import attend_by_sequence, pack
from astrosage.serve.sampling import scores
from astrosage.serve.tokens import Tokens

_PAGE = 32  # tokens a cache page: small, so that a short prompt wastes little
# Zeroed at the start, so it is resident from then on; a full cache puts off the newest sequences.
_CPU_CACHE_BYTES = 512 << 20
# Tokens a step: a long prompt is read in pieces of this size, between which others go on.
_STEP_TOKENS = {"cpu": 256, "cuda": 2048}
_STOP_SECONDS = 10.0


class TransformersEngine:
    """See :class:`astrosage.serve.engine.Engine`.

    Args:
        model: A causal language model in evaluation mode, with ``sdpa`` attention.
        tokens: Its tokenizer.
        max_concurrent: Most sequences in one batch; further ones wait in order of arrival.
    """

    def __init__(self, model: Any, tokens: Tokens, *, max_concurrent: int) -> None:
        self.tokens = tokens
        self.context_length = int(model.config.get_text_config().max_position_embeddings)
        self._model = model
        self._ids = itertools.count()
        self._running: dict[str, RunningSequence] = {}
        self._closed = False
        self._scorer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="score")
        self._manager = _start_manager(model, self._running, self.context_length, max_concurrent)

    @classmethod
    def load(
        cls, folder: Path, *, max_concurrent: int, threads: int = 0, device: str = "cpu"
    ) -> TransformersEngine:
        """Load a model directory, as bf16 where the device computes with it fast, else as fp32.

        Args:
            folder: Hugging Face directory with safetensors weights.
            max_concurrent: Most sequences in one batch.
            threads: CPU threads for one operation; 0 leaves torch's own number.
            device: ``cpu`` or ``cuda``.

        Raises:
            NotFoundError, DataError, CapacityError: Naming what is missing, broken or too large.
        """
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM

        check_directory(folder, "model")
        if threads:
            torch.set_num_threads(threads)
        try:
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=compute_type(device),
                attn_implementation="sdpa",
                use_safetensors=True,
                local_files_only=True,
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise DataError(
                f"model: {folder} cannot be loaded: {error}", "export or download it again"
            ) from None
        ends = model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
        tokens = Tokens.load(folder, ends)
        model = model.requires_grad_(False).eval().to(device)
        pack(model)
        return cls(model, tokens, max_concurrent=max_concurrent)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenEvent, None]:
        """Events until one has a finish reason; closing the iterator frees the slot."""
        self.check()
        sequence = RunningSequence(request, self._model.device, asyncio.get_running_loop())
        assembler = Assembler(request, self.tokens.decode, self.tokens.end_ids)
        request_id = f"sequence-{next(self._ids)}"
        self._running[request_id] = sequence
        try:
            self._manager.add_request(
                list(request.prompt_ids),
                request_id=request_id,
                max_new_tokens=request.max_tokens,
                eos_token_id=sorted(self.tokens.end_ids),
            )
            item = await self._first(request_id, sequence)
            first = True
            while True:
                if isinstance(item, EngineError):
                    raise item
                event = assembler.push(*item)
                yield replace(event, queued=sequence.waited) if first else event
                if event.finish_reason:
                    return
                first = False
                item = await sequence.queue.get()
        finally:
            del self._running[request_id]
            self._manager.cancel_request(request_id)

    async def score(self, prompt_ids: Sequence[int], top: int) -> list[TokenScore]:
        """A score for each token of a prompt, with ``top`` alternatives each."""
        self.check()
        given_up = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._scorer, self._score, list(prompt_ids), top, given_up
            )
        finally:
            given_up.set()

    def check(self) -> None:
        """Raise :class:`EngineError` if the generation loop is gone."""
        if self._closed:
            raise EngineError("the engine is shut down")
        if not self._manager.is_running():
            cause = self._manager.background_thread_status.fatal_error
            raise EngineError(f"the generation loop has died: {cause!r}")

    def cache_use(self) -> float | None:
        """Share of the key-value cache that is taken, 0 to 1, kept beginnings of prompts too."""
        cache = self._manager.batch_processor.cache
        return 1.0 - float(cache.pool.num_free_sectors) / max(1, int(cache.num_sectors))

    def close(self) -> None:
        """Fail what is running and stop the generation loop."""
        if self._closed:
            return
        self._closed = True
        self._scorer.shutdown(wait=False, cancel_futures=True)
        self._manager.stop(block=True, timeout=_STOP_SECONDS, hard_stop=True)

    async def _first(self, request_id: str, sequence: RunningSequence) -> Item:
        """A sequence's first item.

        Raises:
            QueueTimeout: If it still waits for its turn when its time is over.
        """
        timeout = sequence.request.queue_timeout
        try:
            async with asyncio.timeout(timeout):
                return await sequence.queue.get()
        except TimeoutError:
            # Reading a long prompt is no waiting: what has begun goes on.
            if request_id in self._manager.batch_processor.scheduler.active_requests:
                return await sequence.queue.get()
            raise QueueTimeout(f"no turn within {timeout:g} s; the server is busy") from None

    def _score(self, ids: list[int], top: int, given_up: threading.Event) -> list[TokenScore]:
        from transformers import DynamicCache

        result = [TokenScore(ids[0], None)]
        cache = DynamicCache(config=self._model.config)
        step = _STEP_TOKENS[self._model.device.type]
        for start in range(0, len(ids) - 1, step):
            if given_up.is_set():
                break
            targets = ids[start + 1 : start + 1 + step]
            inputs = torch.tensor([ids[start : start + len(targets)]], device=self._model.device)
            # The model is shared with the generation loop, which waits for a piece at a time.
            with self._manager.pause(), torch.inference_mode():
                logits = self._model(inputs, past_key_values=cache, use_cache=True).logits[0]
                result += scores(logits, targets, top)
        return result


def _start_manager(
    model: Any, running: dict[str, RunningSequence], context_length: int, max_concurrent: int
) -> Any:
    from transformers import ContinuousBatchingConfig, GenerationConfig, LogitsProcessorList
    from transformers.generation.continuous_batching.cb_logits_processors import (
        ContinuousBatchingLogitsProcessorList,
    )

    on_cpu = model.device.type == "cpu"
    step_tokens = max(_STEP_TOKENS[model.device.type], max_concurrent)
    config = ContinuousBatchingConfig(
        page_size=_PAGE,
        num_blocks=_cpu_blocks(model, context_length, max_concurrent) if on_cpu else None,
        max_batch_tokens=step_tokens,
        max_requests_per_batch=max_concurrent,
        # Tokens are chosen on the host, between the steps; see TokenPicker.
        use_async_batching=False,
        use_cuda_graph=False,
        auto_switch_to_flash=False,  # it would look for kernels on the hub
    )
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=-1),
        continuous_batching_config=config,
    )
    processors = ContinuousBatchingLogitsProcessorList(LogitsProcessorList([TokenPicker(running)]))
    processors.tensors_required = 1
    manager.logit_processor = processors
    manager.output_router = FailureRouter(running)
    try:
        manager.warmup()
    except MemoryError as error:
        raise CapacityError(
            f"maxConcurrent: the key-value cache does not fit in memory: {error}",
            "serve fewer sequences at once or use a larger machine",
        ) from None
    _check_capacity(manager, context_length)
    if on_cpu:
        attend_by_sequence(model)
    manager.start()
    return manager


def _check_capacity(manager: Any, context_length: int) -> None:
    """A sequence that can never be stored would stop the generation loop for everyone."""
    stored = manager.batch_processor.cache.num_blocks * _PAGE
    if stored < context_length:
        raise CapacityError(
            f"model: a context of {context_length} tokens does not fit in the key-value cache; "
            f"memory is left for {stored}",
            "use a machine with more memory",
        )


def _cpu_blocks(model: Any, context_length: int, max_concurrent: int) -> int:
    """Cache blocks on a CPU: every sequence at full length, as far as the budget goes."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    bytes_per_token: int = 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize
    affordable = _CPU_CACHE_BYTES // bytes_per_token
    wanted = max(context_length, min(max_concurrent * context_length, affordable))
    return -(-wanted // _PAGE) + 1
