"""A training's figures for those who keep them: TensorBoard and MLflow, through accelerate's trackers."""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from headstart.core.errors import UsageError
from headstart.core.progress import Progress, tell

TRACKERS = ("tensorboard", "mlflow")


def check_tracker(track: str) -> None:
    """Refuse a tracker that there is not, before anything is read; empty is none.

    Raises:
        UsageError: there is no such tracker, or its library is not installed.
    """
    name = track.partition("=")[0]
    if not track:
        return
    if name not in TRACKERS:
        raise UsageError(
            f"--track takes {' or '.join(TRACKERS)}, with =FOLDER where it is to be another, and got {track!r}"
        )
    if importlib.util.find_spec(name) is None:
        raise UsageError(f"{name} is not installed: pip install 'headstart[{name}]'")


@contextmanager
def tracked(progress: Progress, track: str, *, title: str, facts: Mapping[str, Any]) -> Iterator[Progress]:
    """Progress whose figures a tracker gets as well; as it was where `track` is empty."""
    if not track:
        yield progress
        return
    both = Tracked(progress, track, title=title, facts=facts)
    try:
        yield both
    finally:
        both.close()


class Tracked:
    """A `Progress` that passes everything on, and writes a training's figures to a tracker.

    Args:
        progress: that is passed on to.
        track: `tensorboard` or `mlflow`, and `=FOLDER` where it is not `runs` or `mlruns`; for mlflow also the address of a server, which
            `MLFLOW_TRACKING_URI` may give as well.
        title: of the run.
        facts: what the run is of.
    """

    def __init__(self, progress: Progress, track: str, *, title: str, facts: Mapping[str, Any]) -> None:
        self._progress = progress
        self._tracker = _opened(track, title)
        self._tracker.start()
        self._tracker.store_init_configuration({name: _plain(value) for name, value in facts.items()})

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Pass it on."""
        self._progress(stage, done, total)

    def figures(self, stage: str, *, step: int, values: Mapping[str, float]) -> None:
        """Write them down, each under the training that it is of, and pass them on."""
        self._tracker.log({f"{stage}/{name.replace(' ', '_')}": value for name, value in values.items()}, step=step)
        tell(self._progress, stage, step=step, values=values)

    def close(self) -> None:
        """Write what is left."""
        self._tracker.finish()


def _opened(track: str, title: str) -> Any:
    check_tracker(track)
    from accelerate import PartialState, tracking

    PartialState()  # trackers ask it whether this process is the one that writes
    name, _, folder = track.partition("=")
    if name == "tensorboard":
        return tracking.TensorBoardTracker(title, folder or "runs")
    import mlflow

    if folder or not os.environ.get("MLFLOW_TRACKING_URI"):
        place = folder or "mlruns"
        if (
            "://" not in place
        ):  # a folder, which mlflow writes only where that is said; its databases need more packages
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow.set_tracking_uri(place)
    return tracking.MLflowTracker(experiment_name="headstart", run_name=title)


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool) else str(value)
