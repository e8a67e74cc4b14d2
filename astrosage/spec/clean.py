"""What a prepare stage may be told of cleaning and quality."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Words = Annotated[int, Field(ge=0, le=100_000_000)]


class Boilerplate(SpecModel):
    """Lines that many documents of a source share: headers, footers, notices."""

    enabled: bool = False
    """Remove such lines from texts."""
    min_documents: Annotated[int, Field(ge=2, le=1_000_000)] = 10
    """Documents that a line must stand in."""
    min_share: Share = 0.02
    """And the share of the documents looked at."""
    sample: Annotated[int, Field(ge=10, le=100_000)] = 10_000
    """How many documents of each source are looked at first, from its beginning."""


class Debris(SpecModel):
    """What text recognition repeats."""

    enabled: bool = False
    """Shorten repeats in texts."""
    character_run: Annotated[int, Field(ge=4, le=1000)] = 8
    """Longest run of a character that is neither digit nor white space; longer ones become 3."""
    phrase_words: Annotated[int, Field(ge=1, le=50)] = 22
    """Longest phrase, in words, whose immediate repeats are removed: phrases of 4 or more words
    that stand twice in a row, shorter ones that stand four times."""
    sentence_repeats: Annotated[int, Field(ge=1, le=1000)] = 2
    """How often a sentence of five or more words may stand in a document; further ones go."""


class Gopher(SpecModel):
    """Filters of Rae et al. 2021 (Gopher, appendix A.1), with their thresholds."""

    enabled: bool = False
    """Drop documents that fail one of them."""
    min_words: Words = 50
    """Least words in a document."""
    max_words: Words = 100_000
    """Most words; 0: no bound."""
    min_mean_word: Annotated[float, Field(ge=0.0, le=100.0)] = 3.0
    """Least mean length of a word, in characters."""
    max_mean_word: Annotated[float, Field(ge=0.0, le=1000.0)] = 10.0
    """Largest mean length of a word."""
    max_symbols: Share = 0.1
    """Most `#` or ellipses for each word."""
    max_bullet_lines: Share = 0.9
    """Largest share of lines that begin with a bullet."""
    max_ellipsis_lines: Share = 0.3
    """Largest share of lines that end with an ellipsis."""
    min_alphabetic_words: Share = 0.8
    """Least share of words with a letter."""
    min_stop_words: Annotated[int, Field(ge=0, le=8)] = 2
    """How many of the, be, to, of, and, that, have, with must be there (English)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.max_words and self.min_words > self.max_words:
            raise PydanticCustomError("words", "`minWords` is over `maxWords`")
        if self.min_mean_word > self.max_mean_word:
            raise PydanticCustomError("words", "`minMeanWord` is over `maxMeanWord`")
        return self


class Repetition(SpecModel):
    """Repetition filters of Rae et al. 2021 (Gopher, table A1), with their thresholds."""

    enabled: bool = False
    """Drop documents that fail one of them."""
    max_duplicate_lines: Share = 0.3
    """Share of lines that stand earlier in the document; also of paragraphs."""
    max_duplicate_line_characters: Share = 0.2
    """Share of characters in such lines; also in such paragraphs."""
    max_top_ngrams: Annotated[list[Share], Field(min_length=3, max_length=3)] = [0.2, 0.18, 0.16]
    """Share of characters in the most frequent 2-, 3- and 4-gram of words."""
    max_duplicate_ngrams: Annotated[list[Share], Field(min_length=6, max_length=6)] = [
        0.15,
        0.14,
        0.13,
        0.12,
        0.11,
        0.1,
    ]
    """Share of characters in repeated 5- to 10-grams of words."""


class C4(SpecModel):
    """Filters of Raffel et al. 2020 (C4); made for web pages."""

    enabled: bool = False
    """Drop lines and documents that fail one of them."""
    min_line_words: Annotated[int, Field(ge=0, le=1000)] = 5
    """Least words in a line; shorter ones are dropped."""
    end_punctuation: bool = True
    """Drop lines that do not end with a full stop, exclamation mark, question mark or quote."""
    min_sentences: Annotated[int, Field(ge=0, le=1000)] = 3
    """Least sentences in a document."""
    refuse_braces: bool = False
    """Drop documents with a curly bracket, as the paper does against code; LaTeX has many."""


class Quality(SpecModel):
    """Which documents are good enough; each filter is off unless enabled."""

    gopher: Gopher = Gopher()
    """Length, words, symbols."""
    repetition: Repetition = Repetition()
    """Repetition within a document."""
    c4: C4 = C4()
    """Web pages."""


class Clean(SpecModel):
    """How texts are cleaned beyond what is always done: NFC, newlines, trailing white space and
    control characters."""

    mojibake: bool = False
    """Mend UTF-8 that was read as Windows-1252 (`â€™` becomes an apostrophe)."""
    zero_width: bool = False
    """Remove zero-width spaces, soft hyphens and marks of direction."""
    hyphenation: bool = False
    """Join words that a line's end has cut (texts only)."""
    boilerplate: Boilerplate = Boilerplate()
    """Lines shared by many documents (texts only)."""
    debris: Debris = Debris()
    """Repeats of text recognition (texts only)."""
    quality: Quality = Quality()
    """Filters (texts only)."""
    languages: Annotated[
        list[Annotated[str, Field(pattern=r"^[a-z]{2,3}$", max_length=3)]], Field(max_length=64)
    ] = []
    """Languages that are kept, as ISO 639-1 codes such as `en`; others are left out. Default:
    all, and none is identified."""
    min_language_probability: Share = 0.5
    """How probable the language must be; below it a record is left out too."""
