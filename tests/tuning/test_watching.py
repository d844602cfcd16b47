"""What people watch: figures of every step, the line in the terminal, trackers, and the report's section."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import headstart as hs
from headstart.cli.watch import Watch
from headstart.core.errors import ModelError, UsageError
from headstart.model.reports import FitReport
from headstart.verbs.tune import TuneOptions, tune
from support.tunable import network, stripes

OPTIONS = TuneOptions(steps=30, strategy="full(decay=1.0)")


class Seen:
    """Progress that keeps the figures."""

    def __init__(self) -> None:
        self.figured: list[tuple[str, int, dict[str, float]]] = []

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Nothing."""

    def figures(self, stage: str, *, step: int, values: Mapping[str, float]) -> None:
        """Keep them."""
        self.figured.append((stage, step, dict(values)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stripes(tmp_path_factory.mktemp("data"), n=60)


@pytest.fixture(scope="module")
def frozen(data: Path) -> hs.Model:
    return hs.fit(data, options=hs.FitOptions(backbone=network(), check=False))


def test_every_step_tells_its_figures(frozen: hs.Model, data: Path) -> None:
    seen = Seen()
    found = tune(frozen, data, options=OPTIONS, progress=seen)
    steps = [step for stage, step, _ in seen.figured if stage == "long"]
    assert steps == list(range(1, 31))
    last = seen.figured[-1][2]
    assert set(last) == {"loss", "accuracy", "rate", "memory"}
    assert last["loss"] == found.curve[-1][1]
    assert last["rate"] == found.curve[-1][2]
    assert 0.0 <= last["accuracy"] <= 1.0
    assert last["memory"] > 50e6


def test_the_line_shows_them() -> None:
    watch = Watch(quiet=False)
    drawn = io.StringIO()
    watch._bars.live.console = Console(file=drawn, force_terminal=True, width=160)
    watch._began["tuning"] = -10.0
    with watch:
        watch("tuning", 5, 100)
        watch.figures(
            "long", step=5, values={"loss": 0.4321, "accuracy": float("nan"), "rate": 0.0002, "memory": 1.5e9}
        )
        told = watch._bars.tasks[0].fields["told"]
    assert told == "loss 0.432  rate 2.0e-04  memory 1.5 GB"


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_trackers_get_every_step(
    frozen: hs.Model, data: Path, tmp_path: Path, tracker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(tracker)
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "kept"
    found = tune(frozen, data, options=replace(OPTIONS, track=f"{tracker}={place}"))
    losses = (_tensorboard if tracker == "tensorboard" else _mlflow)(place)
    assert len(losses) == 30
    assert losses[-1] == pytest.approx(found.curve[-1][1], rel=1e-5)
    again = tune(frozen, data, options=OPTIONS)
    assert again.curve == found.curve, "a tracker changes nothing"


def _tensorboard(place: Path) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    [run] = list(place.iterdir())
    events = EventAccumulator(str(run))
    events.Reload()
    return [each.value for each in events.Scalars("long/loss")]


def _mlflow(place: Path) -> list[float]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(str(place))
    [experiment] = client.search_experiments(filter_string="name = 'headstart'")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.data.params["strategy"] == OPTIONS.strategy
    return [each.value for each in client.get_metric_history(run.info.run_id, "long/loss")]


def test_a_tracker_that_there_is_not_is_refused_before_anything_is_read(frozen: hs.Model) -> None:
    with pytest.raises(UsageError, match="tensorboard or mlflow"):
        tune(frozen, "nowhere", options=TuneOptions(track="wandb"))


def test_the_report_shows_tuned_beside_frozen(frozen: hs.Model, data: Path, tmp_path: Path) -> None:
    found = tune(frozen, data, options=replace(OPTIONS, steps=150))
    assert found.shipped
    record = found.model.report.tuning
    assert record is not None
    told = json.loads(json.dumps(found.model.report.to_json()))
    assert FitReport.from_json({**told, "skipped": []}).tuning == record
    page = hs.report(found.model, data, out=tmp_path / "page.html").path.read_text()
    section = page.split('<section id="tuning">')[1].split("</section>")[0]
    assert "Tuned beside frozen" in section
    assert "it beat the frozen head by more than one standard error on 12 samples" in section
    accuracy = found.compared["accuracy"]
    assert f"{100 * accuracy.difference.value:+.1f} points" in section
    assert "The loss while training" in section
    assert '<section id="tuning">' not in hs.report(frozen, data, out=tmp_path / "frozen.html").path.read_text()


def test_a_manifest_with_another_record_is_refused(frozen: hs.Model, data: Path) -> None:
    found = tune(frozen, data, options=replace(OPTIONS, steps=150))
    told = json.loads(json.dumps({**found.model.report.to_json(), "skipped": []}))
    for change in ({"curve": [[1, 2]]}, {"steps": -1}, {"gate": {"n": 1}}, {"extra": 1}):
        with pytest.raises(ModelError):
            FitReport.from_json({**told, "tuning": {**told["tuning"], **change}})
