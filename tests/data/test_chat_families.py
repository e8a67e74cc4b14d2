from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.chat import ChatEncoder, Conversation
from astrosage.data.clean import clean_text
from astrosage.data.conversations.policy import Policy
from astrosage.data.records import Record
from astrosage.errors import DataError
from astrosage.spec.chat import Chat
from tests.data.chat_families import FAMILIES, Family, as_recorded

Exchange = tuple[str, str, str]  # question, thought, answer


@pytest.fixture(scope="module")
def tokenizers(tiny_model: Path) -> dict[str, Any]:
    return {name: family.tokenizer(tiny_model) for name, family in FAMILIES.items()}


def record(system: str | None, exchanges: list[Exchange]) -> Record:
    messages = [{"role": "system", "content": system}] if system is not None else []
    for question, thought, answer in exchanges:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": as_recorded(thought, answer)})
    return Record("c", "c.jsonl", 3, messages=tuple(messages))


def learned(tokenizer: Any, sequences: list[Conversation]) -> list[str]:
    """What is learnt, run by run, decoded from the mask alone."""
    runs: list[list[int]] = []
    for sequence in sequences:
        previous = 0
        for token, bit in zip(sequence.ids, sequence.learned, strict=True):
            if bit:
                runs.append([]) if not previous else None
                runs[-1].append(int(token))
            previous = bit
    return [tokenizer.decode(run, skip_special_tokens=False) for run in runs]


def written(family: Family, exchanges: list[Exchange]) -> list[str]:
    """What the model has to write, by hand."""
    return [
        family.begin + family.writes(thought, answer) + family.end
        for _, thought, answer in exchanges
    ]


# As cleaning leaves it; what forges a turn or a trace is refused elsewhere.
content = (
    st.builds(
        "{}{}".format,
        st.characters(categories=["L", "N", "P"], exclude_characters="<[|#"),
        st.text(st.characters(exclude_characters="<[|#\n"), max_size=20),
    )
    .map(lambda text: clean_text(text).strip())
    .filter(bool)
)
exchange = st.tuples(content, st.just("") | content, content)


@given(
    name=st.sampled_from(list(FAMILIES)),
    system=st.none() | content,
    exchanges=st.lists(exchange, min_size=1, max_size=3),
    shown=st.integers(0, 2),
    learn=st.sampled_from(["all", "last"]),
)
def test_what_is_learnt_is_what_the_model_has_to_write(
    tokenizers: dict[str, Any],
    name: str,
    system: str | None,
    exchanges: list[Exchange],
    shown: int,
    learn: Any,
) -> None:
    family, tokenizer = FAMILIES[name], tokenizers[name]
    options = Chat(learn=learn, system="keep" if family.system else "merge")
    shown = min(shown, len(exchanges) - 1)  # how many answers have no weight
    given = record(system, exchanges)
    for message in [m for m in given.messages if m["role"] == "assistant"][:shown]:
        message["weight"] = "0"
    chat = Policy(options).apply(given)
    (sequences,) = ChatEncoder(tokenizer, options).encode([chat])
    expected = written(family, exchanges)[shown:]
    assert learned(tokenizer, sequences) == (expected if learn == "all" else expected[-1:])
    # Each answer stands after the tokens that the model is served with.
    asked = [i for i, m in enumerate(chat.messages) if m["role"] == "assistant"][shown:]
    starts = [(s.ids, start) for s in sequences for start, _ in s.answers]
    for i, (ids, start) in zip(asked if learn == "all" else asked[-1:], starts, strict=True):
        served = tokenizer.apply_chat_template(
            list(chat.messages[:i]), tokenize=True, add_generation_prompt=True, return_dict=False
        )
        assert ids[:start].tolist() == served


@pytest.mark.parametrize("name", FAMILIES)
def test_borders_found_the_quick_way_are_those_of_each_prompts_own_tokens(
    tokenizers: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanges = [("a", "", "So."), ("b?", "Hm.", "(A) or\n\n (B)"), ("c", "", "1 au")]
    chat = record("Be brief." if FAMILIES[name].system else None, exchanges)
    encoder = ChatEncoder(tokenizers[name])
    (quick,) = encoder.encode([chat])
    monkeypatch.setattr(encoder._borders, "find", lambda text, ids, ends: None)
    (slow,) = encoder.encode([chat])
    assert [c.ids.tolist() for c in quick] == [c.ids.tolist() for c in slow]
    assert [c.answers for c in quick] == [c.answers for c in slow]


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_share_a_sequence_unless_the_template_shows_them_otherwise(
    tokenizers: dict[str, Any], name: str
) -> None:
    family = FAMILIES[name]
    chat = record("Be brief." if family.system else None, [("a", "", "b"), ("c", "", "d")])
    (sequences,) = ChatEncoder(tokenizers[name]).encode([chat])
    assert len(sequences) == (2 if family.splits else 1)


def test_an_answer_whose_first_sign_would_melt_into_the_prompt(tokenizers: dict[str, Any]) -> None:
    family, tokenizer = FAMILIES["no tokens"], tokenizers["no tokens"]
    kept = tokenizer.chat_template
    try:
        tokenizer.chat_template = kept.replace(":\n", ": ")
        exchanges = [("a", "", "the Sun"), ("b", "", "a star")]
        (sequences,) = ChatEncoder(tokenizer).encode([record(None, exchanges)])
        assert learned(tokenizer, sequences) == written(family, exchanges)
        served = tokenizer.apply_chat_template(
            [{"role": "user", "content": "a"}], add_generation_prompt=True, return_dict=False
        )
        ids = sequences[0].ids.tolist()
        assert ids[: len(served)] == served
        joined = tokenizer.encode(tokenizer.decode(ids), add_special_tokens=False)
        assert joined != ids  # together, a token would have spanned the border
    finally:
        tokenizer.chat_template = kept


@pytest.mark.parametrize("name", ["gemma", "mistral-v0.1"])
def test_a_system_message_that_the_template_does_not_take(
    tokenizers: dict[str, Any], name: str
) -> None:
    chat = record("Be brief.", [("a", "", "b")])
    with pytest.raises(DataError, match=r"c\.jsonl, line 3: .*template refuses") as caught:
        ChatEncoder(tokenizers[name]).encode([chat])
    assert "`chat.system: merge`" in caught.value.hint


def test_tokens_that_begin_turns_are_control_tokens_even_if_not_called_special(
    tokenizers: dict[str, Any],
) -> None:
    chat = record(None, [("a", "", "b<|User|>c")])
    with pytest.raises(DataError, match=r"holds the control token `<\|User\|>`"):
        ChatEncoder(tokenizers["deepseek-r1"]).encode([chat])
    ((chatml,),) = ChatEncoder(tokenizers["chatml"]).encode([chat])
    assert learned(tokenizers["chatml"], [chatml]) == ["b<|User|>c<|im_end|>"]


@pytest.mark.parametrize("name", ["chatml", "llama-3", "qwen3"])
def test_latest_shows_no_earlier_traces(tokenizers: dict[str, Any], name: str) -> None:
    family, tokenizer = FAMILIES[name], tokenizers[name]
    exchanges = [("a", "because", "b"), ("c", "thus", "d")]
    options = Chat.model_validate({"reasoning": {"traces": "latest"}})
    (sequences,) = ChatEncoder(tokenizer, options).encode([record(None, exchanges)])
    assert learned(tokenizer, sequences) == written(family, exchanges)
    first, second = sequences
    assert "because" in tokenizer.decode(first.ids)
    assert "because" not in tokenizer.decode(second.ids)


def test_a_prompt_that_asks_for_no_reasoning(tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers["chatml"]
    kept = tokenizer.chat_template
    try:
        tokenizer.chat_template = kept.replace(
            "<|im_start|>assistant\n{% endif %}",
            "<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}",
        ).replace(
            "{{ m['content'] }}",
            "{% if m['role'] == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m['content'] }}",
        )
        plain = ChatEncoder(tokenizer).encode([record(None, [("a", "", "b"), ("c", "", "d")])])
        assert learned(tokenizer, plain[0]) == ["b<|im_end|>", "d<|im_end|>"]
        with pytest.raises(DataError, match=r"messages\[1\]: .*asks for no reasoning") as caught:
            ChatEncoder(tokenizer).encode([record(None, [("a", "why", "b")])])
        assert "traces: drop" in caught.value.hint
    finally:
        tokenizer.chat_template = kept


@pytest.mark.parametrize("thought", ["", "because"])
def test_marked_templates_agree_with_their_own_mask(
    tokenizers: dict[str, Any], thought: str
) -> None:
    tokenizer = tokenizers["chatml"]
    kept = tokenizer.chat_template
    chat = record("Be brief.", [("a", thought, "b, c"), ("d", thought, "e")])
    try:
        tokenizer.chat_template = (
            "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
            "{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}"
            "{% else %}{{ m['content'] }}<|im_end|>{% endif %}\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        )
        ((found,),) = ChatEncoder(tokenizer).encode([chat])
        marked = tokenizer.apply_chat_template(
            list(chat.messages), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
    finally:
        tokenizer.chat_template = kept
    count = len(found.ids)
    assert found.ids.tolist() == marked["input_ids"][:count]
    assert found.learned.tolist() == marked["assistant_masks"][:count]
    assert not any(marked["assistant_masks"][count:])
