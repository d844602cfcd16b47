"""The model hub and its cache: where pretrained weights come from when they are no local file. Offline, no socket is opened."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstart.backbones.backbone import CatalogueEntry
from headstart.core.errors import BackboneError, ExtraMissing, WeightsMissing

_TRUE = {"1", "on", "yes", "true"}
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def is_offline(requested: bool) -> bool:  # noqa: FBT001  (one flag, and it is the whole question)
    """Whether no socket may be opened: asked for, or `HEADSTART_OFFLINE` or `HF_HUB_OFFLINE` is set."""
    return requested or any(
        os.environ.get(name, "").lower() in _TRUE for name in ("HEADSTART_OFFLINE", "HF_HUB_OFFLINE")
    )


def cache_folder() -> Path:
    """Where the hub's own client keeps what it downloads, found without importing it."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if given := os.environ.get(name):
            return Path(given).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "huggingface" / "hub"


def cached(repo: str) -> Path | None:
    """The newest folder of `repo` in the cache that holds weights, None where there is none. Opens no socket, imports nothing."""
    folder = cache_folder() / f"models--{repo.replace('/', '--')}"
    revision = folder / "refs" / "main"
    named = [folder / "snapshots" / revision.read_text(encoding="utf-8").strip()] if revision.is_file() else []
    others = sorted((folder / "snapshots").glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
    return next((snapshot for snapshot in [*named, *others] if weight_bytes(snapshot) > 0), None)


def weight_bytes(folder: Path) -> int:
    """The size of the weights in a folder, safetensors first, 0 where it holds none."""
    for pattern in _WEIGHTS:
        if size := sum(path.stat().st_size for path in folder.glob(pattern) if path.exists()):
            return size
    return 0


def fetch(repo: str, *, offline: bool, title: str) -> Path:
    """The folder of a hub repository with its weights and configuration: from the cache, else from the hub when online.

    Args:
        repo: `owner/name`.
        offline: open no socket.
        title: what the person asked for, for the sentence.

    Raises:
        WeightsMissing: the weights are not on this machine and cannot be fetched; the sentence has both ways out.
        ExtraMissing: huggingface_hub is not installed.
    """
    if found := cached(repo):
        return found
    if is_offline(offline):
        raise _missing(title, "and offline mode opens no connection")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise ExtraMissing.of("huggingface_hub", "torch", purpose=f"fetching {title}") from error
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors", "*/config.json"]
    ignored = ["onnx/*", "openvino/*", "*.msgpack", "*.h5"]
    try:
        folder = Path(snapshot_download(repo, allow_patterns=patterns, ignore_patterns=ignored))
        if not weight_bytes(folder):
            folder = Path(snapshot_download(repo, allow_patterns=["pytorch_model*.bin*"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise _missing(title, f"and the hub could not be asked for {repo} ({reason})") from error
    if not weight_bytes(folder):
        raise BackboneError(f"{title}: the hub's {repo} holds neither safetensors nor pytorch_model.bin")
    return folder


def known_entries(source: str, known: Iterable[tuple[str, str, str, str, str]]) -> tuple[CatalogueEntry, ...]:
    """Catalogue entries of models whose weights lie in the hub.

    Args:
        source: the plug-in.
        known: name, repository, modality, description, licence.
    """
    entries = []
    for name, repo, modality, description, licence in known:
        folder = cached(repo)
        size = weight_bytes(folder) if folder else None
        entries.append(
            CatalogueEntry(f"{source}:{name}", modality, description, licence, size, installed=folder is not None)
        )
    return tuple(entries)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and load reports of transformers on standard error: headstart checks what was loaded and reports itself."""
    import importlib

    logging: Any = importlib.import_module("transformers.utils.logging")

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _missing(title: str, why: str) -> WeightsMissing:
    return WeightsMissing(
        f"the weights of {title} are not on this machine, {why}: run once online without --offline, or give a local file or folder with"
        " --weights PATH"
    )
