"""Short names for sources, for charts and metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from glob import has_magic


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The shortest end of each path that no other one shares and that is not only a pattern.

    ``/data/a/*.md`` and ``/data/b/*.md`` become ``a/*.md`` and ``b/*.md``.

    Args:
        paths: Paths, patterns or URIs; one that is there twice is one source.

    Returns:
        Names by path, all different.
    """
    distinct = list(dict.fromkeys(paths))
    parts = {path: [p for p in path.split("/") if p] or [path] for path in distinct}
    names = dict.fromkeys(distinct, "")
    for path in distinct:
        for depth in range(1, len(parts[path]) + 1):
            end = parts[path][-depth:]
            alike = sum(parts[other][-depth:] == end for other in distinct)
            if alike == 1 and not all(map(has_magic, end)):
                break
        names[path] = "/".join(end)
    # Paths that differ only by a leading or doubled "/" have the same ends.
    counts = Counter(names.values())
    return {path: path if counts[name] > 1 else name for path, name in names.items()}
