from hypothesis import given
from hypothesis import strategies as st

from astrosage.data.naming import short_names


def test_names_are_the_shortest_ends_that_differ() -> None:
    assert short_names(["/data/papers.jsonl"]) == {"/data/papers.jsonl": "papers.jsonl"}
    assert short_names(["/data/a/x.md", "/data/b/x.md", "/data/b/y.md"]) == {
        "/data/a/x.md": "a/x.md",
        "/data/b/x.md": "b/x.md",
        "/data/b/y.md": "y.md",
    }


def test_a_pattern_alone_is_no_name() -> None:
    assert short_names(["/data/a/*.md", "/data/b/**/*.md"]) == {
        "/data/a/*.md": "a/*.md",
        "/data/b/**/*.md": "b/**/*.md",
    }
    assert short_names(["*.md"]) == {"*.md": "*.md"}


def test_uris_are_named_too() -> None:
    assert short_names(["s3://bucket/x.jsonl", "/bucket/x.jsonl"]) == {
        "s3://bucket/x.jsonl": "s3:/bucket/x.jsonl",
        "/bucket/x.jsonl": "bucket/x.jsonl",
    }


@given(st.lists(st.text("ab/*.", min_size=1, max_size=8), max_size=12))
def test_names_are_all_different(paths: list[str]) -> None:
    names = short_names(paths)
    assert set(names) == set(paths)
    assert len(set(names.values())) == len(names)
    assert all(names.values())
