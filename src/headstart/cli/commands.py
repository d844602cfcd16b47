"""One function a verb of the command line: call the verb, render what it returns."""

import argparse
import csv
import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

from headstart.backbones.backbone import BackboneRequest
from headstart.cli import render
from headstart.cli.arguments import assignment
from headstart.cli.output import print_json, show
from headstart.cli.rows import as_items
from headstart.cli.watch import Watch
from headstart.core.errors import CacheError, UsageError
from headstart.core.files import refuse_inside_data
from headstart.core.progress import Progress
from headstart.data.reading import ReadOptions
from headstart.model.judge import Judging
from headstart.model.loading import load
from headstart.model.model import Model, check_engine_name
from headstart.model.saving import refuse_if_not_ours
from headstart.verbs.cache import PruneOptions, list_cache, prune_cache, verify_cache
from headstart.verbs.compare import compare as compare_verb
from headstart.verbs.evaluate import evaluate as evaluate_verb
from headstart.verbs.fit import fit as fit_verb
from headstart.verbs.fit_backbone import BEST
from headstart.verbs.fit_data import FitOptions
from headstart.verbs.predict import predict as predict_verb


def fit(options: argparse.Namespace) -> int:
    """`headstart fit`."""
    out = Path(options.out) if options.out else None
    if out is not None:
        refuse_if_not_ours(out)
        refuse_inside_data(out, options.data)
    with Watch(quiet=options.quiet) as progress:
        model = fit_verb(options.data, options=_fit_options(options), progress=progress)
    if out is not None:
        model.save(out, by_reference=options.by_reference)
    if options.json:
        judge = None if model.judge is None else model.judge.to_json()
        print_json(
            model.report.to_json(None if out is None else str(out)) | {"judge": judge, "rule": model.rule.to_json()}
        )
    else:
        render.fit(model.report, out=out, modality=model.modality, judge=model.judge, rule=model.rule)
    return 0


def predict(options: argparse.Namespace) -> int:
    """`headstart predict`."""
    if options.json and options.csv:
        raise UsageError("--json and --csv are two forms of one answer; choose one")
    judging = Judging(options.abstain_when or ("any" if options.abstain else ""), by_label=options.by_label)
    with Watch(quiet=options.quiet) as progress:
        model = _load(options, progress)
        items = as_items(options.inputs, modality=model.modality)
        answers = predict_verb(model, items, judging=judging, engine=options.engine, progress=progress)
    for warning in model.warnings:
        sys.stderr.write(f"headstart: {warning}\n")
    if options.json:
        for answer in answers:
            print_json(answer)
    elif options.csv:
        _write_csv(model, answers)
    else:
        render.predictions(answers, top=options.top)
    return 3 if any("error" in answer for answer in answers) else 0


def evaluate(options: argparse.Namespace) -> int:
    """`headstart evaluate`."""
    with Watch(quiet=options.quiet) as progress:
        model = _load(options, progress)
        report = evaluate_verb(
            model,
            options.data,
            part=options.part,
            target=options.target,
            engine=options.engine,
            progress=progress,
        )
    show(report, functools.partial(render.evaluation, source=options.data), as_json=options.json)
    return 0


def compare(options: argparse.Namespace) -> int:
    """`headstart compare`."""
    check_engine_name(options.engine)
    with Watch(quiet=options.quiet) as progress:
        found = compare_verb(
            options.model_a,
            options.model_b,
            data=options.data,
            part=options.part,
            target=options.target,
            engine=options.engine,
            progress=progress,
        )
    show(found, functools.partial(render.comparison, source=options.data), as_json=options.json)
    return 0


def cache(options: argparse.Namespace) -> int:
    """`headstart cache`: one of list, verify and prune."""
    return {"list": _cache_list, "verify": _cache_verify, "prune": _cache_prune}[options.action](options)


def _cache_list(options: argparse.Namespace) -> int:
    listing = list_cache()
    show(listing, render.cache_listing, as_json=options.json)
    return 0


def _cache_verify(options: argparse.Namespace) -> int:
    with Watch(quiet=options.quiet) as progress:
        check = verify_cache(mend=options.mend, progress=progress)
    show(check, render.cache_check, as_json=options.json)
    if not check.whole:
        raise CacheError(
            f"{check.harmed} in {check.root} are damaged: 'headstart cache verify --mend'"
            " drops the damaged ones, and the next run makes them again"
        )
    return 0


def _cache_prune(options: argparse.Namespace) -> int:
    chosen = PruneOptions(
        older_than=options.older_than,
        to=options.to,
        backbone=options.backbone,
        orphans=options.orphans,
        dry_run=options.dry_run,
    )
    pruned = prune_cache(chosen)
    show(pruned, render.pruned, as_json=options.json)
    return 0


def _load(options: argparse.Namespace, progress: Progress) -> Model:
    check_engine_name(options.engine)
    progress("open", 0, 1)
    model = load(Path(options.model), precision=options.precision)
    progress("open", 1, 1)
    return model


def _fit_options(options: argparse.Namespace) -> FitOptions:
    reading = ReadOptions(
        target=options.target,
        input=options.input,
        group=options.group,
        separator=options.separator,
        task="multi_label" if options.task == "multilabel" else options.task,
        modality=options.modality,
        offline=options.offline,
    )
    return FitOptions(
        backbone=_request(options),
        head=options.head,
        reading=reading,
        hold_out=options.hold_out,
        seed=options.seed,
        offline=options.offline,
        precision=options.precision,
        engine=options.engine,
        coverage=options.coverage,
        check=not options.no_check,
        optimise=options.optimise,
        deployment_prior=options.deployment_prior,
        layers=options.layers,
        with_examples=options.with_examples,
    )


def _request(options: argparse.Namespace) -> BackboneRequest | str | None:
    prepare = dict(map(assignment, options.prepare))
    if options.long:
        prepare["long"] = options.long
    changed = {"layer": options.layer, "pooling": options.pooling, "weights": options.weights, "prepare": prepare}
    if options.backbone in {None, BEST}:
        if given := [f"--{name}" for name, value in changed.items() if value]:
            raise UsageError(
                f"{', '.join(given)} belongs to a backbone: name one with --backbone SOURCE:NAME (see 'headstart models')"
            )
        return None if options.backbone is None else BEST
    request = BackboneRequest.parse(options.backbone)
    weights = Path(options.weights) if options.weights else None
    return dataclasses.replace(request, layer=options.layer, pooling=options.pooling, weights=weights, prepare=prepare)


def _write_csv(model: Model, answers: list[dict[str, Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["input", *_headings(model), *(f"p({label})" for label in model.labels), "error"])
    for answer in answers:
        if "error" in answer:
            writer.writerow([answer["input"], *[""] * (len(_headings(model)) + len(model.labels)), answer["error"]])
            continue
        values = [_cell(answer[key]) for key in _headings(model)]
        probabilities = answer.get("probabilities", {})
        writer.writerow([answer["input"], *values, *(f"{probabilities[label]:.6f}" for label in model.labels), ""])


def _headings(model: Model) -> list[str]:
    own = {"single_label": ["label", "probability", "set"], "multi_label": ["labels"]}
    return [*own.get(model.task, ["value", "low", "high"]), "outlier", "abstain"]


def _cell(value: Any) -> Any:
    """A value of a prediction as a cell: several labels are separated by `;`, and of an outlier it is the score."""
    if isinstance(value, list):
        return ";".join(value)
    return f"{value['score']:.4f}" if isinstance(value, dict) else value
