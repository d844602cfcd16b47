"""headstart: from a pretrained model and your own labelled data to a model that you can trust and ship.

`import headstart as hs; model = hs.fit("photos/"); model.predict(...)`. Names are imported on first use, so that importing the package
costs next to nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# OpenMP's threads wait for each other by spinning, and on a busy machine each spins away the time slice that another needs: the same
# products took 44 s so and 4.9 s asleep beside two busy processes on two cores, and no longer than before on idle ones. OpenMP reads
# this when the first library that brings it is loaded; what a person has set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from headstart.backbones.backbone import Backbone, BackboneRequest
    from headstart.core.errors import DataError, HeadstartError, ModelError
    from headstart.core.features import Features
    from headstart.core.spec import BackboneSpec
    from headstart.data.reading import ReadOptions
    from headstart.data.samples import Samples
    from headstart.features.extraction import Extraction
    from headstart.model.model import Model
    from headstart.model.reports import EvaluationReport, FitReport
    from headstart.reporting.report import report
    from headstart.verbs.compare import Comparison, compare
    from headstart.verbs.evaluate import evaluate
    from headstart.verbs.extract import extract
    from headstart.verbs.fit import fit
    from headstart.verbs.fit_data import FitOptions
    from headstart.verbs.load import load
    from headstart.verbs.models import models
    from headstart.verbs.predict import predict
    from headstart.verbs.read import read

__version__ = "0.1.0"

_HOMES = {
    "Backbone": "backbones.backbone",
    "BackboneRequest": "backbones.backbone",
    "BackboneSpec": "core.spec",
    "Comparison": "verbs.compare",
    "DataError": "core.errors",
    "EvaluationReport": "model.reports",
    "Extraction": "features.extraction",
    "Features": "core.features",
    "FitOptions": "verbs.fit_data",
    "FitReport": "model.reports",
    "HeadstartError": "core.errors",
    "Model": "model.model",
    "ModelError": "core.errors",
    "ReadOptions": "data.reading",
    "Samples": "data.samples",
    "compare": "verbs.compare",
    "evaluate": "verbs.evaluate",
    "extract": "verbs.extract",
    "fit": "verbs.fit",
    "load": "verbs.load",
    "models": "verbs.models",
    "predict": "verbs.predict",
    "read": "verbs.read",
    "report": "reporting.report",
}

__all__ = [
    "Backbone",
    "BackboneRequest",
    "BackboneSpec",
    "Comparison",
    "DataError",
    "EvaluationReport",
    "Extraction",
    "Features",
    "FitOptions",
    "FitReport",
    "HeadstartError",
    "Model",
    "ModelError",
    "ReadOptions",
    "Samples",
    "__version__",
    "compare",
    "evaluate",
    "extract",
    "fit",
    "load",
    "models",
    "predict",
    "read",
    "report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"headstart.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
