"""A bounded map that forgets the entry used longest ago; only for values that can be found or made again."""

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Holds values up to a total weight of `size`, and the one put last in any case.

    `cache.put("a", value, weight=3)` counts 3 of `size`; without weights `size` is a number of values.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._weight = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def __len__(self) -> int:
        return len(self._values)

    def oldest(self) -> tuple[K, V] | None:
        """The entry that was used longest ago; None if there is none. To look at it is no use of it."""
        return next(((key, value) for key, (value, _) in self._values.items()), None)

    def items(self) -> list[tuple[K, V]]:
        """All entries, the one that was used longest ago first. To list them is no use of them."""
        return [(key, value) for key, (value, _) in self._values.items()]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        self.drop(key)
        self._values[key] = value, weight
        self._weight += weight
        while self._weight > self._size and len(self._values) > 1:
            self.drop(next(iter(self._values)))

    def drop(self, key: K) -> None:
        if key in self._values:
            self._weight -= self._values.pop(key)[1]
