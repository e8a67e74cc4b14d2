"""Published scores on AstroMLab-1, as points of reference; each with where it was published.

Two sets of questions were scored under that name: all 4,425, and since February 2026 the validated
subset of 3,846. Scores on one say nothing about the other.
"""

from __future__ import annotations

from dataclasses import dataclass

ALL, VALIDATED = 4425, 3846
POINTS_PER_TENFOLD_COST = 3.5
"""Points of accuracy that came with ten times the price, among the models of 2024 (AstroMLab 1,
arXiv 2407.11194, as reported by others)."""

_ASTROMLAB_1 = "AstroMLab 1, arXiv 2407.11194"
_ASTROSAGE_8B = "model card of AstroSage-8B; de Haan et al. 2025, Sci. Rep. 15, 13751"
_ASTROSAGE_70B_1 = "AstroMLab 4, arXiv 2505.17592v1, as reported by others"
_ASTROSAGE_70B_2 = "AstroMLab 4, arXiv 2505.17592v2, abstract"
_CARDS = "https://huggingface.co/AstroMLab"


@dataclass(frozen=True)
class Published:
    """A published accuracy.

    Attributes:
        name: The model.
        accuracy: Percent.
        questions: Of which set: 4,425 or 3,846.
        source: Where it was published.
        usd_per_100k_tokens: Its cost as published with it; None where no figure is at hand.
    """

    name: str
    accuracy: float
    questions: int
    source: str
    usd_per_100k_tokens: float | None = None


SCORES = (
    Published("AstroSage-70B", 89.0, VALIDATED, _ASTROSAGE_70B_2),
    Published("AstroSage-70B", 86.2, ALL, _ASTROSAGE_70B_1),
    Published("Claude 3.5 Sonnet", 85.0, ALL, _ASTROMLAB_1),
    Published("AstroSage-8B", 80.9, ALL, _ASTROSAGE_8B),
    Published("Llama 3 70B", 80.6, ALL, _ASTROMLAB_1),
    Published("GPT-4o", 80.4, ALL, _ASTROSAGE_8B),
    Published("Qwen 2 72B", 77.7, ALL, _ASTROMLAB_1),
    Published("AstroLLaMA-2-70B-Base", 76.0, ALL, _CARDS),
    Published("Llama 3.1 8B", 73.7, ALL, _CARDS),
    Published("Phi-3.5 4B", 72.8, ALL, _CARDS),
    Published("Gemma 2 9B", 71.5, ALL, _CARDS),
    Published("Llama 2 70B", 70.7, ALL, _CARDS),
    Published("Qwen 2.5 7B", 70.4, ALL, _CARDS),
    Published("Yi 1.5 9B", 68.4, ALL, _CARDS),
    Published("AstroLLaMA-2-70B-Chat", 64.7, ALL, _CARDS),
    Published("InternLM 2.5 7B", 64.5, ALL, _CARDS),
    Published("Mistral 7B v0.3", 63.9, ALL, _CARDS),
    Published("ChatGLM3-6B", 50.4, ALL, _CARDS),
)
