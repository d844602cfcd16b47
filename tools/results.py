"""Write the tables of results from benchmarks/results/, so that no figure in them was ever typed.

`python tools/results.py` writes the README's table of quality, the one of extraction in docs/howto/speed.md, that of rankings in
docs/howto/which-model.md, and those of tuning, distillation, export, compression and serving in the pages of docs/howto that are called so; `--check` only says
whether they are those of the committed results.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "quality.jsonl"
EXTRACTION, STORE = RESULTS.with_name("extract.jsonl"), RESULTS.with_name("store.jsonl")
RANKING, LAYERS = RESULTS.with_name("rank.jsonl"), RESULTS.with_name("layers.jsonl")
README, SPEED = ROOT / "README.md", ROOT / "docs" / "howto" / "speed.md"
WHICH = ROOT / "docs" / "howto" / "which-model.md"
# Pages of docs/howto whose one table is of the benchmark of the same name.
ALIKE = ("tune", "distil", "export", "compress", "serve")
BEGIN, END = "<!-- results: tools/results.py -->\n", "<!-- end of results -->\n"

# What a set is, in a reader's words; the bound of the benchmark decides which metric is shown.
SETS = {
    "ants_bees": "photos, 2 kinds of insects",
    "blood_cells": "microscope crops, 3 kinds of cells, uneven",
    "cifar10": "tiny photos, 10 classes",
    "sst2": "film reviews, 2 sentiments",
    "trec": "questions, 6 kinds",
    "thucnews": "Chinese news titles, 10 topics",
    "spoken_digits": "recordings, 10 spoken digits",
}


def table(lines: list[str]) -> str:
    """The Markdown table of the figures in a benchmark's JSON lines."""
    figures = {figure["figure"]: figure for figure in map(json.loads, lines)}
    rows = [
        "| data | what | evaluated | figure | headstart | scikit-learn | floor | log-loss | scikit-learn |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, words in SETS.items():
        if f"{name}/n" not in figures:
            continue
        metric = next(m for m in ("accuracy", "balanced_accuracy") if "at_least" in figures[f"{name}/{m}"])
        main, n = figures[f"{name}/{metric}"], figures[f"{name}/n"]
        loss = figures[f"{name}/log_loss"]
        low, high = (figures[f"{name}/{metric}_{end}"]["value"] for end in ("low", "high"))
        rows.append(
            f"| `{name}` | {words} | {n['value']:,} {n['unit']} | {metric.replace('_', ' ')} "
            f"| **{main['value']:.3f}** [{low:.3f}, {high:.3f}] | {main['peer']:.3f} | {main['at_least']:.3f} "
            f"| **{loss['value']:.3f}** | {loss['peer']:.3f} |"
        )
    first = next(iter(figures.values()))
    versions = ", ".join(f"{library} {version}" for library, version in first["versions"].items())
    return "\n".join([*rows, "", f"{first['machine']}; {versions}."]) + "\n"


def extraction(lines: list[str]) -> str:
    """The Markdown table of all figures of benchmarks; each says which machine it was measured on, where there are several."""
    figures = list(map(json.loads, lines))
    machines = list(dict.fromkeys(figure["machine"] for figure in figures))
    title, rule = (" machine |", "---|") if len(machines) > 1 else ("", "")
    rows = [f"| benchmark | figure | value | unit | bound | holds |{title}", f"|---|---|---|---|---|---|{rule}"]
    for figure in figures:
        least, most = figure.get("at_least"), figure.get("at_most")
        bound = f"at least {least:.4g}" if least is not None else f"at most {most:.4g}" if most is not None else ""
        holds = ("yes" if figure["holds"] else "**no**") if bound else ""
        value = f"{figure['value']:.4f}".rstrip("0").rstrip(".")
        where = f" {machines.index(figure['machine']) + 1} |" if title else ""
        rows.append(
            f"| {figure['benchmark']} | `{figure['figure']}` | {value} | {figure['unit']} | {bound} | {holds} |{where}"
        )
    versions = ", ".join(f"{library} {version}" for library, version in figures[0]["versions"].items())
    named = [f"machine {number}: {name}" for number, name in enumerate(machines, 1)] if title else machines
    return "\n".join([*rows, "", f"{'; '.join([*named, versions])}."]) + "\n"


def main() -> int:
    """Write or check; 1 where a page differs."""
    differs = 0
    pages = (
        (README, [RESULTS], table),
        (SPEED, [EXTRACTION, STORE], extraction),
        (WHICH, [RANKING, LAYERS], extraction),
        *((ROOT / "docs" / "howto" / f"{name}.md", [RESULTS.with_name(f"{name}.jsonl")], extraction) for name in ALIKE),
    )
    for page, results, drawn in pages:
        text = page.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        _, after = rest.split(END)
        there = [file for file in results if file.exists()]
        lines = [line for file in there for line in file.read_text(encoding="utf-8").splitlines()]
        wanted = before + BEGIN + (drawn(lines) if lines else "") + END + after
        differs += text != wanted
        if "--check" not in sys.argv[1:]:
            page.write_text(wanted, encoding="utf-8", newline="\n")
    return int(differs > 0 and "--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
