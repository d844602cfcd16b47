"""Where tuning begins and ends: with the frozen scores, and with the network's own tensors."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbones.backbone import BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.backbones.network import NetworkBackbone
from headstart.core.errors import UsageError
from headstart.heads.fitted import Linear
from headstart.tasks import TASKS
from headstart.tasks.task import Targets
from headstart.tuning import choice
from headstart.tuning.classifier import Classifier, State, Trainable
from headstart.tuning.devices import widen_grouped
from headstart.tuning.interpolation import best_point
from headstart.tuning.loop import Trained
from headstart.tuning.strategies import STRATEGIES
from support.networks import save_tiny
from support.tunable import head, network

RNG = np.random.default_rng(0)


def batch(backbone: NetworkBackbone, n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    probes = backbone.preparation.probes(n, 0)
    return torch.from_numpy(np.array(probes.values)), torch.from_numpy(np.array(probes.lengths))


def frozen_scores(backbone: NetworkBackbone, start: Linear, n: int = 6) -> np.ndarray:
    return start.scores(np.concatenate(backbone.embed(backbone.preparation.probes(n, 0)), axis=1))


@pytest.fixture
def bert(tmp_path: Path) -> NetworkBackbone:
    backbone = open_backbone(BackboneRequest("transformers", str(save_tiny("bert", tmp_path / "bert"))))
    assert isinstance(backbone, NetworkBackbone)
    return backbone


@pytest.mark.parametrize("strategy", ["full", "last", "bitfit", "lora"])
def test_no_step_changes_nothing(bert: NetworkBackbone, strategy: str) -> None:
    start = head(bert.specs[0].dim)
    chosen = choice.parse(strategy, bert.module.feed.net, n=100)
    opened = Trainable.of(bert, start, strategy=chosen.strategy, options=chosen.options)
    opened.classifier.eval()
    with torch.inference_mode():
        np.testing.assert_allclose(opened.classifier(*batch(bert)).numpy(), frozen_scores(bert, start), atol=2e-5)
    chosen.strategy.end(opened.classifier.net)
    state = State.of(opened.classifier)
    assert state.backbone(bert).specs == bert.specs, "the same tensors under the same names are the same backbone"
    np.testing.assert_array_equal(state.linear("softmax").weight, start.weight)


def test_what_it_began_with_takes_no_memory_where_the_frozen_network_holds_it(bert: NetworkBackbone) -> None:
    chosen = choice.parse("full(decay=1.0)", bert.module.feed.net, n=100)
    opened = Trainable.of(bert, head(bert.specs[0].dim), strategy=chosen.strategy, options=chosen.options)
    changed = next(name for name in opened.parameters() if name.startswith("net."))
    with torch.no_grad():
        opened.parameters()[changed].add_(1.0)
    begun, frozen = opened.start(), dict(bert.module.feed.net.named_parameters())
    for name, each in opened.parameters().items():
        assert torch.equal(begun[name], each)
        shared = name.startswith("net.") and name != changed
        where = frozen[name.removeprefix("net.")] if shared else each
        assert (begun[name].data_ptr() == where.data_ptr()) is shared


def test_what_is_trained_is_what_the_strategy_says(bert: NetworkBackbone) -> None:
    names = {name for name, _ in bert.module.feed.net.named_parameters()}
    trained = {}
    for text in ("full", "full(decay=1.0)", "last(blocks=1)", "bitfit", "lora(rank=4)"):
        chosen = choice.parse(text, bert.module.feed.net, n=100)
        opened = Trainable.of(bert, head(bert.specs[0].dim), strategy=chosen.strategy, options=chosen.options)
        trained[text] = opened.shares
        named = dict(opened.classifier.net.named_parameters())
        assert {name for name, each in named.items() if each.requires_grad} == set(opened.shares)
    assert set(trained["full"]) == names
    assert set(trained["full(decay=1.0)"].values()) == {1.0}
    depths = [trained["full"][f"encoder.layer.{block}.output.dense.weight"] for block in range(3)]
    np.testing.assert_allclose(depths, [0.64, 0.8, 1.0])
    np.testing.assert_allclose(trained["full"]["embeddings.word_embeddings.weight"], 0.512)
    assert {name.split(".")[2] for name in trained["last(blocks=1)"] if name.startswith("encoder")} == {"2"}
    assert all(name.endswith("bias") or "LayerNorm" in name for name in trained["bitfit"])
    assert len(trained["lora(rank=4)"]) == 2 * 3 * 6, "two adapters on six linear layers of three blocks"


def test_adapters_are_folded_into_the_weights(bert: NetworkBackbone) -> None:
    chosen = choice.parse("lora(rank=4)", bert.module.feed.net, n=100)
    opened = Trainable.of(bert, head(bert.specs[0].dim), strategy=chosen.strategy, options=chosen.options)
    with torch.no_grad():
        for each in opened.parameters().values():
            each.add_(0.05 * torch.randn(each.shape, generator=torch.Generator().manual_seed(1)))
    opened.classifier.eval()
    with torch.inference_mode():
        before = opened.classifier(*batch(bert)).numpy()
    chosen.strategy.end(opened.classifier.net)
    state = State.of(opened.classifier)
    assert set(state.net) == set(bert.module.feed.net.state_dict())
    tuned = state.backbone(bert)
    assert tuned.specs[0].weights != bert.specs[0].weights
    np.testing.assert_allclose(frozen_scores(tuned, state.linear("softmax")), before, atol=2e-5)
    assert np.abs(before - frozen_scores(bert, head(bert.specs[0].dim))).max() > 0.01


def test_the_line_between_two_sets_of_weights_has_them_at_its_ends() -> None:
    start = State.of(Classifier(network().module, head()))
    end = State(
        {name: each + 1 if each.is_floating_point() else each for name, each in start.net.items()},
        start.weight + 2,
        start.bias,
    )
    assert all(torch.equal(each, start.net[name]) for name, each in start.towards(end, 0.0).net.items())
    middle = start.towards(end, 0.5)
    torch.testing.assert_close(middle.weight, start.weight + 1)
    torch.testing.assert_close(middle.net["blocks.0.0.bias"], start.net["blocks.0.0.bias"] + 0.5)


def test_batch_statistics_stay_as_they_are() -> None:
    chosen = choice.parse("full", network().module.feed.net, n=100)
    opened = Trainable.of(network(), head(), strategy=chosen.strategy, options=chosen.options)
    opened.train_mode()
    before = {name: each.clone() for name, each in opened.classifier.net.named_buffers()}
    opened.classifier(*batch(network()))
    assert all(torch.equal(each, before[name]) for name, each in opened.classifier.net.named_buffers())
    assert opened.classifier.training


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ful", "Did you mean 'full'"),
        ("last(blocks=9)", "last takes 1 to 2 blocks"),
        ("full(decay=0.0)", "decay above 0"),
        ("lora(rank=2)", "no linear layers in blocks"),
        ("auto(rank=2)", "auto takes no options"),
        ("full(deca=1.0)", "deca"),
    ],
)
def test_a_strategy_that_cannot_be_is_one_sentence(text: str, sentence: str) -> None:
    backbone = network()
    with pytest.raises(UsageError, match=sentence):
        chosen = choice.parse(text, backbone.module.feed.net, n=100)
        Trainable.of(backbone, head(), strategy=chosen.strategy, options=chosen.options)


def test_auto_goes_by_size_network_and_distance(bert: NetworkBackbone) -> None:
    attends, convolves = bert.module.feed.net, network().module.feed.net
    found = {
        (name, n, far): choice.parse("auto", net, n=n, far=far).text.partition("(")[0]
        for name, net in (("attends", attends), ("convolves", convolves))
        for n in (100, 1000, 5000)
        for far in (False, True)
    }
    assert [found["attends", n, False] for n in (100, 1000, 5000)] == ["bitfit", "lora", "full"]
    assert [found["convolves", n, False] for n in (100, 1000, 5000)] == ["bitfit", "full", "full"]
    assert {found[name, n, True] for name in ("attends", "convolves") for n in (100, 1000, 5000)} == {"full"}


def test_every_strategy_is_in_the_catalogue() -> None:
    assert set(STRATEGIES.names()) == {"bitfit", "full", "last", "lora"}


def test_time_becomes_steps_once() -> None:
    steps, tries = choice.steps_within(100.0, per_step=0.1, n=3200, batch=32)
    assert tries == 100, "an epoch, which is more than a tenth of the steps"
    assert choice.steps_within(60.0, per_step=0.1, n=3200, batch=32)[1] == 0, "an epoch would be a fifth of the steps"
    assert 950 <= steps + 3 * tries <= 1000
    assert choice.steps_within(1e6, per_step=0.1, n=3200, batch=32)[0] == 20 * 100, "more epochs than help"
    assert choice.steps_within(5.0, per_step=0.1, n=3200, batch=32) == (50, 0), "no time for tries"
    with pytest.raises(UsageError, match="a step takes 2 s and 1 s of the budget are left"):
        choice.steps_within(1.0, per_step=2.0, n=3200, batch=32)


def test_convolutions_in_groups_run_in_float32_and_nothing_else_changes() -> None:
    class Padded(torch.nn.Conv2d):
        """As timm's, which pads by itself."""

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return super().forward(torch.nn.functional.pad(values, (0, 1, 0, 1), value=1.0))

    net = torch.nn.Sequential(Padded(4, 4, 3, groups=4), torch.nn.Conv2d(4, 2, 1))
    names = list(net.state_dict())
    values = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = net(values)
    kinds: list[torch.dtype] = []
    for each in net:
        each.register_forward_hook(lambda module, given, out: kinds.append(out.dtype))
    widen_grouped(net)
    twin = copy.deepcopy(net)
    torch.testing.assert_close(net(values), plain)
    kinds.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net(values)
    assert kinds == [torch.float32, torch.bfloat16]
    assert list(net.state_dict()) == names
    with torch.no_grad():
        net[0].weight.zero_()
    torch.testing.assert_close(twin(values), plain), "a copy has weights of its own"


def test_a_larger_rate_wins_where_it_is_no_worse_by_a_standard_error() -> None:
    rng = np.random.default_rng(3)
    base, noise = rng.exponential(0.5, 400), rng.normal(0, 0.2, 400)
    noise -= noise.mean()
    alike, worse = base + noise + 0.005, base + noise + 0.1  # the standard error is 0.01
    assert choice.best_rate({1e-5: base, 3e-5: alike, 9e-5: worse}) == 3e-5
    assert choice.best_rate({1e-5: base, 3e-5: worse, 9e-5: worse}) == 1e-5
    assert choice.best_rate({1e-5: base}) == 1e-5
    assert choice.best_rate({1e-5: base, 3e-5: base}) == 3e-5


def test_words_stay_where_auto_trains_a_language_that_the_tokenizer_knows(bert: NetworkBackbone) -> None:
    net = bert.module.feed.net
    known, far = (choice.parse("auto", net, n=5000, far=far) for far in (False, True))
    assert (known.text, far.text) == ("full(decay=1.0, embeddings=False)", "full(decay=1.0, embeddings=True)")
    shares = known.strategy.begin(net, known.options)
    tables = {name for name, _ in net.named_parameters() if name.endswith("_embeddings.weight")}
    assert len(tables) == 3
    assert set(shares) == {name for name, _ in net.named_parameters()} - tables
    assert choice.parse("auto", network().module.feed.net, n=5000).text == "full(decay=0.8, embeddings=True)"


def test_the_rate_goes_with_the_root_of_the_batch(bert: NetworkBackbone) -> None:
    chosen = choice.parse("full", bert.module.feed.net, n=5000)
    four, one = (choice.base_rate(chosen, bert.module.feed.net, batch=batch) for batch in (64, 16))
    np.testing.assert_allclose(four, 2 * one)
    assert (choice.batch_size(5000, "text"), choice.batch_size(5000, "image"), choice.batch_size(300, "text")) == (64, 32, 16)  # fmt: skip


def test_adapters_begin_alike_whatever_was_drawn_before(bert: NetworkBackbone) -> None:
    from headstart.tuning.devices import open_accelerator
    from headstart.tuning.ladder import _Bench

    chosen = choice.parse("lora(rank=2)", bert.module.feed.net, n=100)
    nothing: Any = SimpleNamespace(match=None, kept=None, views=None)
    bench = _Bench(bert, head(bert.specs[0].dim), nothing, chosen, open_accelerator(narrow=False), 3)
    starts = []
    for state in (1, 2):
        torch.manual_seed(state)
        starts.append({name: each.detach().clone() for name, each in bench.opened("long").parameters().items()})
    assert any("lora_A" in name for name in starts[0])
    assert all(torch.equal(each, starts[1][name]) for name, each in starts[0].items())
    other = bench.opened("try-1").parameters()
    assert any(not torch.equal(each, other[name]) for name, each in starts[0].items())


def test_nothing_is_dropped_out_by_any_name(bert: NetworkBackbone) -> None:
    class Path(torch.nn.Module):
        """As timm's, which drops whole paths."""

        def __init__(self) -> None:
            super().__init__()
            self.drop_prob = 0.3

    opened = Trainable.of(
        bert, head(bert.specs[0].dim), strategy=STRATEGIES.get("bitfit"), options=STRATEGIES.get("bitfit").recipe()
    )
    opened.classifier.extra = torch.nn.Sequential(
        torch.nn.Dropout2d(0.5), torch.nn.AlphaDropout(0.5), torch.nn.MultiheadAttention(4, 2, dropout=0.4), Path()
    )
    opened.train_mode()
    spatial, alpha, attention, path = opened.classifier.extra
    assert (spatial.p, alpha.p, attention.dropout, path.drop_prob) == (0.0, 0.0, 0.0, 0.0)


def _state(value: float) -> State:
    return State({"w": torch.tensor([value])}, torch.tensor([[value]]), torch.zeros(1))


@pytest.mark.parametrize(
    ("raw", "average", "best"),
    [
        (1.0, None, ("raw", 0.5)),  # the truth lies half-way
        (4.0, 0.5, ("average", 1.0)),
        (0.5, 4.0, ("raw", 1.0)),
        (float("nan"), 0.5, ("average", 1.0)),
    ],
)
def test_the_best_point_is_the_one_with_the_lowest_loss(
    raw: float, average: float | None, best: tuple[str, float]
) -> None:
    targets = Targets(np.full(8, 0.5), (), "regression")
    trained = Trained(_state(raw), None if average is None else _state(average), (), ())
    state, point, points = best_point(
        _state(0.0),
        trained,
        targets=targets,
        task=TASKS.get("regression"),
        scores=lambda one: np.full((8, 1), float(one.weight)),
        shares=(0.25, 0.5, 0.75),
    )
    assert (point.title, point.share) == best
    assert float(state.weight) == pytest.approx(best[1] * (raw if best[0] == "raw" else average or 0.0))
    assert len(points) == 3 + 1 + (average is not None)
