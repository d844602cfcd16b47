"""What a student is taught: the loss, the looks, and the head on frozen rows."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from scipy.special import log_softmax, softmax

import headstart as hs
from headstart.core.errors import UsageError
from headstart.heads.fitted import Head, Linear
from headstart.tuning.looks import Looks
from headstart.tuning.soft_head import Rows, fit_linear, fit_mlp
from headstart.tuning.teaching import TeachingOptions, taught_loss

RNG = np.random.default_rng(0)
SCORES, TEACHER = RNG.normal(0, 2, (5, 4)), RNG.normal(0, 2, (5, 4))
LABELS = np.array([0.0, 3.0, 1.0, 2.0, 3.0])


def lowered(
    options: TeachingOptions, labels: np.ndarray, *, link: str = "softmax", scores: np.ndarray = SCORES
) -> float:
    targets = np.concatenate([labels.reshape(len(scores), -1), TEACHER[:, : scores.shape[1]]], axis=1)
    loss = taught_loss(link, options, k=scores.shape[1])
    return float(loss(torch.from_numpy(scores), torch.from_numpy(targets), torch.ones(len(scores)).double()))


def divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.asarray((p * (np.log(p) - np.log(q))).sum(axis=1))


def test_half_is_the_label_and_half_the_teacher() -> None:
    p, q = softmax(TEACHER / 2, axis=1), softmax(SCORES / 2, axis=1)
    soft = 4 * divergence(p, q)
    hard = -log_softmax(SCORES, axis=1)[np.arange(5), LABELS.astype(int)]
    np.testing.assert_allclose(lowered(TeachingOptions(), LABELS), (0.5 * hard + 0.5 * soft).mean(), rtol=1e-6)
    np.testing.assert_allclose(lowered(TeachingOptions(), np.full(5, -1.0)), soft.mean(), rtol=1e-6)


def test_the_decoupled_loss_weighs_the_label_and_the_rest_apart() -> None:
    p, q = softmax(TEACHER / 2, axis=1), softmax(SCORES / 2, axis=1)
    aim = TEACHER.argmax(axis=1)
    rows = np.arange(5)
    pair_p, pair_q = (np.stack([one[rows, aim], 1 - one[rows, aim]], axis=1) for one in (p, q))
    rest = np.ones_like(p, dtype=bool)
    rest[rows, aim] = False
    among_p, among_q = (one[rest].reshape(5, 3) / one[rest].reshape(5, 3).sum(axis=1, keepdims=True) for one in (p, q))
    target, others = divergence(pair_p, pair_q), divergence(among_p, among_q)
    np.testing.assert_allclose(target + (1 - p[rows, aim]) * others, divergence(p, q), rtol=1e-9)  # Zhao et al., 2022
    found = lowered(TeachingOptions(kind="dkd"), np.full(5, -1.0))
    np.testing.assert_allclose(found, 4 * (target + 2 * others).mean(), rtol=1e-5)


def test_several_labels_and_values() -> None:
    none = np.full((5, 4), -1.0)
    at_teacher = lowered(TeachingOptions(), none, link="sigmoid", scores=TEACHER)
    assert at_teacher < lowered(TeachingOptions(), none, link="sigmoid")
    values, own = SCORES[:, :1], np.array([1.0, np.nan, 2.0, np.nan, 3.0])
    apart = (values[:, 0] - TEACHER[:, 0]) ** 2
    wanted = np.where(np.isnan(own), apart, 0.5 * apart + 0.5 * (values[:, 0] - np.nan_to_num(own)) ** 2)
    np.testing.assert_allclose(
        lowered(TeachingOptions(), own, link="identity", scores=values), wanted.mean(), rtol=1e-6
    )


def test_matched_rows_cost_their_squared_distance() -> None:
    rows, mapped = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))
    loss = taught_loss("softmax", TeachingOptions(features=0.5), k=4)
    targets = torch.from_numpy(np.concatenate([np.full((5, 1), -1.0), TEACHER, rows], axis=1))
    found = loss(torch.from_numpy(np.concatenate([TEACHER, mapped], axis=1)), targets, torch.ones(5).double())
    np.testing.assert_allclose(float(found), 0.5 * ((rows - mapped) ** 2).mean(), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (TeachingOptions(kind="rkd"), "taught by kd or dkd"),
        (TeachingOptions(temperature=0.0), "a number above 0"),
        (TeachingOptions(features=-1.0), "a number from 0 up"),
    ],
)
def test_what_cannot_be_is_refused(options: TeachingOptions, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        options.check("softmax")
    with pytest.raises(UsageError, match="dkd is for samples that have one label"):
        TeachingOptions(kind="dkd").check("sigmoid")


def test_looks_are_seeded_and_the_first_is_the_sample(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.fromarray(RNG.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    samples = hs.read(tmp_path, options=hs.ReadOptions(labelled=False))
    looks = Looks(samples, 3, 7, flip=True)
    seen = [looks.content(place) for place in range(6)]
    assert len(looks.repeated) == 6
    assert seen[0] == (tmp_path / "a.png").read_bytes()
    assert seen == [Looks(samples, 3, 7, flip=True).content(place) for place in range(6)]
    assert len({bytes(each) for each in seen if isinstance(each, bytes)}) == 6
    assert seen[1] != Looks(samples, 3, 8, flip=True).content(1)
    for each in (seen[1], seen[2], seen[4]):
        assert isinstance(each, bytes)
        width, height = Image.open(io.BytesIO(each)).size
        assert 0.45 <= width * height / 2400 <= 1.05


TEXT = "one two three four five six seven eight nine ten eleven twelve"


def looked_at(tmp_path: Path, texts: list[str], k: int) -> list[str]:
    table = tmp_path / "texts.csv"
    table.write_text("text\n" + "".join(f'"{text}"\n' for text in texts), encoding="utf-8")
    samples = hs.read(table, options=hs.ReadOptions(labelled=False))
    content = Looks(samples, k, 0, flip=False).content
    return [str(content(place)) for place in range(k * len(texts))]


def test_of_a_text_a_stretch_is_seen_and_some_words_are_left_out(tmp_path: Path) -> None:
    seen = looked_at(tmp_path, [TEXT], 40)
    assert seen[0] == TEXT
    words, left_out = TEXT.split(), 0
    for each in seen[1:]:
        places = [words.index(word) for word in each.split()]
        assert places == sorted(set(places)), "in order, none twice"
        assert len(places) >= 4
        left_out += max(places) - min(places) + 1 - len(places)
    assert len(set(seen)) > 30
    assert 5 < left_out < 80, "about a tenth of nine words in 39 looks, less those at the ends"


def test_without_spaces_characters_are_what_is_left_out(tmp_path: Path) -> None:
    text = "".join(chr(0x4E00 + i) for i in range(40))
    seen = looked_at(tmp_path, [text], 10)
    assert all(16 <= len(each) < 40 for each in seen[1:])
    assert all(set(each) <= set(text) for each in seen)


def test_a_short_title_without_spaces_varies_and_a_long_address_takes_no_words_apart(tmp_path: Path) -> None:
    title = "".join(chr(0x4E00 + i) for i in range(16))
    assert len(set(looked_at(tmp_path, [title], 12))) > 8
    thai = "".join(chr(0x0E01 + i) for i in range(40))
    assert len(set(looked_at(tmp_path, [thai], 12))) > 8
    long = TEXT + " https://example.org/" + "x" * 40
    seen = looked_at(tmp_path, [long], 20)
    assert {word for each in seen for word in each.split()} == set(long.split())


def test_no_look_at_a_text_is_empty(tmp_path: Path) -> None:
    assert all(looked_at(tmp_path, ["a", "a b", " . "], 30))


def test_a_recording_keeps_its_length_and_rate(tmp_path: Path) -> None:
    sound = np.sin(np.arange(8000) / 20).astype(np.float32) * 0.3
    soundfile.write(tmp_path / "a.wav", sound, 8000)
    content = Looks(hs.read(tmp_path, options=hs.ReadOptions(labelled=False)), 4, 0, flip=False).content
    heard = [soundfile.read(io.BytesIO(bytes(content(place)))) for place in range(1, 4)]  # type: ignore[arg-type]
    assert {(len(each), rate) for each, rate in heard} == {(8000, 8000)}
    loudness = [float(np.abs(each).max()) for each, _ in heard]
    assert len({round(each, 3) for each in loudness}) == 3
    assert all(0.3 / 2.1 < each < 0.3 * 2.1 for each in loudness)


def test_a_head_on_frozen_rows_learns_the_teacher_without_a_label() -> None:
    x = RNG.normal(size=(400, 10)) * np.linspace(0.1, 3, 10) + 5
    teacher = Linear(RNG.normal(size=(10, 3)).astype(np.float32), np.zeros(3), "softmax")
    scores = teacher.scores(x)
    scores -= scores.mean(axis=0)
    targets = torch.from_numpy(np.concatenate([np.full((300, 1), -1.0), scores[:300]], axis=1).astype(np.float32))
    rows = Rows(
        x[:300],
        targets,
        taught_loss("softmax", TeachingOptions(), k=3),
        3,
        "softmax",
        judge=lambda head: float(np.mean(head.scores(x[:300]).argmax(1) != scores[:300].argmax(1))),
    )
    found = fit_linear(rows)
    assert (found.head.scores(x[300:]).argmax(1) == scores[300:].argmax(1)).mean() > 0.97
    assert found.told.startswith("linear, penalty")


def test_one_with_a_hidden_layer_learns_what_no_line_can() -> None:
    x = RNG.normal(size=(1200, 2)).astype(np.float32) * 3 + 4
    inside = np.linalg.norm(x - 4, axis=1) > 3.5
    scores = np.where(inside[:, None], [[2.0, -2.0]], [[-2.0, 2.0]])
    targets = torch.from_numpy(np.concatenate([np.full((900, 1), -1.0), scores[:900]], axis=1).astype(np.float32))

    def judge(head: Head) -> float:
        own = head.scores(x[900:1000])
        return float(-log_softmax(own, axis=1)[np.arange(100), scores[900:1000].argmax(1)].mean())

    rows = Rows(x[:900], targets, taught_loss("softmax", TeachingOptions(), k=2), 2, "softmax", judge)
    line, bent = fit_linear(rows), fit_mlp(rows, seed=0)

    def right(head: Head) -> float:
        return float((head.scores(x[1000:]).argmax(1) == scores[1000:].argmax(1)).mean())

    assert right(bent.head) > 0.9
    assert right(bent.head) > right(line.head) + 0.2
    assert fit_mlp(rows, seed=0).loss == bent.loss, "a seed decides everything"


def test_looks_are_of_the_picture_as_the_toolkit_reads_it(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 1600, dtype=np.uint16).reshape(40, 40)).save(tmp_path / "deep.png")
    content = Looks(hs.read(tmp_path, options=hs.ReadOptions(labelled=False)), 2, 0, flip=False).content(1)
    assert isinstance(content, bytes)
    assert 60 < np.asarray(Image.open(io.BytesIO(content))).mean() < 200, "sixteen bits are not cut off at eight"
