"""Reading a network: which layer, and how its output becomes rows.

`layer` is empty for the network's last output, a module path (`features.28`, `encoder.layer.8`, `blocks.6`), a negative index over the
network's blocks (`-1` is the last), `all` for the mean over the outputs of all blocks, or several of these separated by commas, which
are read in one pass; `every` stands for all blocks, each by itself, and the usual layer last. A layer's output is pooled inside the forward hook that sees it, before a later in-place operation such as
VGG's ReLU can change it.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import nn

from headstart.backbones import pooling as pools
from headstart.backbones.backbone import EVERY
from headstart.backbones.feeds import Feed, Outcome, tensor_of
from headstart.backbones.pooling import Pooling
from headstart.core.errors import BackboneError, UsageError, suggest

ALL = "all"
# Where well-known networks keep their blocks. A name matches at the end of a module path; the outermost list wins, then the first here.
_BLOCKS = (
    "encoder.layer",
    "encoder.layers",
    "transformer.layer",
    "encoder.block",
    "decoder.layers",
    "layers",
    "layer",
    "blocks",
    "block",
    "stages",
    "features",
    "h",
)


@dataclass(frozen=True)
class Read:
    """One reading of the network.

    Attributes:
        layer: as it stands in the spec: empty, a module path, or `all`.
        paths: the modules whose outputs are read; several are averaged; none means the network's last output.
        pooling: how an output becomes a row.
    """

    layer: str
    paths: tuple[str, ...]
    pooling: Pooling


def block_paths(net: nn.Module) -> tuple[str, ...]:
    """The module paths of a network's blocks, first to last; empty where no list of blocks is found.

    Well-known containers come first, then `layer1` to `layer4` of residual networks, else the longest ModuleList or Sequential.
    """
    modules = dict(net.named_modules())
    lists = {
        name: module
        for name, module in modules.items()
        if isinstance(module, nn.ModuleList | nn.Sequential) and len(module)
    }
    found = [
        (name.count("."), rank, name)
        for name in lists
        for rank, known in enumerate(_BLOCKS)
        if f".{name}".endswith(f".{known}")
    ]
    if found:
        return _children(lists, min(found)[2])
    stages = tuple(name for name in ("layer1", "layer2", "layer3", "layer4") if name in modules)
    if len(stages) > 1:
        return stages
    longest = max(lists, key=lambda name: len(lists[name]), default=None)
    return () if longest is None else _children(lists, longest)


def resolve(net: nn.Module, layer: str) -> tuple[str, tuple[str, ...]]:
    """The name of a layer as a spec holds it, and the module paths that it stands for.

    Raises:
        BackboneError: the network has no such module, or not so many blocks.
    """
    if not layer:
        return "", ()
    if layer == ALL or layer.lstrip("-").isdigit():
        blocks = block_paths(net)
        if not blocks:
            raise BackboneError(
                f"layer {layer!r} counts blocks, and {type(net).__name__} has no list of them: give a module path"
            )
        if layer == ALL:
            return ALL, blocks
        if not -len(blocks) <= int(layer) < 0:
            raise BackboneError(
                f"layer {layer!r} does not exist: the {len(blocks)} blocks from {blocks[0]} to {blocks[-1]} are counted from -1, the last,"
                f" to -{len(blocks)}, the first"
            )
        return blocks[int(layer)], (blocks[int(layer)],)
    paths = [name for name, _ in net.named_modules() if name]
    if layer not in paths:
        raise BackboneError(f"{type(net).__name__} has no layer {layer!r}.{_suggest(layer, paths)}")
    return layer, (layer,)


def plan(feed: Feed, layer: str, *, pooling: str, default_layer: str, default_pooling: str) -> tuple[Read, ...]:
    """What is read, from what a person asked for and the network's own habit.

    Raises:
        BackboneError: a layer does not exist, or cannot be pooled so.
        UsageError: there is no such pooling, or a layer is named twice.
    """
    named = _every(feed.net, default_layer) if layer == EVERY else layer.split(",")
    parts = [part.strip() or default_layer for part in named]
    poolings = [each.strip() for each in pooling.split(",")]
    if len(poolings) not in {1, len(parts)}:
        raise UsageError(f"pooling {pooling!r} has to be one for all layers or one for each of {', '.join(parts)}")
    reads = []
    for part, asked in zip(parts, poolings * len(parts) if len(poolings) == 1 else poolings, strict=True):
        name, paths = resolve(feed.net, part)
        habit = default_pooling if name == default_layer else _without_head(default_pooling)
        reads.append(Read(name, paths, Pooling.parse(asked or habit)))
    names = [read.layer for read in reads]
    if len(set(names)) < len(names):
        raise UsageError(f"layer {layer!r} names one layer twice")
    for read in reads:
        if read.pooling.kind == "model" and read.paths:
            raise BackboneError(
                f"pooling 'model' is the network's own output: it cannot be read at layer {read.layer!r}; use 'mean'"
            )
        if read.pooling.kind in {"cls", "cls+mean"} and not feed.layout.has_class_token:
            raise BackboneError(
                f"{type(feed.net).__name__} has no class token for pooling {str(read.pooling)!r}; use 'mean'"
            )
    return tuple(reads)


def _every(net: nn.Module, usual: str) -> list[str]:
    blocks = block_paths(net)
    if not blocks:
        raise BackboneError(f"{type(net).__name__} has no list of blocks to scan: name layers with --layer")
    own, _ = resolve(net, usual)
    return [*(block for block in blocks if block != own), own]


class Readout(nn.Module):
    """A network with its device half of preparation and its readings: a prepared batch to a tuple of rows."""

    def __init__(self, feed: Feed, reads: Sequence[Read]) -> None:
        super().__init__()
        self.feed = feed
        self.reads = tuple(reads)
        self._pass = _Pass({})
        for index, read in enumerate(self.reads):
            for path in read.paths:
                feed.net.get_submodule(path).register_forward_hook(
                    _Tap(self._pass, feed.layout.prefix, index, path, read.pooling)
                )

    def forward(self, values: torch.Tensor, lengths: Int[torch.Tensor, " n"]) -> tuple[Float[torch.Tensor, "n d"], ...]:
        """Rows of a prepared batch, one array per reading."""
        return self.body(self.front(values, lengths), lengths)

    def front(self, values: torch.Tensor, lengths: Int[torch.Tensor, " n"]) -> torch.Tensor:
        """What stays in float32 and in torch, whatever engine and precision the rest runs in."""
        with torch.autocast("cpu" if values.is_meta else values.device.type, enabled=False):
            return self.feed.front(values, lengths)

    def body(self, values: torch.Tensor, lengths: Int[torch.Tensor, " n"]) -> tuple[Float[torch.Tensor, "n d"], ...]:
        """Rows from what `front` made of a prepared batch: what engines compile."""
        state = self._pass
        state.begin(self.feed, values, lengths)
        outcome = self.feed(values, lengths)
        rows = []
        for index, read in enumerate(self.reads):
            if read.paths:
                pooled = [self._seen(index, path) for path in read.paths]
                row = pooled[0] if len(pooled) == 1 else torch.stack(pooled).mean(dim=0)
            elif read.pooling.kind == "model" and outcome.pooled is not None:
                row = outcome.pooled.float().flatten(1)
            else:
                row = state.row(self._last(outcome), (index, ""), read.pooling, self.feed.layout.prefix)
            rows.append(nn.functional.normalize(row, dim=1) if read.pooling.unit else row)
        state.end()
        return tuple(rows)

    def _seen(self, index: int, path: str) -> torch.Tensor:
        try:
            return self._pass.rows[index, path]
        except KeyError:
            raise BackboneError(
                f"layer {path!r} is not used when {type(self.feed.net).__name__} makes rows: choose another"
            ) from None

    def _last(self, outcome: Outcome) -> torch.Tensor:
        if outcome.last is None:
            raise BackboneError(
                f"{type(self.feed.net).__name__} returns several tensors, which only pooling 'model' reads: use it, or name a layer"
            )
        return outcome.last

    def settle(self, batches: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> tuple[int, ...]:
        """Look how each reading's axes lie, by running small batches, and return the width d of each reading's rows.

        Args:
            batches: values and lengths of one batch, or of two of different length, which tell time from channels.

        Raises:
            BackboneError: an output cannot be read as rows, tokens or maps, or not with the pooling asked for.
        """
        with torch.inference_mode():
            shapes = [self._observe(values, lengths) for values, lengths in batches]
            for key in shapes[0]:
                seen = [tuple(each[key]) for each in shapes]
                layout = _layout(
                    seen, image=batches[0][0].dim() == 4, name=key[1], channels_last=self.feed.layout.channels_last
                )
                _fits(self.reads[key[0]], layout, varies=len(set(seen)) > 1)
                self._pass.layouts[key] = layout
            self._one_width(shapes[0])
        layouts = self._pass.layouts
        keys = [(index, read.paths[0] if read.paths else "") for index, read in enumerate(self.reads)]
        return tuple(_row_width(shapes[0][key], layouts[key], self.reads[key[0]].pooling.kind) for key in keys)

    def _observe(self, values: torch.Tensor, lengths: torch.Tensor) -> dict[tuple[int, str], torch.Size]:
        state = self._pass
        values = self.front(values, lengths)
        state.begin(self.feed, values, lengths)
        state.shapes = {}
        outcome = self.feed(values, lengths)
        shapes, state.shapes = state.shapes, None
        for index, read in enumerate(self.reads):
            if read.pooling.kind == "model" and outcome.pooled is None and self._last(outcome).dim() != 2:
                raise BackboneError(
                    f"{type(self.feed.net).__name__} has no pooled output of its own: use pooling 'mean'"
                )
            if not read.paths:
                own = outcome.pooled if read.pooling.kind == "model" else None
                shapes[index, ""] = self._last(outcome).shape if own is None else own.flatten(1).shape
            for path in read.paths:
                if (index, path) not in shapes:
                    self._seen(index, path)
        state.end()
        for (_, path), shape in shapes.items():
            if shape[0] != values.shape[0]:
                raise BackboneError(
                    f"{_named(path)} gives shape {tuple(shape)} for {values.shape[0]} samples: its first axis has to be samples"
                )
        return shapes

    def _one_width(self, shapes: dict[tuple[int, str], torch.Size]) -> None:
        for index, read in enumerate(self.reads):
            widths = {path: _width(shapes[index, path], self._pass.layouts[index, path]) for path in read.paths}
            if len(set(widths.values())) > 1:
                listed = ", ".join(f"{path} {width}" for path, width in widths.items())
                raise BackboneError(
                    f"layer 'all' averages blocks of one width, and these have several ({listed}): name one of them"
                )


class _Pass(threading.local):
    """What hooks need to know during one forward pass, and what they found: one for each thread, with the layouts shared."""

    def __init__(self, layouts: dict[tuple[int, str], str]) -> None:
        self.layouts = layouts
        self.rows: dict[tuple[int, str], torch.Tensor] = {}
        self.shapes: dict[tuple[int, str], torch.Size] | None = None
        self.feed: Feed | None = None
        self.lengths: torch.Tensor | None = None
        self.padded = 0

    def __deepcopy__(self, memo: dict[int, object]) -> "_Pass":
        return _Pass(dict(self.layouts))

    def begin(self, feed: Feed, values: torch.Tensor, lengths: torch.Tensor) -> None:
        self.rows = {}
        # No int() around a shape: a tracer would take the number for a constant.
        self.feed, self.lengths, self.padded = feed, lengths, feed.padded(values)

    def end(self) -> None:
        self.rows = {}
        self.feed = self.lengths = None

    def row(self, output: torch.Tensor, key: tuple[int, str], pooling: Pooling, prefix: int) -> torch.Tensor:
        layout = self.layouts[key]
        output = output.float()  # averages of numbers of eight bits need more of them
        if layout == pools.ROWS or pooling.kind == "flat":
            return output.flatten(1).clone()
        tokens = pools.as_tokens(output, layout)
        assert self.feed is not None
        assert self.lengths is not None
        counts = self.feed.counts(self.lengths, tokens=tokens.shape[1], padded=self.padded)
        # Maps have no class token among their positions.
        return pools.pool(tokens, pooling.kind, counts=counts, prefix=prefix if layout == pools.TOKENS else 0).clone()


class _Tap:
    """A forward hook that pools what it sees. An object, so that a copied network keeps its own findings."""

    def __init__(self, state: _Pass, prefix: int, index: int, path: str, pooling: Pooling) -> None:
        self.state, self.prefix, self.key, self.pooling = state, prefix, (index, path), pooling

    def __call__(self, _module: nn.Module, _inputs: object, output: object) -> None:
        if self.state.feed is None:
            return
        found = tensor_of(output)
        if found is None:
            raise BackboneError(
                f"layer {self.key[1]!r} gives {type(output).__name__}, and rows are read from tensors: choose another"
            )
        if self.state.shapes is not None:
            self.state.shapes[self.key] = found.shape
        else:
            self.state.rows[self.key] = self.state.row(found, self.key, self.pooling, self.prefix)


def _children(lists: dict[str, nn.ModuleList | nn.Sequential], name: str) -> tuple[str, ...]:
    return tuple(f"{name}.{child}" if name else child for child, _ in lists[name].named_children())


def _without_head(pooling: str) -> str:
    """The pooling of an inner layer, from the habit of the last one: the network's own head and scaling do not apply there."""
    kind = Pooling.parse(pooling).kind
    return "mean" if kind == "model" else kind


def _suggest(layer: str, paths: Sequence[str]) -> str:
    near = suggest(layer, paths)
    if near:
        return near
    inside = [path for path in paths if path.endswith(f".{layer}") or path.startswith(f"{layer}.")]
    top = inside[:3] or [path for path in paths if "." not in path][:12]
    return f" Try {', '.join(top)}." if top else ""


def _named(path: str) -> str:
    return f"layer {path!r}" if path else "the network's output"


def _layout(seen: Sequence[tuple[int, ...]], *, image: bool, name: str, channels_last: bool) -> str:
    """How the axes lie, from the shapes of one layer's output for inputs of different length (or one image batch)."""
    shape = seen[0]
    if len(shape) == 2:
        return pools.ROWS
    if len(shape) == 3:
        grows = [axis for axis in (1, 2) if len({each[axis] for each in seen}) > 1]
        return pools.CHANNELS_FIRST if grows == [2] and not image else pools.TOKENS
    if len(shape) == 4 and image:
        square = (shape[1] == shape[2], shape[2] == shape[3])
        if square == (True, False):
            return pools.NHWC
        return pools.NHWC if square != (False, True) and channels_last else pools.NCHW
    raise BackboneError(
        f"{_named(name)} gives shape {tuple(shape)}, and rows are read from (n, d), (n, t, d) or, for images, (n, c, h, w)"
    )


def _fits(read: Read, layout: str, *, varies: bool) -> None:
    kind, where = read.pooling.kind, _named(read.layer)
    if kind == "flat" and varies:
        raise BackboneError(
            f"pooling 'flat' needs outputs of one shape, and {where} grows with the sample's length: use 'mean'"
        )
    if layout == pools.ROWS and kind in {"cls", "cls+mean", "last", "max"}:
        raise BackboneError(
            f"{where} already gives one row a sample, so there is nothing for pooling {kind!r} to do: leave it out"
        )
    if layout in {pools.NCHW, pools.NHWC} and kind in {"cls", "cls+mean", "last"}:
        raise BackboneError(
            f"{where} gives feature maps, which pooling {kind!r} cannot read: use 'mean', 'max' or 'flat'"
        )


def _width(shape: torch.Size, layout: str) -> int:
    return int(shape[1] if layout in {pools.NCHW, pools.CHANNELS_FIRST} else shape[-1])


def _row_width(shape: torch.Size, layout: str, kind: str) -> int:
    if layout == pools.ROWS or kind == "flat":
        return math.prod(shape[1:])
    return _width(shape, layout) * (2 if kind == "cls+mean" else 1)
