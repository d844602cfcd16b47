"""The model hub and its cache: where pretrained weights come from when they are no local file. Offline, no socket is opened."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstart.backbones.backbone import CatalogueEntry
from headstart.backbones.weights import shard_names
from headstart.core.errors import BackboneError, ExtraMissing, WeightsMissing
from headstart.core.offline import is_offline

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors", "*/config.json"]
_IGNORED = ["onnx/*", "openvino/*", "*.msgpack", "*.h5"]


def cache_folder() -> Path:
    """Where the hub's own client keeps what it downloads, found without importing it."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if given := os.environ.get(name):
            return Path(given).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "huggingface" / "hub"


def cached(repo: str, *, config: bool = True) -> Path | None:
    """The newest folder of `repo` in the cache with all its weights, None where there is none. Opens no socket, imports nothing.

    Args:
        repo: `owner/name`.
        config: whether the folder needs its `config.json`; timm knows its models without.
    """
    folder = cache_folder() / f"models--{repo.replace('/', '--')}"
    revision = folder / "refs" / "main"
    named = [folder / "snapshots" / revision.read_text(encoding="utf-8").strip()] if revision.is_file() else []
    others = sorted((folder / "snapshots").glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
    return next((snapshot for snapshot in [*named, *others] if _is_whole(snapshot, config=config)), None)


def weight_bytes(folder: Path) -> int:
    """The size of the weights in a folder, safetensors first, 0 where it holds none."""
    for pattern in _WEIGHTS:
        if size := sum(path.stat().st_size for path in folder.glob(pattern) if path.exists()):
            return size
    return 0


def fetch(repo: str, *, offline: bool, title: str, config: bool = True) -> Path:
    """The folder of a hub repository with its weights and configuration.

    Online the hub's client is always asked: it fetches what the cache lacks, which another program may have filled in part, and
    resumes what broke off. Without a connection the cache has to do.

    Args:
        repo: `owner/name`.
        offline: open no socket.
        title: what the person asked for, for the sentence.
        config: whether the folder needs its `config.json`.

    Raises:
        BackboneError: the hub's repository holds no weights that headstart reads.
        WeightsMissing: the weights are not on this machine and cannot be fetched; the sentence has both ways out.
        ExtraMissing: huggingface_hub is not installed.
    """
    found = cached(repo, config=config)
    if is_offline(offline):
        if found is None:
            raise _missing(title, "and offline mode opens no connection")
        return found
    try:
        folder = _download(repo, silent=found is not None)
    except ImportError as error:
        if found is None:
            raise ExtraMissing.of("huggingface_hub", "torch", purpose=f"fetching {title}") from error
        return found
    except Exception as error:  # each release of the hub's client has other classes for a broken connection
        if found is None:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise _missing(title, f"and the hub could not be asked for {repo} ({reason})") from error
        return found
    if _is_whole(folder, config=config):
        return folder
    if found is not None:
        return found
    if weight_bytes(folder):
        raise _missing(title, f"as {folder} lacks files that its own index or configuration names")
    raise BackboneError(f"{title}: the hub's {repo} holds neither safetensors nor pytorch_model.bin")


def _download(repo: str, *, silent: bool) -> Path:
    """Ask the hub's client for a repository; without a connection it hands out what it has.

    Args:
        repo: `owner/name`.
        silent: no progress bars, where most likely nothing is to be fetched.
    """
    import importlib

    from huggingface_hub import snapshot_download

    bars: Any = importlib.import_module("huggingface_hub.utils")
    shown = silent and not bars.are_progress_bars_disabled()
    if shown:
        bars.disable_progress_bars()
    try:
        folder = Path(snapshot_download(repo, allow_patterns=_PATTERNS, ignore_patterns=_IGNORED))
        if not weight_bytes(folder):
            folder = Path(snapshot_download(repo, allow_patterns=["pytorch_model*.bin*"]))
    finally:
        if shown:
            bars.enable_progress_bars()
    return folder


def _is_whole(folder: Path, *, config: bool) -> bool:
    """Whether a snapshot has its configuration and every file of weights that its index names."""
    if not weight_bytes(folder) or (config and not (folder / "config.json").is_file()):
        return False
    kind = "safetensors" if any(folder.glob("*.safetensors")) else "bin"
    try:
        named = {name for index in folder.glob(f"*.{kind}.index.json") for name in shard_names(index)}
    except (OSError, BackboneError):
        return False
    return all((folder / name).is_file() for name in named)


def known_entries(
    source: str, known: Iterable[tuple[str, str, str, str, str]], *, config: bool = True
) -> tuple[CatalogueEntry, ...]:
    """Catalogue entries of models whose weights lie in the hub.

    Args:
        source: the plug-in.
        known: name, repository, modality, description, licence.
        config: whether a folder needs its `config.json` to count as installed.
    """
    entries = []
    for name, repo, modality, description, licence in known:
        folder = cached(repo, config=config)
        size = weight_bytes(folder) if folder else None
        where = str(folder or f"https://huggingface.co/{repo}")
        entries.append(
            CatalogueEntry(
                f"{source}:{name}", modality, description, licence, size, installed=folder is not None, weights=where
            )
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
