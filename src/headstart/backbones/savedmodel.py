"""A TensorFlow SavedModel: `savedmodel:DIR`, run by TensorFlow (extra `tensorflow`); `layer` names an output of its signature."""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones.backbone import Architecture, Backbone, BackboneRequest, CatalogueEntry, Source
from headstart.backbones.graph import Graph, Port, in_batches, layers_of
from headstart.backbones.network import need
from headstart.core.errors import BackboneError, ModelError, UsageError, WeightsMissing, gist
from headstart.core.spec import BackboneSpec

if TYPE_CHECKING:
    import torch

_PROGRAM = "saved_model.pb"
_FILES = re.compile(r"saved_model\.pb|variables/variables\.(index|data-\d{5}-of-\d{5})", re.ASCII)
# Operations that run Python, load a library, read and write files, checkpoints too, memory of other owners and sockets, wait for another process, or end this
# one. What TensorFlow itself does not list is refused as well, whatever it is called.
_UNSAFE = re.compile(
    r"Py|File(?!name|spec)|Reader|Dataset|Iterator|Rpc|Socket|Summary|Print|Dump|Debug|Load|Audio|Record|Custom|Remote"
    r"|ImmutableConst|Proto|Vocab|FixedUnigram|Abort|Collective|Nccl|Send|Recv|Queue|Barrier|Mutex|[Ss]tage|Session|MemoryCache"
    r"|TPU|Infeed|Outfeed|Xla|Worker|Distributed|Event|ThreadPool|Statistics|SyncDevice|BoostedTrees"
    r"|Save|Restore|MergeV2Checkpoints|Sharded|Peek|Accumulator|^Copy"
)
# What TensorFlow traces to save and to restore a checkpoint: every SavedModel has them, and only its main graph calls them.
_TRACED = re.compile(r"__inference__traced_(save|restore)_\d+")


class SavedModelSource(Source):
    """SavedModels of images, texts or recordings, told from the signature's inputs; prepared for as `onnx` does it.

    A SavedModel is a program. One that runs Python, or reads or writes files, is refused before TensorFlow loads it, and one with assets too.
    Its identity is its program and variables, byte for byte, and they are what a model saves of it.
    """

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """Nothing: directories have no list."""
        return ()

    def open(self, request: BackboneRequest) -> Backbone:
        """The signature `serving_default` of a SavedModel, or its only one.

        Raises:
            WeightsMissing: there is no such directory.
            BackboneError: it is no SavedModel of TensorFlow 2, could read files or run code, or has no such output.
            ExtraMissing: TensorFlow is not installed.
        """
        folder = Path(request.name)
        if request.weights is not None:
            raise UsageError(f"savedmodel:{request.name} holds its weights itself, and got others: leave --weights out")
        if not (folder / _PROGRAM).is_file():
            raise WeightsMissing(f"there is no SavedModel {request.name}: give the directory that holds its {_PROGRAM}")
        _library(request.name)
        from headstart.backbones.foreign import open_graph

        name = folder.resolve().name
        graph = _graph(name, _contents(folder))
        if "" in layers_of(request.layer) and len(graph.layers) > 1:
            raise BackboneError(f"{graph.title} has the outputs {', '.join(graph.layers)}: choose one with --layer")
        return open_graph(graph, request, architecture=Architecture("savedmodel", name, {}, ""))

    def rebuild(
        self,
        architecture: Architecture,
        specs: tuple[BackboneSpec, ...],
        *,
        assets: Mapping[str, bytes],
        tensors: Callable[[], Mapping[str, np.ndarray]],
        module: "torch.nn.Module | None" = None,
    ) -> Backbone:
        """The SavedModel that was saved, checked again.

        Raises:
            ModelError: the saved files are no SavedModel, could run code, or are not read as the specs say.
        """
        del module
        _library(architecture.name)
        from headstart.backbones.foreign import reopen_graph

        found = {_file(name): array for name, array in tensors().items()}
        if _PROGRAM not in found or any(
            not _FILES.fullmatch(name) or each.dtype != np.uint8 for name, each in found.items()
        ):
            raise ModelError(
                f"savedmodel:{architecture.name} is saved as the bytes of its files, and got {sorted(found)}"
            )
        try:
            graph = _graph(architecture.name, {name: array.tobytes() for name, array in found.items()})
        except BackboneError as error:
            raise ModelError(str(error)) from error
        return reopen_graph(
            graph, specs, architecture=Architecture("savedmodel", architecture.name, {}, ""), assets=assets
        )


PLUGIN = SavedModelSource()


@dataclass(frozen=True, eq=False)
class SavedModelGraph(Graph):
    """A signature of a SavedModel.

    Attributes:
        call: the signature.
        owner: the loaded model, whose variables live as long as it does.
    """

    title: str
    inputs: tuple[Port, ...]
    layers: tuple[str, ...]
    content: Mapping[str, np.ndarray]
    call: Any
    owner: Any
    channels_last: bool = True

    def run(self, inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> Sequence[np.ndarray]:
        """The outputs of these names; where the signature fixes the number of samples, in batches of as many."""
        import tensorflow as tf

        found = []
        for part, n in in_batches(inputs, self.inputs[0].shape[0]):
            outputs = self.call(**{name: tf.constant(array) for name, array in part.items()})
            found.append([outputs[name].numpy()[:n] for name in names])
        return [np.concatenate(each) for each in zip(*found, strict=True)]


def _library(name: str) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # else it tells of the processor on standard error
    return need("tensorflow", f"the backbone savedmodel:{name}", extra="tensorflow")


def _contents(folder: Path) -> dict[str, bytes]:
    """The files of a SavedModel.

    Raises:
        BackboneError: it has assets.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    if assets := [name for name in paths if name.startswith("assets/")]:
        raise BackboneError(
            f"{folder.name} holds the asset {assets[0]}, a file that its program would read: only SavedModels without any are loaded"
        )
    return {name: path.read_bytes() for name, path in paths.items() if _FILES.fullmatch(name)}


def _tensor(name: str) -> str:
    """A file's name as that of a tensor, which has no dots."""
    return name.replace(".", "|")


def _file(name: str) -> str:
    return name.replace("|", ".")


def _reckoning(content: bytes, title: str) -> bytes:
    """A program without what TensorFlow never runs of it, where all that is left does nothing else than to reckon.

    Of a program that TensorFlow 2 saved it takes objects, the functions that they name, and constants of the main graph. What that graph does with checkpoints
    is for TensorFlow 1 and for servers: it is left out, so that no operation on files has to be let through, and nothing can reach one.

    Raises:
        BackboneError: it could do something else, TensorFlow would run its main graph, or the bytes are no program.
    """
    from google.protobuf.message import DecodeError
    from tensorflow import raw_ops as known
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        program = saved_model_pb2.SavedModel.FromString(content)
    except DecodeError as error:
        raise BackboneError(f"{title} is no whole SavedModel ({error}): save it again") from error
    if len(program.meta_graphs) != 1 or not program.meta_graphs[0].HasField("object_graph_def"):
        raise BackboneError(
            f"{title} was not saved by TensorFlow 2, and what an older one names would be run while it is loaded: save it again with"
            "  tf.saved_model.save"
        )
    graph = program.meta_graphs[0].graph_def
    _keep(graph.node, [node for node in graph.node if node.op == "Const"])
    functions = graph.library.function
    _keep(functions, [each for each in functions if not _TRACED.fullmatch(each.signature.name)])
    names = {each.signature.name for each in functions}
    for node in (node for each in functions for node in each.node_def):
        if _UNSAFE.search(node.op) or not hasattr(known, node.op) or not _called(node.attr.values()) <= names:
            raise BackboneError(
                f"{title} holds the operation {node.op}, which could run code or touch files, and is not loaded: save the network without it"
            )
    return bytes(program.SerializeToString())


def _keep(repeated: Any, kept: Sequence[Any]) -> None:
    """Let a repeated field hold these of its messages alone."""
    if len(kept) < len(repeated):
        copies = [type(each).FromString(each.SerializeToString()) for each in kept]
        del repeated[:]
        repeated.extend(copies)


def _called(attributes: Iterable[Any]) -> set[str]:
    """The functions that attributes name, alone and in lists, and those that these are given in turn."""
    found = set()
    for attribute in attributes:
        for each in (attribute.func, *attribute.list.func):
            found |= {each.name} - {""} | _called(each.attr.values())
    return found


def _graph(name: str, content: Mapping[str, bytes]) -> SavedModelGraph:
    """The graph of a SavedModel's files, loaded from a copy that nobody changes in between.

    Raises:
        BackboneError: TensorFlow cannot load it, it could run code, or it has no one signature.
    """
    import tensorflow as tf

    title = f"savedmodel:{name}"
    program = _reckoning(content[_PROGRAM], title)
    with tempfile.TemporaryDirectory() as folder:
        for file, written in {**content, _PROGRAM: program}.items():
            path = Path(folder) / file
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(written)
        try:
            return _signature(tf.saved_model.load(folder), title, content)
        except BackboneError:
            raise
        except (
            Exception
        ) as error:  # whatever TensorFlow raises for a model that it cannot load becomes the one sentence
            raise BackboneError(f"TensorFlow cannot load {title}: {gist(error)}") from error


def _signature(owner: Any, title: str, content: Mapping[str, bytes]) -> SavedModelGraph:
    """The graph of a loaded model's signature `serving_default`, or of its only one.

    Raises:
        BackboneError: it has neither.
    """
    signatures = dict(owner.signatures)
    if "serving_default" not in signatures and len(signatures) != 1:
        raise BackboneError(
            f"{title} has the signatures {', '.join(signatures) or '(none)'}, and has to have serving_default"
        )
    call = signatures.get("serving_default") or next(iter(signatures.values()))
    ports = [
        Port(key, each.dtype.name, tuple(each.shape.as_list()) if each.shape.rank is not None else ())
        for key, each in call.structured_input_signature[1].items()
    ]
    kept = {_tensor(file): np.frombuffer(each, dtype=np.uint8) for file, each in content.items()}
    return SavedModelGraph(title, tuple(ports), tuple(sorted(call.structured_outputs)), kept, call, owner)
