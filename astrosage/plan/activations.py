"""What the forward pass keeps for the backward pass, by the layers that training really has.

Counted in elements of the compute type for each token: of a layer, its two normalisations keep
their input and the projections theirs (4 d), attention keeps queries, keys, values and its output
(2 H D + 2 K D), the gated feed-forward keeps gate, up and their product (3 F). There is no dropout,
and attention's scores are computed again in the backward pass, on a GPU as on a processor.
"""

from __future__ import annotations

from dataclasses import dataclass

from astrosage.plan.setup import Setup

FP32 = 4
# The chunks of astrosage.train.loss, which imports PyTorch; a test compares them.
CHUNK_ELEMENTS = {"cpu": 256 * 49_152, "cuda": 1 << 28}
CHUNKS_TOGETHER = {"cpu": 4, "cuda": 1}
MOST_ROUNDINGS = 8


def layer(setup: Setup) -> float:
    """Bytes that one decoder layer keeps."""
    shape = setup.shape
    kept = 4 * shape.hidden + 2 * (shape.query_width + shape.key_value_width)
    kept += 3 * shape.intermediate
    scales = 2 * FP32 + (FP32 * shape.heads if setup.cuda else 0)  # and log-sum-exp of each head
    return setup.tokens * (setup.bytes_each * (kept + _adapters(setup)) + scales)


def _adapters(setup: Setup) -> int:
    """Elements that a layer's adapters keep for each token: what their first matrices give."""
    return len(setup.adapted) * setup.spec.lora.rank if setup.spec.lora else 0


def kept(setup: Setup) -> float:
    """Bytes that all layers keep until the backward pass."""
    if setup.spec.activation_checkpointing:
        inputs = setup.tokens * setup.shape.hidden * setup.bytes_each
        return setup.shape.layers * inputs
    return setup.shape.layers * layer(setup)


def working(setup: Setup) -> float:
    """Bytes that the backward pass of one layer needs beside what is kept.

    In the feed-forward: gradients of the product, of gate and up, and one product in between, less
    the product itself, which is done with. With activation checkpointing also the layer's own
    activations, computed again.
    """
    shape = setup.shape
    flowing = setup.tokens * setup.bytes_each * (3 * shape.intermediate + 2 * shape.hidden)
    again = layer(setup) if setup.spec.activation_checkpointing else 0.0
    return flowing + again


@dataclass(frozen=True)
class _Chunks:
    """How the loss is cut: tokens whose logits exist in the compute type and in fp32, and whether
    their products are few enough to be summed in the compute type."""

    together: int
    wide: int
    few: bool


def _chunks(setup: Setup) -> _Chunks:
    place = "cuda" if setup.cuda else "cpu"
    wide = max(1, min(setup.tokens, CHUNK_ELEMENTS[place] // setup.shape.vocabulary))
    together = wide * CHUNKS_TOGETHER[place]
    few = -(-setup.tokens // together) <= MOST_ROUNDINGS
    return _Chunks(min(together, setup.tokens), wide, few)


def loss(setup: Setup) -> float:
    """Bytes of the loss at its worst: logits, hidden states and their gradient, and, where the
    output layer is trained, its gradient, which the forward pass makes and the backward scales."""
    chunks, vocabulary, each = _chunks(setup), setup.shape.vocabulary, setup.bytes_each
    logits = vocabulary * (chunks.together * each + chunks.wide * FP32)
    states = 2 * setup.tokens * setup.shape.hidden * each
    final = head_gradient(setup)
    summed = final if chunks.few else final / each * FP32
    rounded = 0.0 if chunks.few else final
    return states + summed + rounded + max(logits, summed)


def head_gradient(setup: Setup) -> float:
    """Bytes of the output layer's gradient; 0 where it is frozen."""
    return 0.0 if setup.spec.lora else float(setup.shape.embedding * setup.bytes_each)
