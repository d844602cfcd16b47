"""Texts in any language, cut into the tokens of the backbone's own tokenizer."""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from headstart.core import digests, recipes
from headstart.core.errors import SampleError, UsageError, gist
from headstart.data.decoding import decode_text, looks_like_text, repair, text_of
from headstart.data.preparation import Batch, Modality, Preparation, Prepared

ASSET = "tokenizer.json"
# One batch holds up to this many tokens, padding apart.
_TOKENS_A_BATCH = 4096
# What the tokenizers library can count to wherever it runs.
_MOST_TOKENS = (1 << 31) - 1
# A tokenizer with so many ideographs of one character reads Chinese by them: bert-base-chinese has 7,000, MiniLM's English one 244.
_MANY_IDEOGRAPHS = 3000
# What tokenizers put before a piece of a word or before a word: WordPiece, SentencePiece, byte-level BPE.
_MARKERS = ("##", "\u2581", "\u0120")


@dataclass(frozen=True)
class TextRecipe:
    """How a text becomes token ids.

    Attributes:
        max_tokens: the longest view, tokens, special ones included.
        long: what happens past the limit: `truncate` keeps the beginning, `windows` cuts the text into views of `max_tokens` whose
            rows are averaged.
        prefix: text put before every sample, such as E5's `query: `; it stands before every window and takes its room.
        tokenizer: the BLAKE2b-16 digest of `tokenizer.json`, 32 hexadecimal digits, so that a changed tokenizer is a new identity.
    """

    max_tokens: int = 256
    long: str = "truncate"
    prefix: str = ""
    tokenizer: str = ""


@dataclass(frozen=True)
class TextPreparation(Preparation):
    """A text, or the bytes of a text file, to views of at most `max_tokens` token ids, each with its special tokens.

    Facts: `tokens` (of the whole text, special ones and the prefix apart), `truncated` (1 where some were cut off), `unknown` (the
    tokenizer has no piece for them), `single` (pieces of one character; not ideographs where the tokenizer reads Chinese by them),
    `characters`.

    Attributes:
        options: the recipe.
        recipe: its string form.
        assets: `tokenizer.json`.
        tokenizer: a `tokenizers.Tokenizer` with our truncation and no padding.
        unknown: the id of the unknown token, or -1.
        single: whether the id's piece is one character, by id.
    """

    options: TextRecipe
    recipe: str
    assets: Mapping[str, bytes]
    tokenizer: Any
    unknown: int
    single: np.ndarray
    modality: str = "text"

    def prepare(self, content: bytes | str) -> Prepared:
        """Tokenise one text.

        Raises:
            SampleError: the bytes are no text, the text is empty, or the tokenizer fails at it.
        """
        text = repair(content) if isinstance(content, str) else decode_text(content)
        if not text.strip():
            raise SampleError("holds no text: it is empty or white space only")
        first = self._tokenised(self.options.prefix + text)
        encodings = [first, *first.overflowing]
        inner = [_content(each) for each in encodings]
        windows = [np.asarray(each.ids, dtype=np.int64) for each in encodings]
        if self.options.prefix:
            windows, inner = self._prefixed(encodings, inner)
        facts = self._facts(text, inner)
        if facts["tokens"] == 0:
            raise SampleError("holds no character that the backbone's tokenizer makes a token of")
        kept = len(windows) if self.options.long == "windows" else 1
        facts["truncated"] = int(kept < len(windows))
        views = tuple(windows[:kept])
        return Prepared(views, tuple(float(max(len(ids), 1)) for ids in inner[:kept]), facts)

    def _tokenised(self, text: str) -> Any:
        try:
            return self.tokenizer.encode(text)
        except BaseException as error:
            if not _is_librarys(error):
                raise
            raise SampleError(f"is nothing that the backbone's tokenizer can cut into tokens: {gist(error)}") from error

    def bucket(self, view: np.ndarray) -> Hashable:  # noqa: ARG002  (lengths mask the padding)
        """Any texts may share a batch: padding is masked by the lengths."""
        return "text"

    def cost(self, view: np.ndarray) -> float:
        """4,096 tokens fill a batch, and no more than 64 texts."""
        return max(len(view) / _TOKENS_A_BATCH, 1 / 64)

    def collate(self, views: Sequence[np.ndarray]) -> Batch:
        """Stack views, padded with 0 to the longest."""
        lengths = np.array([len(view) for view in views], dtype=np.int64)
        values = np.zeros((len(views), int(lengths.max())), dtype=np.int64)
        for row, view in zip(values, views, strict=True):
            row[: len(view)] = view
        return Batch(values, lengths)

    def probes(self, n: int, seed: int) -> Batch:
        """`n` sequences of random ordinary tokens between the special ones, up to 32 tokens long."""
        generator = np.random.default_rng(seed)
        ordinary = np.flatnonzero(self.single >= 0)
        before, after = _frame(self.tokenizer)
        room = max(1, min(32, self.options.max_tokens) - len(before) - len(after))
        lengths = generator.integers(max(1, room // 2), room + 1, size=n)
        return self.collate([np.array([*before, *generator.choice(ordinary, length), *after]) for length in lengths])

    def _prefixed(
        self, encodings: Sequence[Any], inner: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The views of a text behind its prefix, and the text's own ids in each: cut again, with the prefix before every window.

        The two are tokenised together, as the network was trained; a token is the prefix's where it ends inside it.
        """
        ids = np.concatenate(inner)
        ends = np.concatenate([_ends(each) for each in encodings])
        mine = np.flatnonzero(ends > len(self.options.prefix))
        taken = int(mine[0]) if len(mine) else len(ids)
        before, after = _frame(self.tokenizer)
        room = max(1, self.options.max_tokens - len(before) - len(after) - taken)
        own = [ids[start : start + room] for start in range(taken, max(len(ids), taken + 1), room)]
        return [np.array([*before, *ids[:taken], *part, *after], dtype=np.int64) for part in own], own

    def _facts(self, text: str, inner: Sequence[np.ndarray]) -> dict[str, float | int | str]:
        ids = np.concatenate(inner)
        return {
            "tokens": len(ids),
            "truncated": 0,
            "unknown": int(np.count_nonzero(ids == self.unknown)),
            "single": int(np.count_nonzero(self.single[ids] == 1)),
            "characters": len(text),
        }


class TextModality(Modality):
    """Texts: whatever decodes as UTF-8 or marked UTF-16 and has no control characters."""

    name = "text"
    suffixes = (".txt", ".text", ".md")
    unit = "characters"

    def recognises(self, head: bytes) -> bool:
        """Whether the first bytes are the beginning of a text."""
        return looks_like_text(head)

    def extent(self, content: bytes | str) -> float:
        """Its characters.

        Raises:
            SampleError: the bytes are no text.
        """
        return float(len(text_of(content)))

    def preparation(self, recipe: str, assets: Mapping[str, bytes]) -> Preparation:
        """The preparation for `text(max_tokens=256, ...)` with the asset `tokenizer.json`.

        Raises:
            UsageError: an option is unknown or no possible value, or the tokenizer is missing, unreadable or another one than the
                recipe's.
        """
        name, options = recipes.split(recipe)
        if name != self.name:
            raise UsageError(f"a text recipe is called text, and got {name!r}")
        built = recipes.build(TextRecipe, name, options=options)
        if built.long not in {"truncate", "windows"}:
            raise UsageError(f"text takes long='truncate' or long='windows', and got {built.long!r}")
        if built.max_tokens > _MOST_TOKENS:
            raise UsageError(f"text takes max_tokens of at most {_MOST_TOKENS}, and got {built.max_tokens:.6g}")
        if ASSET not in assets:
            raise UsageError(f"a text recipe needs the asset {ASSET}, and got {', '.join(sorted(assets)) or 'none'}")
        return _opened(built, recipes.to_string(name, built), assets[ASSET])


PLUGIN = TextModality()


def _is_librarys(error: BaseException) -> bool:
    """Whether the tokenizers library raised an error: a panic of its own language is no `Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _opened(recipe: TextRecipe, text: str, content: bytes) -> TextPreparation:
    """The preparation with its tokenizer, whose own truncation and padding are replaced by the recipe's.

    Raises:
        UsageError: the tokenizer is not the recipe's, is unreadable, or leaves no room for a token.
    """
    from tokenizers import Tokenizer

    digest = digests.of_bytes(content).hex()
    if digest != recipe.tokenizer:
        raise UsageError(
            f"the recipe's tokenizer has the digest {recipe.tokenizer or '(none)'}, and {ASSET} has {digest}"
        )
    try:
        tokenizer = Tokenizer.from_str(content.decode("utf-8"))
        unknown, single = _vocabulary(content)
    except BaseException as error:  # whatever the library raises, the file is at fault
        if not _is_librarys(error):
            raise
        raise UsageError(f"{ASSET} is no tokenizer that the tokenizers library can read: {gist(error)}") from error
    least = tokenizer.num_special_tokens_to_add(is_pair=False) + 1
    if recipe.max_tokens < least:
        raise UsageError(f"text takes max_tokens of at least {least} with this tokenizer, and got {recipe.max_tokens}")
    tokenizer.no_padding()
    if recipe.prefix:
        tokenizer.no_truncation()
        taken = len(tokenizer.encode(recipe.prefix, add_special_tokens=False).ids)
        if recipe.max_tokens < least + taken:
            raise UsageError(
                f"text takes max_tokens of at least {least + taken} with this tokenizer and the prefix {recipe.prefix!r},"
                f" and got {recipe.max_tokens}"
            )
    tokenizer.enable_truncation(recipe.max_tokens, stride=0, strategy="longest_first", direction="right")
    return TextPreparation(recipe, text, {ASSET: content}, tokenizer, unknown, single)


@lru_cache(maxsize=4)
def _vocabulary(content: bytes) -> tuple[int, np.ndarray]:
    """The unknown token and the single characters of a tokenizer, read once for each file in a process."""
    from tokenizers import Tokenizer

    source = content.decode("utf-8")
    tokenizer = Tokenizer.from_str(source)
    single = _single(tokenizer)
    single.flags.writeable = False
    return _unknown(json.loads(source)["model"], tokenizer), single


def _unknown(model: Mapping[str, Any], tokenizer: Any) -> int:
    """The id of the unknown token, or -1 where the tokenizer has none, as a byte-level one."""
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    token = model.get("unk_token")
    identity = tokenizer.token_to_id(token) if token else None
    return -1 if identity is None else int(identity)


def _single(tokenizer: Any) -> np.ndarray:
    """(ids,) int8: 1 where the id's piece is one character, 0 where it is longer, -1 for special tokens and unused ids.

    Ideographs are words or parts of words: one alone says that the tokenizer does not know the language only where it has few of them.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    single = np.full(max(vocabulary.values(), default=0) + 1, -1, dtype=np.int8)
    for token, identity in vocabulary.items():
        single[identity] = int(len(_bare(token)) == 1)
    ideographs = [identity for token, identity in vocabulary.items() if _is_ideograph(_bare(token))]
    if len(ideographs) >= _MANY_IDEOGRAPHS:
        single[ideographs] = 0
    for identity, token in tokenizer.get_added_tokens_decoder().items():
        if token.special:
            single[identity] = -1
    return single


def _is_ideograph(token: str) -> bool:
    """Whether a piece is one Han character: of the basic plane, its extension A, the compatibility forms, or planes 2 and 3."""
    if len(token) != 1:
        return False
    point = ord(token)
    return (
        0x3400 <= point <= 0x4DBF
        or 0x4E00 <= point <= 0x9FFF
        or 0xF900 <= point <= 0xFAFF
        or 0x20000 <= point <= 0x3FFFF
    )


def _bare(token: str) -> str:
    for marker in _MARKERS:
        if token.startswith(marker) and len(token) > len(marker):
            return token[len(marker) :]
    return token


def _content(window: Any) -> np.ndarray:
    """(t,) ids of a window without its special tokens."""
    ids = np.asarray(window.ids, dtype=np.int64)
    ordinary = np.asarray(window.special_tokens_mask, dtype=np.int64) == 0
    return np.asarray(ids[ordinary])


def _ends(encoding: Any) -> np.ndarray:
    """(t,) where each token but the special ones ends, in characters of what was encoded."""
    ends = np.array([end for _, end in encoding.offsets], dtype=np.int64)
    return np.asarray(ends[np.asarray(encoding.special_tokens_mask, dtype=np.int64) == 0])


def _frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens before and after a text."""
    encoding = tokenizer.encode("a")
    mask = list(encoding.special_tokens_mask)
    if 0 not in mask:
        return list(encoding.ids), []
    first, last = mask.index(0), len(mask) - mask[::-1].index(0)
    return list(encoding.ids[:first]), list(encoding.ids[last:])
