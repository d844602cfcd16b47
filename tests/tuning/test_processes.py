"""Several processes, as `accelerate launch` starts them, train as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.tuning import augmentation
from headstart.verbs.tune import TuneOptions, tune
from support.data import ROOT
from support.tunable import network, stripes

PROGRAM = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import headstart as hs
from headstart.tuning import augmentation
from headstart.tuning.devices import wait_and_lead
from headstart.verbs.tune import TuneOptions, tune
from support.tunable import network

# Crops are drawn by place in the batch, which each process has its own of.
augmentation._looked_at = lambda values, how, generator: values
model = hs.fit(sys.argv[2], options=hs.FitOptions(backbone=network(), check=False))
rank = os.environ.get("RANK", "0")
options = TuneOptions(steps=24, strategy="full(decay=1.0)", run=Path(sys.argv[3]))
found = tune(model, sys.argv[2], options=options)
leads = wait_and_lead()
timed = tune(model, sys.argv[2], options=TuneOptions(budget=4.0, strategy="full(decay=1.0)", run=Path(sys.argv[3], "timed")))
told = {"curve": found.curve, "gate": dict(found.gate), "leads": leads, "steps": timed.steps, "timed": timed.curve}
Path(sys.argv[3], f"told-{rank}.json").write_text(json.dumps(told))
"""


def test_two_processes_train_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stripes(tmp_path / "data", n=40)
    run = tmp_path / "run"
    (tmp_path / "program.py").write_text(PROGRAM)
    # What `accelerate launch` starts on several devices; on processors alone it wants MPI.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(tmp_path / "program.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HEADSTART_OFFLINE": "1"}
    done = subprocess.run(
        [*command, str(ROOT / "tests"), str(data), str(run)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (json.loads((run / f"told-{rank}.json").read_text()) for rank in (0, 1))
    assert (first["leads"], second["leads"]) == (True, False)
    assert first["curve"] == second["curve"], "all processes see the same losses"
    assert first["steps"] == second["steps"] > 0, "a budget is as many steps for all of them"
    assert first["timed"] == second["timed"]
    model = hs.fit(data, options=hs.FitOptions(backbone=network(), check=False))
    monkeypatch.setattr(augmentation, "_looked_at", lambda values, _how, _generator: values)
    alone = tune(model, data, options=TuneOptions(steps=24, strategy="full(decay=1.0)"))
    np.testing.assert_allclose(np.array(first["curve"])[:, 1], np.array(alone.curve)[:, 1], rtol=1e-3)
    assert first["gate"]["n"] == alone.gate["n"]
