"""The model card: README.md of a model directory, generated from its manifest."""

from collections.abc import Mapping
from typing import Any

from headstart.backbones.runtimes import SAFE
from headstart.model.judge import Judge
from headstart.model.manifest import Manifest
from headstart.model.precision import PrecisionChange
from headstart.model.rule import Rule

COMPRESSED = "compressed: "
"""What those notes of a report begin with that tell of a compression."""

# What answers without headstart, where it lies beside a graph.
_PROGRAM = "predict.py"
# What a graph's runtime is called.
_CALLED = {"onnx": "onnxruntime", "openvino": "OpenVINO"}


def card(manifest: Manifest, judge: Judge | None, *, examples: bool) -> str:
    """The card as Markdown: what the model is, what was measured and on what, and what to know before using it.

    Args:
        manifest: of the model.
        judge: the model's.
        examples: whether it carries copies of training samples.
    """
    fit = manifest.fit
    sections = [
        f"# {_title(manifest)}",
        _summary(manifest),
        "## Measured",
        _measured(manifest),
    ]
    if judge is not None:
        told = _judge(judge, shifted=manifest.deployment_prior is not None, examples=examples)
        sections += ["## What it says of its own answers", told]
    if compressed := [note.removeprefix(COMPRESSED) for note in fit["notes"] if note.startswith(COMPRESSED)]:
        sections += ["## Compressed", "\n".join(f"* {_escape(note)}" for note in compressed)]
    sections += ["## How it was made", _made(manifest)]
    if findings := [each for each in fit.get("findings", []) if each["severity"] != "note"]:
        listed = "\n".join(f"* {_escape(each['sentence'])}" for each in findings)
        sections += ["## What is wrong with the data", listed]
    if fit["warnings"]:
        sections += ["## Read before trusting it", "\n".join(f"* {_escape(warning)}" for warning in fit["warnings"])]
    sections += ["## Use", _use(manifest), "## Licence of the backbone's weights", _licence(manifest)]
    return "\n\n".join(sections) + "\n"


def _title(manifest: Manifest) -> str:
    kinds = {"single_label": "classifier", "multi_label": "tagger", "regression": "regressor"}
    modality = manifest.inputs[0]["modality"].capitalize()
    return f"{modality} {kinds.get(manifest.task, manifest.task)}"


def _summary(manifest: Manifest) -> str:
    fit = manifest.fit
    labels = f" {len(manifest.labels)} labels: {_names(manifest.labels)}." if manifest.labels else ""
    what = "trained" if fit.get("tuning") else "frozen"
    return (
        f"Rows of the {what} backbone **{fit['backbone']}**, scored by the head `{manifest.recipe}`, fitted on "
        f"{fit['n']['train']:,} samples.{labels}"
    )


def _measured(manifest: Manifest) -> str:
    fit = manifest.fit
    lines = [
        f"On **{fit['evaluated_on']}**. In brackets the 95 % interval.",
        "",
        "| figure | value |",
        "|---|---|",
    ]
    lines += [f"| {_escape(name)} | {_figure(figure)} |" for name, figure in fit["metrics"].items()]
    if fit["out_of_fold"] != fit["metrics"]:
        lines += ["", "Out of fold on the training samples, each scored by a head that had not seen it:", ""]
        lines += ["| figure | value |", "|---|---|"]
        lines += [f"| {_escape(name)} | {_figure(figure)} |" for name, figure in fit["out_of_fold"].items()]
    if manifest.deployment_prior is not None:
        lines += [
            "",
            "These are figures of samples at their own class shares, log-loss and calibration error too; probabilities are under others, listed below.",
        ]
    return "\n".join(lines)


def _judge(judge: Judge, *, shifted: bool, examples: bool) -> str:
    facts = []
    if judge.sentence:
        at = ", at the class shares of the training samples" if shifted else ""
        facts.append(f"Its {judge.sentence}, out of fold{at}")
    if judge.outliers is not None and judge.neighbours is not None:
        facts.append(
            f"It tells what is unlike its training data: the {100 * (1 - judge.outliers.threshold):.3g} % of samples like these that are "
            "most unlike the others count as outliers too"
        )
        facts.append(
            f"For that it holds the rows and the names, such as paths of files, of {len(judge.neighbours.ids):,} training samples; "
            + (
                "beside them it holds a small copy of each, which goes wherever this model goes"
                if examples
                else "it holds no sample itself"
            )
        )
    return "\n".join(f"* {fact}" for fact in facts)


def _made(manifest: Manifest) -> str:
    fit, spec = manifest.fit, manifest.backbone["specs"][0]
    facts = [
        f"Preparation: `{spec['prepare']}`",
        *(
            f"Readout: layer `{each['layer'] or 'default'}`, pooling `{each['pooling']}`, {each['dim']} numbers a sample"
            for each in manifest.backbone["specs"]
        ),
        _precision(manifest),
        *_shares(manifest),
        f"Temperature {manifest.temperature:.4g}, fitted on out-of-fold scores and carried over to the head that saw all samples; decision rule: {_rule(manifest)}",
        f"Samples: {', '.join(f'{count:,} {part}' for part, count in fit['n'].items() if count)}",
        (
            f"Made on {manifest.created} with headstart {manifest.headstart} "
            f"({', '.join(f'{name} {version}' for name, version in manifest.libraries.items() if name != 'headstart')}) on {manifest.machine}"
        ),
    ]
    if fit["classes"]:
        facts.insert(
            3 + len(manifest.backbone["specs"]),
            "Training samples per label: "
            + ", ".join(f"{_escape(k)} {v:,}" for k, v in list(fit["classes"].items())[:50]),
        )
    notes = [note for note in fit["notes"] if not note.startswith(COMPRESSED)]
    return "\n".join(f"* {fact}" for fact in [*facts, *map(_escape, notes)])


def _shares(manifest: Manifest) -> list[str]:
    if manifest.deployment_prior is None:
        return []
    pairs = zip(manifest.labels[:50], manifest.deployment_prior, strict=False)
    return ["Probabilities are under these class shares: " + ", ".join(f"{_escape(k)} {v:.4g}" for k, v in pairs)]


def _rule(manifest: Manifest) -> str:
    return _escape(Rule.from_json(manifest.rule, labels=manifest.labels).name)


def _precision(manifest: Manifest) -> str:
    precision, change = manifest.backbone["specs"][0]["precision"], manifest.fit["precision"]
    told = f"Precision: {precision}"
    if (graph := manifest.backbone["graph"]) is not None:
        runtime, files = graph["runtime"], ", ".join(f"`{_escape(name)}`" for name in graph["files"])
        fitted = f", of a model that was fitted in {precision}" if graph["precision"] != precision else ""
        told = f"Precision: {graph['precision']}, a graph for {_CALLED.get(runtime, runtime)} ({files}){fitted}"
    return told if change is None else f"{told}. In {change['other']} {PrecisionChange(**change).sentence}"


def _use(manifest: Manifest) -> str:
    example = {"image": "photo.jpg", "audio": "recording.wav"}.get(manifest.inputs[0]["modality"], '"some text"')
    graph, lines = manifest.backbone["graph"], []
    if graph is None or graph["runtime"] in SAFE:  # others are opened by their own library alone
        lines.append(f"headstart predict THIS_DIRECTORY {example}")
    if graph is not None and _PROGRAM in graph["beside"]:
        lines += ["pip install -r THIS_DIRECTORY/requirements.txt", f"python THIS_DIRECTORY/{_PROGRAM} {example}"]
    return "\n".join(["```text", *lines, "```"])


def _licence(manifest: Manifest) -> str:
    if not manifest.licences:
        return "Not known to headstart: look it up where the weights come from before you ship this model."
    return "\n".join(f"* {entry['of']}: {entry['licence']}" for entry in manifest.licences)


def _figure(figure: Mapping[str, Any]) -> str:
    return f"{figure['value']:.4f} [{figure['low']:.4f}, {figure['high']:.4f}]"


def _names(labels: list[str]) -> str:
    shown = ", ".join(_escape(label) for label in labels[:20])
    return shown + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;").replace("`", "'")
