"""Engines: each gives the rows of the plain way, and whatever one does wrong is an event and never a wrong feature."""

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.backbones import precision
from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.core.errors import UsageError
from headstart.data.opening import texts_as_samples
from headstart.data.preparation import Batch
from headstart.features import choosing, parity, running
from headstart.features.engine import Engine
from headstart.features.engines import ENGINES
from headstart.features.extraction import embed, extract
from headstart.features.parity import cosine
from headstart.features.running import Runner
from support.weights import MODALITIES, need_embedded, real

Rows = tuple[np.ndarray, ...]
TEXTS = [" ".join(["word", "rose", "and", "stone"][: 1 + i % 4] * (1 + i % 9)) for i in range(300)]


@pytest.fixture(scope="module")
def toy() -> Backbone:
    return open_backbone("toy:text")


def probes(backbone: Backbone) -> list[Batch]:
    """Batches of several sizes and, where the backbone takes several, lengths."""
    made = [backbone.preparation.probes(n, seed) for seed, n in enumerate((4, 3, 1, 4))]
    if backbone.specs[0].modality != "image":
        short = made[0]
        width = max(2, short.values.shape[1] // 3)
        if backbone.specs[0].modality == "text":
            made.append(Batch(short.values[:, :width].copy(), np.minimum(short.lengths, width)))
        else:
            made.append(backbone.preparation.collate([np.tile(view, 2) for view in short.values]))
    return made


# --- the engines there are


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("name", [name for name in ENGINES.names() if name != "compile"])
def test_an_engine_gives_the_rows_of_the_plain_way(name: str, modality: str, asked: str) -> None:
    backbone = real(modality, asked)
    if reason := ENGINES.get(name).refusal(backbone):
        pytest.skip(f"{name} cannot run {modality} here: {reason}")
    batches = probes(backbone)
    for batch, rows in zip(batches, ENGINES.get(name).run(backbone, iter(batches)), strict=True):
        assert rows[0].shape == (len(batch), backbone.specs[0].dim)
        assert rows[0].dtype == np.float32
        assert not parity.Parity().doubt(backbone, name, batch=batch, rows=rows)
        if asked == "float32":
            assert cosine(rows[0], backbone.embed(batch)[0]).min() > 0.99999


@pytest.mark.slow
def test_what_torch_compiles_gives_the_rows_of_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = real("text")
    if reason := ENGINES.get("compile").refusal(backbone):
        pytest.skip(f"torch.compile cannot be used here: {reason}")
    # A compiler's own warnings of its future are none of ours.
    code = """
import warnings, sys
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.features.engines import ENGINES
from headstart.features.parity import cosine
backbone = open_backbone(BackboneRequest("embedded", "minilm-l6", precision="float32"))
batches = [backbone.preparation.probes(n, n) for n in (4, 3, 5)]
made = list(ENGINES.get("compile").run(backbone, batches))
print(min(float(cosine(a[0], backbone.embed(b)[0]).min()) for a, b in zip(made, batches, strict=True)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) > 0.99999


def test_a_backbone_without_a_network_runs_eagerly_only(toy: Backbone) -> None:
    assert {name for name in ENGINES.names() if not ENGINES.get(name).refusal(toy)} == {"eager"}
    assert choosing.choose(toy, "auto") == choosing.Choice("eager")
    with pytest.raises(UsageError, match="the engine openvino cannot be used: it runs networks of torch on a CPU"):
        extract(texts_as_samples(TEXTS[:3]), toy, engine="openvino")
    with pytest.raises(UsageError, match=r"no engine called 'openvivo'.*'openvino'"):
        extract(texts_as_samples(TEXTS[:3]), toy, engine="openvivo")


def test_a_transformer_gets_no_layout_for_convolutions() -> None:
    assert "not made of convolutions" in ENGINES.get("channels_last").refusal(real("text"))


def test_converting_talks_to_nobody_and_is_done_once(tmp_path: Path) -> None:
    backbone = real("text")
    if reason := ENGINES.get("openvino").refusal(backbone):
        pytest.skip(f"OpenVINO cannot be used here: {reason}")
    code = """
import json, sys
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.features.engines import ENGINES
if sys.argv[1:]:
    import openvino
engine = ENGINES.get("openvino")
backbone = open_backbone(BackboneRequest("embedded", "minilm-l6", precision="float32"))
before = engine.setup(backbone)
batch = backbone.preparation.probes(2, 0)
(rows,), = engine.run(backbone, [batch])
print(json.dumps([before, engine.setup(backbone), rows.tolist(), "openvino_telemetry" in sys.modules]))
"""

    def once(*given: str) -> list[Any]:
        command = [sys.executable, "-c", code, *given]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found: list[Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    first, second = once(), once("import openvino")
    assert first[0] > second[0] > 0.0, "what lies on disk need not be converted again"
    assert (first[1], second[1]) == (0.0, 0.0)
    assert first[2] == second[2]
    assert not first[3], "OpenVINO reports over the network that it was imported"
    assert second[3], "where somebody imports OpenVINO as it is, the check above sees it"


def test_a_damaged_artefact_is_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from headstart.features.engines import openvino

    backbone = real("text")
    if reason := ENGINES.get("openvino").refusal(backbone):
        pytest.skip(f"OpenVINO cannot be used here: {reason}")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    batch = backbone.preparation.probes(2, 0)
    openvino.Session.start(backbone)
    (weights,) = tmp_path.rglob("model.bin")
    spoiled = bytearray(weights.read_bytes())
    spoiled[len(spoiled) // 2] ^= 0x40
    weights.write_bytes(bytes(spoiled))
    ((rows,),) = openvino.Session.start(backbone).run(backbone, [batch])
    assert cosine(rows, backbone.embed(batch)[0]).min() > 0.99999
    assert weights.read_bytes() != bytes(spoiled)


# --- what engines may do wrong


class Planted(Engine):
    """An engine that does what a test tells it to. It takes three batches ahead."""

    def __init__(
        self, change: Callable[[Batch, Rows, int], Rows], *, at_once: bool = True, seconds: float = 0.0
    ) -> None:
        self.change, self.starts_at_once, self.seconds, self.sizes = change, at_once, seconds, list[int]()

    def refusal(self, backbone: Backbone) -> str:
        return ""

    def gain(self, backbone: Backbone) -> float:
        return 3.0

    def setup(self, backbone: Backbone) -> float:
        return self.seconds

    def run(self, backbone: Backbone, batches: Iterable[Batch]) -> Iterator[Rows]:
        taken: list[Batch] = []
        for batch in batches:
            taken.append(batch)
            if len(taken) == 3:
                yield self._one(backbone, taken.pop(0))
        for batch in taken:
            yield self._one(backbone, batch)

    def _one(self, backbone: Backbone, batch: Batch) -> Rows:
        self.sizes.append(len(batch))
        return self.change(batch, tuple(row.copy() for row in backbone.embed(batch)), len(self.sizes))


class Plugins:
    """The engine that a test plants, beside the eager one."""

    def __init__(self, planted: Engine) -> None:
        self.known = {"planted": planted, "eager": ENGINES.get("eager")}

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.known))

    def get(self, name: str) -> Engine:
        return self.known[name]


def plant(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    for module in (running, choosing):
        monkeypatch.setattr(module, "ENGINES", Plugins(engine))


def raising(error: Exception, *, when: Callable[[Batch, int], bool]) -> Callable[[Batch, Rows, int], Rows]:
    def change(batch: Batch, rows: Rows, count: int) -> Rows:
        if when(batch, count):
            raise error
        return rows

    return change


def check(backbone: Backbone, engine: str = "planted", texts: list[str] = TEXTS) -> tuple[str, tuple[str, ...]]:
    """Embed texts; the rows have to be those of the plain way. Returns what ran, and the events."""
    samples = texts_as_samples(texts)
    found, wanted = embed(backbone, samples, engine=engine), embed(backbone, samples, engine="eager")
    assert not found.skipped
    np.testing.assert_allclose(found.features[0].values, wanted.features[0].values, atol=2e-3)
    return found.engine, found.notes


def test_an_engine_that_works_is_used_and_nothing_is_said(monkeypatch: pytest.MonkeyPatch, toy: Backbone) -> None:
    plant(monkeypatch, Planted(lambda batch, rows, count: rows))
    assert check(toy) == ("planted", ())


@pytest.mark.parametrize("count", [1, 2, 4])
def test_an_engine_that_fails_is_left_and_what_it_had_taken_is_run_again(
    monkeypatch: pytest.MonkeyPatch, toy: Backbone, count: int
) -> None:
    planted = Planted(raising(RuntimeError("no such kernel\nand more"), when=lambda _, n: n == count))
    plant(monkeypatch, planted)
    engine, notes = check(toy)
    assert engine == ("eager" if count == 1 else "planted+eager")
    assert notes == ("the engine planted failed (RuntimeError: no such kernel); eager took its place",)


def test_a_batch_that_does_not_fit_memory_is_halved_until_it_does(
    monkeypatch: pytest.MonkeyPatch, toy: Backbone
) -> None:
    planted = Planted(raising(RuntimeError("CUDA out of memory. Tried"), when=lambda batch, _: len(batch) > 10))
    plant(monkeypatch, planted)
    engine, notes = check(toy)
    assert engine == "planted"
    said = [re.findall(r"\d+", note) for note in notes]
    assert [int(after) for _, after in said] == [int(before) // 2 for before, _ in said]
    assert int(said[0][0]) > 10 >= int(said[-1][1])
    assert all("the engine planted ran out of memory with batches of" in note for note in notes)


def test_photos_in_batches_of_a_fixed_size_are_halved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.features.engines import openvino

    backbone = real("image")
    if reason := ENGINES.get("openvino").refusal(backbone):
        pytest.skip(f"OpenVINO cannot be used here: {reason}")
    inner = openvino.Session.inputs

    def short_of_memory(self: openvino.Session, given: Backbone, batch: Batch) -> Any:
        found = inner(self, given, batch)
        if max(len(array) for array in found.values()) > 2:
            raise RuntimeError("std::bad_alloc")
        return found

    monkeypatch.setattr(openvino.Session, "inputs", short_of_memory)
    batches = [backbone.preparation.probes(4, seed) for seed in range(3)]
    runner = Runner(backbone, "openvino", rows=12)
    made = list(runner.run(iter(batches)))
    assert runner.engine == "openvino"
    assert runner.events == ["the engine openvino ran out of memory with batches of 4 and went on with batches of 2"]
    for batch, (rows,) in zip(batches, made, strict=True):
        assert cosine(rows, backbone.embed(batch)[0]).min() > 0.9999


def test_an_engine_that_finds_no_memory_for_one_sample_is_left(monkeypatch: pytest.MonkeyPatch, toy: Backbone) -> None:
    plant(monkeypatch, Planted(raising(MemoryError(), when=lambda batch, _: True)))
    engine, notes = check(toy)
    assert engine == "eager"
    assert notes[-1] == "the engine planted failed (MemoryError); eager took its place"


def test_the_plain_way_too_gets_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = real("text")
    inner, sizes = type(backbone).embed, []

    def short_of_memory(self: Backbone, batch: Batch) -> Rows:
        sizes.append(len(batch))
        if len(batch) > 30:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return inner(self, batch)

    monkeypatch.setattr(type(backbone), "embed", short_of_memory)
    found = embed(backbone, texts_as_samples(TEXTS[:80]), engine="eager")
    assert len(found.kept) == 80
    assert found.notes == ("the engine eager ran out of memory with batches of 64 and went on with batches of 32",
                           "the engine eager ran out of memory with batches of 32 and went on with batches of 16")  # fmt: skip


def test_rows_that_are_not_finite_are_never_taken(monkeypatch: pytest.MonkeyPatch, toy: Backbone) -> None:
    def spoil(batch: Batch, rows: Rows, count: int) -> Rows:
        if count == 2:
            rows[0][1:3, 0] = np.inf
        return rows

    plant(monkeypatch, Planted(spoil))
    engine, notes = check(toy)
    assert engine == "planted+eager"
    assert len(notes) == 1
    assert "gave 2 rows that are not finite numbers, where the plain way gives good ones; the " in notes[0]


def spoiling_the_longest(monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """A backbone of texts that gives no finite row, the plain way either, for the longest of a batch."""
    backbone = real("text")
    inner = type(backbone).embed

    def spoiled(self: Backbone, batch: Batch) -> Rows:
        rows = tuple(row.copy() for row in inner(self, batch))
        rows[0][batch.lengths == batch.lengths.max()] = np.nan
        return rows

    monkeypatch.setattr(type(backbone), "embed", spoiled)
    return backbone


def test_rows_that_are_not_finite_the_plain_way_either_are_the_samples_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = spoiling_the_longest(monkeypatch)
    plant(monkeypatch, Planted(lambda batch, rows, count: rows))
    found = embed(backbone, texts_as_samples(["a much longer text than the others", "a", "b"]), engine="planted")
    assert (found.engine, found.notes) == ("planted", ())
    assert [skipped.reason for skipped in found.skipped] == [
        f"{backbone.specs[0].title} gave a row that is not finite for it; leave it out"
    ]


def test_an_engine_that_gives_other_rows_is_found_out_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = real("text")
    plant(monkeypatch, Planted(lambda batch, rows, count: (rows[0] + 0.002 * np.sign(rows[0][::-1]),)))
    engine, notes = check(backbone, texts=TEXTS[:40])
    assert engine == "eager"
    assert len(notes) == 1
    assert notes[0].startswith("the engine planted gave other rows than the plain way in float32 (cosine 0.99")


def test_a_constant_taken_from_the_first_batch_is_found_out_at_another_length(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, seen = real("text"), list[int]()

    def averaged_over_the_first_length(batch: Batch, rows: Rows, count: int) -> Rows:
        seen.append(batch.values.shape[1])
        return rows if seen[0] == seen[-1] else (rows[0][:, ::-1].copy(),)

    plant(monkeypatch, Planted(averaged_over_the_first_length))
    engine, notes = check(backbone, texts=["word " * 60] * 64 + [f"rose {i}" for i in range(64)])
    assert len(set(seen)) > 1
    assert engine == "planted+eager"
    assert "gave other rows" in notes[0]
    assert "the 64 rows that it gave before had passed" in notes[0]


@pytest.mark.parametrize("change", [
    lambda rows, lengths: rows * 1.1,
    lambda rows, lengths: np.where((lengths < lengths.max())[:, None], rows[:, ::-1], rows),
], ids=["longer rows", "padded rows"])  # fmt: skip
def test_rows_that_only_some_checks_see_are_found_out(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> None:
    plant(monkeypatch, Planted(lambda batch, rows, count: (change(rows[0], batch.lengths),)))
    engine, notes = check(real("text"), texts=["word " * 20] * 8 + ["rose"] * 8)
    assert engine == "eager"
    assert "gave other rows than the plain way" in notes[0]


def test_a_sample_that_is_not_finite_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = spoiling_the_longest(monkeypatch)
    plant(monkeypatch, Planted(lambda batch, rows, count: (rows[0][:, ::-1].copy(),)))
    found = embed(backbone, texts_as_samples(["a much longer text than the others", "a", "b"]), engine="planted")
    assert found.engine == "eager"
    assert len(found.skipped) == 1


def test_rows_that_are_too_few_are_found_out(monkeypatch: pytest.MonkeyPatch, toy: Backbone) -> None:
    plant(monkeypatch, Planted(lambda batch, rows, count: (rows[0][:-1],) if count == 2 else rows))
    engine, notes = check(toy)
    assert engine == "planted+eager"
    assert "gave rows of shape" in notes[0]


def test_an_engine_that_ends_too_early_is_left(monkeypatch: pytest.MonkeyPatch, toy: Backbone) -> None:
    class Lazy(Planted):
        def run(self, backbone: Backbone, batches: Iterable[Batch]) -> Iterator[Rows]:
            for batch, _ in zip(batches, range(2), strict=False):
                yield backbone.embed(batch)

    plant(monkeypatch, Lazy(lambda batch, rows, count: rows))
    engine, notes = check(toy)
    assert engine == "planted+eager"
    assert "it ended before it had answered what it took" in notes[0]


def test_an_engine_that_was_not_to_be_believed_is_not_begun_with_again(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = real("text")
    planted = Planted(lambda batch, rows, count: (rows[0][:, ::-1].copy(),), at_once=False)
    plant(monkeypatch, planted)
    assert check(backbone, "auto", TEXTS[:40])[0] == "eager"
    ran = len(planted.sizes)
    assert check(backbone, "auto", TEXTS[:40]) == ("eager", ())
    assert len(planted.sizes) == ran


def test_an_engine_that_cannot_tell_what_it_takes_to_start_is_not_used(
    monkeypatch: pytest.MonkeyPatch, toy: Backbone
) -> None:
    class Mute(Planted):
        def setup(self, backbone: Backbone) -> float:
            raise PermissionError("not yours")

    plant(monkeypatch, Mute(lambda batch, rows, count: rows, at_once=False))
    assert check(toy, "auto") == ("eager", ("the engine planted could not be looked at (PermissionError: not yours)",))


def test_two_extractions_at_once_do_not_share_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = real("text")
    if reason := ENGINES.get("openvino").refusal(backbone):
        pytest.skip(f"OpenVINO cannot be used here: {reason}")
    batches = [[backbone.preparation.probes(3, seed + 10 * side) for seed in range(8)] for side in (0, 1)]
    runs = [Runner(backbone, "openvino", rows=24) for _ in batches]
    made = zip(*(runner.run(each) for runner, each in zip(runs, batches, strict=True)), strict=True)
    for number, pair in enumerate(made):
        for side, (rows,) in enumerate(pair):
            assert cosine(rows, backbone.embed(batches[side][number])[0]).min() > 0.9999
    assert [runner.events for runner in runs] == [[], []]


def test_hooks_of_threads_do_not_meet() -> None:
    from concurrent.futures import ThreadPoolExecutor

    need_embedded("text")
    backbone = open_backbone(BackboneRequest("embedded", "minilm-l6", layer="-1,-3", precision="float32"))
    batches = [backbone.preparation.probes(3, seed) for seed in range(24)]
    wanted = [backbone.embed(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, each in zip(pool.map(backbone.embed, batches), wanted, strict=True):
            for ours, theirs in zip(found, each, strict=True):
                assert cosine(ours, theirs).min() > 0.9999


def test_a_tracer_says_when_it_makes_a_number_constant() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("openvino")
    import torch
    from torch import nn

    from headstart.features.openvino_graphs import FROZEN as _FROZEN

    class Scaled(nn.Module):
        def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            longest = int(lengths.max())
            return values[:, :longest].sum(1) / longest

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.jit.trace(Scaled(), (torch.ones(2, 5), torch.tensor([5, 4])), check_trace=False)
    assert any(_FROZEN.search(str(each.message)) for each in said)


def test_an_error_of_the_samples_is_not_the_engines(monkeypatch: pytest.MonkeyPatch, toy: Backbone) -> None:
    plant(monkeypatch, Planted(lambda batch, rows, count: rows))
    runner = Runner(toy, "planted", rows=8)
    batches = [toy.preparation.probes(2, seed) for seed in range(4)]

    def breaking() -> Iterator[Batch]:
        yield from batches
        raise ValueError("the disk is gone")

    made = []
    with pytest.raises(ValueError, match="the disk is gone"):
        made += list(map(made.append, runner.run(breaking())))
    assert len(made) == 4, "what was ready is handed out first"
    assert runner.events == []


def test_on_takes_a_cluster_or_nothing(toy: Backbone) -> None:
    with pytest.raises(UsageError, match="extract runs on this machine or on='ray', and got 'spark'"):
        extract(texts_as_samples(TEXTS[:3]), toy, on="spark")


# --- auto


def test_auto_does_not_pay_for_compiling_that_does_not_come_back(
    monkeypatch: pytest.MonkeyPatch, toy: Backbone
) -> None:
    plant(monkeypatch, Planted(lambda batch, rows, count: rows, at_once=False, seconds=60.0))
    assert check(toy, "auto") == ("eager", ())


def test_auto_goes_over_to_a_compiled_engine_that_pays(monkeypatch: pytest.MonkeyPatch, toy: Backbone) -> None:
    plant(monkeypatch, Planted(lambda batch, rows, count: rows, at_once=False, seconds=1e-9))
    assert check(toy, "auto") == ("eager+planted", ())


def test_auto_begins_with_what_is_compiled_already(monkeypatch: pytest.MonkeyPatch, toy: Backbone) -> None:
    plant(monkeypatch, Planted(lambda batch, rows, count: rows, at_once=False, seconds=0.0))
    assert check(toy, "auto") == ("planted", ())


def test_auto_goes_back_where_the_compiled_engine_fails(monkeypatch: pytest.MonkeyPatch, toy: Backbone) -> None:
    planted = Planted(raising(RuntimeError("cannot compile"), when=lambda _, n: True), at_once=False, seconds=1e-9)
    plant(monkeypatch, planted)
    engine, notes = check(toy, "auto")
    assert engine == "eager"
    assert notes == ("the engine planted failed (RuntimeError: cannot compile); eager took its place",)


def test_what_auto_will_take_is_reckoned_with_the_engine_that_pays(
    monkeypatch: pytest.MonkeyPatch, toy: Backbone
) -> None:
    plant(monkeypatch, Planted(lambda batch, rows, count: rows, at_once=False, seconds=4.0))
    assert choosing.seconds_of_auto(toy, now="eager", seconds=90.0) == pytest.approx(4.0 + 90.0 / 3)
    assert choosing.seconds_of_auto(toy, now="eager", seconds=1.0) == 1.0
    assert choosing.seconds_of_auto(toy, now="eager", seconds=0.0) == 0.0
    assert choosing.settled(toy) == "planted"


def test_a_process_settles_on_what_starts_at_once_where_nothing_is_faster(toy: Backbone) -> None:
    assert choosing.settled(toy) == "eager"


# --- precision


def test_precision_is_identity_and_the_engine_is_not() -> None:
    backbone = real("text")
    assert backbone.specs[0].precision == "float32"
    narrow = backbone.at("bfloat16")
    assert narrow.specs[0].fingerprint != backbone.specs[0].fingerprint
    samples = texts_as_samples(TEXTS[:20])
    assert extract(samples, backbone, engine="eager").extracted == len(set(TEXTS[:20]))
    assert extract(samples, backbone, engine="auto").extracted == 0
    assert extract(samples, narrow).extracted == len(set(TEXTS[:20]))


@pytest.mark.parametrize(("kind", "units", "settled"), [
    ("cpu", {"float32", "bfloat16"}, "bfloat16"), ("cpu", {"float32"}, "float32"), ("cuda", {"float32", "bfloat16", "float16"}, "float32"),
])  # fmt: skip
def test_a_declared_precision_counts_where_the_device_has_the_units(
    monkeypatch: pytest.MonkeyPatch, kind: str, units: set[str], settled: str
) -> None:
    monkeypatch.setattr(precision, "device", lambda: precision.Device(kind, frozenset(units)))
    assert precision.settle("", {"cpu": "bfloat16"}) == settled
    assert precision.settle("", {}) == "float32"
    assert precision.settle("float16", {"cpu": "bfloat16"}) == "float16"


def test_the_processors_flags_say_what_units_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True, "avx512_bf16": False}, raising=False)
    assert precision._cpu_has_bfloat16()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False}, raising=False)
    assert not precision._cpu_has_bfloat16()
