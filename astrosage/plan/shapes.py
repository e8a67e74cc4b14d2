"""What a model's configuration says of its size: parameters and arithmetic, without its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from astrosage.errors import SpecError

# Decoders with Llama's layers: grouped-query attention, gated feed-forward, RMSNorm, no experts.
_BIASED = ("qwen2",)
_NORMED_QUERIES = ("qwen3",)
_FAMILIES = ("llama", "mistral", *_BIASED, *_NORMED_QUERIES)


@dataclass(frozen=True)
class ModelShape:
    """A Llama-shaped decoder.

    Attributes:
        layers: Decoder layers.
        hidden: Width d of the residual stream.
        intermediate: Width of the feed-forward layer.
        heads: Query heads H.
        key_value_heads: Key and value heads.
        head_dim: Width D of a head.
        vocabulary: Tokens V.
        tied: Whether the output layer is the embedding.
        positions: The longest sequence; None if the configuration does not say.
        query_bias: Whether query, key and value projections have a bias (Qwen 2).
        query_norm: Whether queries and keys are normalised head by head (Qwen 3).
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    head_dim: int
    vocabulary: int
    tied: bool = False
    positions: int | None = None
    query_bias: bool = False
    query_norm: bool = False

    @property
    def query_width(self) -> int:
        """Elements of a token's queries."""
        return self.heads * self.head_dim

    @property
    def key_value_width(self) -> int:
        """Elements of a token's keys; its values have as many."""
        return self.key_value_heads * self.head_dim

    @property
    def layer_matrices(self) -> int:
        """Elements of one layer's matrices."""
        attention = 2 * self.hidden * (self.query_width + self.key_value_width)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def layer_vectors(self) -> int:
        """Elements of one layer's norms and biases."""
        biases = self.query_width + 2 * self.key_value_width if self.query_bias else 0
        return 2 * self.hidden + biases + (2 * self.head_dim if self.query_norm else 0)

    @property
    def linear(self) -> int:
        """Elements of all layers' matrices."""
        return self.layers * self.layer_matrices

    @property
    def embedding(self) -> int:
        """Elements of the embedding, and of the output layer."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters."""
        ends = self.embedding * (1 if self.tied else 2) + self.hidden
        return self.linear + self.layers * self.layer_vectors + ends

    def flops(self, tokens: float, learnt: float, squares: float) -> float:
        """Operations of a forward and backward pass, as MFU counts them.

        Args:
            tokens: Tokens computed.
            learnt: Tokens whose loss is computed.
            squares: Sum of the squared document lengths.
        """
        attention = 4 * self.layers * self.query_width * squares
        return 3.0 * (2 * self.linear * tokens + 2 * self.embedding * learnt + attention)


def from_config(config: Mapping[str, Any], where: str) -> ModelShape:
    """The shape that a Hugging Face ``config.json`` states.

    Args:
        config: Its content.
        where: What it is, for messages.

    Raises:
        SpecError: If it is of another architecture, or lacks a field.
    """
    kind = str(config.get("model_type", "llama"))
    if kind not in _FAMILIES or config.get("num_local_experts") or config.get("num_experts"):
        raise SpecError(
            f"{where}: models of type `{kind}` cannot be planned",
            f"known: {', '.join(_FAMILIES)} (decoders with Llama's layers, without experts)",
        )
    heads = _number(config, "num_attention_heads", where)
    hidden = _number(config, "hidden_size", where)
    return ModelShape(
        layers=_number(config, "num_hidden_layers", where),
        hidden=hidden,
        intermediate=_number(config, "intermediate_size", where),
        heads=heads,
        key_value_heads=_number(config, "num_key_value_heads", where, heads),
        head_dim=_number(config, "head_dim", where, hidden // heads),
        vocabulary=_number(config, "vocab_size", where),
        # transformers leaves out what is its default, and ties these families' ends only if told.
        tied=bool(config.get("tie_word_embeddings", False)),
        positions=config.get("max_position_embeddings"),
        query_bias=kind in _BIASED or bool(config.get("attention_bias")),
        query_norm=kind in _NORMED_QUERIES,
    )


def _number(config: Mapping[str, Any], name: str, where: str, default: int | None = None) -> int:
    value = config.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SpecError(
            f"{where}: {name} is {value!r}, not a whole number of at least 1",
            "give the config.json of a Hugging Face model",
        )
    return value
