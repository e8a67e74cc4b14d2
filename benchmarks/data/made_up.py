"""A made-up corpus of any size: documents of words as frequent as in English, with duplicates.

python benchmarks/data/made_up.py --megabytes 200 --out /tmp/corpus

The same seed gives the same bytes. Words are those that the model's tokenizer has a token for, as
frequent as its order says (Zipf and Mandelbrot), and rarer ones made of two of them. Lengths are
log-normal (median 500 words, mean about 820). Of a hundred documents 2 are equal to an earlier one,
5 differ from one in a few words, and 4 are no prose (too short, symbols, one sentence over and
over), which filters are to find.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

_RECENT, _FILE_BYTES = 2000, 64 * 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    print(make(options.out, options.megabytes, options.model, options.seed))
    return 0


def make(folder: Path, megabytes: float, model: str, seed: int = 0) -> int:
    """JSONL files with ``id`` and ``text``; the number of documents."""
    folder.mkdir(parents=True)
    left, documents, number = megabytes * 1e6, 0, 0
    texts = made_up(model, seed)
    while left > 0:
        file_left = min(left, _FILE_BYTES)
        with (folder / f"part-{number:03d}.jsonl").open("w", encoding="utf-8") as file:
            while file_left > 0:
                text = next(texts)
                file.write(json.dumps({"id": str(documents), "text": text}) + "\n")
                file_left -= len(text)
                left -= len(text)
                documents += 1
        number += 1
    return documents


def made_up(model: str, seed: int) -> Iterator[str]:
    """Texts without end."""
    chance = np.random.default_rng(seed)
    words = vocabulary(model, chance)
    weights = 1 / (np.arange(len(words)) + 2.7) ** 1.05
    steps = np.cumsum(weights / weights.sum())
    recent: list[str] = []
    while True:
        for kind, length in zip(
            chance.random(_RECENT), chance.lognormal(6.2, 1.0, _RECENT), strict=True
        ):
            count = int(min(max(length, 60), 30_000))
            old = recent[chance.integers(len(recent))] if recent else ""
            if kind < 0.02 and old:
                yield old
            elif kind < 0.07 and old:
                yield _changed(old, words, chance)
            elif kind < 0.11:
                yield _no_prose(chance, words)
            else:
                text = _prose(words[np.searchsorted(steps, chance.random(count))], chance)
                recent.append(text)
                del recent[:-_RECENT]
                yield text


def vocabulary(model: str, chance: np.random.Generator, size: int = 60_000) -> np.ndarray:
    """Words, the most frequent first."""
    from astrosage.data.tokenise import load_tokenizer
    from astrosage.models.fetch import ensure_local

    tokens = load_tokenizer(ensure_local(model)).get_vocab()
    known = [t[1:] for t in sorted(tokens, key=tokens.__getitem__) if t[:1] == "\u0120"]
    words = [w for w in known if w.isascii() and w.isalpha() and w.islower()]
    halves = np.array(words, dtype=object)[chance.integers(0, len(words), (size, 2))]
    return np.array([*words, *dict.fromkeys(a + b for a, b in halves.tolist())], dtype=object)


def _prose(words: np.ndarray, chance: np.random.Generator) -> str:
    parts = words.tolist()
    at = 0
    while at < len(parts):
        parts[at] = parts[at].capitalize()
        at += int(chance.integers(6, 25))
        end = min(at, len(parts)) - 1
        parts[end] += "." if chance.random() < 0.8 else ".\n\n"
    return " ".join(parts).replace("\n\n ", "\n\n")


def _changed(text: str, words: np.ndarray, chance: np.random.Generator) -> str:
    parts = text.split(" ")
    for at in chance.integers(0, len(parts), max(1, len(parts) // 200)):
        parts[at] = words[chance.integers(len(words))]
    return " ".join(parts)


def _no_prose(chance: np.random.Generator, words: np.ndarray) -> str:
    kind = chance.integers(3)
    few = " ".join(words[chance.integers(0, len(words), 12)].tolist())
    return (few, "# " * 40 + few + " ###" * 30, f"{few}. " * 30)[kind]


if __name__ == "__main__":
    sys.exit(main())
