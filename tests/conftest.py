"""What holds for every test: no sockets beyond loopback, a cache of its own, no hub."""

import os
import shutil
from pathlib import Path

import pytest
from pytest_socket import disable_socket, socket_allow_hosts

from support.cache import cache_in

# Of several processes side by side each one computes on a core: their threads would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What Keras runs on is settled by its first import, whichever test file is the first.
os.environ.setdefault("KERAS_BACKEND", "torch")

# Files of few tests that take minutes. Whoever meets one last works on alone while the other processes have nothing left to do.
LONG = (
    "docs/test_markdown.py",
    "verbs/test_compress.py",
    "verbs/test_real_data.py",
    "features/test_cluster.py",
    "verbs/test_compress_parts.py",
    "features/test_engines.py",
)


@pytest.hookimpl(trylast=True)  # after what puts the tests into random order
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; the others stay as they are."""
    here = Path(__file__).parent
    if gone := [name for name in LONG if not (here / name).is_file()]:
        raise pytest.UsageError(
            f"the list of long files in {Path(__file__).name} names what is not there: {', '.join(gone)}"
        )
    place = {here / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(LONG)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse every socket beyond loopback."""
    disable_socket(allow_unix_socket=True)
    socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a feature store of its own and works offline."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HEADSTART_CACHE", str(folder))
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    return folder


@pytest.fixture(scope="session")
def _built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the architectures of the catalogue say, computed by the real way once for all tests that list it."""
    from headstart.backbones import built
    from headstart.backbones.choice import catalogue

    folder = tmp_path_factory.mktemp("catalogue")
    with cache_in(folder):
        built.build([entry.backbone for entry in catalogue()])
    return folder / "models" / "built.json"


@pytest.fixture
def built_catalogue(own_cache: Path, _built_once: Path) -> None:
    """The test's own cache holds the catalogue's figures, as after the first listing on a machine."""
    (own_cache / "models").mkdir()
    shutil.copy(_built_once, own_cache / "models")
