"""Chat templates in the ways of well-known families, in their least form, with what each asks for.

They differ in where the system message goes, in what opens and ends a turn, in which turns are
shown otherwise once an answer follows, and in how reasoning is written, cut out or opened by the
prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from astrosage.data.tokenise import load_tokenizer


def as_recorded(thought: str, answer: str) -> str:
    return f"<think>\n{thought}\n</think>\n\n{answer}" if thought else answer


def always_thinks(thought: str, answer: str) -> str:
    return f"<think>\n{thought}\n</think>\n\n{answer}"


def goes_on_thinking(thought: str, answer: str) -> str:
    """After a prompt that ends with ``<think>`` and a newline."""
    return f"{thought}\n</think>\n\n{answer}"


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        template: Jinja.
        end: What the model ends its turn with.
        special: Its special tokens.
        plain: Tokens of its own that are not called special.
        begin: What the model writes before its answer.
        writes: The answer with its reasoning.
        system: Whether the template takes a system message.
        splits: Whether it shows earlier turns otherwise, with reasoning or a system message.
    """

    template: str
    end: str
    special: tuple[str, ...]
    plain: tuple[str, ...] = ()
    begin: str = ""
    writes: Callable[[str, str], str] = as_recorded
    system: bool = True
    splits: bool = False

    def tokenizer(self, folder: Path) -> Any:
        """The tiny tokenizer with the family's tokens and template."""
        tokenizer = load_tokenizer(folder)
        tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in self.special])
        tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in self.plain])
        tokenizer.bos_token = self.special[0]
        tokenizer.eos_token = self.special[1]
        tokenizer.chat_template = self.template
        return tokenizer


_IM = ("<|im_start|>", "<|im_end|>")
_CHATML = (
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

FAMILIES = {
    "chatml": Family("{% for m in messages %}" + _CHATML, "<|im_end|>", _IM),
    "qwen2.5": Family(  # a system message of its own
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant."
        "<|im_end|>\n{% endif %}{% for m in messages %}" + _CHATML,
        "<|im_end|>",
        _IM,
    ),
    "smollm2": Family(
        "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}" + _CHATML,
        "<|im_end|>",
        _IM,
    ),
    "qwen3": Family(  # reasoning after the last question only, and always a place for it there
        "{%- set ns = namespace(last=0) %}{%- for m in messages %}{%- if m['role'] == 'user' %}"
        "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}{%- for m in messages %}"
        "{%- set c = m['content'] %}{%- set r = '' %}"
        "{%- if m['role'] == 'assistant' and '</think>' in c %}"
        "{%- set r = c.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
        "{%- set c = c.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
        "{{- '<|im_start|>' + m['role'] + '\n' }}"
        "{%- if m['role'] == 'assistant' and loop.index0 > ns.last and (loop.last or r) %}"
        "{{- '<think>\n' + r + '\n</think>\n\n' }}{%- endif %}{{- c + '<|im_end|>\n' }}"
        "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}",
        "<|im_end|>",
        _IM,
        plain=("<think>", "</think>"),
        writes=always_thinks,
        splits=True,
    ),
    "deepseek-r1": Family(  # cuts reasoning out of every turn; the prompt opens it
        "{%- set ns = namespace(system='') %}{%- for m in messages %}"
        "{%- if m['role'] == 'system' %}{%- set ns.system = m['content'] %}{%- endif %}"
        "{%- endfor %}{{- bos_token + ns.system }}"
        "{%- for m in messages %}{%- set c = m['content'] %}{%- if m['role'] == 'user' %}"
        "{{- '<|User|>' + c }}{%- elif m['role'] == 'assistant' %}{%- if '</think>' in c %}"
        "{%- set c = c.split('</think>')[-1] %}{%- endif %}{{- '<|Assistant|>' + c + eos_token }}"
        "{%- endif %}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|Assistant|><think>\n' }}{%- endif %}",
        "<|end_of_sentence|>",
        ("<|begin_of_sentence|>", "<|end_of_sentence|>"),
        plain=("<|User|>", "<|Assistant|>", "<think>", "</think>"),
        writes=goes_on_thinking,
        splits=True,
    ),
    "llama-3": Family(
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>"
        "\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        "<|eot_id|>",
        ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    ),
    "llama-2": Family(  # the system message stands in the first user turn
        "{%- if messages[0]['role'] == 'system' %}{%- set s = messages[0]['content'] %}"
        "{%- set messages = messages[1:] %}{%- endif %}{%- for m in messages %}"
        "{%- if m['role'] == 'user' %}{%- set c = m['content'] %}"
        "{%- if loop.first and s is defined %}"
        "{%- set c = '<<SYS>>\n' + s + '\n<</SYS>>\n\n' + c %}{%- endif %}"
        "{{- bos_token + '[INST] ' + c + ' [/INST]' }}"
        "{%- else %}{{- ' ' + m['content'] + ' ' + eos_token }}{%- endif %}{%- endfor %}",
        " </s>",
        ("<s>", "</s>"),
        begin=" ",
    ),
    "mistral-v0.3": Family(  # it stands in the last turn, if that is the user's
        "{%- if messages[0]['role'] == 'system' %}{%- set s = messages[0]['content'] %}"
        "{%- set messages = messages[1:] %}{%- endif %}{{- bos_token }}{%- for m in messages %}"
        "{%- if m['role'] == 'user' %}{%- if loop.last and s is defined %}"
        "{{- '[INST] ' + s + '\n\n' + m['content'] + '[/INST]' }}"
        "{%- else %}{{- '[INST] ' + m['content'] + '[/INST]' }}{%- endif %}"
        "{%- else %}{{- ' ' + m['content'] + eos_token }}{%- endif %}{%- endfor %}",
        "</s>",
        ("<s>", "</s>", "[INST]", "[/INST]"),
        begin=" ",
        splits=True,
    ),
    "mistral-v0.1": Family(  # the answer follows the bracket at once
        "{{- bos_token }}{%- for m in messages %}{%- if m['role'] == 'user' %}"
        "{{- '[INST] ' + m['content'] + ' [/INST]' }}{%- elif m['role'] == 'assistant' %}"
        "{{- m['content'] + eos_token + ' ' }}{%- else %}{{- raise_exception('No system role') }}"
        "{%- endif %}{%- endfor %}",
        "</s>",
        ("<s>", "</s>"),
        system=False,
    ),
    "gemma": Family(
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}"
        "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
        "<start_of_turn>{{ role }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        "<end_of_turn>",
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        system=False,
    ),
    "zephyr": Family(
        "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] + eos_token }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
        "</s>",
        ("<s>", "</s>"),
    ),
    "phi-3": Family(  # closes the whole conversation with another token
        "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
        "<|end|>",
        ("<s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
    ),
    "no tokens": Family(
        "{% for m in messages %}### {{ m['role'] }}:\n{{ m['content'] }}\n\n{% endfor %}"
        "{% if add_generation_prompt %}### assistant:\n{% endif %}",
        "\n\n",
        ("<s>", "</s>"),
    ),
}
