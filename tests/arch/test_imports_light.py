"""`import headstart` and `headstart --help` answer at once: heavy libraries are imported where they are needed."""

import json
import statistics
import subprocess
import sys
import time

HEAVY = (
    *("torch", "torchvision", "timm", "transformers", "sklearn", "scipy", "pyarrow", "PIL", "soundfile", "soxr"),
    *("tokenizers", "safetensors", "huggingface_hub", "pandas", "rich"),
    *("onnx", "onnxruntime", "keras", "tensorflow"),
)
ROUNDS = 7


def seconds(*arguments: str) -> float:
    """How long a fresh interpreter takes for these arguments."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, encoding="utf-8", check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - start


def over_bare_start(*arguments: str) -> float:
    """The median, over rounds, of the time beyond that of an interpreter which does nothing. The two are taken in turns.

    One bare start goes to waste first, for a machine whose disk is cold.
    """
    seconds(*arguments)
    return statistics.median(seconds(*arguments) - seconds("-c", "pass") for _ in range(ROUNDS))


def loaded(statement: str) -> set[str]:
    """The top-level modules that a statement loads in a fresh interpreter."""
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, timeout=60)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_headstart_is_light() -> None:
    assert over_bare_start("-c", "import headstart") < 0.2


def test_importing_headstart_loads_no_heavy_library() -> None:
    assert loaded("import headstart") & {*HEAVY, "numpy"} == set()


def test_the_check_would_see_a_heavy_library() -> None:
    assert {"numpy", "pyarrow"} <= loaded("import headstart.data.samples") & {*HEAVY, "numpy"}


def test_listing_the_plugins_loads_no_heavy_library() -> None:
    rooms = ("heads", "HEADS"), ("tasks", "TASKS"), ("data.readers", "READERS"), ("data.modalities", "MODALITIES")
    lines = [f"from headstart.{room} import {name}; {name}.catalogue()" for room, name in rooms]
    lines.append("from headstart.backbones import SOURCES; SOURCES.catalogue()")
    heavy = {
        "torch",
        "torchvision",
        "timm",
        "transformers",
        "sklearn",
        "scipy",
        "onnx",
        "onnxruntime",
        "keras",
        "tensorflow",
    }
    assert loaded("; ".join(lines)) & heavy == set()


def test_the_catalogue_of_models_loads_no_framework() -> None:
    heavy = {"torch", "timm", "transformers", "onnx", "onnxruntime", "keras", "tensorflow"}
    assert loaded("import headstart as hs; hs.models(build=False)") & heavy == set()
    name = "timm:resnet18.a1_in1k"
    assert "timm" in loaded(f"import headstart as hs; hs.models({name!r})")
    assert loaded(f"import headstart as hs; assert hs.models({name!r})[0].parameters") & heavy == set()


HELP = "import sys; sys.argv = ['headstart', '--help']; from headstart.cli.main import main"


def test_help_loads_no_heavy_library() -> None:
    asked = f"{HELP}; import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main()"
    assert loaded(asked) & {*HEAVY, "numpy"} == set()


def test_help_answers_at_once() -> None:
    start = statistics.median(seconds("-c", f"{HELP}; sys.exit(main())") for _ in range(ROUNDS))
    assert start < 0.5
