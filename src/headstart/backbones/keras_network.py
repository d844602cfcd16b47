"""A Keras model as a network: a module of torch where Keras runs on torch, else a graph over arrays. Both have the same tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.backbones.feeds import Colour, ImageFeed, Layout, Outcome
from headstart.backbones.foreign import Places
from headstart.backbones.graph import Graph, Port, layers_of
from headstart.core.errors import BackboneError


class KerasNet(Places):
    """A Keras model on torch. Its parameters are the model's own, under Keras' names."""

    def __init__(self, graph: "KerasGraph", layer: str) -> None:
        super().__init__(graph.layers)
        self._graph, self._read = graph, layers_of(layer)
        for name, variable in graph.variables.items():
            self.register_parameter(name, variable.value)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor | None:
        """Run the model on (n, h, w, 3) pixels and show what is read; returns the last output where that is read."""
        outputs = dict(
            zip(self._read, self._graph.outputs(pixels, self._read, values=dict(self.named_parameters())), strict=True)
        )
        for name in filter(None, self._read):
            self.show(name, outputs[name])
        return outputs.get("")


class KerasFeed(ImageFeed):
    """Pixels with their channels last, as Keras takes them."""

    def __init__(self, net: nn.Module, *, colour: Colour) -> None:
        super().__init__(net, Layout(channels_last=True), colour=colour)

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> Outcome:
        """Run the model."""
        del lengths
        return Outcome(self.net(self.pixels(values).permute(0, 2, 3, 1).contiguous()))


class KerasGraph(Graph):
    """A built Keras model, whatever it runs on.

    Attributes:
        variables: the model's weights by name.
    """

    channels_last = True

    def __init__(self, model: Any, *, title: str, flip: bool) -> None:
        self.title, self._model, self._flip = title, model, flip
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise BackboneError(
                f"{title} has {len(model.inputs)} inputs and {len(model.outputs)} outputs, and a backbone has one of each"
            )
        entry = model.inputs[0]
        self.inputs = (Port(entry.name, entry.dtype, tuple(entry.shape)),)
        # The first stands for the model's own output, whatever layer makes it.
        self.layers = ("output", *(each.name for each in model.layers if "," not in each.name))
        self.variables = {_name(variable): variable for variable in model.weights}
        if len(self.variables) != len(model.weights):
            raise BackboneError(f"{title} has two weights of one name: give its layers names of their own")
        self._parts: dict[tuple[str, ...], Any] = {}

    def __deepcopy__(self, memo: object) -> "KerasGraph":
        """Itself: a copied network brings its own weights along."""
        return self

    @property
    def content(self) -> Mapping[str, np.ndarray]:  # type: ignore[override]
        """The weights by name."""
        import keras

        return {name: np.asarray(keras.ops.convert_to_numpy(each.value)) for name, each in self.variables.items()}

    def outputs(self, pixels: Any, names: Sequence[str], *, values: Mapping[str, Any]) -> list[Any]:
        """What layers give for pixels, as tensors of Keras' backend; the empty name is the model's own output.

        Args:
            pixels: (n, h, w, 3).
            names: of the layers.
            values: weights in place of the model's own, such as those of a copy on another device.
        """
        import keras

        key = tuple(names)
        if key not in self._parts:
            self._parts[key] = keras.Model(self._model.inputs[0], [self._symbol(name) for name in key], name="read")
        part = self._parts[key]
        weights = [
            [values.get(_name(each), each.value) for each in group]
            for group in (part.trainable_variables, part.non_trainable_variables)
        ]
        found, _ = part.stateless_call(*weights, pixels[..., [2, 1, 0]] if self._flip else pixels, training=False)
        return list(found) if isinstance(found, list | tuple) else [found]

    def run(self, inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> Sequence[np.ndarray]:
        """The outputs of these layers for the inputs of one batch."""
        import keras

        found = self.outputs(
            next(iter(inputs.values())), ["" if name == self.layers[0] else name for name in names], values={}
        )
        return [np.asarray(keras.ops.convert_to_numpy(each)) for each in found]

    def _symbol(self, name: str) -> Any:
        if not name:
            return self._model.outputs[0]
        try:
            output = self._model.get_layer(name).output
        except (AttributeError, ValueError) as error:
            raise BackboneError(f"{self.title} has no one output of the layer {name!r}: {error}") from error
        if isinstance(output, list | tuple | dict):
            raise BackboneError(f"layer {name!r} of {self.title} gives several outputs, and rows are read from one")
        return output


def _name(variable: Any) -> str:
    """A weight's name as torch allows it."""
    return str(variable.path).replace(".", "_")
