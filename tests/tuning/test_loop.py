"""The loop: killed or short of memory it ends with the same weights, and what goes wrong leaves something usable."""

import errno
import json
import random
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.core.errors import CacheError, FitError
from headstart.tuning import checkpoint, loop
from headstart.tuning.augmentation import Augmentation
from headstart.tuning.batches import Batches
from headstart.tuning.checkpoint import Checkpoint
from headstart.tuning.classifier import State, Trainable
from headstart.tuning.devices import check_together, open_accelerator, to_layout, without_denormals
from headstart.tuning.loop import Material, Trained, train
from headstart.tuning.losses import LossOptions, loss_of
from headstart.tuning.materials import chance_of
from headstart.tuning.optimiser import adamw, clip
from headstart.tuning.schedule import Leg, rate_at
from headstart.tuning.strategies.full import PLUGIN, FullRecipe
from headstart.tuning.views import Views
from support.data import ROOT
from support.networks import write_tokenizer
from support.tunable import head, network, stripes

LEG = Leg("long", 1e-2, 1e-2, 60, 8, 3, every=7)
KILLS = 4


def material(folder: Path, **changes: object) -> Material:
    samples = hs.read(stripes(folder, n=20, parts=("train",)))
    views = Views.of(samples, network().preparation)
    targets = torch.arange(len(views)) // 20
    whole = Material(
        views, targets, torch.ones(len(views)), loss_of("softmax", LossOptions()), Augmentation("image", flip=True)
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def trainable() -> Trainable:
    return Trainable.of(network(), head(), strategy=PLUGIN, options=FullRecipe())


def run(material: Material, leg: Leg = LEG, *, folder: Path | None = None) -> Trained:
    return train(trainable(), material, leg=leg, accelerator=open_accelerator(narrow=False), folder=folder)


def same(one: State, other: State) -> bool:
    head = torch.equal(one.weight, other.weight) and torch.equal(one.bias, other.bias)
    return head and all(torch.equal(each, other.net[name]) for name, each in one.net.items())


CHILD = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from test_loop import LEG, material, trainable
from headstart.tuning.devices import open_accelerator
from headstart.tuning.loop import train
import torch
torch.set_num_threads(1)
def told(stage, done, total):
    print(done, flush=True)
data, folder = Path(sys.argv[1]), Path(sys.argv[2])
ended = train(trainable(), material(data), leg=LEG, accelerator=open_accelerator(narrow=False), folder=folder, progress=told)
from headstart.tuning import runs
runs.finish(folder, ended, steps=LEG.steps)
"""


def child(data: Path, folder: Path) -> "subprocess.Popen[str]":
    environment_path = str(ROOT / "tests" / "tuning")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n{CHILD}"]
    return subprocess.Popen(
        [*command, str(data), str(folder), environment_path], stdout=subprocess.PIPE, encoding="utf-8"
    )


def test_killed_at_any_step_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    from headstart.tuning import runs

    rng = random.Random(5)
    with child(tmp_path / "data", tmp_path / "reference") as reference:
        reference.communicate(timeout=180)
    assert reference.returncode == 0
    steps = []
    for _ in range(KILLS):
        with child(tmp_path / "data", tmp_path / "killed") as process:
            assert process.stdout is not None
            last = rng.randint(1, 12)
            for count, line in enumerate(process.stdout, 1):
                if count == last:
                    process.kill()
                    steps.append(int(line))
                    break
        assert process.returncode != 0
    with child(tmp_path / "data", tmp_path / "killed") as final:
        assert final.stdout is not None
        first = int(final.stdout.readline())
        final.communicate(timeout=180)
    assert final.returncode == 0
    assert first > LEG.every, "it went on from a checkpoint"
    whole, parts = runs.finished(tmp_path / "reference"), runs.finished(tmp_path / "killed")
    assert whole is not None
    assert parts is not None
    assert same(whole.raw, parts.raw), f"killed at {steps}"
    assert whole.curve == parts.curve


def test_a_checkpoint_that_is_not_whole_is_no_checkpoint(tmp_path: Path) -> None:
    tensors = {"weight/a": torch.arange(4.0)}
    checkpoint.save(tmp_path, Checkpoint(tensors, {"step": 1}))
    checkpoint.save(tmp_path, Checkpoint({"weight/a": torch.ones(4)}, {"step": 2}))
    [file] = tmp_path.glob("*.safetensors")
    assert file.name == "step-00000002.safetensors"
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert torch.equal(found.tensors["weight/a"], torch.ones(4))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert checkpoint.load(tmp_path) is None
    (tmp_path / "checkpoint.json").write_text(json.dumps({"file": "../x", "digest": "", "facts": {}}))
    assert checkpoint.load(tmp_path) is None


def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = checkpoint.write_whole, []

    def full(target: Path, content: bytes) -> None:
        calls.append(target)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(target, content)

    source = material(tmp_path / "data")
    before = run(source)
    monkeypatch.setattr(checkpoint, "write_whole", full)
    with pytest.raises(CacheError, match=r"No space left on device.*make room and type the same command again"):
        run(source, folder=tmp_path / "run")
    monkeypatch.undo()
    found = checkpoint.load(tmp_path / "run")
    assert found is not None
    assert found.facts["step"] == 2 * LEG.every
    assert same(run(source, folder=tmp_path / "run").raw, before.raw)


def test_a_loss_that_runs_away_begins_again_slower(tmp_path: Path) -> None:
    source = material(tmp_path / "data")
    calls = 0

    def wild(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return source.loss(scores, targets, weights) * (float("nan") if calls == 30 else 1.0)

    ended = run(replace(source, loss=wild))
    assert ended.notes == ("the loss ran away at step 30; it began again at a third of the rate",)
    assert calls == 30 + LEG.steps
    assert ended.curve[-1][0] == LEG.steps
    assert all(np.isfinite(loss) for _, loss, _ in ended.curve)
    nothing = replace(source, loss=lambda scores, targets, weights: scores.sum() * float("nan"))
    for restarts, least in ((0, LEG.rate), (2, LEG.rate / 9)):
        with pytest.raises(FitError, match=f"diverged at rates down to {least:.2g}"):
            run(nothing, replace(LEG, restarts=restarts))


def test_the_moving_average_goes_on_and_begins_again_with_the_weights(tmp_path: Path) -> None:
    source = material(tmp_path / "data")
    leg = replace(LEG, steps=120)
    whole = run(source, leg)
    assert whole.average is not None
    calls, at, wrong = 0, 60, KeyboardInterrupt

    def disturbed(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == at and wrong is KeyboardInterrupt:
            raise wrong
        return source.loss(scores, targets, weights) * (float("nan") if calls == at else 1.0)

    with pytest.raises(KeyboardInterrupt):
        run(replace(source, loss=disturbed), leg, folder=tmp_path / "run")
    resumed = run(source, leg, folder=tmp_path / "run")
    assert resumed.average is not None
    assert same(resumed.average, whole.average)
    assert not same(whole.average, whole.raw)
    calls, wrong = 0, FitError
    again = run(replace(source, loss=disturbed), leg)
    slow = run(source, replace(leg, rate=leg.rate / 3, head_rate=leg.head_rate / 3, warm_up=leg.warm_up * 2))
    assert again.notes
    assert again.average is not None
    assert slow.average is not None
    for name, each in slow.average.net.items():
        torch.testing.assert_close(again.average.net[name], each, rtol=1e-4, atol=1e-5)


def test_a_gradient_is_cut_down_to_a_norm_and_left_alone_below_it() -> None:
    layer, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    for factor, cut in ((1e-3, False), (1e3, True)):
        for each in (layer, other):
            for parameter in each.parameters():
                parameter.grad = torch.full_like(parameter, factor)
        assert clip(layer, 1.0) == pytest.approx(factor * 8**0.5, rel=1e-5)
        torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        for mine, known in zip(layer.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, known.grad, rtol=0, atol=0)
        assert torch.equal(torch.full((2, 3), factor), layer.weight.grad) is not cut  # type: ignore[arg-type]


def test_matrices_alone_decay_and_each_block_has_its_share_of_the_rate() -> None:
    opened = trainable()
    leg = replace(LEG, rate=3e-3, head_rate=5e-3)
    groups = {id(each): group for group in adamw(opened, leg).param_groups for each in group["params"]}
    assert len(groups) == len(opened.parameters())
    for name, each in opened.parameters().items():
        group = groups[id(each)]
        assert group["weight_decay"] == (0.01 if each.dim() > 1 else 0.0), name
        share = opened.shares.get(name.removeprefix("net."))
        assert group["base"] == pytest.approx(5e-3 if share is None else 3e-3 * share)
    assert {each.dim() for each in opened.parameters().values()} == {1, 2, 4}, (
        "norms, biases and both kinds of matrices"
    )


def test_a_gradient_that_is_no_number_begins_again_slower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, seen = material(tmp_path / "data"), []

    def broken(classifier: torch.nn.Module, most: float) -> float:
        seen.append(most)
        return float("nan") if len(seen) == 5 else clip(classifier, most)

    monkeypatch.setattr(loop, "clip", broken)
    assert run(source).notes == ("the loss ran away at step 5; it began again at a third of the rate",)


def test_processes_that_begin_at_different_steps_do_not_go_on() -> None:
    def reduced(steps: list[float]) -> SimpleNamespace:
        whole = torch.tensor([np.mean(steps), np.mean(np.square(steps))], dtype=torch.float64)
        return SimpleNamespace(
            num_processes=len(steps), device=torch.device("cpu"), reduce=lambda _values, reduction: whole
        )

    check_together(70, reduced([70.0, 70.0, 70.0]))
    for steps in ([0.0, 70.0], [70.0, 70.0, 71.0], [0.0, 10.0, 5.0]):
        for step in steps:
            with pytest.raises(CacheError, match="the processes do not see the same checkpoint"):
                check_together(int(step), reduced(steps))


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_every_kind_of_too_little_memory_is_known(tmp_path: Path, error: Exception) -> None:
    source, sizes = material(tmp_path / "data"), []

    def tight(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        sizes.append(len(scores))
        if len(scores) > 4:
            raise error
        return source.loss(scores, targets, weights)

    short = replace(LEG, steps=3)
    assert run(replace(source, loss=tight), short).notes == (
        "memory was short: a step's 8 samples go through in 2 parts",
    )

    def wrong(*_given: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        run(replace(source, loss=wrong), short)


def test_short_of_memory_a_step_goes_through_in_parts(tmp_path: Path) -> None:
    source = material(tmp_path / "data", augmentation=Augmentation("text"))
    sizes: list[int] = []

    def tight(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        sizes.append(len(scores))
        if len(scores) > 2:
            raise torch.OutOfMemoryError
        return source.loss(scores, targets, weights)

    ended = run(replace(source, loss=tight))
    assert ended.notes == tuple(f"memory was short: a step's 8 samples go through in {parts} parts" for parts in (2, 4))
    assert max(sizes[3:]) == 2
    plain = run(source)
    for name, each in ended.raw.net.items():
        torch.testing.assert_close(each, plain.raw.net[name], atol=2e-3, rtol=0.02)

    def none(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(FitError, match="not even one sample at a time fits into memory"):
        run(replace(source, loss=none))


def test_the_rate_rises_and_falls() -> None:
    rates = [rate_at(step, LEG) for step in range(LEG.steps)]
    assert rates[:6] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0])
    assert max(rates) == 1.0
    assert all(after <= before for before, after in pairwise(rates[5:]))
    assert 0 < rates[-1] < 0.01
    assert rate_at(30, LEG, restarts=1) < rate_at(30, LEG) / 2


def test_an_epoch_has_every_sample_once_and_a_step_its_own(tmp_path: Path) -> None:
    views = material(tmp_path).views
    batches = Batches(views, size=7, seed=1)
    first = [batches.at(step) for step in range(6)]
    assert sorted(np.concatenate([samples for samples, _ in first])) == list(range(40))
    assert [len(samples) for samples, _ in first].count(7) == 5
    again = Batches(views, size=7, seed=1)
    np.testing.assert_array_equal(again.at(9)[0], batches.at(9)[0])
    assert not np.array_equal(batches.at(6)[0], batches.at(0)[0])
    assert not np.array_equal(Batches(views, size=7, seed=2).at(0)[0], batches.at(0)[0])


def test_every_epoch_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    inner = Batches._epoch

    def counted(self: Batches, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
        made.append(number)
        return inner(self, number)

    monkeypatch.setattr(Batches, "_epoch", counted)
    batches = Batches(material(tmp_path / "data").views, size=8, seed=1)
    seen = [batches.at(step) for step in range(40)]
    assert made == list(range(8)), "40 steps of 5 an epoch"
    again = Batches(batches._views, size=8, seed=1).at(37)
    assert all(map(np.array_equal, again, seen[37])), "a step is the same for one that begins there"


def test_numbers_too_small_to_be_quick_count_as_zero_while_it_trains() -> None:
    with without_denormals("cpu"):
        assert float((torch.full((8,), 1e-40) * 1.0).max()) == 0.0
    assert float((torch.full((8,), 1e-40) * 1.0).max()) > 0.0


def test_texts_of_similar_length_share_a_batch(tmp_path: Path) -> None:
    from headstart.core import digests
    from headstart.data.modalities import preparation

    content = write_tokenizer(tmp_path).read_bytes()
    recipe = f"text(max_tokens=64, tokenizer='{digests.of_bytes(content).hex()}')"
    texts = [" ".join(["dog"] * (1 + (7 * i) % 40)) for i in range(200)]
    views = Views.of(hs.read(_table(tmp_path, texts)), preparation(recipe, {"tokenizer.json": content}))
    batches = Batches(views, size=10, seed=0)
    padding = [np.ptp([views.shapes[view][0] for view in batches.at(step)[1]]) for step in range(20)]
    assert np.mean(padding) < 6, "at random it would be over 30"


def _table(folder: Path, texts: list[str]) -> Path:
    path = folder / "texts.csv"
    path.write_text("text,label\n" + "".join(f"{text},{'ab'[i % 2]}\n" for i, text in enumerate(texts)))
    return path


def test_augmentation_keeps_shape_and_follows_its_generator() -> None:
    pixels = torch.randint(0, 256, (4, 12, 12, 3), dtype=torch.uint8)
    lengths = torch.ones(4, dtype=torch.int64)

    def seen(seed: int, **how: float | bool) -> torch.Tensor:
        return Augmentation("image", **how)(pixels, lengths, generator=torch.Generator().manual_seed(seed))  # type: ignore[arg-type]

    assert torch.equal(seen(1), seen(1))
    assert not torch.equal(seen(1), seen(2))
    assert (seen(1).shape, seen(1).dtype) == (pixels.shape, torch.uint8)
    assert torch.equal(seen(1, least=1.0), pixels)
    mirrored = seen(1, least=1.0, flip=True)
    turned = [torch.equal(one, two.flip(1)) for one, two in zip(mirrored, pixels, strict=True)]
    kept = [torch.equal(one, two) for one, two in zip(mirrored, pixels, strict=True)]
    assert all(a != b for a, b in zip(turned, kept, strict=True))
    assert any(turned)
    assert any(kept)
    ids = torch.randint(0, 9, (4, 5))
    assert Augmentation("text")(ids, lengths, generator=torch.Generator()) is ids


def test_sound_is_shifted_and_scaled_within_its_length() -> None:
    clips = torch.zeros(2, 1000)
    clips[:, 400:500] = 1.0
    lengths = torch.tensor([1000, 800])
    heard = Augmentation("audio")(clips, lengths, generator=torch.Generator().manual_seed(0))
    for sound, length in zip(heard, lengths.tolist(), strict=True):
        loud = sound.nonzero().flatten()
        assert len(loud) == 100
        assert abs(int(loud[0]) - 400) <= length // 10
        assert 0.5 <= float(sound.max()) <= 2.0
        assert not sound[length:].any()


def test_a_loss_that_goes_back_to_chance_has_not_run_away() -> None:
    running = loop._Running(step=LEG.steps - 1, first=1.0, smooth=2.4)
    loop._note(running, LEG, 2.4, 1.0, chance=chance_of("softmax", 10))
    assert running.curve
    with pytest.raises(loop._DivergedError):
        loop._note(running, LEG, 30.0, 1.0, chance=chance_of("softmax", 10))
    with pytest.raises(loop._DivergedError):
        loop._note(replace(running, smooth=2.4), LEG, 2.4, 1.0, chance=chance_of("softmax", 2))


def test_losses_are_those_of_their_formulas() -> None:
    scores = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    targets, weights = torch.tensor([0, 0]), torch.tensor([1.0, 3.0])
    logs = torch.log_softmax(scores, dim=1)
    plain = loss_of("softmax", LossOptions())(scores, targets, weights)
    torch.testing.assert_close(plain, -(logs[0, 0] + 3 * logs[1, 0]) / 4)
    smooth = loss_of("softmax", LossOptions(smoothing=0.2))(scores, targets, torch.ones(2))
    torch.testing.assert_close(smooth, -(0.9 * logs[:, 0] + 0.1 * logs[:, 1]).mean())
    several = loss_of("sigmoid", LossOptions())(scores, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.ones(2))
    torch.testing.assert_close(several, torch.nn.functional.softplus(torch.tensor([-2.0, 0.0, 0.0, -1.0])).mean())
    value = loss_of("identity", LossOptions())(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0]), torch.ones(2))
    assert float(value) == 2.5


def test_each_tuning_of_a_process_has_its_own_precision(tmp_path: Path) -> None:
    source = material(tmp_path / "data")
    ends = [
        train(trainable(), source, leg=replace(LEG, steps=5), accelerator=open_accelerator(narrow=narrow)).raw
        for narrow in (False, True, False)
    ]
    assert same(ends[0], ends[2])


class _StoppedError(Exception):
    pass


def test_a_resumed_training_with_channels_innermost_is_the_same(tmp_path: Path) -> None:
    data, accelerator = material(tmp_path / "data"), open_accelerator(narrow=False)
    leg = replace(LEG, steps=20, every=5)

    def opened() -> Trainable:
        found = trainable()
        to_layout(found, accelerator)
        return found

    def stop(_stage: str, done: int, _total: int) -> None:
        if done == 12:
            raise _StoppedError

    whole = train(opened(), data, leg=leg, accelerator=accelerator, folder=tmp_path / "whole")
    with pytest.raises(_StoppedError):
        train(opened(), data, leg=leg, accelerator=accelerator, folder=tmp_path / "cut", progress=stop)
    rest = train(opened(), data, leg=leg, accelerator=accelerator, folder=tmp_path / "cut")
    assert same(whole.raw, rest.raw)
    assert whole.curve == rest.curve
