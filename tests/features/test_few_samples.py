"""Few samples at once: what a server and a person with one photo see. No weight is cast twice, and no batch is filled up again and again."""

import threading
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest

from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.network import NetworkBackbone
from headstart.features import choosing, parity, running
from headstart.features.engine import Engine
from headstart.features.engines import ENGINES, eager, openvino
from headstart.features.parity import cosine
from support.weights import MODALITIES, real


def converted(backbone: NetworkBackbone) -> openvino.OpenVino:
    """An engine of its own, as others' sessions live as long as the process."""
    engine = openvino.OpenVino()
    if reason := engine.refusal(backbone):
        pytest.skip(f"OpenVINO cannot be used here: {reason}")
    return engine


def layers(backbone: NetworkBackbone) -> Iterator[tuple[str, str]]:
    """The type of each layer, and of its numbers."""
    for layer in backbone.module.modules():
        for _, each in layer.named_parameters(recurse=False):
            yield type(layer).__name__, str(each.dtype)


@pytest.mark.parametrize("modality", MODALITIES)
def test_weights_are_cast_once_and_rows_stay_the_same_to_the_last_bit(modality: str) -> None:
    backbone = real(modality, "bfloat16")
    batches = [backbone.preparation.probes(n, n) for n in (1, 3, 2)]
    plain = eager.Eager()
    for batch, (rows,) in zip(batches, plain.run(backbone, iter(batches)), strict=True):
        assert np.array_equal(rows, backbone.embed(batch)[0])
    ready = plain._ready(backbone, batches[0])
    assert ready is not backbone, "it runs on a copy"
    assert set(layers(backbone)) == {(name, "torch.float32") for name, _ in layers(backbone)}, (
        "the network is as it was"
    )
    cast = {name for name, kind in layers(ready) if kind == "torch.bfloat16"}
    assert cast & {"Linear", "Conv2d", "Conv1d"}
    assert not [each for each in layers(ready) if each[0] in cast and each[1] == "torch.float32"]
    own = {id(each) for each in chain(backbone.module.parameters(), backbone.module.buffers())}
    others = [each for each in ready.module.parameters() if str(each.dtype) == "torch.float32"]
    assert others, "there are norms"
    assert all(id(each) in own for each in others), "and what is not cast takes no memory twice"


def test_at_float32_the_network_itself_is_run() -> None:
    backbone = real("text", "float32")
    assert eager.Eager()._ready(backbone, backbone.preparation.probes(1, 0)) is backbone


def test_a_network_that_does_more_with_its_weights_is_run_as_it_is() -> None:
    torch = pytest.importorskip("torch")
    from torch import nn

    class Careful(nn.Module):
        """Uses its layer's weights in float32 as well, where a cast would be seen."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 6)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.layer(pixels.mean((2, 3))) + self.layer.weight.float().sum(1)
            return found

    torch.manual_seed(0)
    asked = BackboneRequest(
        "torch", "careful", module=Careful(), precision="bfloat16", prepare={"modality": "image", "size": 8}
    )
    backbone = open_backbone(asked)
    assert isinstance(backbone, NetworkBackbone)
    batch = backbone.preparation.probes(4, 0)
    assert not np.array_equal(backbone.cast().embed(batch)[0], backbone.embed(batch)[0]), "a cast would be seen"
    plain = eager.Eager()
    assert plain._ready(backbone, batch) is backbone
    assert np.array_equal(next(iter(plain.run(backbone, iter([batch]))))[0], backbone.embed(batch)[0])


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_sample_that_comes_again_and_again_has_all_cores_and_is_not_filled_up(
    monkeypatch: pytest.MonkeyPatch, modality: str
) -> None:
    backbone = real(modality, "bfloat16")
    engine = converted(backbone)
    seen: list[tuple[int, int]] = []
    inner = openvino.Session.inputs

    def told(self: openvino.Session, given: NetworkBackbone, batch: openvino.Batch) -> dict[int, np.ndarray]:
        found = inner(self, given, batch)
        seen.append((len(found[0]), int(self.compiled.get_property("NUM_STREAMS"))))
        return found

    monkeypatch.setattr(openvino.Session, "inputs", told)
    cores = openvino._cores()
    full = openvino.full_batch(backbone) if modality == "image" else 3
    filled = full if modality == "image" else 1
    many, one = backbone.preparation.probes(full, 0), backbone.preparation.probes(1, 1)
    list(engine.run(backbone, iter([many, many])))
    for _ in range(openvino._OFTEN + 2):
        ((rows,),) = engine.run(backbone, iter([one]))
        assert rows.shape == (1, backbone.specs[0].dim)
        assert cosine(rows, backbone.embed(one)[0]).min() > 0.995
    assert seen == [(full, cores)] * 2 + [(filled, cores)] * openvino._OFTEN + [(1, 1)] * 2
    list(engine.run(backbone, iter([many, one])))
    assert seen[-2:] == [(full, cores), (filled, cores)], "many batches are computed beside each other, as before"


def test_where_a_picture_comes_first_nothing_is_filled_up_and_a_long_run_has_its_own_shapes() -> None:
    backbone = real("image", "bfloat16")
    engine = converted(backbone)
    full = openvino.full_batch(backbone)
    one, many = backbone.preparation.probes(1, 1), backbone.preparation.probes(full, 0)
    list(engine.run(backbone, iter([one])))
    assert engine._alone.ready(backbone)
    assert not engine._many.ready(backbone)
    assert engine.setup(backbone) == 0.0
    list(engine.run(backbone, iter([many, one])))
    assert engine._many.ready(backbone)
    ((rows,),) = engine.run(backbone, iter([one]))
    assert len(rows) == 1
    engine.forget(backbone)
    assert not engine._alone.ready(backbone)
    assert not engine._many.ready(backbone)


def test_what_many_batches_run_on_is_compiled_beside_a_first_one_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = real("text", "float32")
    engine = converted(backbone)
    started: list[tuple[int | None, str]] = []
    inner = openvino.Session.start

    def told(*given: Any, streams: int | None = None, **named: Any) -> openvino.Session:
        started.append((streams, threading.current_thread().name))
        return inner(*given, streams=streams, **named)

    monkeypatch.setattr(openvino.Session, "start", told)
    engine.expect(backbone)
    engine.expect(backbone)
    assert engine.forms(backbone) == 0, "nothing is believed before it has run"
    one = backbone.preparation.probes(1, 1)
    list(engine.run(backbone, iter([one])))
    assert engine.forms(backbone) == 1
    for (rows,) in engine.run(backbone, iter([one, one])):
        assert cosine(rows, backbone.embed(one)[0]).min() > 0.9999
    assert engine.forms(backbone) == 2
    engine.expect(backbone)
    assert sorted(started, key=str) == [(1, threading.current_thread().name), (None, "headstart compiles")]


def test_what_fails_beside_is_told_to_whoever_needs_it_and_tried_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = real("text", "float32")
    engine = converted(backbone)
    one = backbone.preparation.probes(1, 1)
    with monkeypatch.context() as broken:
        broken.setattr(openvino.Session, "start", lambda *_, **__: 1 / 0)
        engine.expect(backbone)
        with pytest.raises(ZeroDivisionError):
            list(engine.run(backbone, iter([one, one])))
    assert len(list(engine.run(backbone, iter([one, one])))) == 2


def test_a_graph_that_cannot_be_made_is_no_error_before_it_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = real("text", "float32")
    engine = converted(backbone)
    with monkeypatch.context() as broken:
        broken.setattr(openvino, "graph_of", lambda _: 1 / 0)
        engine.expect(backbone)
        with pytest.raises(ZeroDivisionError):
            list(engine.run(backbone, iter([backbone.preparation.probes(1, 1)])))


class Planted:
    """The engines, of which OpenVINO is one that nobody else uses."""

    def __init__(self, own: openvino.OpenVino) -> None:
        self.own = own

    def names(self) -> tuple[str, ...]:
        return ENGINES.names()

    def get(self, name: str) -> Engine:
        return self.own if name == "openvino" else ENGINES.get(name)


def test_an_engine_that_gets_no_batch_starts_nothing() -> None:
    backbone = real("image", "bfloat16")
    engine = converted(backbone)
    assert list(engine.run(backbone, iter([]))) == []
    assert not engine._alone.ready(backbone)
    assert ENGINES.get("eager").run(backbone, iter([])) is not None
    assert list(ENGINES.get("eager").run(backbone, iter([]))) == []


def test_what_is_compiled_for_one_sample_is_not_believed_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = real("image", "bfloat16")
    engine = converted(backbone)
    monkeypatch.setattr(running, "PARITY", parity.Parity())
    for module in (running, choosing):
        monkeypatch.setattr(module, "ENGINES", Planted(engine))
    inner = openvino.Session.run

    def wrong(self: openvino.Session, *given: Any) -> Iterator[tuple[np.ndarray, ...]]:
        for rows in inner(self, *given):
            yield tuple(row[:, ::-1] for row in rows) if self.batch == openvino._ANY else rows

    monkeypatch.setattr(openvino.Session, "run", wrong)
    batch = backbone.preparation.probes(1, 0)
    plain = backbone.embed(batch)[0]
    for given in [2, *[1] * openvino._OFTEN]:
        runner = running.Runner(backbone, "openvino", rows=given)
        list(runner.run(iter([batch] * given)))
        assert runner.engine == "openvino"
        assert not runner.events
    runner = running.Runner(backbone, "openvino", rows=1)
    ((rows,),) = runner.run(iter([batch]))
    assert runner.engine == "eager"
    assert "gave other rows than the plain way" in runner.events[0]
    assert np.array_equal(rows, plain)
