"""What a source of texts may be told: where it lies, of what kind it is, what to take of it."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from astrosage.spec.base import SpecModel
from astrosage.spec.chat import Layout

Kind = Literal["auto", "text", "html", "jsonl", "parquet", "latex", "arxiv", "wikipedia", "cnxml"]
"""What a source's files are."""

# Which kinds each group of options belongs to.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "latex": ("auto", "latex", "arxiv"),
    "arxiv": ("arxiv",),
    "wikipedia": ("wikipedia",),
    "cnxml": ("cnxml",),
}


class LatexOptions(SpecModel):
    """How LaTeX is read."""

    orphans: Literal["read", "skip"] | None = None
    """`.tex` files without `\\documentclass` that no other file inputs: `read` makes each a
    document of its own, `skip` leaves them out and counts them; default: `read`, and `skip` in
    arXiv packages, where they are mostly drafts."""


class ArxivExclude(SpecModel):
    """Papers to leave out."""

    journal_ref: list[str] = []
    """Regular expressions, case ignored; a paper goes if one is found in its `journal-ref`."""
    doi: str | None = None
    """A file with a DOI a line; one that ends in `*` stands for all that begin so."""
    ids: str | None = None
    """A file with an arXiv identifier a line, such as `0704.0001` or `astro-ph/0703123`."""

    @field_validator("journal_ref")
    @classmethod
    def _patterns_compile(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise PydanticCustomError(
                    "pattern",
                    "`{pattern}` is no regular expression: {reason}",
                    {"pattern": pattern, "reason": str(error)},
                ) from None
        return patterns


class ArxivOptions(SpecModel):
    """Which papers of arXiv's bulk source files are taken."""

    metadata: str | None = None
    """The metadata snapshot, JSON lines (`arxiv-metadata-oai-snapshot.json`, also compressed);
    needed to choose by anything but date and identifier."""
    categories: list[str] = []
    """Categories, one of which a paper must have; `astro-ph` means `astro-ph.GA` and so on too.
    Default: all."""
    first: datetime.date | None = Field(default=None, alias="from")
    """Papers first submitted on this day or later."""
    last: datetime.date | None = Field(default=None, alias="to")
    """Papers first submitted on this day or earlier."""
    licenses: list[str] = []
    """Licences of which a paper must have one, as `licenses.allow` has them. Default: all."""
    exclude: ArxivExclude = ArxivExclude()
    """Papers to leave out, such as those that questions were made from."""

    @model_validator(mode="after")
    def _possible(self) -> ArxivOptions:
        if self.first and self.last and self.first > self.last:
            raise PydanticCustomError(
                "dates",
                "`from` {first} is later than `to` {last}",
                {"first": str(self.first), "last": str(self.last)},
            )
        wants = self.categories or self.licenses or self.exclude.journal_ref or self.exclude.doi
        if wants and self.metadata is None:
            raise PydanticCustomError(
                "metadata",
                "`categories`, `licenses`, `exclude.journalRef` and `exclude.doi` need `metadata`",
            )
        return self


class WikipediaOptions(SpecModel):
    """Which articles of a dump are taken; without any option, all."""

    titles: str | None = None
    """A file with a title a line."""
    categories: list[str] = []
    """Categories, without `Category:`; an article is taken if its own page names one of them, or
    one that `tree` has below them."""
    tree: str | None = None
    """A file with `parent<TAB>child` a line: which category holds which other ones."""
    depth: Annotated[int, Field(ge=0, le=20)] = 3
    """How many steps down the tree a category reaches."""

    @model_validator(mode="after")
    def _possible(self) -> WikipediaOptions:
        if self.tree is not None and not self.categories:
            raise PydanticCustomError("tree", "`tree` needs `categories` to start from")
        return self


class CnxmlOptions(SpecModel):
    """Which book of an OpenStax repository is taken."""

    collection: str | None = None
    """The book's slug or the name of its collection file, such as `astronomy-2e`; needed where
    there are several."""


class Licenses(SpecModel):
    """Under which licences texts are taken."""

    allow: list[str] = []
    """SPDX names (`CC-BY-4.0`), the usual words (`CC BY 4.0`) or the licence's address; what has
    another licence is left out and counted. Default: all are taken."""
    require_known: bool = False
    """Leave out what has no known licence; a source that cannot have one is refused."""


class Source(SpecModel):
    """Text or chat files."""

    path: str = Field(min_length=1)
    """Path, glob or URI. Relative paths are relative to the run file. For `format: chat` also
    the name of the `generate` stage that writes them."""
    kind: Kind = "auto"
    """What the files are. `auto` goes by their endings: `.txt`, `.md`, `.html`, `.jsonl`,
    `.parquet`, `.tex`, each also with `.gz` or `.zst`; the others are to be named."""
    weight: Annotated[float, Field(gt=0.0)] = 1.0
    """How often each record is seen an epoch: 2 doubles a source, 0.5 takes half of it."""
    epochs: Annotated[float, Field(gt=0.0, le=1000.0)] | None = None
    """The same as `weight`, by the name that papers give it in a mixture; give one of the two."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Share of all training tokens that the source is to have, instead of `weight`; its records are
    repeated or left out to reach it (`mixture.maxEpochs` bounds the repeats)."""
    layout: Layout = "auto"
    """How records of `format: chat` hold conversations, one way for the whole source: `messages`
    (role and content), `sharegpt` (from and value), `openhermes`, `alpaca` (instruction, input,
    output), `nemotron` (input, output, system_prompt, reasoning). `auto` goes by the first
    record."""
    text_field: str = "text"
    """The field of JSONL and Parquet records that holds the text (`format: text` only)."""
    license: str | None = None
    """SPDX name or words; recorded in the lineage. A record's own licence (arXiv, CNXML, a field
    `license` of JSONL and Parquet) comes before it."""
    on_error: Literal["fail", "skip"] | None = None
    """What becomes of a record or archive member that cannot be read: `fail` ends the stage, `skip`
    leaves it out and counts it; default: `fail`, and `skip` for arXiv and Wikipedia."""
    max_failures: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05
    """With `skip`, the largest share of records that may be left out so."""
    max_record_bytes: Annotated[int, Field(ge=1024, le=2**31)] = 64 * 2**20
    """Largest record, in bytes; a paper counts with all its files."""
    max_expansion: Annotated[int, Field(ge=2, le=100_000)] = 200
    """How many times larger than itself a compressed file may become (past 64 MiB)."""
    max_expanded_bytes: Annotated[int, Field(ge=2**20)] = 2**40
    """How large a compressed file may become."""
    latex: LatexOptions | None = None
    """Options of LaTeX."""
    arxiv: ArxivOptions | None = None
    """Options of `kind: arxiv`."""
    wikipedia: WikipediaOptions | None = None
    """Options of `kind: wikipedia`."""
    cnxml: CnxmlOptions | None = None
    """Options of `kind: cnxml`."""

    @model_validator(mode="after")
    def _options_fit_the_kind(self) -> Source:
        for name, kinds in _OPTIONS.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise PydanticCustomError(
                    "wrong_kind",
                    "`{option}` belongs to `kind: {kinds}`, not to `kind: {kind}`",
                    {"option": name, "kinds": " or ".join(kinds), "kind": self.kind},
                )
        return self

    @model_validator(mode="after")
    def _one_way_to_weigh(self) -> Source:
        given = {"weight": self.weight != 1.0, "epochs": self.epochs, "share": self.share}
        named = [name for name, value in given.items() if value]
        if len(named) > 1:
            raise PydanticCustomError(
                "weighing",
                "{found} say the same in two ways: give one of `weight`, `epochs`, `share`",
                {"found": " and ".join(f"`{name}`" for name in named)},
            )
        return self

    @property
    def times(self) -> float:
        """How often each record is seen, where no `share` decides it."""
        return self.weight if self.epochs is None else self.epochs

    @property
    def skips(self) -> bool:
        """Whether what cannot be read is left out."""
        return (self.on_error or _ON_ERROR.get(self.kind, "fail")) == "skip"

    def lists(self) -> list[tuple[str, str]]:
        """``(field, path)`` of the files beside the texts: metadata and lists."""
        found: list[tuple[str, Any]] = []
        if self.arxiv is not None:
            found.append(("arxiv.metadata", self.arxiv.metadata))
            found.append(("arxiv.exclude.doi", self.arxiv.exclude.doi))
            found.append(("arxiv.exclude.ids", self.arxiv.exclude.ids))
        if self.wikipedia is not None:
            found.append(("wikipedia.titles", self.wikipedia.titles))
            found.append(("wikipedia.tree", self.wikipedia.tree))
        return [(field, str(path)) for field, path in found if path is not None]


_ON_ERROR = {"arxiv": "skip", "wikipedia": "skip"}
