"""Keras 3 models, on torch or TensorFlow (extra `tensorflow`): `keras:VGG16` of Keras Applications, or a person's own `.keras` file."""

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones import keras_config
from headstart.backbones.backbone import Architecture, Backbone, BackboneRequest, Built, CatalogueEntry, Source
from headstart.backbones.known import KERAS
from headstart.backbones.network import Network, colour, described_by, freeze, need, refreeze
from headstart.core.errors import BackboneError, ModelError, WeightsMissing, gist, suggest
from headstart.core.spec import BackboneSpec
from headstart.data.modalities import preparation

if TYPE_CHECKING:
    import torch

    from headstart.backbones.keras_network import KerasGraph

# Sides that Keras Applications were trained at, where not 224 pixels.
_SIZES = {
    **dict.fromkeys(("InceptionV3", "InceptionResNetV2", "Xception"), 299),
    **{f"EfficientNetB{i}": size for i, size in enumerate((224, 240, 260, 300, 380, 456, 528, 600))},
    **{f"EfficientNetV2B{i}": size for i, size in enumerate((224, 240, 260, 300))},
    "EfficientNetV2S": 384,
    "EfficientNetV2M": 480,
    "EfficientNetV2L": 480,
    "NASNetLarge": 331,
}


@dataclass(frozen=True)
class Scaling:
    """What an application's own `preprocess_input` does, as the device half does it.

    Attributes:
        mean: of red, green and blue in [0, 1]; subtracted.
        std: divided by.
        flip: whether the network takes blue, green, red.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool


class KerasSource(Source):
    """Keras models for images.

    An application is prepared for as its own `preprocess_input` does it; its weights come from `--weights FILE` (`.h5` or `.weights.h5`,
    without the classifier) or from Keras' own cache, and headstart downloads none. A `.keras` file does not say how its pixels are
    scaled: `prepare` does. A layer is named as Keras names it.

    `KERAS_BACKEND` chooses what Keras runs on; where it is unset that is torch. On torch the backbone is a torch module.
    """

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """The applications that the field names first. Others of Keras open too, where they are made of layers whose configuration is safe to read."""
        return tuple(_entry(*each) for each in KERAS)

    def entry(self, name: str) -> CatalogueEntry | None:
        """An application of Keras; None for a file."""
        if name.endswith(".keras"):
            return None
        listed = {each.backbone: each for each in self.catalogue()}
        if f"keras:{name}" in listed:
            return listed[f"keras:{name}"]
        names = _applications(_library(name))
        if name not in names:
            raise BackboneError(f"Keras has no application {name!r}.{suggest(name, names)}")
        return _entry(name, "An application of Keras that is not in the list")

    def build(self, name: str) -> Built | None:
        """An application, built with random weights."""
        keras = _library(name)
        if name not in _applications(keras):
            return None
        size = _SIZES.get(name, 224)
        with _fresh_names():
            model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(size, size, 3))
        parameters = sum(int(np.prod(each.shape)) for each in model.trainable_weights)
        return Built(parameters, int(model.output_shape[-1]), f"{size} x {size} pixels", "")

    def open(self, request: BackboneRequest) -> Backbone:
        """An application without its classifier, or the model of a file.

        Raises:
            WeightsMissing: there is no such file, or the application's weights are not here.
            BackboneError: there is no such application or layer, or the file could run code.
            ExtraMissing: Keras is not installed.
        """
        keras = _library(request.name)
        if request.name.endswith(".keras"):
            return _from_file(keras, request)
        weights = _weights(request)
        names = _applications(keras)
        if request.name not in names:
            raise BackboneError(f"Keras has no application {request.name!r}.{suggest(request.name, names)}")
        if weights is None:
            raise WeightsMissing(
                f"the weights of keras:{request.name} are not on this machine: give a file without the classifier with --weights FILE.weights.h5,"
                f' or let Keras fetch them once with  python -c "import keras; keras.applications.{request.name}(include_top=False)"'
            )
        size = int(request.prepare.get("size") or _SIZES.get(request.name, 224))
        with _fresh_names():
            model = getattr(keras.applications, request.name)(
                weights=None, include_top=False, input_shape=(size, size, 3)
            )
        _fill(model, weights, title=f"keras:{request.name}")
        scaling = scaling_of(names[request.name])
        config = keras_config.checked(keras.saving.serialize_keras_object(model), title=request.name)
        base = {"size": size, "mean": scaling.mean, "std": scaling.std}
        asked = replace(request, prepare={**base, **request.prepare})
        return _open(keras, config, request=asked, name=request.name, flip=scaling.flip, model=model)

    def rebuild(
        self,
        architecture: Architecture,
        specs: tuple[BackboneSpec, ...],
        *,
        assets: Mapping[str, bytes],
        tensors: Callable[[], Mapping[str, np.ndarray]],
        module: "torch.nn.Module | None" = None,
    ) -> Backbone:
        """The model that was saved, from its configuration, which is checked again.

        Raises:
            ModelError: Keras cannot build it, it could run code, or the tensors do not fit.
        """
        del module
        keras = _library(architecture.name)
        options = architecture.options
        if set(options) != {"config", "flip"} or not isinstance(options["flip"], bool):
            raise ModelError(
                f"the saved backbone keras:{architecture.name} has the options config and flip, and got {sorted(options)}"
            )
        try:
            config = keras_config.checked(options["config"], title=f"keras:{architecture.name}")
            graph = _graph(_build(keras, config), name=architecture.name, flip=options["flip"])
        except BackboneError as error:
            raise ModelError(str(error)) from error
        found = dict(tensors())
        if {name: tuple(each.shape) for name, each in graph.variables.items()} != {
            name: each.shape for name, each in found.items()
        }:
            raise ModelError(
                f"the saved tensors do not fit keras:{architecture.name}: their names or shapes are others"
            )
        for name, variable in graph.variables.items():
            variable.assign(np.array(found[name]))
        if keras.backend.backend() == "torch":
            layer = ",".join(spec.layer for spec in specs)
            network = _network(graph, layer=layer, prepare=specs[0].prepare, architecture=architecture)
            return refreeze(network, specs, tensors=lambda: found)
        from headstart.backbones.foreign import reopen_graph

        return reopen_graph(graph, specs, architecture=architecture, assets=assets)


PLUGIN = KerasSource()


def scaling_of(module: Any) -> Scaling:
    """What the `preprocess_input` of an application's module does, found by asking it for black and for full red, green and blue.

    Raises:
        BackboneError: it does something else than to scale and to flip channels.
    """
    # Black, red, green, blue, grey.
    asked = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [51, 102, 153]], dtype=np.float64)
    found = np.asarray(module.preprocess_input(asked.reshape(1, 1, 5, 3).copy(), data_format="channels_last")).reshape(
        5, 3
    )
    change = found[1:4] - found[0]
    flip = bool(abs(change[0, 0]) < abs(change[0, 2]))
    if flip:
        found, change = found[:, ::-1], change[:, ::-1]
    gains, offset = np.diag(change), found[0]
    if not np.allclose(change, np.diag(gains)) or not np.allclose(found[4], offset + asked[4] / 255 * gains):
        raise BackboneError(
            f"{module.__name__}.preprocess_input does more than to scale pixels, which headstart does not know"
        )
    mean, std = (tuple(round(float(each), 10) for each in values) for values in (-offset / gains + 0.0, 1 / gains))
    return Scaling(mean, std, flip)


def _entry(name: str, description: str) -> CatalogueEntry:
    path = _weights(BackboneRequest("keras", name))
    here = path is not None and importlib.util.find_spec("keras") is not None
    size = path.stat().st_size if path else None
    where = str(path or f"https://keras.io/api/applications, {name}")
    return CatalogueEntry(f"keras:{name}", "image", description, "", size, installed=here, weights=where)


def _library(name: str) -> Any:
    """Keras, which hands over pixels with their channels last."""
    keras = need("keras", f"the backbone keras:{name}", extra="tensorflow")
    if keras.config.image_data_format() != "channels_last":
        raise BackboneError(
            "Keras is set to channels_first, and headstart hands it channels last: mend image_data_format in ~/.keras/keras.json"
        )
    return keras


def _applications(keras: Any) -> dict[str, Any]:
    """Every application with the module that it lies in."""
    apps = vars(keras.applications)
    modules = {name: each for name, each in apps.items() if hasattr(each, "preprocess_input")}
    found = {}
    for name in filter(lambda name: name[0].isupper(), apps):
        # The module of MobileNetV3 does not name its networks, and is told by its own name.
        named = [short for short in modules if name.lower().startswith(short.replace("_", ""))]
        holds = [each for each in modules.values() if name in vars(each)]
        if module := next(iter(holds), modules.get(max(named, key=len, default=""))):
            found[name] = module
    return found


def _fresh_names() -> Any:
    """Keras numbers layers by how many it has made in the process; here it begins anew, so that names are always the same."""
    from contextlib import contextmanager

    from keras.src.backend.common import global_state

    @contextmanager
    def scope() -> Any:
        kept = global_state.get_global_attribute("object_name_uids")
        global_state.set_global_attribute("object_name_uids", None)
        try:
            yield
        finally:
            global_state.set_global_attribute("object_name_uids", kept)

    return scope()


def _weights(request: BackboneRequest) -> Path | None:
    """The file that a person gives, else the one in Keras' cache."""
    if request.weights is not None:
        if not request.weights.is_file():
            raise WeightsMissing(
                f"there is no weight file {request.weights}: give an existing .h5 or .weights.h5 file with --weights PATH"
            )
        return request.weights
    folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
    for path in sorted(folder.glob("*.h5")):
        bare = "".join(filter(str.isalnum, path.stem.lower())).removeprefix("weights")
        rest = bare.removeprefix(request.name.lower())
        if rest != bare and "notop" in rest and not (rest[0] == "v" and rest[1:2].isdigit()):
            return path
    return None


def _fill(model: Any, weights: Path, *, title: str) -> None:
    try:
        model.load_weights(str(weights))
    except Exception as error:  # whatever Keras or HDF5 raise for a file that does not fit becomes the one sentence
        raise BackboneError(f"{weights.name} does not fit {title} without its classifier: {gist(error)}") from error


def _build(keras: Any, config: Mapping[str, Any]) -> Any:
    try:
        with _fresh_names():
            return keras.saving.deserialize_keras_object(dict(config), safe_mode=True)
    except Exception as error:  # whatever Keras raises for a configuration that it cannot read becomes the one sentence
        raise BackboneError(f"Keras cannot build the model: {gist(error)}") from error


def _from_file(keras: Any, request: BackboneRequest) -> Backbone:
    path = Path(request.name)
    if not path.is_file():
        raise WeightsMissing(f"there is no file {request.name}: give the path of a model, such as keras:model.keras")
    config = keras_config.read(path)
    model = _build(keras, config)
    if not model.built:
        raise BackboneError(f"{path.name} does not say what it takes: give its model an Input and save it again")
    _fill(model, request.weights or path, title=path.name)
    return _open(keras, config, request=request, name=path.name, flip=False, model=model)


def _graph(model: Any, *, name: str, flip: bool) -> "KerasGraph":
    from headstart.backbones.keras_network import KerasGraph

    return KerasGraph(model, title=f"keras:{name}", flip=flip)


def _open(
    keras: Any, config: dict[str, Any], *, request: BackboneRequest, name: str, flip: bool, model: Any
) -> Backbone:
    from headstart.backbones.foreign import base_of, modality_of, open_graph, scale_warning

    graph = _graph(model, name=name, flip=flip)
    architecture = Architecture("keras", name, {"config": config, "flip": flip}, "")
    if modality_of(graph) != "image":
        raise BackboneError(f"keras:{name} takes {modality_of(graph)} input, and Keras models are read for images only")
    if keras.backend.backend() != "torch":
        return open_graph(graph, request, architecture=architecture)
    recipe, _ = described_by(request, modality="image", base=base_of(graph, "image", rate=None))
    network = _network(graph, layer=request.layer, prepare=recipe, architecture=architecture)
    backbone = freeze(network, layer=request.layer, pooling=request.pooling, precision=request.precision)
    unsaid = not {"mean", "std"} & set(request.prepare)
    return replace(backbone, warnings=(scale_warning(graph.title),)) if unsaid else backbone


def _network(graph: "KerasGraph", *, layer: str, prepare: str, architecture: Architecture) -> Network:
    from headstart.backbones.keras_network import KerasFeed, KerasNet

    prepared = preparation(prepare, {})
    feed = KerasFeed(KerasNet(graph, layer), colour=colour(prepared))
    return Network(feed, prepared, architecture, default_layer="", default_pooling="mean")
