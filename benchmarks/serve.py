"""The server: what an answer costs beside `headstart predict`, under 64 clients, over 50,000 requests, under a thousand malformed ones, and killed.

`load`: a set's evaluated files are asked for by 64 clients in a process of their own, a file as it is in each request, of a model directory and of its
OpenVINO export. `answers_per_cpu_second` is counted over the server's process; the peer is `headstart predict` on the same files, whose time to
start is taken away by the difference of two runs; both in turns, the median of three. `memory`: resident bytes after the last of 50,000 requests beside those after the first 5,000.
`malformed`: made from the server's own document and by hand, to all sets at once; what the document says of the answers is compared, too. `restart`: from `kill -9` and the same command to the first answer, the median of three.
"""

import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import psutil

import headstart as hs
from _serve_malformed import IN_A_BODY, by_document, by_hand
from figures import DATA, ROOT, Figure, arguments, present, show

SETS = ("ants_bees", "sst2", "spoken_digits")
CLIENTS, REQUESTS, ROUNDS = 64, 3000, 3
MANY, FIRST = 50_000, 5_000
HARMLESS = {200, *range(400, 500)}


@dataclass(frozen=True)
class Made:
    """A set's models and files.

    Attributes:
        models: by kind: `directory` and `export`.
        files: a folder with a file for each evaluated sample.
    """

    models: dict[str, Path]
    files: Path


def made(name: str, folder: Path) -> Made:
    """Fit, save and export; and write what is asked."""
    data = str(DATA / name)
    folder.mkdir(exist_ok=True)
    model = hs.fit(data, options=hs.FitOptions(check=False))
    models = {
        "directory": model.save(folder / "model"),
        "export": hs.export(model, to="openvino", out=folder / "export").path,
    }
    samples = hs.read(data)
    part = samples.part(samples.evaluated_part)
    (files := folder / "files").mkdir()
    for place, each in enumerate(part.table.column("input").to_pylist() if part.inline else part.ids):
        target = files / f"{place:05}{'.txt' if part.inline else Path(each).suffix}"
        if part.inline:
            target.write_text(each, encoding="utf-8")
        else:
            shutil.copy(part.path(place), target)
    return Made(models, files)


@contextmanager
def serving(
    *models: Path | str, options: Sequence[str] = ("--port", "0")
) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server of models in a process of its own, and its address."""
    command = [sys.executable, "-m", "headstart.cli.main", "serve", *map(str, models), "--json", *options]
    # As installed: an environment for development may forbid Python to keep what it compiles, which then is much of every start.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=env)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["address"], process
    finally:
        process.kill()
        process.wait()


def clients(address: str, files: Path, *, n: int) -> dict[str, Any]:
    """What the clients met."""
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "_serve_clients.py"),
        address,
        "/predict",
        str(CLIENTS),
        str(n),
        str(files),
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def cpu_of(process: "subprocess.Popen[str]") -> float:
    """Seconds of processor time that a process has taken."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def predicting(model: Path, files: Path, *, n: int) -> tuple[int, float]:
    """How many files `headstart predict` answers, n times all of them, and its processor time."""
    given = sorted(map(str, files.iterdir())) * n if n else sorted(map(str, files.iterdir()))[:8]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "headstart.cli.main", "predict", str(model), *given, "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return len(done.stdout.splitlines()), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def load(*, quick: bool) -> Iterator[Figure]:
    """Answers for each second of processor time."""
    for name in present(SETS[:1] if quick else SETS):
        with tempfile.TemporaryDirectory() as folder:
            ground = made(name, Path(folder))
            for kind, model in ground.models.items():
                yield from _loaded(f"{name}/{kind}", model, ground.files, n=REQUESTS // 5 if quick else REQUESTS)


def _loaded(title: str, model: Path, files: Path, *, n: int) -> Iterator[Figure]:
    rounds = max(1, n // ROUNDS // len(list(files.iterdir())))
    peers, ours, found = [], [], []
    with serving(model) as (address, process):
        clients(address, files, n=200)  # what is compiled for many at once is compiled
        for _ in range(ROUNDS):
            few, start = predicting(model, files, n=0)
            many, whole = predicting(model, files, n=rounds)
            peers.append((many - few) / (whole - start))
            before = cpu_of(process)
            found.append(clients(address, files, n=n // ROUNDS))
            ours.append(found[-1]["statuses"].get("200", 0) / (cpu_of(process) - before))
    peer, statuses = statistics.median(peers), Counter[str]()
    for each in found:
        statuses.update(each["statuses"])
    yield Figure(f"{title}/answers_per_cpu_second", statistics.median(ours), "answers", at_least=0.8 * peer, peer=peer)
    speed = statistics.median(each["statuses"].get("200", 0) / each["seconds"] for each in found)
    yield Figure(f"{title}/answers_per_second", speed, "answers, clients on the same cores")
    for name in ("p50", "p99"):
        yield Figure(f"{title}/{name}", statistics.median(each[name] for each in found), f"s, {CLIENTS} clients")
    errors = sum(count for status, count in statuses.items() if status not in {"200", "429"})
    yield Figure(f"{title}/errors", float(errors), "answers but 200 and 429", at_most=0.0)


def memory(*, quick: bool) -> Iterator[Figure]:
    """Resident bytes."""
    most, first = (MANY // 20, FIRST // 5) if quick else (MANY, FIRST)
    for name in present(("sst2",)):
        with tempfile.TemporaryDirectory() as folder:
            ground = made(name, Path(folder))
            with serving(ground.models["export"]) as (address, process):
                clients(address, ground.files, n=first)
                before = psutil.Process(process.pid).memory_info().rss
                found = clients(address, ground.files, n=most - first)
                after = psutil.Process(process.pid).memory_info().rss
            answered = sum(found["statuses"].values())
            yield Figure(
                f"memory/after_{most}",
                after / before,
                f"times that after {first} requests ({before / 1e6:.0f} MB)",
                at_most=1.05,
            )
            yield Figure("memory/answered", float(answered), "requests between the two")


def malformed(*, quick: bool) -> Iterator[Figure]:
    """Statuses of requests that nobody would write, to models of every modality at once."""
    sets = present(SETS[:1] if quick else SETS)
    with tempfile.TemporaryDirectory() as folder:
        grounds = {name: made(name, Path(folder) / name) for name in sets}
        sound = {f"of_{name}": next(ground.files.iterdir()).read_bytes() for name, ground in grounds.items()}
        named = [f"of_{name}={ground.models['export']}" for name, ground in grounds.items()]
        with serving(*named) as (address, _), httpx.Client(base_url=address, timeout=60) as client:
            by = by_document(client, 5 if quick else 40)
            found = by_hand(client, sound, 200 if quick else 2000) + by.statuses
            alive = [client.post(f"/predict?model={model}", content=body).status_code for model, body in sound.items()]
    refused = sum(n for status, n in found.items() if 400 <= status < 500)
    looked_at = sum(found[status] for status in IN_A_BODY)
    every = found + by.kept
    yield Figure("malformed/refused", float(refused), "requests, with 4xx", at_least=100 if quick else 1000)
    yield Figure("malformed/looked_at", float(looked_at), "of them for their body or options", at_least=0.7 * refused)
    yield Figure("malformed/readable", float(found[200]), "damaged requests that could still be read")
    failed = sum(n for status, n in every.items() if status not in HARMLESS)
    yield Figure("malformed/failed", float(failed), "answers but 200 and 4xx", at_most=0.0)
    yield Figure("malformed/untrue", float(len(by.untrue)), "answers that are not as the document says", at_most=0.0)
    for each in by.untrue:
        print(each, file=sys.stderr)
    yield Figure("malformed/answers_after", float(max(alive)), "status", at_least=200, at_most=200)


def restart(*, quick: bool) -> Iterator[Figure]:
    """Seconds from the command to the first answer, after a kill."""
    for name in present(SETS[:1] if quick else SETS):
        with tempfile.TemporaryDirectory() as folder:
            ground = made(name, Path(folder))
            body = next(ground.files.iterdir()).read_bytes()
            for kind, most in (("export", 3.0), ("directory", 10.0)):
                with serving(ground.models[kind]) as (address, process):
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                took = [_first_answer(ground.models[kind], address.rpartition(":")[2], body) for _ in range(3)]
                yield Figure(f"{name}/{kind}/restarted", statistics.median(took), "s to the first answer", at_most=most)


def _first_answer(model: Path, port: str, body: bytes) -> float:
    began = time.perf_counter()
    with serving(model, options=("--port", port)) as (address, _):
        httpx.post(f"{address}/predict", content=body, timeout=60).raise_for_status()
        return time.perf_counter() - began


SECTIONS: dict[str, Callable[..., Iterator[Figure]]] = {
    "load": load,
    "memory": memory,
    "malformed": malformed,
    "restart": restart,
}


def main() -> int:
    """Measure and print."""
    given = arguments(__doc__ or "")
    wanted = given.only.split(",") if given.only else list(SECTIONS)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HEADSTART_CACHE"] = cache
        measured = chain(*(SECTIONS[name](quick=given.quick) for name in wanted))
        return show("serve", measured, keep=given.keep, merge=bool(given.only), anew=tuple(wanted))


if __name__ == "__main__":
    sys.exit(main())
