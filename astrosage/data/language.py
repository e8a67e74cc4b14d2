"""Which language a text is in, by py3langid (Lui and Baldwin 2012, "langid.py"): 97 languages."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from astrosage.errors import SpecError
from astrosage.spec.base import nearest

_LOOKED_AT = 2000  # characters; more changes hardly any answer


class LanguageFilter:
    """Keeps texts in some languages.

    Args:
        languages: ISO 639-1 codes.
        probability: Least probability of the language that is identified.
        field: Where the languages stand in the run file.

    Raises:
        SpecError: If a language is not known, or the identifier is not installed.
    """

    def __init__(self, languages: Sequence[str], probability: float, field: str) -> None:
        self._identifier = _identifier(field)
        labels = sorted(self._identifier.labels)
        for i, language in enumerate(languages):
            if language not in labels:
                near = nearest(language, labels)
                raise SpecError(
                    f"{field}[{i}]: the language `{language}` cannot be identified",
                    (f"did you mean `{near}`? " if near else "") + f"known: {', '.join(labels)}",
                )
        self._wanted, self._probability = frozenset(languages), probability

    def judge(self, text: str) -> tuple[str, bool]:
        """The text's language, and whether it is one that is wanted."""
        start = text[:_LOOKED_AT]
        language, probability = self._identifier.classify(start)
        good = language in self._wanted and float(probability) >= self._probability
        return str(language), good


def _identifier(field: str) -> Any:
    try:
        module = importlib.import_module("py3langid.langid")
    except ImportError:
        raise SpecError(
            f"{field}: identifying languages needs py3langid, which is not installed",
            "pip install 'astrosage[data]', or leave `languages` out",
        ) from None
    return module.LanguageIdentifier.from_model_file(module.MODEL_FILE, norm_probs=True)
