"""The report as a verb: which samples it is about, what it says of them, and one clear sentence where it cannot be written."""

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import headstart as hs
from headstart.cli.main import main
from headstart.core.errors import DataError, ExtraMissing, UsageError
from headstart.data.reading import ReadOptions
from headstart.reporting import embedding, gather
from headstart.reporting.evidence import HELD, IN_SAMPLE, OUT_OF_FOLD, collect
from headstart.reporting.report import Page, report
from headstart.verbs import companions
from support.examples import write_examples
from support.made import photos, reviews, sounds
from support.tunable import network


def text_of(page: Page) -> str:
    return page.path.read_text(encoding="utf-8")


def sections(page: Page) -> list[str]:
    return re.findall(r'<section id="([a-z]+)"', text_of(page))


def test_it_is_about_the_samples_that_evaluate_would_choose(tmp_path: Path) -> None:
    data = reviews(tmp_path / "reviews.csv", n=60)
    model = hs.fit(data, backbone="toy:text", options=hs.FitOptions(hold_out=0.25))
    evidence, evaluation = collect(model, data), hs.evaluate(model, data)
    assert (evidence.kind, len(evidence), evidence.left_out) == (HELD, evaluation.n, evaluation.left_out)
    assert float((~evidence.wrong).mean()) == pytest.approx(evaluation.metrics["accuracy"].value)
    page = report(model, data, out=tmp_path / "report.html")
    assert "measured on 15 texts that it was not fitted on" in page.verdict


def test_without_a_part_set_aside_the_predictions_are_out_of_fold_ones(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", parts=("",))
    model = hs.fit(data, backbone="toy:image")
    evidence = collect(model, data)
    assert evidence.kind == OUT_OF_FOLD
    assert float((~evidence.wrong).mean()) == pytest.approx(model.report.out_of_fold["accuracy"].value)
    assert "each scored by a head that had not seen it" in report(model, data, out=tmp_path / "report.html").verdict


def test_out_of_fold_predictions_keep_groups_together(tmp_path: Path) -> None:
    """Each group carries one of two labels at random, and its items share a word: only a head that saw the group can tell."""
    rng = np.random.default_rng(0)
    rows = [
        {"text": f"{f'word{group} ' * 8}{i}", "label": "xy"[label], "group": f"g{group}"}
        for group, label in enumerate(rng.integers(0, 2, 40))
        for i in range(4)
    ]
    table = tmp_path / "groups.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    reading = ReadOptions(target="label", input="text", group="group")
    model = hs.fit(table, options=hs.FitOptions(backbone="toy:text", reading=reading))
    evidence = collect(model, table)
    assert evidence.kind == OUT_OF_FOLD
    assert float((~evidence.wrong).mean()) == pytest.approx(model.report.out_of_fold["accuracy"].value)
    ungrouped = hs.fit(
        table, options=hs.FitOptions(backbone="toy:text", reading=ReadOptions(target="label", input="text"))
    )
    assert float((~evidence.wrong).mean()) < 0.8 < 0.9 < ungrouped.report.out_of_fold["accuracy"].value


def test_a_part_of_what_it_was_fitted_on_is_no_evidence(tmp_path: Path) -> None:
    data = reviews(tmp_path / "reviews.csv", n=40)
    model = hs.fit(data, backbone="toy:text")
    some = tmp_path / "some.csv"
    some.write_text("\n".join(data.read_text(encoding="utf-8").splitlines()[:21]) + "\n", encoding="utf-8")
    assert collect(model, some).kind == IN_SAMPLE
    page = report(model, some, out=tmp_path / "report.html")
    assert page.kind == "in_sample"
    assert "fitted on every one of these items" in page.doubt


@pytest.mark.parametrize("modality", ["image", "text", "audio"])
def test_every_modality_has_its_sections(tmp_path: Path, modality: str) -> None:
    make = {"image": photos, "audio": sounds}.get(modality, reviews)
    data = make(tmp_path / ("data.csv" if modality == "text" else "data"))
    page = report(hs.fit(data, backbone=f"toy:{modality}"), data, out=tmp_path / "report.html")
    assert sections(page) == ["figures", "data", "labels", "confidence", "map", "errors", "making", "again"]
    assert page.bytes == page.path.stat().st_size < 1_000_000
    assert ("data:image/jpeg;base64," in text_of(page)) == (modality == "image")


@pytest.mark.parametrize(
    ("table", "target", "task", "figure", "expected"),
    [
        ("tags.csv", "tags", "multi_label", "Mean average precision", ["labels", "confidence"]),
        ("prices.csv", "price", "regression", "Mean absolute error", ["values", "confidence"]),
    ],
)
def test_several_labels_and_values_have_sections_of_their_own(
    tmp_path: Path, table: str, target: str, task: str, figure: str, expected: list[str]
) -> None:
    write_examples(tmp_path)
    reading = ReadOptions(target=target, task=task, separator="|" if task == "multi_label" else None)
    model = hs.fit(tmp_path / table, options=hs.FitOptions(backbone="toy:text", reading=reading))
    page = report(model, tmp_path / table, out=tmp_path / "report.html")
    assert sections(page) == ["figures", "data", *expected, "map", "errors", "making", "again"]
    assert figure in text_of(page)


def test_many_labels_and_long_texts_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "MOST_POINTS", 200)
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(2000)]
    rows = [
        {"text": f"{f'label{i % 60} ' * 20} {i} {' '.join(rng.choice(words, 800))}", "label": f"label{i % 60}"}
        for i in range(960)
    ]
    table = tmp_path / "long.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert table.stat().st_size > 4_000_000
    model = hs.fit(table, backbone="toy:text", target="label", options=hs.FitOptions(head="prototype", hold_out=0.5))
    page = report(model, table, out=tmp_path / "report.html")
    assert page.bytes < 1_000_000
    text = text_of(page)
    assert "Confusion matrix" not in text
    assert "With this many labels a matrix would not be readable" in text
    assert text.count("<circle data-i=") == 200


def test_nothing_on_the_page_points_elsewhere(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    text = text_of(report(hs.fit(data, backbone="toy:image"), data, out=tmp_path / "report.html"))
    addresses = set(re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", text))
    assert {each for each in addresses if not each.startswith(("data:", "#"))} == set()
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert str(tmp_path) not in text, "the folders of this machine are nobody's business"
    names = re.findall(r'\sid="([^"]+)"', text)
    assert len(names) == len(set(names)), "an id occurs once"
    for plot in re.findall(r'<svg class="plot.*?</svg>', text, flags=re.DOTALL):
        assert 'role="img"' in plot
        assert re.search(r"<desc[^>]*>[^<]{20,}</desc>", plot)
    assert "#0f0e" not in text, "a colour of the drawing that is no colour of the page"


@dataclass(frozen=True)
class Finding:
    kind: str
    severity: str
    count: int
    sentence: str


@dataclass(frozen=True)
class Suspect:
    kind: str
    input: str
    label: str
    suggestion: str
    score: float
    why: str


@dataclass(frozen=True)
class Audit:
    n: int = 24
    understood: tuple[str, ...] = ("two classes of <photos>",)
    findings: tuple[Finding, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    shift: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    metric: str = "accuracy"
    points: tuple[Point, ...] = (Point(10, 0.7, 0.6, 0.8), Point(20, 0.8, 0.75, 0.85), Point(40, 0.85, 0.8, 0.9))
    forecast: tuple[Point, ...] = (Point(80, 0.88, 0.8, 0.93),)
    sentence: str = "twice as many labels would add 3 points"


def test_what_an_audit_and_a_curve_found_is_told(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    audit = Audit(
        findings=(Finding("leak", "error", 9, "9 photos of val are near copies of photos of <train>"),),
        suspects=(Suspect("label_error", "val/red/0.png", "red", "blue", 0.97, "all neighbours are <b>blue</b>"),),
        shift={"train/val": 0.9},
    )
    page = report(hs.fit(data, backbone="toy:image"), data, out=tmp_path / "report.html", audit=audit, curve=Curve())
    text = text_of(page)
    assert {"suspects", "curve"} <= set(sections(page))
    assert page.kind == "leak"
    assert page.doubt == "9 photos of val are near copies of photos of <train>. On new items it will do worse."
    assert "9 photos of val are near copies of photos of &lt;train&gt;." in text
    assert "all neighbours are &lt;b&gt;blue&lt;/b&gt;" in text
    assert "Twice as many labels would add 3 points." in text
    assert "AUC 0.90" in text


def test_a_copy_under_two_labels_is_shown_without_a_label_that_it_would_rather_have(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    model = hs.fit(data, backbone="toy:image")
    suspects = (Suspect("label_error", "val/red/0.png", "red", "", 1.0, "the very content of another"),)
    text = text_of(report(model, data, out=tmp_path / "report.html", audit=Audit(suspects=suspects)))
    assert "the very content of another" in text
    assert '<span class="key">rather</span>' not in text


def test_what_the_gate_of_the_fit_found_is_told_where_no_audit_is_given(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    model = hs.fit(data, backbone="toy:image")
    found = [
        {"kind": "label_error", "severity": "warning", "count": 5, "sentence": "5 of 48 labels are probably wrong"}
    ]
    told = SimpleNamespace(report=SimpleNamespace(findings=found, n={"train": 24, "val": 24}))
    recorded = gather.recorded(told)  # type: ignore[arg-type]
    assert recorded is not None
    assert gather.recorded(model) is None
    page = report(model, data, out=tmp_path / "report.html", audit=recorded)
    assert "5 of 48 labels are probably wrong." in text_of(page)
    assert "5 of 48 items (10.4 %) have a label that looks wrong." in text_of(page).replace("\N{NO-BREAK SPACE}", " ")


def test_the_verb_has_its_name_whatever_was_imported_before() -> None:
    import headstart.reporting.page

    assert hs.report is report
    assert headstart.reporting.page is not None


def test_a_report_that_is_there_is_replaced_and_the_model_names_how_it_was_made(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    hs.fit(data, backbone="toy:image").save(tmp_path / "model")
    (tmp_path / "report.html").write_text("old", encoding="utf-8")
    page = report(tmp_path / "model", data, out=tmp_path / "report.html")
    text = text_of(page)
    assert "headstart fit photos --out model --backbone toy:image" in text
    assert "headstart report model photos --out report.html" in text
    assert "Model made" in text
    assert Path(page) == tmp_path / "report.html"


def test_an_export_has_a_report_that_says_how_it_was_made(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", n=30)
    model = hs.fit(data, options=hs.FitOptions(backbone=network(alike=False), check=False))
    hs.export(model, to="onnx", out=tmp_path / "small")
    assert main(["report", str(tmp_path / "small"), str(data), "--out", str(tmp_path / "report.html")]) == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "--out small-fitted" in text
    assert "headstart export small-fitted --to onnx --out small --with-data photos" in text
    assert "no learning curve was drawn" not in text
    assert "was not checked" not in text


def test_a_place_that_no_report_may_be_written_to_is_refused(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    model = hs.fit(data, backbone="toy:image")
    model.save(tmp_path / "model")
    with pytest.raises(UsageError, match=r"a report is a file, and .* is a folder: name a file in it"):
        report(model, data, out=tmp_path)
    with pytest.raises(UsageError, match=r"the folder .*nowhere of the report does not exist: make it first"):
        report(model, data, out=tmp_path / "nowhere" / "report.html")
    with pytest.raises(UsageError, match=r"lies inside the data .*, which is never written to"):
        report(model, data, out=data / "report.html")
    with pytest.raises(UsageError, match=r"lies inside the model .*, which is never written to"):
        report(tmp_path / "model", data, out=tmp_path / "model" / "report.html")
    assert not (data / "report.html").exists()


def test_without_the_extra_one_sentence_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photos(tmp_path / "photos")
    model = hs.fit(data, backbone="toy:image")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ExtraMissing, match=r"the report needs matplotlib, .*: type  pip install 'headstart\[report\]'"):
        report(model, data, out=tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_data_without_labels_is_refused(tmp_path: Path) -> None:
    data = reviews(tmp_path / "reviews.csv")
    model = hs.fit(data, backbone="toy:text")
    (tmp_path / "new.csv").write_text("text\nfilm\nother film\n", encoding="utf-8")
    with pytest.raises(DataError, match="label"):
        report(model, tmp_path / "new.csv", out=tmp_path / "report.html")


def test_the_command_line_says_what_the_first_screen_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from headstart.cli.main import main

    data = photos(tmp_path / "photos")
    hs.fit(data, backbone="toy:image").save(tmp_path / "model")
    out = tmp_path / "out.html"
    assert main(["report", str(tmp_path / "model"), str(data), "--out", str(out), "--quiet", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"report", "verdict", "doubt", "kind", "bytes", "seconds", "notes"}
    assert printed["notes"] == []
    assert printed["bytes"] == out.stat().st_size
    assert main(["report", str(tmp_path / "model"), str(data), "--out", str(out), "--quiet"]) == 0
    assert "The model gives the right one of two labels" in capsys.readouterr().out.replace("\n", " ")


def test_a_gate_that_fails_is_told_in_the_section_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photos(tmp_path / "photos", parts=("",))
    model = hs.fit(data, backbone="toy:image", options=hs.FitOptions(check=False))

    def fails(*_: object, **__: object) -> None:
        raise DataError(f"{data} <b>cannot</b> be checked")

    monkeypatch.setattr(companions, "check", fails)
    model.save(tmp_path / "model")
    out = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "model"), str(data), "--out", str(out), "--no-curve", "--quiet"]) == 0
    section = out.read_text(encoding="utf-8").split('<section id="data">', 1)[1]
    told = section.split("</section>", 1)[0].split("What is wrong with it", 1)[1]
    assert "The data was not checked: photos &lt;b&gt;cannot&lt;/b&gt; be checked." in told
    assert str(tmp_path) not in told
