"""Running batches: through the engine that pays, checked against the plain way, and through the next one where it fails.

What goes wrong is an event and never a wrong feature: an engine that does not start, runs out of memory, disagrees with the plain way or
returns numbers that are not finite is left, and the batches that it had taken are run again.
"""

import time
from collections.abc import Generator, Iterable
from contextlib import closing

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.core.errors import gist, is_out_of_memory
from headstart.data.preparation import Batch
from headstart.features.choosing import PLAIN, choose, pays
from headstart.features.engines import ENGINES
from headstart.features.feeding import Feeding, Piece, joined
from headstart.features.parity import PARITY, plainly

Rows = tuple[np.ndarray, ...]


class _Untrustworthy(Exception):
    """An engine's rows are not to be believed."""


class Runner:
    """Runs the batches of one extraction.

    Attributes:
        events: what a person should know of, one sentence each.
        used: the engines that made rows, in the order of their first.
        scale: how many of the preparation's batch budgets one batch may hold.
    """

    def __init__(self, backbone: Backbone, engine: str, *, rows: int) -> None:
        """Settle which engines may be used.

        Args:
            backbone: what makes the rows.
            engine: a name, or `auto`.
            rows: how many samples are expected, for weighing the time that a faster engine takes to start.

        Raises:
            UsageError: there is no such engine, or it cannot run the backbone here.
        """
        self.events: list[str] = []
        self.used: list[str] = []
        self._backbone, self._choice, self._samples = backbone, choose(backbone, engine), rows
        self._left: set[str] = set(PARITY.distrusted(backbone) & {*self._choice.faster})
        self._setups: dict[str, float] = {}
        self._done = self._given = self._timed = 0
        self._seconds = 0.0
        self._met, self._views = 0, 0
        self.scale = ENGINES.get(self._choice.first).scale

    @property
    def engine(self) -> str:
        """The engines that made rows, joined by `+`; `none` where none did."""
        return "+".join(self.used) or "none"

    def met(self, views: int) -> None:
        """A sample was prepared and has so many views: what is still to come is reckoned by them."""
        self._met += 1
        self._views += views

    def run(self, batches: Iterable[Batch]) -> Generator[Rows, None, None]:
        """Rows of each batch in order, one array per spec; several batches may be taken before the first rows come.

        Raises:
            Exception: whatever `batches` raises, or the plain way.
        """
        feeding = Feeding(batches)
        parts: list[Rows] = []
        name = self._start()
        while not feeding.empty:
            with closing(self._rounds(name, feeding)) as made:
                for piece, rows in made:
                    parts.append(rows)
                    if piece.last:
                        whole, parts = parts, []
                        yield joined(whole)
            feeding.check()
            name = self._next(name, feeding)

    def _rounds(self, name: str, feeding: Feeding) -> Generator[tuple[Piece, Rows], None, None]:
        """Rows from one engine until it fails, all is done, or a faster one pays. What it has not answered is taken back."""
        made = self._through(name, feeding)
        try:
            while True:
                try:
                    one = next(made)
                except StopIteration:
                    return
                except Exception as error:  # noqa: BLE001  (whatever an engine raises; the plain way's own errors are raised again)
                    self._failed(name, error, feeding)
                    return
                yield one
        finally:
            made.close()
            feeding.take_back()

    def _through(self, name: str, feeding: Feeding) -> Generator[tuple[Piece, Rows], None, None]:
        self._given = 0
        with closing(ENGINES.get(name).run(self._backbone, feeding.pieces())) as made:  # type: ignore[type-var]  # a generator
            for n, rows in enumerate(made):
                piece = feeding.oldest
                checked = self._believed(name, piece.batch, rows)
                if n:  # the first one's time is that of a cold start
                    self._timed += len(piece.batch)
                    self._seconds += time.perf_counter() - piece.since
                if name not in self.used:
                    self.used.append(name)
                self._done += len(piece.batch)
                self._given += len(piece.batch)
                feeding.answered()
                yield piece, checked
                if self._faster(name):
                    return
        if feeding.largest:
            raise RuntimeError("it ended before it had answered what it took")

    def _start(self) -> str:
        usable = [name for name in (*self._choice.faster, self._choice.first, PLAIN) if name not in self._left]
        compiled = self._choice.faster
        return next(name for name in usable if name not in compiled or self._setup(name) == 0.0)

    def _next(self, now: str, feeding: Feeding) -> str:
        """The engine to go on with."""
        if not feeding.empty and now not in self._left and (faster := self._faster(now)):
            return faster
        return next(name for name in (now, self._choice.first, PLAIN) if name not in self._left)

    def _faster(self, now: str) -> str:
        """A compiled engine that pays for the rows that are still missing; empty where none does."""
        if not self._timed or now in self._choice.faster or not self._choice.faster:
            return ""
        expected = self._samples * (self._views / self._met if self._met else 1.0)
        missing = self._seconds / self._timed * (expected - self._done)
        usable = (name for name in self._choice.faster if name not in self._left)
        ends = ((name, self._setup(name)) for name in usable)
        return next(
            (name for name, setup in ends if pays(self._backbone, name, now=now, seconds=missing, setup=setup)), ""
        )

    def _setup(self, name: str) -> float:
        """Seconds that an engine takes to start, asked once; endless where it cannot even tell."""
        if name not in self._setups:
            try:
                self._setups[name] = ENGINES.get(name).setup(self._backbone)
            except Exception as error:  # noqa: BLE001  (an engine that cannot tell is not used)
                self._setups[name] = float("inf")
                self._note(f"the engine {name} could not be looked at ({gist(error)})")
        return self._setups[name]

    def _believed(self, name: str, batch: Batch, rows: Rows) -> Rows:
        """An engine's rows, where they can be believed.

        Raises:
            _Untrustworthy: they are not those of the plain way.
        """
        if name == PLAIN:
            return rows
        shapes = [(len(batch), spec.dim) for spec in self._backbone.specs]
        if [array.shape for array in rows] != shapes:
            raise _Untrustworthy(f"gave rows of shape {[array.shape for array in rows]} where {shapes} was expected")
        bad = ~np.all([np.isfinite(array).all(axis=1) for array in rows], axis=0)
        if bad.any():
            plain = plainly(self._backbone, Batch(batch.values[bad], batch.lengths[bad]))
            if np.all([np.isfinite(array).all(axis=1) for array in plain], axis=0).any():
                raise _Untrustworthy(
                    f"gave {int(bad.sum())} rows that are not finite numbers, where the plain way gives good ones"
                )
        forms = ENGINES.get(name).forms(self._backbone)
        if doubt := PARITY.doubt(self._backbone, name, batch=batch, rows=rows, forms=forms):
            raise _Untrustworthy(doubt)
        return rows

    def _failed(self, name: str, error: Exception, feeding: Feeding) -> None:
        """Note what happened, and settle whether to leave the engine or to give it smaller batches.

        Raises:
            Exception: the error itself, where it came from the batches or from the plain way.
        """
        feeding.check()
        engine, largest = ENGINES.get(name), feeding.largest
        if is_out_of_memory(error) and largest > 1:
            feeding.limit(largest // 2)
            engine.forget(self._backbone)
            self._note(
                f"the engine {name} ran out of memory with batches of {largest} and went on with batches of {largest // 2}"
            )
            return
        if name == PLAIN:
            raise error
        self._left.add(name)
        what = f"failed ({gist(error)})"
        if isinstance(error, _Untrustworthy):
            PARITY.distrust(self._backbone, name)
            engine.forget(self._backbone)
            what = str(error) + (f"; the {self._given:,} rows that it gave before had passed" if self._given else "")
        instead = next(other for other in (self._choice.first, PLAIN) if other not in self._left)
        self._note(f"the engine {name} {what}; {instead} took its place")

    def _note(self, sentence: str) -> None:
        if sentence not in self.events:
            self.events.append(sentence)
