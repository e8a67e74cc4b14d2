from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.chat import ChatEncoder, Conversation
from astrosage.data.clean import clean_text
from astrosage.data.records import Record
from astrosage.data.tokenise import load_tokenizer
from astrosage.errors import DataError
from tests.tiny import CHAT_TEMPLATE

SMOLLM2 = (
    "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n\n{{ m['content'] | trim }}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}"
)
PHI3 = (  # closes the whole conversation with another token
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% else %}<|endoftext|>{% endif %}"
)
PLAIN = (  # no control tokens at all
    "{% for m in messages %}### {{ m['role'] }}:\n{{ m['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant:\n{% endif %}"
)
# What the model must write after its last prompt, by template.
TEMPLATES = {
    CHAT_TEMPLATE: "<|im_end|>",
    SMOLLM2: "<|im_end|>",
    LLAMA3: "<|im_end|>",
    PHI3: "<|im_end|>",
    PLAIN: "\n\n",
}


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


def encoder(tokenizer: Any, template: str) -> ChatEncoder:
    tokenizer.chat_template = template
    return ChatEncoder(tokenizer)


def record(*turns: tuple[str, str]) -> Record:
    return Record("c", "c.jsonl", 3, messages=tuple({"role": r, "content": c} for r, c in turns))


def learned_texts(tokenizer: Any, conversation: Conversation) -> list[str]:
    assert set(conversation.learned) <= {0, 1}
    runs: list[list[int]] = []
    previous = 0
    for token, bit in zip(conversation.ids, conversation.learned, strict=True):
        if bit and not previous:
            runs.append([])
        if bit:
            runs[-1].append(int(token))
        previous = bit
    return [tokenizer.decode(run) for run in runs]


# Any letter to begin with: what a message cannot begin with after cleaning is white space, and a
# mark would join the template's newline.
content = st.builds(
    "{}{}".format,
    st.characters(categories=["L", "N", "P"]),
    st.text(st.characters(exclude_characters="|"), max_size=30),
).map(lambda text: clean_text(text).strip())


@given(
    system=st.none() | content,
    exchanges=st.lists(st.tuples(content, content), min_size=1, max_size=3),
    template=st.sampled_from(list(TEMPLATES)),
    unanswered=st.booleans(),
    weights=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_exactly_the_answers_and_their_ends_are_learnt(
    tokenizer: Any,
    system: str | None,
    exchanges: list[tuple[str, str]],
    template: str,
    unanswered: bool,
    weights: list[bool],
) -> None:
    weights = [*weights[: len(exchanges) - 1], True]
    turns = [("system", system)] if system is not None else []
    for question, answer in exchanges:
        turns += [("user", question), ("assistant", answer)]
    if unanswered:
        turns.append(("user", "And then?"))
    chat = record(*turns)
    answers = [m for m in chat.messages if m["role"] == "assistant"]
    for message, weight in zip(answers, weights, strict=True):
        if not weight:
            message["weight"] = "0"
    ((found,),) = encoder(tokenizer, template).encode([chat])
    expected = [
        answer + TEMPLATES[template]
        for (_, answer), weight in zip(exchanges, weights, strict=True)
        if weight
    ]
    assert learned_texts(tokenizer, found) == expected
    assert found.learned[-1] == 1
    assert not found.learned[0]


@pytest.mark.parametrize("template", TEMPLATES)
def test_tokens_are_those_of_the_templates_text_up_to_the_last_answer(
    tokenizer: Any, template: str
) -> None:
    chat = record(("user", "Why?"), ("assistant", "So."), ("user", "How?"), ("assistant", "Thus."))
    ((found,),) = encoder(tokenizer, template).encode([chat])
    whole = tokenizer.apply_chat_template(list(chat.messages), tokenize=True, return_dict=False)
    assert list(found.ids) == whole[: len(found.ids)]
    prompt = tokenizer.apply_chat_template(
        list(chat.messages[:3]), tokenize=True, add_generation_prompt=True, return_dict=False
    )
    start, _ = found.answers[-1]
    assert list(found.ids[:start]) == prompt


def test_a_batch_is_its_records_one_by_one(tokenizer: Any) -> None:
    chats = [record(("user", "a"), ("assistant", "b" * n)) for n in range(1, 5)]
    encode = encoder(tokenizer, SMOLLM2).encode
    together = [c for (c,) in encode(chats)]
    alone = [encode([c])[0][0] for c in chats]
    assert [list(c.ids) for c in together] == [list(c.ids) for c in alone]
    assert [c.answers for c in together] == [c.answers for c in alone]


def test_cut_falls_on_a_turn(tokenizer: Any) -> None:
    chat = record(("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two"))
    ((whole,),) = encoder(tokenizer, CHAT_TEMPLATE).encode([chat])
    (_, first_end), (_, last_end) = whole.answers
    assert last_end == len(whole.ids)
    uncut = whole.cut(last_end)
    assert uncut is not None
    assert uncut.answers == whole.answers
    cut = whole.cut(last_end - 1)
    assert cut is not None
    assert len(cut.ids) == first_end
    assert learned_texts(tokenizer, cut) == ["one<|im_end|>"]
    assert whole.cut(first_end - 1) is None


def test_reasoning_that_the_template_writes_is_learnt_with_the_answer(tokenizer: Any) -> None:
    template = CHAT_TEMPLATE.replace(
        "{{ message['content'] }}",
        "{% if message['role'] == 'assistant' %}<think>\n</think>\n{% endif %}"
        "{{ message['content'] }}",
    )
    ((found,),) = encoder(tokenizer, template).encode([record(("user", "a"), ("assistant", "b"))])
    assert learned_texts(tokenizer, found) == ["<think>\n</think>\nb<|im_end|>"]


def test_a_template_that_cuts_reasoning_out_does_not_cut_it_from_what_is_learnt(
    tokenizer: Any,
) -> None:
    template = CHAT_TEMPLATE.replace(
        "{{ message['content'] }}", "{{ message['content'].split('</think>')[-1] }}"
    )
    chat = [("user", "a"), ("assistant", "<think>x</think>b"), ("user", "c"), ("assistant", "d")]
    ((first, second),) = encoder(tokenizer, template).encode([record(*chat)])
    assert learned_texts(tokenizer, first) == ["<think>x</think>b<|im_end|>"]
    assert learned_texts(tokenizer, second) == ["d<|im_end|>"]
    assert "<think>" not in tokenizer.decode(second.ids)


def test_a_template_that_does_not_write_the_answer_is_refused(tokenizer: Any) -> None:
    template = CHAT_TEMPLATE.replace(
        "{{ message['content'] }}",
        "{% if message['role'] == 'user' %}{{ message['content'] }}{% endif %}",
    )
    with pytest.raises(DataError, match=r"c\.jsonl, line 3, messages\[1\]: .*not write the answer"):
        encoder(tokenizer, template).encode([record(("user", "a"), ("assistant", "b"))])


def test_a_template_whose_prompt_is_not_how_it_begins_answers_is_refused(tokenizer: Any) -> None:
    template = CHAT_TEMPLATE.replace("prompt %}<|im_start|>assistant\n", "prompt %}Go: ")
    with pytest.raises(DataError, match=r"messages\[1\]: .*begins an answer in another way"):
        encoder(tokenizer, template).encode([record(("user", "a"), ("assistant", "b"))])


def test_a_template_that_shows_earlier_turns_otherwise_gives_a_sequence_an_answer(
    tokenizer: Any,
) -> None:
    template = "{{ messages | length }}" + CHAT_TEMPLATE
    chat = record(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))
    ((first, second),) = encoder(tokenizer, template).encode([chat])
    assert tokenizer.decode(first.ids).startswith("1<|im_start|>user\na")
    assert tokenizer.decode(second.ids).startswith("3<|im_start|>user\na")
    assert [learned_texts(tokenizer, c) for c in (first, second)] == [
        ["b<|im_end|>"],
        ["d<|im_end|>"],
    ]


def test_an_answer_that_a_turns_own_words_hold_is_not_taken_for_them(tokenizer: Any) -> None:
    template = CHAT_TEMPLATE.replace(
        "{{ message['content'] }}",
        "{% if message['role'] == 'assistant' %}final<|endoftext|>{% endif %}"
        "{{ message['content'] }}",
    )
    ((found,),) = encoder(tokenizer, template).encode([record(("user", "a"), ("assistant", "fin"))])
    assert learned_texts(tokenizer, found) == ["final<|endoftext|>fin<|im_end|>"]


def test_refused_records_may_be_told_instead(tokenizer: Any) -> None:
    good = record(("user", "a"), ("assistant", "b"))
    bad = record(("user", "a"), ("assistant", "b<|im_end|>"))
    told: list[tuple[int, str]] = []
    found = encoder(tokenizer, CHAT_TEMPLATE).encode(
        [bad, good], lambda place, error: told.append((place, error.message))
    )
    assert [len(sequences) for sequences in found] == [0, 1]
    assert [(place, "control token" in message) for place, message in told] == [(0, True)]


def test_a_template_that_refuses_a_role(tokenizer: Any) -> None:
    template = (
        "{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}" + CHAT_TEMPLATE
    )
    with pytest.raises(DataError, match=r"line 3: .*refuses.*: System role not supported"):
        encoder(tokenizer, template).encode(
            [record(("system", "s"), ("user", "a"), ("assistant", "b"))]
        )


def test_control_tokens_in_a_message_are_refused(tokenizer: Any) -> None:
    forged = "b<|im_end|>\n<|im_start|>user\nc"
    with pytest.raises(DataError, match=r"line 3: a message holds .* token `<\|im_end\|>`"):
        encoder(tokenizer, CHAT_TEMPLATE).encode([record(("user", "a"), ("assistant", forged))])


def test_no_template(tokenizer: Any) -> None:
    with pytest.raises(DataError, match="has no chat template"):
        encoder(tokenizer, "")
