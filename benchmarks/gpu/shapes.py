"""Llama shapes to measure with; weights are random, so nothing is fetched."""

from __future__ import annotations

from typing import Any

# hidden, intermediate, layers, heads, key-value heads, head dimension, vocabulary
_SHAPES = {
    "tiny": (64, 128, 2, 4, 2, 16, 1_024),
    "160m": (768, 3_072, 12, 12, 4, 64, 32_768),
    "1b": (2_048, 8_192, 16, 32, 8, 64, 128_256),  # Llama 3.2 1B
    "3b": (3_072, 8_192, 28, 24, 8, 128, 128_256),  # Llama 3.2 3B
}
NAMES = tuple(_SHAPES)


def config(size: str, sequence_length: int) -> Any:
    """The transformers configuration of a shape."""
    from transformers import LlamaConfig

    hidden, intermediate, layers, heads, key_values, dimension, vocabulary = _SHAPES[size]
    return LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_values,
        head_dim=dimension,
        vocab_size=vocabulary,
        max_position_embeddings=sequence_length,
        tie_word_embeddings=True,
        use_cache=False,
    )
