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
    from headstart.audit.findings import Audit
    from headstart.backbones.backbone import Backbone, BackboneRequest
    from headstart.compression.contract import Contract
    from headstart.core.errors import DataError, HeadstartError, ModelError
    from headstart.core.features import Features
    from headstart.core.spec import BackboneSpec
    from headstart.data.reading import ReadOptions
    from headstart.data.samples import Samples
    from headstart.features.extraction import Extraction
    from headstart.model.judge import Judging
    from headstart.model.model import Model
    from headstart.model.reports import EvaluationReport, FitReport
    from headstart.reporting.report import report
    from headstart.reporting.suspects import suspects_page
    from headstart.serving.options import Limits, ServeOptions
    from headstart.serving.running import serve
    from headstart.verbs.check import CheckOptions, check
    from headstart.verbs.compare import Comparison, compare
    from headstart.verbs.compress import Compression, CompressOptions, compress
    from headstart.verbs.curve import Curve, CurveOptions, curve
    from headstart.verbs.distil import Distillation, distil
    from headstart.verbs.distil_options import DistilOptions
    from headstart.verbs.evaluate import evaluate
    from headstart.verbs.explain import ExplainOptions, Explanation, explain
    from headstart.verbs.export import Export, export
    from headstart.verbs.extract import extract
    from headstart.verbs.fit import fit
    from headstart.verbs.fit_data import FitOptions
    from headstart.verbs.load import load
    from headstart.verbs.models import forget_model, models
    from headstart.verbs.pick import PickOptions, Picks, pick
    from headstart.verbs.predict import predict
    from headstart.verbs.rank import Ranking, RankOptions, rank
    from headstart.verbs.read import read
    from headstart.verbs.search import Search, SearchOptions, search
    from headstart.verbs.tune import TuneOptions, Tuning, tune
    from headstart.verbs.verify import Verification, card, verify

__version__ = "0.1.0"

_HOMES = {
    "Audit": "audit.findings",
    "Backbone": "backbones.backbone",
    "BackboneRequest": "backbones.backbone",
    "BackboneSpec": "core.spec",
    "CheckOptions": "verbs.check",
    "Comparison": "verbs.compare",
    "Compression": "verbs.compress",
    "CompressOptions": "verbs.compress",
    "Contract": "compression.contract",
    "compress": "verbs.compress",
    "DistilOptions": "verbs.distil_options",
    "Distillation": "verbs.distil",
    "distil": "verbs.distil",
    "Curve": "verbs.curve",
    "CurveOptions": "verbs.curve",
    "DataError": "core.errors",
    "EvaluationReport": "model.reports",
    "ExplainOptions": "verbs.explain",
    "Explanation": "verbs.explain",
    "Export": "verbs.export",
    "Extraction": "features.extraction",
    "Features": "core.features",
    "FitOptions": "verbs.fit_data",
    "FitReport": "model.reports",
    "HeadstartError": "core.errors",
    "Limits": "serving.options",
    "ServeOptions": "serving.options",
    "serve": "serving.running",
    "Judging": "model.judge",
    "Model": "model.model",
    "ModelError": "core.errors",
    "PickOptions": "verbs.pick",
    "Picks": "verbs.pick",
    "RankOptions": "verbs.rank",
    "Ranking": "verbs.rank",
    "ReadOptions": "data.reading",
    "Samples": "data.samples",
    "Search": "verbs.search",
    "SearchOptions": "verbs.search",
    "TuneOptions": "verbs.tune",
    "Tuning": "verbs.tune",
    "check": "verbs.check",
    "compare": "verbs.compare",
    "curve": "verbs.curve",
    "evaluate": "verbs.evaluate",
    "explain": "verbs.explain",
    "export": "verbs.export",
    "extract": "verbs.extract",
    "fit": "verbs.fit",
    "forget_model": "verbs.models",
    "load": "verbs.load",
    "models": "verbs.models",
    "pick": "verbs.pick",
    "predict": "verbs.predict",
    "rank": "verbs.rank",
    "read": "verbs.read",
    "report": "reporting.report",
    "search": "verbs.search",
    "tune": "verbs.tune",
    "Verification": "verbs.verify",
    "card": "verbs.verify",
    "verify": "verbs.verify",
    "suspects_page": "reporting.suspects",
}

__all__ = [
    "Audit",
    "Backbone",
    "BackboneRequest",
    "BackboneSpec",
    "CheckOptions",
    "Comparison",
    "CompressOptions",
    "Compression",
    "Contract",
    "Curve",
    "CurveOptions",
    "DataError",
    "DistilOptions",
    "Distillation",
    "EvaluationReport",
    "ExplainOptions",
    "Explanation",
    "Export",
    "Extraction",
    "Features",
    "FitOptions",
    "FitReport",
    "HeadstartError",
    "Judging",
    "Limits",
    "Model",
    "ModelError",
    "PickOptions",
    "Picks",
    "RankOptions",
    "Ranking",
    "ReadOptions",
    "Samples",
    "Search",
    "SearchOptions",
    "ServeOptions",
    "TuneOptions",
    "Tuning",
    "Verification",
    "__version__",
    "card",
    "check",
    "compare",
    "compress",
    "curve",
    "distil",
    "evaluate",
    "explain",
    "export",
    "extract",
    "fit",
    "forget_model",
    "load",
    "models",
    "pick",
    "predict",
    "rank",
    "read",
    "report",
    "search",
    "serve",
    "suspects_page",
    "tune",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"headstart.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
