from __future__ import annotations

from collections.abc import Sequence

from astrosage.serve.assembly import Assembler
from astrosage.serve.engine import GenerationRequest, TokenEvent, TokenScore

END = 99
PIECES = {0: "Mars", 1: " is", 2: " red", 3: ".\n", 4: "\nQ", 5: ": "}


def decode(ids: Sequence[int]) -> str:
    return "".join(PIECES.get(i, "") for i in ids)


def run(
    ids: Sequence[int], stop: tuple[str, ...] = (), max_tokens: int = 10
) -> tuple[str, list[int], TokenEvent]:
    request = GenerationRequest([1], max_tokens, stop=stop, top_logprobs=0)
    assembler = Assembler(request, decode, {END})
    text, scored = "", []
    for i in ids:
        event = assembler.push(i, TokenScore(i, -1.0))
        text += event.text
        scored += [(s.token_id, s.text_offset) for s in event.scores]
        if event.finish_reason:
            break
    assert [offset for _, offset in scored] == [len(decode(ids[:n])) for n in range(len(scored))]
    return text, [token for token, _ in scored], event


def test_end_token_ends_the_answer_and_is_no_part_of_it() -> None:
    text, scored, last = run([0, 1, END, 2])
    assert (text, scored) == ("Mars is", [0, 1])
    assert (last.finish_reason, last.tokens) == ("stop", 3)


def test_length_ends_the_answer() -> None:
    text, scored, last = run([0, 1, 2], max_tokens=2)
    assert (text, scored, last.finish_reason) == ("Mars is", [0, 1], "length")


def test_stop_text_across_tokens_takes_its_tokens_along() -> None:
    text, scored, last = run([0, 1, 3, 4, 5], stop=("\n\nQ:",))
    assert text == "Mars is."
    assert scored == [0, 1, 3]  # the token of which a part is in the answer stays
    assert (last.finish_reason, last.tokens) == ("stop", 5)


def test_held_text_comes_out_at_the_end() -> None:
    text, scored, last = run([0, 3, 4, END], stop=("\n\nQ:",))
    assert (text, scored, last.finish_reason) == ("Mars.\n\nQ", [0, 3, 4], "stop")


def test_an_answer_that_is_all_stop_text_is_empty() -> None:
    assert run([0], stop=("Mars",))[:2] == ("", [])
