"""Which samples a step sees: a function of the seed and the step's number, so that a run that was killed goes on as if it had not been."""

from collections import defaultdict
from collections.abc import Hashable
from functools import lru_cache

import numpy as np
from jaxtyping import Int

from headstart.tuning.views import Views

# So many batches are filled from samples of similar length; more is less padding and less chance.
_POOL = 32


class Batches:
    """Epochs of batches: every sample once, one of its views, views of one bucket and similar length together."""

    def __init__(self, views: Views, *, size: int, seed: int) -> None:
        self._views, self._size, self._seed = views, size, seed
        self._buckets: list[Hashable] = []
        self._lengths = np.array([shape[0] for shape in views.shapes])
        cache: dict[tuple[int, ...], Hashable] = {}
        for number, shape in enumerate(views.shapes):
            if shape not in cache:
                cache[shape] = views.preparation.bucket(views.view(number))
            self._buckets.append(cache[shape])
        self.epoch = lru_cache(maxsize=2)(self._epoch)
        self._counts: list[
            int
        ] = []  # batches of each epoch so far: to make them anew at every step takes longer than the step

    def at(self, step: int) -> tuple[Int[np.ndarray, "b"], Int[np.ndarray, "b"]]:
        """The batch of a step.

        Returns:
            Which samples, and which views of theirs.
        """
        number = 0
        while step >= (size := self._batches_of(number)):
            step -= size
            number += 1
        return self.epoch(number)[step]

    def _batches_of(self, number: int) -> int:
        """How many batches an epoch has."""
        if number == len(self._counts):
            self._counts.append(len(self.epoch(number)))
        return self._counts[number]

    def _epoch(self, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng([self._seed, number])
        first = self._views.first
        samples = rng.permutation(len(self._views))
        chosen = first[samples] + rng.integers(0, np.diff(first)[samples])
        together: dict[Hashable, list[int]] = defaultdict(list)
        for place, view in enumerate(chosen):
            together[self._buckets[view]].append(place)
        found = []
        for places in together.values():
            for start in range(0, len(places), _POOL * self._size):
                pool = np.array(places[start : start + _POOL * self._size])
                pool = pool[np.argsort(self._lengths[chosen[pool]], kind="stable")]
                found += [pool[at : at + self._size] for at in range(0, len(pool), self._size)]
        return [(samples[found[at]], chosen[found[at]]) for at in rng.permutation(len(found))]
