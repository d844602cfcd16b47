"""Small real files in every format that the modalities read, made in memory."""

import io
import json

import numpy as np


def image(
    mode: str = "RGB", size: tuple[int, int] = (48, 32), *, form: str = "PNG", seed: int = 0, **save: object
) -> bytes:
    """An image file of one mode: coloured noise, or grey noise in the mode's own depth."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    width, height = size
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 65536, (height, width)).astype(np.uint16))
    elif mode == "I":
        picture = Image.fromarray(rng.integers(0, 65536, (height, width)).astype(np.int32))
    elif mode == "F":
        picture = Image.fromarray(rng.random((height, width)).astype(np.float32))
    else:
        noise = Image.fromarray(rng.integers(0, 256, (height, width, 4), dtype=np.uint8))
        picture = noise.convert("RGB").convert(mode) if mode not in {"RGBA", "LA", "PA"} else noise.convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, form, **save)
    return buffer.getvalue()


def sound(
    seconds: float = 0.5,
    *,
    rate: int = 16000,
    channels: int = 1,
    form: str = "WAV",
    subtype: str | None = None,
    seed: int = 0,
) -> bytes:
    """A recording: a tone with some noise, the same on every channel but for the noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * 220 * time)[:, None] + 0.01 * rng.standard_normal((len(time), channels))
    return wav(wave, rate=rate, form=form, subtype=subtype)


def wav(wave: np.ndarray, *, rate: int = 16000, form: str = "WAV", subtype: str | None = None) -> bytes:
    """A recording of exactly these values."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def tokenizer(*, limit: int | None = 8) -> bytes:
    """A tokenizer.json in BERT's manner with a few English words and the Latin letters; by itself it truncates and pads."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "great", "bad", "film", "the", "was", "##s", "query", ":", "."]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = {
        word: row
        for row, word in enumerate([*words, *letters, *(f"##{letter}" for letter in letters if letter != "s")])
    }
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    if limit:
        made.enable_truncation(limit)
        made.enable_padding(length=limit)
    return json.dumps(json.loads(made.to_str())).encode()
