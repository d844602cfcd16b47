"""Extraction beside the tutorial's loop, sentence-transformers and padded Whisper, beside its own limit, and what bfloat16 costs.

Ours is `extract()` from files to stored rows with an empty feature store, the backbone opened and its network compiled (what that takes is a
figure of its own). The limit of two cores is half the one-thread decoding time plus the bare engine's time on the same tensors in memory.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import _peers
import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.network import NetworkBackbone
from headstart.data.opening import open_samples, texts_as_samples
from headstart.data.preparation import Batch
from headstart.data.samples import Samples
from headstart.features.contents import content_of
from headstart.features.engines import ENGINES
from headstart.features.engines.openvino import Session
from headstart.features.extraction import Extraction, extract
from headstart.features.parity import cosine

MODELS = {"image": "efficientnet-lite0", "text": "minilm-l6", "audio": "whisper-tiny.en"}
# The bounds, for two cores with AMX: times the tutorial's loop in float32 and in bfloat16.
TUTORIAL = {"ants_bees": (5.0, 8.0), "cifar10": (6.0, 12.0)}
LABELLED = {
    "image": ("ants_bees", "blood_cells", "cifar10"),
    "text": ("trec", "sst2", "thucnews"),
    "audio": ("spoken_digits",),
}
UNLABELLED = {"image": (), "text": ("multi30k", "scitldr"), "audio": ("yesno", "ljspeech32")}
SIZES = (1, 2, 4, 8)
ROUNDS = 5


def opened(modality: str, precision: str, *, layer: str = "", padded: bool = False) -> NetworkBackbone:
    """An embedded backbone at a precision; Whisper's on clips padded to 30 s where asked."""
    prepare = {"buckets": (30.0,)} if padded else {}
    request = BackboneRequest("embedded", MODELS[modality], precision=precision, layer=layer, prepare=prepare)
    backbone = open_backbone(request)
    assert isinstance(backbone, NetworkBackbone)
    return backbone


def fresh(samples: Samples, backbone: NetworkBackbone, *, engine: str = "auto") -> tuple[float, Extraction]:
    """Seconds of an extraction into an empty feature store, and what it gave."""
    kept, engines = os.environ["HEADSTART_CACHE"], Path(os.environ["HEADSTART_CACHE"]) / "engines"
    with tempfile.TemporaryDirectory() as folder:
        engines.mkdir(exist_ok=True)
        (Path(folder) / "engines").symlink_to(engines)
        os.environ["HEADSTART_CACHE"] = folder
        try:
            began = time.perf_counter()
            found = extract(samples, backbone, engine=engine)
            return time.perf_counter() - began, found
        finally:
            os.environ["HEADSTART_CACHE"] = kept


def compiling(modality: str, precision: str) -> Iterator[Figure]:
    """Seconds to start the compiled engine from nothing and from disk."""
    for what in ("from_nothing", "from_disk"):
        backbone = opened(modality, precision)
        began = time.perf_counter()
        Session.start(backbone)
        yield Figure(f"{MODELS[modality]}/compile_{what}_{precision}", time.perf_counter() - began, "s")


def bare(backbone: NetworkBackbone, views: list[np.ndarray], size: int) -> float:
    """Seconds of the bare engine on tensors in memory."""
    session = Session.start(backbone, batch=size)
    batches = [backbone.preparation.collate(views[i : i + size]) for i in range(0, len(views), size)]
    list(session.run(backbone, batches[:4]))
    began = time.perf_counter()
    for _ in session.run(backbone, batches):
        pass
    return time.perf_counter() - began


def one_thread(samples: Samples, backbone: NetworkBackbone) -> tuple[float, list[np.ndarray]]:
    """Seconds to read and prepare all samples in one thread, and their views."""
    content = content_of(samples)
    began = time.perf_counter()
    views = [backbone.preparation.prepare(content(i)).views[0] for i in range(len(samples))]
    return time.perf_counter() - began, views


def photos(name: str, *, quick: bool) -> Iterator[Figure]:
    """Photos against the tutorial's loop and against the limit, in turns."""
    folder = DATA / name / "train"
    everything = open_samples(str(DATA / name))
    samples = everything if name == "ants_bees" else everything.part("train")
    most, rounds = (120 if quick else 500), (2 if quick else ROUNDS)
    backbones = {precision: opened("image", precision) for precision in ("float32", "bfloat16")}
    if quick:
        samples = samples.take(np.arange(0, len(samples), max(1, len(samples) // 400)))
    n = len(samples)
    _, views = one_thread(samples, backbones["float32"])
    best = {key: min(SIZES, key=lambda size: bare(each, views[:200], size)) for key, each in backbones.items()}
    for backbone in backbones.values():
        fresh(samples.take(np.arange(64)), backbone, engine="openvino")
    loop, decode = list[float](), list[float]()
    ours: dict[str, list[float]] = {key: [] for key in backbones}
    engine: dict[str, list[float]] = {key: [] for key in backbones}
    for number in range(rounds):
        if number < 3:
            loop.append(_peers.alone("tutorial", str(folder), str(most), "32"))
        decode.append(one_thread(samples, backbones["float32"])[0])
        for key, backbone in backbones.items():
            ours[key].append(fresh(samples, backbone)[0])
            engine[key].append(bare(backbone, views, best[key]))
    yield Figure(f"{name}/tutorial", statistics.median(loop), "images/s")
    yield Figure(f"{name}/decode_one_thread", n / statistics.median(decode), "images/s")
    for key, bound in zip(backbones, TUTORIAL[name], strict=True):
        rate = n / statistics.median(ours[key])
        yield Figure(f"{name}/ours_{key}", rate, "images/s")
        yield Figure(
            f"{name}/bare_engine_{key}", n / statistics.median(engine[key]), f"images/s in batches of {best[key]}"
        )
        yield Figure(f"{name}/times_tutorial_{key}", rate / statistics.median(loop), "times", at_least=bound)
        limits = (d / 2 + e for d, e in zip(decode, engine[key], strict=True))
        share = statistics.median(limit / own for limit, own in zip(limits, ours[key], strict=True))
        yield Figure(f"{name}/share_of_limit_{key}", share, "share", at_least=0.9)


def texts(name: str, *, quick: bool) -> Iterator[Figure]:
    """Texts against sentence-transformers on the same weights, in turns."""
    samples = open_samples(str(DATA / name))
    if quick:
        samples = samples.take(np.arange(0, len(samples), 8))
    backbone = open_backbone("embedded:minilm-l6")
    assert isinstance(backbone, NetworkBackbone)
    fresh(samples.take(np.arange(64)), backbone, engine="openvino")
    theirs, ours = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "texts.json"
        listed.write_text(json.dumps(samples.inputs), encoding="utf-8")
        for _ in range(1 if quick else 3):
            theirs.append(_peers.alone("sentence_transformers", str(listed)))
            ours.append(fresh(samples, backbone)[0])
    ratio = statistics.median(their / own for their, own in zip(theirs, ours, strict=True))
    yield Figure(
        f"{name}/ours", statistics.median(ours), f"s in {backbone.specs[0].precision}", peer=statistics.median(theirs)
    )
    yield Figure(f"{name}/times_sentence_transformers", ratio, "times", at_least=4.0)


def recordings(*, quick: bool) -> Iterator[Figure]:
    """Half a second of speech against the same encoder on 30 seconds, in turns; and how far the two are from each other."""
    samples = open_samples(str(DATA / "spoken_digits"))
    content, chosen = content_of(samples), list(range(0, len(samples), len(samples) // 32))
    ours, theirs = list[float](), list[float]()
    backbone = open_backbone("embedded:whisper-tiny.en")
    assert isinstance(backbone, NetworkBackbone)
    fresh(samples.take(np.arange(64)), backbone, engine="openvino")
    for _ in range(1 if quick else 3):
        ours.append(fresh(samples, backbone)[0] / len(samples))
        theirs.append(_peers.padded_whisper([bytes_of(content(i)) for i in chosen]) / len(chosen))
    ratio = statistics.median(their / own for their, own in zip(theirs, ours, strict=True))
    yield Figure(
        "spoken_digits/ours", 1000 * statistics.median(ours), "ms a clip", peer=1000 * statistics.median(theirs)
    )
    yield Figure("spoken_digits/times_padded", ratio, "times", at_least=10.0)


def bytes_of(content: bytes | str) -> bytes:
    """The content of a file."""
    assert isinstance(content, bytes)
    return content


def padding() -> Iterator[Figure]:
    """How far rows of clips on their own frames are from rows of clips padded to 30 s, pooled over the same frames, and what a head reaches."""
    source = str(DATA / "spoken_digits")
    samples = open_samples(source)
    layers = {"all": "mean_of_layers", "layers.3": "last_layer"}
    backbones = {padded: opened("audio", "float32", layer=",".join(layers), padded=padded) for padded in (False, True)}
    found = {padded: extract(samples, backbone).features for padded, backbone in backbones.items()}
    for number, (layer, title) in enumerate(layers.items()):
        cosines = cosine(found[False][number].values, found[True][number].values)
        yield Figure(f"spoken_digits/{title}_sliced_cosine", float(cosines.mean()), "mean cosine with padded")
        for padded, word in ((False, "sliced"), (True, "padded")):
            model = hs.fit(source, backbone=opened("audio", "float32", layer=layer, padded=padded))
            yield Figure(f"spoken_digits/{title}_{word}_accuracy", model.report.metrics["accuracy"].value, "share")


def narrow(modality: str) -> Iterator[Figure]:
    """How far bfloat16 rows are from float32 ones on every set; bounds for the backbones that declare it."""
    declared = open_backbone(f"embedded:{MODELS[modality]}").specs[0].precision == "bfloat16"
    for name in present(LABELLED[modality] + UNLABELLED[modality]):
        samples = every(name)
        samples = samples.take(np.arange(0, len(samples), max(1, len(samples) // 2000)))
        exact = fresh(samples, opened(modality, "float32"))[1].features[0].values
        rounded = fresh(samples, opened(modality, "bfloat16"))[1].features[0].values
        found = cosine(exact, rounded)
        yield Figure(
            f"{name}/bfloat16_cosine_mean", float(found.mean()), "cosine", at_least=0.999 if declared else None
        )
        yield Figure(f"{name}/bfloat16_cosine_min", float(found.min()), "cosine", at_least=0.99 if declared else None)


def every(name: str) -> Samples:
    """All samples of a set; the captions and abstracts of those that are no table of labels."""
    source = DATA / name
    if name == "multi30k":
        rows = (source / "test.csv").read_text(encoding="utf-8").splitlines()[1:]
        return texts_as_samples(rows)
    if name == "scitldr":
        lines = min(source.glob("*.json*")).read_text(encoding="utf-8").splitlines()
        documents = [json.loads(line)["document"] for line in lines]
        return texts_as_samples([" ".join(each) if isinstance(each, list) else str(each) for each in documents])
    if name in UNLABELLED["audio"]:
        return open_samples(sorted(map(str, source.rglob("*.wav"))))
    return open_samples(str(source))


def probe(name: str, modality: str) -> Iterator[Figure]:
    """What a head reaches on bfloat16 rows beside one on float32 rows."""
    answers, losses = {}, {}
    for precision in ("float32", "bfloat16"):
        model = hs.fit(str(DATA / name), backbone=opened(modality, precision))
        samples = open_samples(str(DATA / name)).part(model.report.evaluated_on)
        rows = extract(samples, model.backbone)
        predicted = model.probabilities(rows.features).argmax(axis=1)
        truth = samples.take(rows.kept).table.column("target").to_pylist()
        answers[precision] = np.array(model.labels)[predicted] == np.array(truth, dtype=str)
        losses[precision] = model.report.metrics["log_loss"].value
    lost = answers["float32"].astype(float) - answers["bfloat16"].astype(float)
    allowed = max(0.005, float(lost.std(ddof=1) / np.sqrt(len(lost))))
    yield Figure(f"{name}/bfloat16_accuracy_lost", float(lost.mean()), "share", at_most=allowed)
    rise = losses["bfloat16"] / losses["float32"] - 1
    yield Figure(f"{name}/bfloat16_log_loss_rise", rise, "share", at_most=0.02)


def warm() -> Iterator[Figure]:
    """A fit of 10,000 photos whose features are all stored: what it spends before the head is fitted."""
    photos_ = sorted((DATA / "cifar10").rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(10_000):
            source = photos_[number % len(photos_)]
            target = Path(folder) / source.parent.name / f"{number}.jpg"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(source.read_bytes() + (b"" if number < len(photos_) else b"\0"))
        backbone = opened("image", "float32")
        hs.fit(folder, backbone=backbone)
        model = hs.fit(folder, backbone=backbone)
        seconds = model.report.seconds
        assert (model.report.extracted, model.report.cached) == (0, 10_000)
    yield Figure("warm/seconds_before_head", seconds["open"] + seconds["features"], "s for 10,000 photos", at_most=1.0)
    yield Figure("warm/seconds_head", seconds["head"], "s")


def million() -> Iterator[Figure]:
    """1,000,000 synthetic texts through the toy backbone: the largest resident memory of the process, as Linux tells it."""
    code = """
import time
from pathlib import Path
from headstart.backbones.choice import open_backbone
from headstart.data.opening import texts_as_samples
from headstart.features.extraction import extract
samples = texts_as_samples([f"text number {i} of many" for i in range(1_000_000)])
began = time.perf_counter()
found = extract(samples, open_backbone("toy:text"))
assert found.extracted == 1_000_000
seconds = time.perf_counter() - began
# Not getrusage: what it tells outlives exec, and would be the memory of the process that started this one.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) / 1024**2, seconds)
"""
    with tempfile.TemporaryDirectory() as folder:
        there = {**os.environ, "HEADSTART_CACHE": folder}
        done = subprocess.run(
            [sys.executable, "-c", code], env=there, capture_output=True, encoding="utf-8", check=True
        )
    memory, seconds = map(float, done.stdout.split())
    yield Figure("million/peak_resident", memory, "GB", at_most=1.0)
    yield Figure("million/seconds", seconds, "s")


def slowest(modality: str) -> Iterator[Figure]:
    """Each engine that starts at once, and the compiled one, in parts of eager's speed on the same batches in memory."""
    for precision in ("float32", "bfloat16"):
        backbone = opened(modality, precision)
        batches = [backbone.preparation.probes(4, seed) for seed in range(24)]
        times: dict[str, list[float]] = {}
        names = [name for name in ENGINES.names() if name != "compile" and not ENGINES.get(name).refusal(backbone)]
        for number in range(4):
            for name in names:
                took = timed(lambda: engine_run(name, backbone, batches))  # noqa: B023  (called at once)
                times.setdefault(name, []).extend([took] if number else [])
        for name in names:
            gain = statistics.median(times["eager"]) / statistics.median(times[name])
            bound = 0.9 if name != "eager" else None
            yield Figure(f"{MODELS[modality]}/{name}_times_eager_{precision}", gain, "times", at_least=bound)


def engine_run(name: str, backbone: NetworkBackbone, batches: list[Batch]) -> None:
    """Run batches through an engine."""
    for _ in ENGINES.get(name).run(backbone, batches):
        pass


def timed(work: Callable[[], None]) -> float:
    """Seconds of a piece of work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def engines() -> Iterator[Figure]:
    """What compiling takes, and each engine beside eager."""
    for modality in MODELS:
        for precision in ("float32", "bfloat16"):
            yield from compiling(modality, precision)
        yield from slowest(modality)


def probes() -> Iterator[Figure]:
    """What bfloat16 costs a head."""
    for modality in ("text", "audio"):
        for name in present(LABELLED[modality]):
            yield from probe(name, modality)


def sections(*, quick: bool) -> dict[str, Callable[[], Iterator[Figure]]]:
    """All figures by section, in the issue's order."""

    def each(names: tuple[str, ...], measure: Callable[..., Iterator[Figure]]) -> Iterator[Figure]:
        for name in present(names):
            yield from measure(name, quick=quick)

    short: dict[str, Callable[[], Iterator[Figure]]] = {
        "engines": engines,
        "photos": lambda: each(("ants_bees",) if quick else ("ants_bees", "cifar10"), photos),
        "texts": lambda: each(("trec",) if quick else ("sst2", "trec"), texts),
        "recordings": lambda: each(("spoken_digits",), lambda _, quick: recordings(quick=quick)),
    }
    longer: dict[str, Callable[[], Iterator[Figure]]] = {
        "narrow": lambda: (figure for modality in MODELS for figure in narrow(modality)),
        "probes": probes,
        "padding": padding,
        "warm": warm,
        "million": million,
    }
    return short if quick else {**short, **longer}


def main() -> int:
    """Measure and print, with an engine cache and a feature store of its own."""
    called = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HEADSTART_CACHE"] = folder
        known = sections(quick=called.quick)
        names = called.only.split(",") if called.only else list(known)
        measured = (figure for name in names for figure in known[name]())
        return show("extract", measured, keep=called.keep, merge=bool(called.only))


if __name__ == "__main__":
    sys.exit(main())
