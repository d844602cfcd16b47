"""Tables that a person can read, on standard output."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from headstart.cli.output import escape, figure, new_console, short, size_text, skipped_inputs
from headstart.evaluation.intervals import Estimate
from headstart.model.judge import Judge
from headstart.model.reports import OUT_OF_FOLD, EvaluationReport, FitReport
from headstart.model.rule import Rule
from headstart.verbs.cache import CacheCheck, CacheListing, Pruned
from headstart.verbs.compare import Comparison

_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log-loss",
    "calibration_error": "calibration error",
    "worst_recall": "lowest recall",
    "recall_head": "recall of frequent labels",
    "recall_middle": "recall of the labels between",
    "recall_tail": "recall of rare labels",
    "pr_auc": "area under precision-recall",
    "map": "mean average precision",
    "mae": "mean absolute error",
    "r2": "R²",
    "coverage": "truths in the set or interval",
    "set_size": "mean labels in a set",
    "interval_width": "mean width of an interval",
    "outliers": "outliers",
    "abstained": "abstained",
    "accuracy_of_answers": "accuracy of the answers given",
}
_LOWER_IS_BETTER = {"log_loss", "calibration_error", "mae"}
_MOST_CLASSES = 12
_MOST_SKIPPED = 10
_MOST_FINDINGS = 6


def fit(report: FitReport, *, out: Path | None, modality: str, judge: Judge | None, rule: Rule) -> None:
    """What `headstart fit` shows: data, backbone, heads, figures, doubts, and where the model lies."""
    console = new_console()
    for note in report.notes:
        console.print(f"[dim]·[/] {escape(note)}")
    parts = ", ".join(f"{count:,} {part}" for part, count in report.n.items() if count)
    labels = f", {len(report.classes)} labels" if report.classes else ""
    console.print(f"[bold]data[/]      {modality}, {report.task.replace('_', ' ')}{labels}: {parts}")
    above = f" [dim](not on this machine: {escape(', '.join(report.above))})[/]" if report.above else ""
    console.print(f"[bold]backbone[/]  {escape(report.backbone)}{above}")
    if report.precision is not None:
        change = report.precision
        console.print(f"[bold]precision[/] {change.fitted}; in {change.other} {change.sentence}")
    console.print(
        f"[bold]features[/]  {report.extracted:,} extracted, {report.cached:,} from the store, in {report.seconds['features']:.1f} s"
        + ("" if report.engine == "none" else f" [dim]({escape(report.engine)})[/]")
    )
    console.print(
        f"[bold]head[/]      {escape(report.head)} [dim]chosen out of fold, in {report.seconds['head']:.1f} s[/]"
    )
    _candidates(console, report)
    if rule != Rule():
        console.print(f"[bold]decides[/]   {escape(rule.name)} [dim](probabilities stay as they are)[/]")
    _figures(console, _columns(report))
    if judge is not None and judge.sentence:
        console.print(f"[bold]judge[/]     {escape(judge.sentence)}")
    skipped_inputs(console, report.skipped)
    for warning in report.warnings:
        console.print(f"[yellow]![/] {escape(warning)}")
    _findings(console, report)
    if out is not None:
        console.print(f"[bold]model[/]     {escape(str(out))}")
        console.print(f"[bold]card[/]      {escape(str(out / 'README.md'))}")


def _findings(console: Console, report: FitReport) -> None:
    """The worst of what the data gate found, and where to see the items."""
    marks = {"error": "[red]✗[/]", "warning": "[yellow]![/]"}
    for each in report.findings[:_MOST_FINDINGS]:
        console.print(f"{marks.get(each['severity'], '[dim]·[/]')} {escape(each['sentence'])}")
    if report.findings:
        left = len(report.findings) - _MOST_FINDINGS
        more = f"{left} more findings, and " if left > 0 else ""
        console.print(f"[dim]  {more}the items themselves: headstart check[/]")


def _columns(report: FitReport) -> dict[str, Mapping[str, Estimate]]:
    columns = {}
    if report.evaluated_on != OUT_OF_FOLD:
        columns[f"{report.evaluated_on} ({report.n[report.evaluated_on]:,})"] = report.metrics
    columns[f"train, out of fold ({report.n['train']:,})"] = report.out_of_fold
    return columns


def _candidates(console: Console, report: FitReport) -> None:
    """The best candidate of each family, by out-of-fold loss."""
    best: dict[str, Mapping[str, Any]] = {}
    for each in report.candidates:
        if each["log_loss"] is not None and (
            each["family"] not in best or each["log_loss"] < best[each["family"]]["log_loss"]
        ):
            best[each["family"]] = each
    if len(best) < 2:
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("head", "out-of-fold loss", "accuracy", "seconds"):
        table.add_column(heading, justify="left" if heading == "head" else "right")
    for each in sorted(best.values(), key=lambda candidate: float(candidate["log_loss"])):
        chosen = "bold" if each["recipe"] == report.head else ""
        accuracy = "" if each["accuracy"] is None else f"{each['accuracy']:.4f}"
        table.add_row(
            escape(each["recipe"]), f"{each['log_loss']:.4f}", accuracy, f"{each['seconds']:.2f}", style=chosen
        )
    console.print(table)


def evaluation(report: EvaluationReport, *, source: str) -> None:
    """What `headstart evaluate` shows."""
    console = new_console()
    part = f", part {report.part}" if report.part else ""
    console.print(f"[bold]{escape(source)}[/]{part}: {report.n:,} samples")
    if report.in_sample:
        console.print(
            "[yellow]![/] the model was fitted on every one of these samples: the figures say nothing about new ones"
        )
    elif report.left_out:
        console.print(f"[dim]·[/] {report.left_out:,} samples are left out because the model was fitted on them")
    _figures(console, {"value": report.metrics})
    if report.judged is not None:
        console.print(
            "[bold]the judge[/], where it abstains when an input is an outlier or several labels are possible"
        )
        _figures(console, {"value": report.judged})
    skipped_inputs(console, report.skipped)
    for warning in report.warnings:
        console.print(f"[yellow]![/] {escape(warning)}")


def comparison(found: Comparison, *, source: str) -> None:
    """What `headstart compare` shows."""
    console = new_console()
    part = f", part {found.part}" if found.part else ""
    console.print(f"[bold]{escape(source)}[/]{part}: {found.n:,} samples")
    if found.left_out:
        console.print(f"[dim]·[/] {found.left_out:,} samples are left out because one of the models was fitted on them")
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("figure")
    for heading in (found.a, found.b, "difference", "p"):
        table.add_column(escape(heading), justify="right")
    for name, each in found.figures.items():
        hint = " [dim](lower is better)[/]" if name in _LOWER_IS_BETTER else ""
        title = _NAMES.get(name, name) + hint
        table.add_row(title, f"{each.a:.4f}", f"{each.b:.4f}", figure(each.difference), f"{each.p:.2g}")
    console.print(table)
    console.print("[dim]  in brackets: 95 % intervals; p: how often chance alone gives so large a difference[/]")
    skipped_inputs(console, found.skipped)
    for warning in found.warnings:
        console.print(f"[yellow]![/] {escape(warning)}")
    console.print(f"[bold]{escape(found.verdict)}[/]")


def _figures(console: Console, columns: Mapping[str, Mapping[str, Estimate]]) -> None:
    table = Table(box=None, padding=(0, 2), header_style="dim", title_justify="left")
    table.add_column("figure")
    for heading in columns:
        table.add_column(heading, justify="right")
    first = next(iter(columns.values()))
    recalls = [name for name in first if name.startswith("recall.")]
    shown = (
        sorted(recalls, key=lambda name: first[name].value)[:_MOST_CLASSES] if len(recalls) > _MOST_CLASSES else recalls
    )
    others = [name for name in first if name not in recalls and not name.startswith("average_precision.")]
    for name in others + shown:
        title = f"recall of {escape(name.removeprefix('recall.'))}" if name in recalls else _NAMES.get(name, name)
        hint = " [dim](lower is better)[/]" if name in _LOWER_IS_BETTER else ""
        table.add_row(title + hint, *(figure(metrics.get(name)) for metrics in columns.values()))
    console.print(table)
    if len(shown) < len(recalls):
        console.print(
            f"[dim]  the {len(shown)} labels of lowest recall, of {len(recalls)}; all of them are in the model's card[/]"
        )
    console.print("[dim]  in brackets: 95 % intervals[/]")


def predictions(answers: Sequence[Mapping[str, Any]], *, top: int) -> None:
    """What `headstart predict` shows: a line an input."""
    console = new_console()
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("input", overflow="fold")
    table.add_column("answer", overflow="fold")
    for answer in answers:
        table.add_row(escape(short(answer["input"])), _answer(answer, top))
    console.print(table)
    if cut := sum(bool(answer.get("truncated")) for answer in answers):
        console.print(f"[yellow]![/] {cut:,} texts are longer than the backbone reads and were cut at its limit")


def _answer(answer: Mapping[str, Any], top: int) -> str:
    if "error" in answer:
        return f"[red]no answer:[/] {escape(answer['error'])}"
    if answer["abstain"]:
        return f"[yellow]I don't know:[/] {escape(answer['abstain'])}"
    doubt = _doubt(answer)
    if "value" in answer:
        between = "" if answer["low"] is None else f" [dim]\\[{answer['low']:.6g}, {answer['high']:.6g}][/]"
        return f"[bold]{answer['value']:.6g}[/]{between}{doubt}"
    ranked = sorted(answer["probabilities"].items(), key=lambda pair: -pair[1])
    chosen = set(answer.get("labels") or [answer.get("label")])
    parts = [
        f"[bold]{escape(n)}[/] {p:.1%}" if n in chosen else f"[dim]{escape(n)} {p:.1%}[/]"
        for n, p in ranked[: max(1, top)]
    ]
    if answer.get("labels") == []:
        parts.insert(0, "[bold]no label[/]")
    return "  ".join(parts) + doubt


def _doubt(answer: Mapping[str, Any]) -> str:
    """That an answer is for something unlike the training data, where it is."""
    outlier = answer["outlier"]
    return "  [yellow]unlike the training data[/]" if outlier is not None and outlier["is"] else ""


def cache_listing(listing: CacheListing) -> None:
    """What `headstart cache list` shows."""
    console = new_console()
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("backbone", overflow="fold")
    for heading in ("precision", "rows", "room", "written", "used"):
        table.add_column(heading, justify="left" if heading == "precision" else "right", no_wrap=True)
    for each in listing.stored:
        precision = each.spec.precision if each.spec is not None else ""
        ages = (_age(each.written), _age(each.used))
        table.add_row(escape(each.title), precision, f"{each.rows:,}", size_text(each.bytes), *ages)
    console.print(f"[bold]{escape(str(listing.root))}[/]: {size_text(listing.bytes) or 'empty'}")
    if listing.stored:
        console.print(table)
    if listing.artefacts:
        size = size_text(sum(each.bytes for each in listing.artefacts))
        console.print(f"  compiled networks: {len(listing.artefacts):,}, {size}")
    if listing.sketches:
        console.print(f"  small images of the data gate: {size_text(sum(each.bytes for each in listing.sketches))}")
    for each in listing.stored:
        if each.damaged:
            console.print(f"[yellow]![/] {escape(each.title)}: {escape(each.damaged)}")
        elif not each.readable:
            console.print(
                f"[yellow]![/] {escape(each.title)}: of another version of headstart; prune --orphans removes it"
            )
        elif each.orphans:
            console.print(
                f"[dim]·[/] {escape(each.title)}: {each.orphans:,} files were left behind by killed processes"
            )


def cache_check(check: CacheCheck) -> None:
    """What `headstart cache verify` shows."""
    console = new_console()
    unknown = sum(each.unknown for each in check.checked)
    console.print(
        f"[bold]{escape(str(check.root))}[/]: {check.rows:,} rows of {len(check.checked):,} backbones checked"
    )
    if unknown:
        console.print(
            f"[dim]·[/] {unknown:,} rows were written without a checksum: only that they are there and finite was checked"
        )
    for each in check.checked:
        for harm in each.harms[:_MOST_SKIPPED]:
            place = f"{harm.file}, {harm.rows:,} rows from row {harm.first:,}"
            console.print(f"[yellow]![/] {escape(each.stored.title)}: {escape(harm.reason)} ({escape(place)})")
        if len(each.harms) > _MOST_SKIPPED:
            console.print(f"    and {len(each.harms) - _MOST_SKIPPED:,} more; --json lists them all")
        if each.mended:
            console.print(f"    {each.dropped:,} rows were dropped; the next run extracts them again")
    for harmed in (each for each in check.sketches if each.damaged):
        done = " and were dropped" if harmed.mended else ""
        console.print(f"[yellow]![/] {escape(harmed.maker)}: {harmed.damaged:,} are not what was written{done}")


def pruned(result: Pruned) -> None:
    """What `headstart cache prune` shows."""
    console = new_console()
    for each in result.removed:
        rows = f"{each.rows:,} rows, " if each.rows else ""
        console.print(
            f"[dim]·[/] {escape(each.what)}: {rows}{size_text(each.bytes)} [dim]({escape(each.path.name)})[/]"
        )
    for each in result.kept:
        console.print(f"[yellow]![/] {escape(each.what)} stays: another process has it open")
    freed = "would be freed" if result.dry_run else "freed"
    console.print(f"[bold]{size_text(result.bytes) or '0 MB'}[/] {freed}; {size_text(result.left) or '0 MB'} left")


def _age(moment: float | None) -> str:
    """How long ago something was, in the largest unit of which there are two."""
    if not moment:
        return ""
    seconds = max(0.0, time.time() - moment)
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return "now"
