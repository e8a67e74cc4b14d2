"""Training questions out of a glossary and the texts that use its terms; no model is needed.

    python examples/glossary_questions.py --glossary glossary.jsonl --texts texts.jsonl \
        --to questions.jsonl

Records of the glossary have `term`, `meaning` and `module`, those of the texts have `text`. Three
kinds of question: which term has this meaning, what does this term mean, which term fits into a
sentence of the texts. `--form text` writes documents for continued pre-training, question and
answer; `--form chat` conversations that choose among four options by letter.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from astrosage.bench import question as bench
from astrosage.bench.prompts import multiple_choice

Entry = dict[str, str]
OPTIONS = 4
Question = tuple[str, str, list[str]]  # what is asked, the right option, the wrong ones


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--glossary", type=Path, required=True, metavar="FILE")
    parser.add_argument("--texts", type=Path, required=True, metavar="FILE")
    parser.add_argument("--to", type=Path, required=True, metavar="FILE")
    parser.add_argument("--form", choices=("text", "chat"), default="text")
    parser.add_argument("--sentences", type=int, default=4, help="most sentences of a term")
    parser.add_argument("--most", type=int, help="write so many at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    known: dict[str, Entry] = {}
    for entry in read(options.glossary, "term", "meaning", "module"):
        known.setdefault(entry["term"].lower(), entry)
    entries = list(known.values())
    if len(entries) < OPTIONS:
        sys.exit(f"error: {options.glossary} has {len(entries)} terms, {OPTIONS} are needed")
    texts = [record["text"] for record in read(options.texts, "text")]
    found = [
        *of_glossary(entries, chance),
        *of_sentences(entries, texts, chance, options.sentences),
    ]
    chance.shuffle(found)
    form = as_text if options.form == "text" else as_chat
    options.to.parent.mkdir(parents=True, exist_ok=True)
    with options.to.open("w", encoding="utf-8") as file:
        for question in found[: options.most]:
            file.write(json.dumps(form(question, chance), ensure_ascii=False) + "\n")
    print(f"{len(found[: options.most])} questions in {options.to}")


def read(file: Path, *fields: str) -> list[Entry]:
    """The records of a JSONL file, each with these fields; ends the program where one has not."""
    records = []
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                record = json.loads(line)
                missing = [f for f in fields if not isinstance(record.get(f), str)]
                if missing:
                    sys.exit(f"error: {file}, line {number}: `{missing[0]}` is not there as text")
                records.append(record)
    except OSError as error:
        sys.exit(f"error: {file}: {error.strerror}")
    except (ValueError, AttributeError):
        sys.exit(f"error: {file}, line {len(records) + 1}: no JSON object")
    return records


def of_glossary(entries: Sequence[Entry], chance: random.Random) -> Iterator[Question]:
    """Both directions of each entry."""
    for entry in entries:
        meaning = entry["meaning"].rstrip(".")
        wrong = others(entry, entries, chance)
        yield f"Which term means: {meaning}?", entry["term"], [e["term"] for e in wrong]
        wrong = others(entry, entries, chance)
        asked = f'What is meant by "{entry["term"]}"?'
        yield asked, meaning, [e["meaning"].rstrip(".") for e in wrong]


def of_sentences(
    entries: Sequence[Entry], texts: Sequence[str], chance: random.Random, most: int
) -> Iterator[Question]:
    """Sentences with a gap where a term stood, at most so many of each term."""
    sentences = [
        sentence.strip()
        for text in texts
        for paragraph in text.split("\n")
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph)
    ]
    sentences = [s for s in sentences if 60 <= len(s) <= 220 and s.endswith(".")]
    for entry in entries:
        term = re.compile(rf"\b{re.escape(entry['term'])}\b", re.IGNORECASE)
        own = [s for s in sentences if len(term.findall(s)) == 1]
        chance.shuffle(own)
        for sentence in own[:most]:
            absent = [e for e in entries if e["term"].lower() not in sentence.lower()]
            wrong = [e["term"] for e in others(entry, absent, chance)]
            gap = term.sub("____", sentence)
            yield f"Which term completes the sentence? {gap}", entry["term"], wrong


def others(entry: Entry, entries: Sequence[Entry], chance: random.Random) -> list[Entry]:
    """Three other entries, up to two of them of the same module, which are harder to tell apart."""
    rest = [e for e in entries if e is not entry]
    near = [e for e in rest if e["module"] == entry["module"]]
    chosen = chance.sample(near, min(len(near), 2))
    return chosen + chance.sample([e for e in rest if e not in chosen], OPTIONS - 1 - len(chosen))


def as_text(question: Question, chance: random.Random) -> dict[str, Any]:
    """Question and answer as a document."""
    asked, right, _ = question
    return {"text": f"Question: {asked}\nAnswer: {right}"}


def as_chat(question: Question, chance: random.Random) -> dict[str, Any]:
    """A conversation whose answer is the letter of the right option."""
    asked, right, wrong = question
    choices = [right, *wrong]
    chance.shuffle(choices)
    place = choices.index(right)
    prompt = multiple_choice(bench.Question("", asked, tuple(choices), place))
    return {
        "messages": [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": bench.LETTERS[place]},
        ]
    }


if __name__ == "__main__":
    main()
