"""Tracing: a model's scorer as one program of torch, with every size of batch, and every length of text or recording."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from headstart.backbones.exported import LENGTHS, PROBABILITIES, ROWS, SHARES, VALUES
from headstart.backbones.network import recipe_of
from headstart.core.errors import ExportError, gist
from headstart.data.modalities.text import TextRecipe
from headstart.exporting.scorer import Scorer
from headstart.model.model import Model

if TYPE_CHECKING:
    import onnx

_SEED = 7
# Views that are traced with: no axis of an example may be as long as another one by chance.
_VIEWS = 3
# Of the operators of ONNX: what its runtimes have had for years.
_OPSET = 18


@dataclass(frozen=True)
class Traced:
    """A model's graph.

    Attributes:
        scorer: the network.
        names: of its inputs, in order.
        example: what it was traced with.
        program: of torch.
    """

    scorer: Scorer
    names: tuple[str, ...]
    example: tuple[torch.Tensor, ...]
    program: Any

    @cached_property
    def onnx(self) -> "onnx.ModelProto":
        """The same as ONNX.

        Raises:
            ExportError: ONNX has no operator for something in it.
        """
        with quietly():
            try:
                made = torch.onnx.export(
                    self.program,
                    self.example,
                    dynamo=True,
                    input_names=list(self.names),
                    output_names=[PROBABILITIES, ROWS],
                    opset_version=_OPSET,
                    verbose=False,
                )
            except Exception as error:  # whatever the exporter raises for a network becomes the one sentence
                raise ExportError(f"the network cannot be written as ONNX: {gist(error)}") from error
        assert made is not None
        return made.model_proto


def names_of(model: Model) -> tuple[str, ...]:
    """The inputs of a model's graph: values; lengths but for pictures; shares where a sample may be cut into several views."""
    values = VALUES[model.modality]
    if model.modality == "image":
        return (values,)
    recipe = recipe_of(model.backbone.preparation)
    several = model.modality == "audio" or (isinstance(recipe, TextRecipe) and recipe.long == "windows")
    return (values, LENGTHS, SHARES) if several else (values, LENGTHS)


def trace(model: Model) -> Traced:
    """Trace a model.

    Raises:
        UsageError: its backbone is no network of torch.
        ExportError: the network cannot be traced: what it computes hangs on values of its input.
    """
    scorer = Scorer(model).eval()
    names = names_of(model)
    probes = model.backbone.preparation.probes(_VIEWS, _SEED)
    shares = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    given = (torch.from_numpy(probes.values), torch.from_numpy(probes.lengths), shares)[: len(names)]
    views, samples = torch.export.Dim("views", min=1), torch.export.Dim("samples", min=1)
    first = {0: views} if model.modality == "image" else {0: views, 1: torch.export.Dim.DYNAMIC}
    others = ({0: views}, {0: samples, 1: views})[: len(names) - 1]
    with quietly(), torch.no_grad():
        try:
            program = torch.export.export(
                scorer, given, dynamic_shapes=(first, others) if others else (first,), strict=False
            )
        except Exception as error:  # a person's own network may do anything that no tracer can follow
            raise ExportError(
                f"{model.report.backbone} cannot be traced, as it computes otherwise for other inputs: {gist(error)}"
            ) from error
    return Traced(scorer, names, given, program)


@contextmanager
def quietly() -> Iterator[None]:
    """Exporters tell of their own inner workings: that is not for whoever asked for a file."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
