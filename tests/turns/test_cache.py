"""The bounded map: what it keeps, and what it forgets first."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.turns.cache import Cache


def cache_of(*keys: str, size: int = 3) -> Cache[str, str]:
    cache: Cache[str, str] = Cache(size)
    for key in keys:
        cache.put(key, key.upper())
    return cache


def kept(cache: Cache[str, str], keys: str) -> str:
    return "".join(key for key in keys if cache.get(key))


def test_what_is_put_is_found() -> None:
    assert cache_of("a").get("a") == "A"


def test_what_was_never_put_is_not_found() -> None:
    assert cache_of("a").get("b") is None


def test_the_last_value_counts() -> None:
    cache = cache_of("a")
    cache.put("a", "other")

    assert cache.get("a") == "other"


def test_what_was_put_first_is_forgotten_first() -> None:
    assert kept(cache_of("a", "b", "c", "d"), "abcd") == "bcd"


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    cache = cache_of("a", "b", "c")
    cache.get("a")
    cache.put("d", "D")

    assert kept(cache, "abcd") == "acd"


def test_putting_again_counts_as_use() -> None:
    assert kept(cache_of("a", "b", "c", "a", "d"), "abcd") == "acd"


def test_asking_for_what_is_not_there_changes_nothing() -> None:
    cache = cache_of("a", "b", "c")
    cache.get("x")

    assert kept(cache, "abc") == "abc"


def test_what_is_dropped_is_not_found() -> None:
    cache = cache_of("a", "b")
    cache.drop("a")

    assert kept(cache, "ab") == "b"


def test_dropping_what_is_not_there_changes_nothing() -> None:
    cache = cache_of("a")
    cache.drop("x")

    assert kept(cache, "a") == "a"


@given(st.lists(st.sampled_from("abcdefgh")), st.integers(1, 8))
def test_the_last_few_are_kept_and_no_more(keys: list[str], size: int) -> None:
    last_first = list(dict.fromkeys(reversed(keys)))

    assert set(kept(cache_of(*keys, size=size), "abcdefgh")) == set(last_first[:size])
