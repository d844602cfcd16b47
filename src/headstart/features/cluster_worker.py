"""What a worker of a cluster does: rebuild the backbone once, run the one-machine pipeline on blocks, and answer with tables."""

import json
import logging
import os
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from headstart.backbones.backbone import Architecture, Backbone
from headstart.backbones.choice import rebuild_backbone
from headstart.core.digests import of_bytes
from headstart.core.errors import HeadstartError, SampleError
from headstart.core.spec import BackboneSpec
from headstart.data.places import read_place
from headstart.features.pipeline import Content, Done, run
from headstart.features.running import Runner

# The position of what belongs to no sample.
NOBODY = -1
# How often a block is begun, where the workers that have it die.
_TRIALS = 3


class Attempts:
    """How often each block was begun: Ray starts workers that died again without end. One actor, which all workers ask."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, block: int) -> int:
        """How often the block whose first position this is was begun, this time included."""
        self._begun[block] += 1
        return self._begun[block]


@dataclass(frozen=True)
class Job:
    """What a worker needs once.

    Attributes:
        architecture: the fields of the backbone's architecture.
        specs: as `BackboneSpec.to_json` gives them.
        assets: of the preparation.
        tensors: the reference under which Ray holds the weights.
        engine: the engine's name, or `auto`.
        rows: how many a worker may expect to make, for weighing what a faster engine takes to start.
        inline: whether inputs are the texts themselves.
        folder: relative paths begin here.
        attempts: the actor that counts them.
    """

    architecture: Mapping[str, Any]
    specs: tuple[Mapping[str, Any], ...]
    assets: Mapping[str, bytes]
    tensors: Any
    engine: str
    rows: int
    inline: bool
    folder: str
    attempts: Any


class Worker:
    """One worker, which Ray Data makes once and calls with block after block. What headstart refuses there is told by the driver."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._specs = tuple(BackboneSpec.from_json(dict(spec)) for spec in job.specs)
        self._ready: tuple[Backbone, Runner] | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        """What became of the samples of a block."""
        told: dict[str, Any] = {"worker": f"{socket.gethostname()}:{os.getpid()}"}
        try:
            self._count(block)
            backbone, runner = self._ready = self._ready or self._begun()
            positions = block.column("position").to_pylist()
            content = _content(block, inline=self._job.inline, folder=self._job.folder)
            done = list(run(backbone, positions, content=content, runner=runner))
        except HeadstartError as error:
            return answer([], self._specs, told={**told, "refused": str(error)})
        except Exception as error:
            logging.getLogger(__name__).exception("a block of samples failed")
            return answer(
                [], self._specs, told={**told, "refused": f"{type(error).__name__}: {error} (Ray's log has more)"}
            )
        return answer(done, self._specs, told={**told, "events": runner.events, "used": runner.used})

    def _count(self, block: pa.Table) -> None:
        import ray

        begun = ray.get(self._job.attempts.begin.remote(block.column("position")[0].as_py()))
        if begun > _TRIALS:
            first, last = block.column("input")[0].as_py(), block.column("input")[-1].as_py()
            raise HeadstartError(
                f"{_TRIALS} workers died one after the other at the samples from {first[:200]!r} to {last[:200]!r}: look for one that is"
                " damaged, or for too little memory"
            )

    def _begun(self) -> tuple[Backbone, Runner]:
        import ray

        job, architecture = self._job, Architecture(**self._job.architecture)
        backbone = rebuild_backbone(architecture, self._specs, assets=job.assets, tensors=lambda: ray.get(job.tensors))
        return backbone, Runner(backbone, job.engine, rows=job.rows)


def _content(block: pa.Table, *, inline: bool, folder: str) -> Content:
    """The text, or the file's bytes where they are still what was hashed."""
    positions, inputs, digests = (block.column(name).to_pylist() for name in ("position", "input", "digest"))
    known = dict(zip(positions, zip(inputs, digests, strict=True), strict=True))

    def read(position: int) -> bytes | str:
        text, digest = known[position]
        if inline:
            return str(text)
        try:
            found = read_place(os.path.join(folder, text))  # noqa: PTH118
        except OSError as error:
            raise SampleError(
                f"cannot be read on the cluster's machine {socket.gethostname()} ({error.strerror or error}): check that it exists, and"
                " that every machine sees it under the same path"
            ) from error
        if of_bytes(found) != digest:
            raise SampleError("changed while it was read: run again")
        return found

    return read


def answer(parts: Sequence[Done], specs: Sequence[BackboneSpec], *, told: Mapping[str, Any]) -> pa.Table:
    """What became of a block: `position`, `reason` where it failed, `facts` as JSON, and a column of rows for each spec.

    The first line, at position -1, belongs to no sample: its facts are what the worker tells.
    """
    failed = [each for part in parts for each in part.failed]
    facts = [json.dumps(each) for part in parts for each in part.facts]
    positions = [position for part in parts for position in part.positions] + [position for position, _ in failed]
    columns: dict[str, pa.Array] = {
        "position": pa.array([NOBODY, *positions], pa.int64()),
        "reason": pa.array([None] * (1 + len(facts)) + [reason for _, reason in failed], pa.string()),
        "facts": pa.array([json.dumps(told), *facts] + ["{}"] * len(failed), pa.string()),
    }
    for number, spec in enumerate(specs):
        none = np.zeros((1, spec.dim), np.float32), np.zeros((len(failed), spec.dim), np.float32)
        rows = np.concatenate([none[0], *(part.rows[number] for part in parts if part.positions), none[1]])
        columns[f"rows.{number}"] = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel(), pa.float32()), spec.dim)
    return pa.table(columns)
