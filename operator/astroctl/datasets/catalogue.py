"""The texts of the astronomy set: where they are, at which commit, under which licence."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Text:
    """A book or paper in a Git repository.

    Attributes:
        name: Its folder in the set, and what ``--only`` calls it.
        title: For the attribution.
        authors: For the attribution.
        repository: ``owner/name`` on GitHub.
        commit: Which state; whole, or its beginning.
        license: SPDX name.
        license_url: Where the licence stands.
        folder: The part of the repository that is taken; empty for all of it.
        patterns: Git's path patterns of the files that are taken, below ``folder``.
        kind: The kind of source.
        path: What a source's ``path`` is, below the text's folder.
    """

    name: str
    title: str
    authors: str
    repository: str
    commit: str
    license: str
    license_url: str
    kind: str
    path: str
    folder: str = ""
    patterns: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The repository's address."""
        return f"https://github.com/{self.repository}.git"

    @property
    def repository_name(self) -> str:
        """The repository's name without its owner, as a mirror calls it."""
        return self.repository.rpartition("/")[2]

    def hashes(self) -> dict[str, str] | None:
        """SHA-256 by file name; None where only the commit says what the files are."""
        listed = files("astroctl.datasets").joinpath(f"{self.name}.sha256")
        if not listed.is_file():
            return None
        lines = listed.read_text(encoding="utf-8").splitlines()
        return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}


ASTRONOMY = (
    Text(
        name="openstax-astronomy-2e",
        title="Astronomy 2e",
        authors="Andrew Fraknoi, David Morrison, Sidney C. Wolff and others; OpenStax, Rice "
        "University (access for free at https://openstax.org/details/books/astronomy-2e)",
        repository="openstax/osbooks-astronomy",
        # The last state under CC BY; later ones are CC BY-NC-SA.
        commit="63157f370b09c06a4cc12832384aaaf4de1ced3b",
        license="CC-BY-4.0",
        license_url="https://creativecommons.org/licenses/by/4.0/",
        kind="cnxml",
        path="**/*xml",
        patterns=("modules/*/index.cnxml", "collections/astronomy-2e.collection.xml"),
    ),
    Text(
        name="star-formation-notes",
        title="Notes on Star Formation",
        authors="Mark R. Krumholz; The Open Astrophysics Bookshelf",
        repository="Open-Astrophysics-Bookshelf/star_formation_notes",
        commit="2bc4d08bed04",
        license="CC0-1.0",
        license_url="https://creativecommons.org/publicdomain/zero/1.0/",
        kind="latex",
        path="**/*.tex",
    ),
    Text(
        name="lsst-observing-strategy",
        title="Science-Driven Optimization of the LSST Observing Strategy",
        authors="The LSST Science Collaborations",
        repository="LSSTScienceCollaborations/ObservingStrategy",
        commit="7a8ed472007d",
        license="MIT",
        license_url="https://opensource.org/license/mit",
        kind="latex",
        path="**/*.tex",
        folder="whitepaper",
    ),
)
