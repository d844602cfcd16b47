"""`compress`: make a model faster under a contract: try what there is, measure all of it here, and keep the fastest that loses no more than allowed."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.backbones.precision import device
from headstart.compression import METHODS
from headstart.compression.contract import Contract, Measured, chosen, front
from headstart.compression.half import ENGINES, RUNTIME, written
from headstart.compression.measuring import Speed, speeds
from headstart.compression.method import Candidate, Source
from headstart.core.errors import DataError, ExportError, ExtraMissing, HeadstartError, UsageError, reason
from headstart.core.files import check_apart, refuse_inside_data
from headstart.core.progress import Progress, silent
from headstart.data.samples import Samples
from headstart.evaluation.conformal import COVERAGE
from headstart.exporting import FORMATS
from headstart.exporting.directory import refuse_exported
from headstart.exporting.parity import Parity
from headstart.features.choosing import AUTO, choose
from headstart.features.extraction import extract
from headstart.model.loading import load
from headstart.model.model import Model
from headstart.model.saving import refuse_if_not_ours
from headstart.verbs.compress_bench import Bench, ContractBroken, Made, Shipped, open_bench
from headstart.verbs.compress_table import BASE, Unseen, sentence, table_of
from headstart.verbs.distil import distil
from headstart.verbs.distil_options import DistilOptions
from headstart.verbs.fit import fit
from headstart.verbs.fit_data import FitOptions

TARGETS = ("cpu",)
_ONE_PART = (
    "the figures are of the samples that chose among the candidates, so that what is kept may look a little better than it is: data with a val"
    " and a test part would be chosen on the one and measured on the other"
)

_NO_OTHER = "no other is tried in its place: the samples that were to choose nothing would choose it"


@dataclass(frozen=True)
class CompressOptions:
    """What is asked for.

    Attributes:
        contract: what may be lost, and how much faster it has to be.
        target: what it is measured on: `cpu`, this machine's.
        tries: names of methods; empty for all.
        student: a smaller backbone that the model teaches, as `SOURCE:NAME`; empty for none.
        budget: seconds for teaching it.
        seed: decides the folds of a head that is fitted anew.
    """

    contract: Contract = field(default_factory=Contract)
    target: str = "cpu"
    tries: tuple[str, ...] = ()
    student: str = ""
    budget: float = 600.0
    seed: int = 0

    def check(self) -> None:
        """Refuse what cannot be asked for.

        Raises:
            UsageError: names it.
        """
        if self.target not in TARGETS:
            raise UsageError(f"a model is compressed for {' or '.join(TARGETS)}, and got {self.target!r}")
        if not 0 <= self.contract.max_drop <= 100:
            raise UsageError(f"a drop is from 0 to 100 points, and got {self.contract.max_drop:g}")
        if not self.contract.min_speedup > 1:
            raise UsageError(
                f"nothing that is not faster is called compression: a speed-up is more than 1, and got {self.contract.min_speedup:g}"
            )
        for name in self.tries:
            METHODS.get(name)
        if self.student:
            DistilOptions(self.student, budget=self.budget).check()


@dataclass(frozen=True)
class Compression:
    """What a compression came to.

    Attributes:
        path: the directory that was written; None where nothing kept the contract.
        chosen: the name of what was kept; empty likewise.
        sentence: what happened.
        figure: the task's first figure.
        part: the part of the data that chose among the candidates, and that `n`, `before` and the table are of; empty where it has none.
        n: samples of it that the model was not fitted on.
        before: the model's own figure.
        table: float32 first, then every candidate.
        best: which of the table nothing else is better than in figure, speed and size at once.
        unseen: what was kept, on a part that chose nothing; None where there is no other part, or nothing was kept.
        parity: the program that is shipped beside the compressed model, over the raw files; None where nothing was written.
        notes: what was not tried, and why.
        seconds: what took how long.
    """

    path: Path | None
    chosen: str
    sentence: str
    figure: str
    part: str
    n: int
    before: float
    table: tuple[Measured, ...]
    best: tuple[bool, ...]
    unseen: Unseen | None
    parity: Parity | None
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The object that `headstart compress --json` prints (docs/json.md)."""
        plain = {name: getattr(self, name) for name in ("chosen", "sentence", "figure", "part", "n", "before")}
        return {
            "path": None if self.path is None else str(self.path),
            **plain,
            "table": [asdict(each) | {"best": best} for each, best in zip(self.table, self.best, strict=True)],
            "unseen": None if self.unseen is None else asdict(self.unseen),
            "parity": None if self.parity is None else self.parity.to_json(),
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }


def compress(
    model: Model | str | Path,
    data: str | Path | Samples,
    *,
    out: str | Path,
    options: CompressOptions = CompressOptions(),
    progress: Progress = silent,
) -> Compression:
    """Make a model faster.

    Float32 through its fastest engine is what has to be beaten. Every candidate is written, opened by its runtime, and measured: the task's
    first figure on held-out samples beside the model itself, and the speed here, in turns with all others. The fastest that keeps the
    contract is written as an export, whose program is proved over the raw files.

    Args:
        model: a model, or the directory of one, whose network is one of torch.
        data: the data that it was fitted on, with samples that it was not fitted on: the former calibrate, the latter are evaluated.
        out: the directory; a model that is there is replaced, anything else is refused, and so is a place in or around the model itself.
        options: the contract, and what is tried.
        progress: stages `extract`, `compress`, in candidates, and `prove`, in samples.

    Raises:
        UsageError: an option is out of range, the model's network is none of torch, or `out` is, holds or lies in its directory.
        DataError: the data cannot be used, or holds too few samples of one kind.
        ExportError: what was kept cannot be written, or its program answers otherwise. ExtraMissing: OpenVINO is not installed.
    """
    options.check()
    began = time.perf_counter()
    fitted = _opened(model, data, out=Path(out))
    bench = open_bench(fitted, data, progress=progress)
    read = time.perf_counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        plain, told = _plain(fitted, Path(place))
        source = _source(bench, plain, options, progress)
        made, notes = _all_made(bench, source, options, Path(place), progress)
        tried = time.perf_counter()
        base, made, measured, slow = _measured(bench, source, plain, made)
        table = table_of(bench, made, measured=measured, contract=options.contract, names=base)
        timed = time.perf_counter()
        ship = partial(bench.ship, contract=options.contract, out=Path(out), progress=progress)
        table, best, shipped, failed = _shipped(ship, made, table, Path(out))
    kept, unseen = (None, None) if best is None else (table[best], None if shipped is None else shipped.unseen)
    ended = time.perf_counter()
    seconds = {"read": read - began, "try": tried - read, "measure": timed - tried, "ship": ended - timed}
    return Compression(
        path=None if best is None else Path(out),
        chosen="" if best is None else table[best].name,
        sentence=sentence(bench, kept, unseen=unseen),
        figure=bench.figure,
        part=bench.part,
        n=len(bench.held),
        before=float(bench.outcomes.mean()),
        table=table,
        best=front(table),
        unseen=unseen,
        parity=None if shipped is None else shipped.parity,
        notes=(*told, *notes, *slow, *failed, *((_ONE_PART,) if kept is not None and unseen is None else ())),
        seconds=seconds | {"total": ended - began},
    )


def _opened(model: Model | str | Path, data: str | Path | Samples, *, out: Path) -> Model:
    """The model, where `out` is a place to write to and it can be compressed.

    Raises:
        UsageError: `out` is, holds or lies in the model's directory or the data, or the model is an exported one.
        ModelError: something else is at `out`, or there is no such model.
    """
    if not isinstance(model, Model):
        check_apart(out, model)
    refuse_if_not_ours(out)
    if not isinstance(data, Samples):
        refuse_inside_data(out, data)
    fitted = model if isinstance(model, Model) else load(Path(model))
    refuse_exported(fitted)
    return fitted


def _plain(model: Model, place: Path) -> tuple[dict[str, Backbone], tuple[str, ...]]:
    """The model in float32 by engine, and why one is not measured: the fastest of them is what has to be beaten.

    Raises:
        ExtraMissing: there is none.
    """
    exact, notes = model.at(BASE).backbone, []
    found: dict[str, Backbone] = {choose(exact, AUTO).first: exact} if device().kind == "cpu" else {}
    for runtime, engine in ENGINES.items():
        name = engine.lower()
        try:
            FORMATS.get(runtime).check_installed(f"{BASE} through {name}")
            (folder := place / f"{BASE}-{runtime}").mkdir()
            found[name] = written(model, folder, precision=BASE, runtime=runtime)
        except HeadstartError as error:
            notes.append(f"{BASE} through {name} is not measured: {error}")
    if not found:
        raise ExtraMissing.of("openvino", "compress", purpose="compression")
    return found, tuple(notes)


def _measured(
    bench: Bench, source: Source, plain: Mapping[str, Backbone], made: Sequence[Made]
) -> tuple[tuple[str, ...], list[Made], list[Speed], tuple[str, ...]]:
    """The engines in float32 and the candidates that could be measured, their speeds in that order, and why another could not.

    Raises:
        ExportError: none in float32 could be.
    """
    networks = [*plain.values(), *(each.model.backbone for each in made)]
    found = speeds([(each, partial(_views, bench, source, each)) for each in networks])
    names = [*(f"{BASE} through {name}" for name in plain), *(each.candidate.name for each in made)]
    notes = [
        f"{name} is not measured: {each}" for name, each in zip(names, found, strict=True) if isinstance(each, str)
    ]
    base = tuple(name for name, each in zip(plain, found, strict=False) if isinstance(each, Speed))
    if not base:
        raise ExportError(f"there is nothing to compare with: {notes[0]}")
    left = [one for one, each in zip(made, found[len(plain) :], strict=True) if isinstance(each, Speed)]
    return base, left, [each for each in found if isinstance(each, Speed)], tuple(notes)


def _views(bench: Bench, source: Source, backbone: Backbone) -> Sequence[np.ndarray]:
    """The samples that calibrate as a network takes them: a student may have another preparation."""
    alike = backbone.specs[0].prepare == source.model.backbone.specs[0].prepare
    return source.views if alike else bench.views(backbone)


def _shipped(
    ship: Callable[[Made, Measured], Shipped], made: Sequence[Made], table: tuple[Measured, ...], out: Path
) -> tuple[tuple[Measured, ...], int | None, Shipped | None, tuple[str, ...]]:
    """The fastest that keeps the contract and whose program answers as it does, written; the others of the table stay as they are.

    Raises:
        ExportError: it cannot be written.
    """
    failed: list[str] = []
    while (best := chosen(table)) is not None:
        try:
            return table, best, ship(made[best - 1], table[best]), tuple(failed)
        except HeadstartError as error:
            refuse_if_not_ours(out)  # what was put there meanwhile is no fault of the candidate
            failed.append(f"{table[best].name} is not kept: {error}")
            last = isinstance(error, ContractBroken)
            refused = replace(table[best], refused=str(error) if last else "its program answers otherwise")
            table = (*table[:best], refused, *table[best + 1 :])
            if last:
                return table, None, None, (*failed, _NO_OTHER)
        except OSError as error:
            raise ExportError(
                f"the compressed model could not be written to {out}: {error.strerror or error}"
            ) from error
    return table, None, None, tuple(failed)


def _source(bench: Bench, plain: Mapping[str, Backbone], options: CompressOptions, progress: Progress) -> Source:
    model, trained = bench.model, bench.trained
    teach = partial(_taught, model, trained, options, progress) if options.student else None
    views = bench.views(model.backbone)
    quickest = cache(partial(_quickest, plain, views))  # not every method asks for it, and none twice
    refit = partial(_refitted, model, trained, options)
    return Source(model, views, refit, teach, views_of=bench.views, extract=partial(extract, trained), runtime=quickest)


def _quickest(plain: Mapping[str, Backbone], views: Sequence[np.ndarray]) -> str:
    """The runtime of exports that the model itself is quickest through in float32."""
    runtimes = [runtime for runtime, engine in ENGINES.items() if engine.lower() in plain]
    if len(runtimes) < 2:
        return next(iter(runtimes), RUNTIME)
    found = speeds([(plain[ENGINES[each].lower()], lambda: views) for each in runtimes])
    rates = [each.throughput if isinstance(each, Speed) else 0.0 for each in found]
    return runtimes[int(np.argmax(rates))]


def _refitted(model: Model, trained: Samples, options: CompressOptions, backbone: Backbone, head: str) -> Model:
    """The same kind of model on another backbone's rows of the samples that it was fitted on, and of no other."""
    sets, shares = None if model.judge is None else model.judge.conformal, model.deployment_prior
    asked = FitOptions(
        backbone=backbone,
        head=head,
        reading=replace(model.reading, task=model.task),
        coverage=COVERAGE if sets is None else sets.coverage,
        optimise=model.rule.name if model.rule.offsets is not None else "",
        deployment_prior="" if shares is None else dict(zip(model.labels, shares, strict=True)),
        seed=options.seed,
        with_examples=model.examples is not None,
    )
    return _like(model, fit(trained, options=asked))


def _taught(model: Model, trained: Samples, options: CompressOptions, progress: Progress) -> Model:
    """A student of the model, taught on the samples that it was fitted on, and on no other."""
    asked = DistilOptions(options.student, budget=options.budget, seed=options.seed)
    return _like(model, distil(model, trained, options=asked, progress=progress).model)


def _like(model: Model, other: Model) -> Model:
    """Another model with what costs decide, which hangs on no rows, and with what this one was fitted on.

    Raises:
        DataError: it has other labels.
    """
    if other.labels != model.labels:
        lost = ", ".join(repr(label) for label in model.labels if label not in other.labels)
        raise DataError(f"the samples that the model was fitted on are not all there: none is {lost}")
    return replace(other, split=model.split, rule=other.rule if model.rule.costs is None else model.rule)


def _all_made(
    bench: Bench, source: Source, options: CompressOptions, place: Path, progress: Progress
) -> tuple[list[Made], tuple[str, ...]]:
    made: list[Made] = []
    notes: list[str] = []
    for name in dict.fromkeys(options.tries or METHODS.names()):
        method = METHODS.get(name)
        if refusal := method.refusal(source):
            notes.append(f"{name} is not tried: {refusal}")
            continue
        try:
            for candidate in method.candidates(source):
                progress("compress", len(made), len(made) + 1)
                (folder := place / str(len(made) + len(notes))).mkdir()
                one = _made(bench, candidate, folder, source)
                if isinstance(one, Made):
                    made.append(one)
                else:
                    notes.append(f"{candidate.name} is not tried: {one}")
        except Exception as error:  # noqa: BLE001  (before there was a candidate: what is fitted or trained for it may fail in any way)
            notes.append(f"{name} is not tried: {reason(error)}")
    progress("compress", len(made), len(made))
    return made, tuple(notes)


def _made(bench: Bench, candidate: Candidate, folder: Path, source: Source) -> Made | str:
    """A candidate, or why there is none: one that fails costs no other its chance."""
    try:
        return bench.make(candidate, folder, refit=source.refit)
    except Exception as error:  # noqa: BLE001  (whatever a runtime raises for a graph that it cannot run)
        return reason(error)
