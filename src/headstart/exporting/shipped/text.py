"""Texts: to token ids, with tokenizers."""

from typing import Any

import numpy as np
from tokenizers import Tokenizer


class Preparation:
    """How a text becomes token ids: cut at the network's limit, or into windows whose rows are averaged."""

    def __init__(self, options: dict[str, Any], assets: dict[str, bytes]) -> None:
        self.tokenizer = Tokenizer.from_str(assets["tokenizer.json"].decode("utf-8"))
        self.tokenizer.no_padding()
        self.most, self.prefix = int(options["max_tokens"]), options["prefix"]
        self.windows = options["long"] == "windows"
        self.tokenizer.enable_truncation(self.most, stride=0, strategy="longest_first", direction="right")
        encoding = self.tokenizer.encode("a")
        ids, mask = list(encoding.ids), list(encoding.special_tokens_mask)
        first, last = (mask.index(0), len(mask) - mask[::-1].index(0)) if 0 in mask else (len(ids), len(ids))
        self.before, self.after = ids[:first], ids[last:]

    def views(self, content: bytes | str) -> tuple[list[np.ndarray], list[float]]:
        """The text as arrays of ids, with the number of ordinary tokens in each as weights."""
        text = content if isinstance(content, str) else decoded(content)
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if not text.strip():
            raise ValueError("holds no text")
        first = self.tokenised(self.prefix + text)
        parts = [first, *first.overflowing]
        ids = [np.asarray(part.ids, dtype=np.int64) for part in parts]
        inner = [ids[i][np.asarray(part.special_tokens_mask) == 0] for i, part in enumerate(parts)]
        if self.prefix:
            ids, inner = self.prefixed(parts, np.concatenate(inner))
        if not sum(map(len, inner)):
            raise ValueError("holds no character that the tokenizer makes a token of")
        kept = len(ids) if self.windows else 1
        return ids[:kept], [float(max(len(each), 1)) for each in inner[:kept]]

    def tokenised(self, text: str) -> Any:
        """A text's first window, with the others."""
        try:
            return self.tokenizer.encode(text)
        except BaseException as error:
            if not (isinstance(error, Exception) or type(error).__name__ == "PanicException"):
                raise
            raise ValueError(f"is nothing that the tokenizer can cut into tokens: {error}") from error

    def prefixed(self, parts: list[Any], ids: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The prefix before every window; a token is the prefix's where it ends inside it."""
        ends = [
            end
            for part in parts
            for (_, end), special in zip(part.offsets, part.special_tokens_mask, strict=True)
            if not special
        ]
        taken = next((at for at, end in enumerate(ends) if end > len(self.prefix)), len(ids))
        room = max(1, self.most - len(self.before) - len(self.after) - taken)
        own = [ids[start : start + room] for start in range(taken, max(len(ids), taken + 1), room)]
        return [np.array([*self.before, *ids[:taken], *part, *self.after], dtype=np.int64) for part in own], own

    def batch(self, views: list[np.ndarray]) -> dict[str, np.ndarray]:
        """The graph's inputs: padded with 0, which the lengths mask."""
        lengths = np.array([len(view) for view in views], dtype=np.int64)
        ids = np.zeros((len(views), int(lengths.max())), dtype=np.int64)
        for row, view in zip(ids, views, strict=True):
            row[: len(view)] = view
        return {"ids": ids, "lengths": lengths}

    def together(self, view: np.ndarray) -> object:
        """Views for which this is the same may share a batch: all."""
        del view
        return "text"


def decoded(content: bytes) -> str:
    """UTF-8 with or without its mark, or UTF-16 with one."""
    marked = content[:2] in (b"\xff\xfe", b"\xfe\xff") and content[:4] != b"\xff\xfe\0\0"  # which is that of UTF-32
    return content.decode("utf-16" if marked else "utf-8-sig")
