"""One cache that drops what was not used for longest."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """Values by key, those used last, for any thread. Their sizes are `limit` together at most.

    ``size_of(value)`` is 1 by default, which makes `limit` a number of values.
    """

    def __init__(self, limit: int, size_of: Callable[[V], int] = lambda value: 1) -> None:
        self.limit, self._size_of = limit, size_of
        self._values: OrderedDict[K, V] = OrderedDict()
        self._size = 0
        self._lock = threading.RLock()

    def get(self, key: K) -> V | None:
        """Return the value kept under `key`, None if there is none."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def get_or_make(self, key: K, make: Callable[[], V]) -> V:
        """Return the value kept under `key`, made first if there is none; other threads wait meanwhile."""
        with self._lock:
            found = self.get(key)
            if found is None:
                found = self._values[key] = make()
                self._size += self._size_of(found)
                self.drop_to(self.limit)
            return found

    def put(self, key: K, value: V) -> None:
        """Keep a value under `key`."""
        with self._lock:
            self.drop(key)
            self._values[key] = value
            self._size += self._size_of(value)
            self.drop_to(self.limit)

    def update(self, values: Mapping[K, V]) -> None:
        """Keep several values, each under its key."""
        for key, value in values.items():
            self.put(key, value)

    def __len__(self) -> int:
        return len(self._values)

    def drop(self, key: K) -> None:
        """Drop the value kept under `key`, if there is one."""
        with self._lock:
            if key in self._values:
                self._size -= self._size_of(self._values.pop(key))

    def drop_to(self, size: int) -> None:
        """Drop the values not used for longest, until the sizes of the others are `size` together or less."""
        with self._lock:
            while self._size > size:
                self._size -= self._size_of(self._values.popitem(last=False)[1])
