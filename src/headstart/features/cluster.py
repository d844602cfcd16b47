"""Extraction on several machines: a Ray Data pipeline whose workers run the one-machine pipeline on blocks of samples.

Rows come back to the process that asked, which alone writes to the store; workers hold no store. What travels to a worker: once the
backbone as plain arrays and JSON, then for each block positions, digests, and the texts or the paths of files. Files are read where the
work is done, so every machine has to see them under the same path; headstart has to be installed in one version everywhere.

A block is a multiple of what fills a batch, so where all views have one shape (images) batches come out as on one machine, apart from
blocks in which a sample cannot be read. Rows are then equal bit for bit where the machines are alike. Texts and recordings of unequal
length are sorted into batches within a block only: rows are equal to the tolerance of the backbone's precision.
"""

import json
import logging
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import UInt8

from headstart.backbones.backbone import Architecture, Backbone
from headstart.backbones.torch import GROUP
from headstart.core.errors import ExtraMissing, HeadstartError, gist
from headstart.core.registry import entry_points
from headstart.core.spec import BackboneSpec
from headstart.data.preparation import Preparation
from headstart.data.samples import Samples
from headstart.features.choosing import AUTO, choose
from headstart.features.cluster_worker import NOBODY, Attempts, Job, Worker
from headstart.features.engines import ENGINES
from headstart.features.pipeline import Done

# Blocks for each worker at least, so that all end at about the same time; samples of a block at most, so that no loss is large.
_BLOCKS_EACH = 4
_MOST_SAMPLES = 2048
# Engines that have no use for a GPU.
_CPU_ENGINES = frozenset({"channels_last", "openvino"})
# What a cluster of ours begins with: no calls to Ray's makers, and no notes of its inner life on the terminal.
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
# Cores of a worker at most: the pipeline reads and prepares in no more threads than that.
_MOST_CORES = 8


class ClusterError(HeadstartError):
    """Workers of a cluster that died, or that cannot do what this process can."""


@dataclass
class Heard:
    """What the workers told beside the rows.

    Attributes:
        events: of their runners, one sentence each.
        used: the engines that made rows, in the order of their first.
        workers: samples done by each worker, by `MACHINE:PROCESS`.
    """

    events: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    workers: dict[str, int] = field(default_factory=dict)

    @property
    def engine(self) -> str:
        """The engines that made rows, joined by `+`; `none` where none did."""
        return "+".join(self.used) or "none"

    def add(self, told: Mapping[str, Any], samples: int) -> None:
        """Take in what came with a block."""
        self.events[:] = dict.fromkeys([*self.events, *told["events"]])
        self.used[:] = dict.fromkeys([*self.used, *told["used"]])
        self.workers[told["worker"]] = self.workers.get(told["worker"], 0) + samples


def run_on_ray(
    backbone: Backbone,
    positions: Sequence[int],
    *,
    samples: Samples,
    digests: UInt8[np.ndarray, "n 16"],
    engine: str,
    heard: Heard | None = None,
) -> Generator[Done, None, None]:
    """Prepare and embed samples on a Ray cluster; each is yielded once, block by block as they come.

    The cluster is the one that this process is connected to, else the one at RAY_ADDRESS, else one that is started on this machine and
    ended with the generator. A worker takes up to 8 cores, and a GPU where the cluster has any and the engine may use it; it rebuilds
    the backbone once. A worker that dies is started again and its block is done again, also where a whole machine is lost; where
    three died at one block, the job ends. Closing the generator, as Ctrl-C does, ends it, too.

    Args:
        backbone: what makes the rows; it has to be one that its tensors rebuild.
        positions: which samples.
        samples: all samples; texts travel, files are opened by the workers under the same path as here.
        digests: of all samples: files that are no longer what was hashed are refused.
        engine: the name of the engine that every worker runs, or `auto`, by which each chooses for itself.
        heard: takes in what the workers tell beside the rows.

    Raises:
        ExtraMissing: Ray Data is not installed.
        ClusterError: the backbone cannot be rebuilt elsewhere, no cluster can be reached, or workers died again and again.
    """
    _refuse_own_module(backbone)
    ray = _ray()
    if not len(positions):
        return
    with _connected(ray), _told_by_us(ray):
        workers, resources = _workers(ray.nodes(), gpu=engine not in _CPU_ENGINES)
        size = _block_size(backbone, len(positions), workers=workers, engine=engine)
        tables = list(_blocks(samples, digests, positions=positions, size=size))
        share = -(-len(positions) // workers)
        job = _job(ray, backbone, samples=samples, engine=engine, rows=share)
        with ray.data.DataContext.current(_quiet_context(ray)):
            outcomes = ray.data.from_arrow(tables).map_batches(
                Worker,
                batch_size=None,
                batch_format="pyarrow",
                fn_constructor_args=(job,),
                compute=ray.data.ActorPoolStrategy(size=min(workers, len(tables))),
                **resources,
            )
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)
            with closing(_each_block(outcomes)) as come:
                for table in come:
                    yield _done(table, backbone.specs, heard or Heard())


def _refuse_own_module(backbone: Backbone) -> None:
    architecture = backbone.architecture
    if architecture.source == "torch" and architecture.name not in entry_points(GROUP):
        raise ClusterError(
            f"the workers of a cluster rebuild the backbone by themselves, and torch:{architecture.name} is a person's own module, of which"
            f" they have no source: install on every machine a package whose entry point {architecture.name!r} in {GROUP} makes it, or"
            " extract on this machine"
        )


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ExtraMissing.of("ray[data]", "ray", purpose="extraction on a cluster") from error
    return ray


@contextmanager
def _connected(ray: Any) -> Iterator[None]:
    """A cluster: the one that this process already uses, else that of RAY_ADDRESS, else a new one on this machine; what was begun is ended."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    try:
        with _defaults(_ENVIRONMENT):
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ClusterError(
            f"no Ray cluster can be used at {address} ({gist(error)}): set the environment variable RAY_ADDRESS to one that runs, or"
            " extract on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _defaults(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that are set for the block where the person has not set them."""
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _told_by_us(ray: Any) -> Iterator[None]:
    """What Ray says of dead workers becomes one sentence; it keeps its log to its files."""
    logger = logging.getLogger("ray.data")
    before = logger.level
    try:
        yield
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"the Ray cluster did not finish ({gist(error)}): the rows that had arrived are kept, so look after the cluster and run"
            " again"
        ) from error
    finally:
        logger.setLevel(before)


def _quiet_context(ray: Any) -> Any:
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return context


def _workers(nodes: Sequence[Mapping[str, Any]], *, gpu: bool) -> tuple[int, dict[str, float]]:
    """How many workers the machines have room for, and what each takes.

    Raises:
        ClusterError: no machine offers a core.
    """
    offered = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = int(sum(machine.get("GPU", 0) for machine in offered)) if gpu else 0
    cores = [
        int(machine["CPU"]) for machine in offered if machine.get("CPU", 0) >= 1 and (not gpus or machine.get("GPU"))
    ]
    if not cores:
        raise ClusterError("no machine of the Ray cluster offers a core: start it with --num-cpus of at least 1")
    if gpus:
        return gpus, {"num_cpus": 1, "num_gpus": 1}
    each = min(_MOST_CORES, *cores)
    return sum(number // each for number in cores), {"num_cpus": each}


def _block_size(backbone: Backbone, n: int, *, workers: int, engine: str) -> int:
    """Samples of a block: a multiple of what fills a batch, four blocks a worker where that is possible, at most 2,048 samples.

    Raises:
        UsageError: there is no such engine.
    """
    first = choose(backbone, AUTO).first if engine == AUTO else engine
    batch = _batch_size(backbone.preparation, ENGINES.get(first).scale)
    most = max(1, _MOST_SAMPLES // batch)
    return batch * min(most, max(1, n // (batch * workers * _BLOCKS_EACH)))


def _batch_size(preparation: Preparation, scale: float) -> int:
    view = preparation.probes(1, 0).values[0]
    return max(1, int(scale / preparation.cost(view) + 1e-9))


def _blocks(
    samples: Samples, digests: UInt8[np.ndarray, "n 16"], *, positions: Sequence[int], size: int
) -> Iterator[pa.Table]:
    """What a worker needs of some samples: `position`, `input` and `digest`."""
    inputs = samples.table.column("input")
    for start in range(0, len(positions), size):
        chosen = np.asarray(positions[start : start + size], np.int64)
        hashed = [digests[position].tobytes() for position in chosen]
        taken = inputs.take(pa.array(chosen)).combine_chunks()
        yield pa.table({"position": chosen, "input": taken, "digest": pa.array(hashed, pa.binary())})


def _job(ray: Any, backbone: Backbone, *, samples: Samples, engine: str, rows: int) -> Job:
    architecture = {field.name: getattr(backbone.architecture, field.name) for field in fields(Architecture)}
    attempts = ray.remote(num_cpus=0)(Attempts).remote()
    return Job(
        architecture={**architecture, "options": dict(backbone.architecture.options)},
        specs=tuple(spec.to_json() for spec in backbone.specs),
        assets=dict(backbone.preparation.assets),
        tensors=ray.put(backbone.tensors()),
        engine=engine,
        rows=rows,
        inline=samples.inline,
        attempts=attempts,
        folder=os.getcwd(),  # noqa: PTH109  (joined with paths that are strings)
    )


def _done(table: pa.Table, specs: Sequence[BackboneSpec], heard: Heard) -> Done:
    """What `answer` wrote, of one block or of several that Ray Data joined.

    Raises:
        ClusterError: a worker refused.
    """
    positions, reasons, facts = (table.column(name).to_pylist() for name in ("position", "reason", "facts"))
    begins = [i for i, position in enumerate(positions) if position == NOBODY]
    for begin, end in pairwise([*begins, len(positions)]):
        told = json.loads(facts[begin])
        if "refused" in told:
            raise ClusterError(f"the worker {told['worker']} of the Ray cluster cannot do it: {told['refused']}")
        heard.add(told, end - begin - 1)
    good = [i for i, reason in enumerate(reasons) if reason is None and positions[i] != NOBODY]
    rows = []
    for number, spec in enumerate(specs):
        values = table.column(f"rows.{number}").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        rows.append(np.ascontiguousarray(values.reshape(-1, spec.dim)[good], np.float32))
    failed = tuple(
        (position, reason) for position, reason in zip(positions, reasons, strict=True) if reason is not None
    )
    return Done(tuple(positions[i] for i in good), tuple(rows), tuple(json.loads(facts[i]) for i in good), failed)


def _each_block(outcomes: Any) -> Generator[pa.Table, None, None]:
    """The tables as they come; closing the generator ends Ray's job."""
    batches = iter(outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1))
    try:
        yield from batches
    finally:
        batches.close()
