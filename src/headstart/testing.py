"""Conformance checks: what every plug-in of a room has to keep, for the house's own and for third parties' alike.

Each check raises AssertionError with the sentence of the contract that is broken. They need nothing but the plug-in and an example.
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headstart.backbones.backbone import Backbone
from headstart.backbones.choice import rebuild_backbone
from headstart.core.digests import of_tensors, sha256_file
from headstart.core.errors import FitError, SampleError, UsageError
from headstart.core.spec import BackboneSpec
from headstart.data.modalities import MODALITIES
from headstart.data.places import file_of
from headstart.data.preparation import Batch, Modality, Preparation, Prepared
from headstart.data.reading import Reader, ReadOptions
from headstart.data.samples import PARTS, Samples
from headstart.heads.fitted import Head, Linear, Mlp, Neighbours
from headstart.heads.recipe import HeadRecipe
from headstart.tasks import TASKS
from headstart.tasks.task import Targets, Task

_DEFAULTS = ReadOptions()
_VIEW_TYPES = {"image": np.uint8, "text": np.int64, "audio": np.float32}
_BATCH_AXES = {"image": 4, "text": 2, "audio": 2}


def _hold(kept: object, sentence: str) -> None:
    """Raise where a sentence of the contract does not hold; unlike `assert` also under `python -O`."""
    if not kept:
        raise AssertionError(sentence)


def check_reader(reader: Reader, source: tuple[Path, ...], *, options: ReadOptions = _DEFAULTS) -> Samples:
    """Check that a reader keeps its contract on a source that it is for.

    Returns:
        The samples, for whoever knows what they should be.

    Raises:
        AssertionError: a sentence of the contract is broken.
    """
    before = _contents(source)
    _hold(reader.accepts(source), "a reader accepts the sources that it is for")
    samples = reader.read(source, options)
    again = reader.read(source, options)
    _hold(_contents(source) == before, "a reader never writes to its source")
    _hold(samples.table.equals(again.table), "reading twice gives the same samples in the same order")
    _hold(len(samples) > 0, "a reader gives samples or raises DataError")
    _check_table(samples)
    _hold(samples.modality in MODALITIES.names(), f"{samples.modality!r} is a modality")
    _hold(
        samples.inline or all(Path(file_of(path)).is_file() for path in samples.inputs),
        "inputs that are paths lead to files",
    )
    _hold(
        samples.notes and all(isinstance(note, str) for note in samples.notes),
        "a reader says how it understood its source",
    )
    _hold(
        all(one.input and one.reason for one in samples.skipped),
        "what is skipped has its reason",
    )
    return samples


def check_modality(modality: Modality, *, recipe: str, assets: Mapping[str, bytes], examples: Sequence[bytes]) -> None:
    """Check that a modality and its preparation keep their contract.

    Args:
        modality: the plug-in.
        recipe: one of its recipe strings.
        assets: what the recipe needs.
        examples: contents of at least two files of the modality.

    Raises:
        AssertionError: a sentence of the contract is broken.
    """
    _hold(len(examples) >= 2, "two examples or more are needed")
    _hold(not modality.recognises(b""), "an empty file is of no modality")
    for content in examples:
        others = [name for name in MODALITIES.names() if MODALITIES.get(name).recognises(content[:4096])]
        _hold(others == [modality.name], f"a file is of one modality, and an example of {modality.name} is of {others}")
    _hold(
        all(suffix == suffix.lower() and suffix[0] == "." for suffix in modality.suffixes),
        "suffixes are lower case, with the dot",
    )
    _hold(modality.unit in {"pixels", "seconds", "characters"}, "what an extent counts is a known unit")
    _hold(all(modality.extent(content) > 0 for content in examples), "an example has an extent")
    preparation = modality.preparation(recipe, assets)
    _hold(preparation.modality == modality.name, "a preparation knows its modality")
    _hold(
        modality.preparation(preparation.recipe, preparation.assets).recipe == preparation.recipe,
        "a recipe has one string form",
    )
    _check_refusals(modality, preparation)
    for content in examples:
        _check_prepared(preparation, content)
    _check_batches(preparation, [view for content in examples for view in preparation.prepare(content).views])
    _check_probes(preparation)


def _contents(source: Iterable[Path]) -> dict[str, str]:
    """Every file of a source with its digest."""
    found: dict[str, str] = {}
    for path in source:
        below = (
            [Path(folder) / name for folder, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
        )
        found |= {str(file): sha256_file(file) for file in below if file.is_file() and os.access(file, os.R_OK)}
    return found


def _check_table(samples: Samples) -> None:
    table = samples.table
    kinds = {"id": pa.string(), "input": pa.string(), "split": pa.string(), "group": pa.string()}
    _hold(
        {"id", "input"} <= set(table.column_names) <= {*kinds, "target"},
        "the columns are id, input, target, split and group",
    )
    for name, kind in kinds.items():
        if name in table.column_names:
            _hold(table.column(name).type == kind, f"the column {name} holds strings")
            _hold(table.column(name).null_count == 0, f"the column {name} has no gaps")
    _hold(len(set(samples.ids)) == len(samples), "ids are unique")
    _hold("\\" not in "".join(samples.ids), "ids have forward slashes")
    _hold(set(samples.parts) <= set(PARTS), "parts are train, val and test")
    if "target" in table.column_names:
        allowed = (pa.string(), pa.list_(pa.string()), pa.float64())
        _hold(table.column("target").type in allowed, "targets are names, lists of names or float64")
        _hold(table.column("target").null_count == 0, "what is read with a target has one")
        _hold(samples.target_name, "a target has a name")


def _check_refusals(modality: Modality, preparation: Preparation) -> None:
    for recipe in (f"{modality.name}(no_such_option=1)", "another(size=1)"):
        try:
            modality.preparation(recipe, preparation.assets)
        except UsageError:
            continue
        raise AssertionError(f"{modality.name} refuses {recipe} by UsageError")
    for content in (b"", b"\x00\x01\x02\x03 neither this nor that \xff\xfe\xfd"):
        try:
            preparation.prepare(content)
        except SampleError:
            continue
        raise AssertionError("content that cannot be read is a SampleError")


def _check_prepared(preparation: Preparation, content: bytes) -> None:
    one, two = preparation.prepare(content), preparation.prepare(content)
    _hold(_same(one, two), "preparing twice gives the same")
    _hold(len(one.views) == len(one.weights) > 0, "each view has its weight")
    _hold(all(weight > 0 for weight in one.weights), "weights are positive")
    _hold(all(isinstance(fact, float | int | str) for fact in one.facts.values()), "facts are numbers or text")
    for view in one.views:
        _hold(view.dtype == _VIEW_TYPES.get(preparation.modality, view.dtype), "views have the type of their modality")
        _hold(np.isfinite(view).all(), "views are finite")
        _hold(0 < preparation.cost(view) <= 1, "a view fits a batch")
        hash(preparation.bucket(view))


def _same(one: Prepared, two: Prepared) -> bool:
    views = all(np.array_equal(a, b) for a, b in zip(one.views, two.views, strict=True))
    return views and one.weights == two.weights and dict(one.facts) == dict(two.facts)


def _check_batches(preparation: Preparation, views: Sequence[np.ndarray]) -> None:
    buckets: dict[object, list[np.ndarray]] = {}
    for view in views:
        buckets.setdefault(preparation.bucket(view), []).append(view)
    for members in buckets.values():
        together = preparation.collate(members)
        _check_batch(together, len(members), preparation)
        for row, view in enumerate(members):
            alone = preparation.collate([view])
            length = int(alone.lengths[0])
            _hold(together.lengths[row] == length, "a view's length does not depend on its batch")
            kept = (together.values[row][: len(view)], alone.values[0][: len(view)])
            _hold(np.array_equal(kept[0], view) and np.array_equal(kept[1], view), "a batch holds its views unchanged")
            _hold(not np.any(together.values[row][len(view) :]), "padding is 0")


def _check_batch(batch: Batch, n: int, preparation: Preparation) -> None:
    _hold(len(batch) == n and batch.lengths.shape == (n,), "a batch has a row and a length for each view")
    _hold(batch.lengths.dtype == np.int64, "lengths are int64")
    _hold(
        batch.values.ndim == _BATCH_AXES.get(preparation.modality, batch.values.ndim), "a batch has its modality's axes"
    )
    _hold((batch.lengths > 0).all(), "no view is empty")


def _check_probes(preparation: Preparation) -> None:
    probes, again, others = preparation.probes(3, 0), preparation.probes(3, 0), preparation.probes(3, 1)
    _check_batch(probes, 3, preparation)
    _hold(
        all(np.array_equal(getattr(probes, f.name), getattr(again, f.name)) for f in dataclasses.fields(Batch)),
        "probes are the same again",
    )
    same = probes.values.shape == others.values.shape and np.array_equal(probes.values, others.values)
    _hold(not same, "another seed gives other probes")


# Four units in the last place: what another order of summation may change.
_ROUNDING = {"bfloat16": 4 * 2.0**-8, "float16": 4 * 2.0**-11}


def check_backbone(backbone: Backbone, *, module: Any = None, tolerance: float = 1e-4) -> None:
    """Check that an opened backbone is frozen, says what it is, and can be rebuilt from its tensors.

    Args:
        backbone: as its source opened it.
        module: the module that rebuilding needs, for a person's own.
        tolerance: how far rows may differ between batches in float32, in parts of the rows' largest value; narrower precisions may
            differ by what they round to.

    Raises:
        AssertionError: a sentence of the contract is broken.
    """
    probes = backbone.preparation.probes(4, 0)
    tolerance = max(tolerance, _ROUNDING.get(backbone.specs[0].precision, 0.0))
    before = of_tensors(backbone.tensors())
    rows = backbone.embed(probes)
    _check_specs(backbone, before)
    _check_rows(backbone, rows, n=4)
    _hold(_near(backbone.embed(probes), rows, 0.0), "the same batch gives the same rows")
    for one in range(4):
        alone = backbone.embed(Batch(probes.values[one : one + 1], probes.lengths[one : one + 1]))
        wanted = tuple(row[one : one + 1] for row in rows)
        _hold(_near(alone, wanted, tolerance), "a row does not depend on which others are in its batch")
    _hold(of_tensors(backbone.tensors()) == before, "making rows changes no weight")
    net: Any = getattr(backbone, "module", None)
    if net is not None:
        _hold(not any(each.training for each in net.modules()), "a frozen network is in eval mode")
        _hold(not any(each.requires_grad for each in net.parameters()), "a frozen network has no gradients")
    saved = {name: array.copy() for name, array in backbone.tensors().items()}
    options = json.loads(json.dumps(dict(backbone.architecture.options)))
    architecture = dataclasses.replace(backbone.architecture, options=options)
    assets = backbone.preparation.assets
    again = rebuild_backbone(architecture, backbone.specs, assets=assets, tensors=lambda: saved, module=module)
    _hold(again.specs == backbone.specs, "a rebuilt backbone has the same specs")
    _hold(again.architecture == architecture, "a rebuilt backbone has the same architecture")
    _hold(_near(again.embed(probes), rows, tolerance / 10), "a rebuilt backbone gives the same rows")


def _check_specs(backbone: Backbone, digest: str) -> None:
    _hold(backbone.specs, "a backbone has a spec for each layer read")
    for spec in backbone.specs:
        _hold(BackboneSpec.from_json(spec.to_json()) == spec, "a spec survives JSON")
        _hold(spec.weights == digest, "a spec's weights are the digest of the tensors")
        _hold(spec.modality == backbone.preparation.modality, "spec and preparation have one modality")
        _hold(spec.prepare == backbone.preparation.recipe, "a spec holds the preparation's recipe")
        _hold((spec.source, spec.name) == (backbone.architecture.source, backbone.architecture.name), "one name")
    prints = {spec.fingerprint for spec in backbone.specs}
    _hold(len(prints) == len(backbone.specs), "each layer read has its own fingerprint")


def _check_rows(backbone: Backbone, rows: tuple[np.ndarray, ...], *, n: int) -> None:
    _hold(len(rows) == len(backbone.specs), "a backbone gives one array for each spec")
    for row, spec in zip(rows, backbone.specs, strict=True):
        _hold(row.shape == (n, spec.dim), "rows are (n, dim)")
        _hold(row.dtype == np.float32, "rows are float32")
        _hold(np.isfinite(row).all(), "rows are finite")
        _hold(np.ptp(row, axis=0).max() > 0, "different samples give different rows")


def _near(some: Sequence[np.ndarray], others: Sequence[np.ndarray], tolerance: float) -> bool:
    pairs = zip(some, others, strict=True)
    return all(float(np.abs(one - two).max()) <= tolerance * float(np.abs(two).max()) for one, two in pairs)


def check_head(recipe: HeadRecipe) -> None:
    """Check that a head recipe keeps its contract on small made-up rows, for each task that it fits.

    Raises:
        AssertionError: a sentence of the contract is broken.
    """
    _hold(recipe.tasks and set(recipe.tasks) <= set(TASKS.names()), "a head recipe names the tasks that it can fit")
    _hold(dataclasses.is_dataclass(recipe), "a head recipe is a frozen dataclass of literals")
    for task in recipe.tasks:
        x, y = _rows_for(task)
        before = x.copy()
        head, again = recipe.fit(x, y), recipe.fit(x, y)
        _check_fitted(head, x, y)
        _hold(np.array_equal(head.scores(x), again.scores(x)), "the same rows and seed give the same head")
        grouped = recipe.fit(x, y, groups=np.repeat([f"g{i}" for i in range(len(x) // 2)], 2))
        _check_fitted(grouped, x, y)
        _hold(np.array_equal(x, before), "fitting never writes to its rows")
        x[3, 1] = np.nan
        try:
            recipe.fit(x, y)
        except FitError:
            continue
        raise AssertionError("rows that are not finite are a FitError")


def check_task(task: Task, *, column: pa.ChunkedArray) -> None:
    """Check that a task keeps its contract on a target column that is for it, of at least ten values.

    Raises:
        AssertionError: a sentence of the contract is broken.
    """
    _hold(task.fits(column), "a task fits the columns that it is for")
    targets = task.encode(column, None)
    _hold(len(targets) == len(column) and targets.task == task.name, "there is a target for each value")
    _hold(list(targets.labels) == sorted(set(targets.labels)), "labels are sorted by name, each once")
    again = task.encode(column, targets.labels)
    _hold(np.array_equal(again.values, targets.values), "encoding with its own labels changes nothing")
    some = targets.take(np.array([2, 0]))
    _hold(np.array_equal(some.values, targets.values[[2, 0]]), "targets can be taken by position")
    _hold(set(task.summary(targets)) == set(targets.labels), "a summary counts each label")
    scores = np.random.default_rng(0).standard_normal((len(column), max(1, len(targets.labels))))
    predicted = task.predict(scores, 2.0)
    _hold(predicted.shape == scores.shape and np.isfinite(predicted).all(), "there is a prediction for each score")
    _hold(task.link != "softmax" or np.allclose(predicted.sum(axis=1), 1), "softmax probabilities sum to 1")
    figures = task.metrics(targets, predicted)
    _hold(task.primary in figures, "the primary metric is among the metrics")
    means = {name: values.mean() for name, values in task.outcomes(targets, predicted).items()}
    _hold(bool(means), "there is an outcome of each sample to compare models by")
    _hold(all(np.isclose(figures[name].value, mean) for name, mean in means.items()), "outcomes add up to the metrics")
    _hold(all(one.low <= one.value <= one.high for one in figures.values()), "an interval holds its value")
    _hold(task.metrics(targets, predicted) == figures, "the same seed gives the same intervals")
    json.dumps([dict(task.prediction(row, targets.labels)) for row in predicted], allow_nan=False)
    json.dumps([one.to_json() for one in figures.values()], allow_nan=False)


def _rows_for(task: str) -> tuple[np.ndarray, Targets]:
    """Forty rows of five features, and targets that they half explain."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 5)).astype(np.float32)
    signal = x[:, :3] + 0.5 * rng.standard_normal((40, 3))
    if TASKS.get(task).link == "softmax":
        return x, Targets(signal.argmax(axis=1).astype(np.int64), ("a", "b", "c"), task)
    if TASKS.get(task).link == "sigmoid":
        return x, Targets(signal > 0, ("a", "b", "c"), task)
    return x, Targets(100 + 10 * signal[:, 0], (), task)


def _check_fitted(head: Head, x: np.ndarray, y: Targets) -> None:
    _hold(isinstance(head, Linear | Neighbours | Mlp), "a fitted head is Linear, Neighbours or Mlp")
    _hold(head.link == TASKS.get(y.task).link, "a fitted head has its task's link")
    scores = head.scores(x)
    _hold(scores.shape == (len(x), max(1, len(y.labels))), "there is a score for each row and label")
    _hold(scores.dtype == np.float64 and np.isfinite(scores).all(), "scores are finite float64")
    _hold(np.allclose(head.scores(x[5:7]), scores[5:7]), "a row's scores do not depend on the other rows")
    _hold(head.scores(x[:0]).shape == (0, scores.shape[1]), "no rows have no scores")
