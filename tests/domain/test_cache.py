"""The bounded map: what it keeps, and what it forgets first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.cache import Cache


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


# (keys and weights in the order they are put, those that a cache of size 10 keeps)
WEIGHTS: dict[str, tuple[list[tuple[str, int]], str]] = {
    "all that fit": ([("a", 4), ("b", 6)], "ab"),
    "what is too much": ([("a", 4), ("b", 6), ("c", 1)], "bc"),
    "as many as must go": ([("a", 3), ("b", 3), ("c", 3), ("d", 8)], "d"),
    "the last, however heavy": ([("a", 1), ("b", 100)], "b"),
    "nothing beside one that is too heavy": ([("a", 100), ("b", 1)], "b"),
    "what became lighter": ([("a", 9), ("a", 1), ("b", 9)], "ab"),
    "what became heavier": ([("a", 1), ("b", 1), ("a", 10)], "a"),
    "what weighs nothing": ([("a", 0), ("b", 10), ("c", 0)], "abc"),
}


@pytest.mark.parametrize(("puts", "left"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_count_together(puts: list[tuple[str, int]], left: str) -> None:
    cache: Cache[str, str] = Cache(10)
    for key, weight in puts:
        cache.put(key, key.upper(), weight)

    assert kept(cache, "abcd") == left


def test_what_is_dropped_weighs_nothing_any_more() -> None:
    cache: Cache[str, str] = Cache(10)
    for key in "ab":
        cache.put(key, key, 5)
    cache.drop("a")
    cache.put("c", "c", 5)

    assert kept(cache, "abc") == "bc"


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 12))))
def test_the_weight_of_what_is_kept_never_exceeds_the_size(puts: list[tuple[str, int]]) -> None:
    cache: Cache[str, str] = Cache(10)
    weights: dict[str, int] = {}
    for key, weight in puts:
        cache.put(key, key, weight)
        weights[key] = weight
        left = kept(cache, "abcdefgh")

        assert key in left
        assert sum(weights[other] for other in left) <= 10 or left == key


def test_the_oldest_is_the_one_that_was_used_longest_ago_and_to_look_at_it_is_no_use() -> None:
    cache: Cache[str, int] = Cache(3)
    assert cache.oldest() is None
    for number, name in enumerate("abc"):
        cache.put(name, number)
    cache.get("a")

    assert cache.oldest() == cache.oldest() == ("b", 1)
    assert len(cache) == 3
