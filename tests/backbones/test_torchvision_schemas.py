"""The one mending place: torchvision for CUDA beside torch for the CPU."""

import subprocess
import sys

import pytest

_SENTENCE = "operator torchvision::nms does not exist"


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", timeout=120, check=False
    )


def test_timm_imports_after_mending_where_torchvision_does_not() -> None:
    broken = _run("import torchvision")
    if broken.returncode == 0 or _SENTENCE not in broken.stderr:
        pytest.skip("torchvision is sound or absent on this machine, so there is nothing to mend")
    mended = _run(
        "from headstart.backbones.torchvision_schemas import mend\n"
        "assert mend() and mend()\n"
        "import torchvision, torch, timm\n"
        "assert mend()\n"
        "try:\n"
        "    torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)\n"
        "except (RuntimeError, NotImplementedError):\n"
        "    print('still refused')\n"
    )
    assert mended.returncode == 0, mended.stderr
    assert "still refused" in mended.stdout


def test_nothing_happens_where_torchvision_is_sound_or_absent() -> None:
    done = _run(
        "import sys, types\n"
        "from headstart.backbones import torchvision_schemas as place\n"
        "place.importlib.util.find_spec = lambda name: None\n"
        "assert not place.mend() and 'torch' not in sys.modules\n"
        "sys.modules['torchvision'] = types.ModuleType('torchvision')\n"
        "assert not place.mend() and 'torch' not in sys.modules\n"
    )
    assert done.returncode == 0, done.stderr


def test_sound_operators_are_left_alone() -> None:
    done = _run(
        "import torch\n"
        "from headstart.backbones import torchvision_schemas as place\n"
        "place._loads = lambda folder: True\n"
        "assert not place.mend() and not hasattr(torch.ops.torchvision, 'nms')\n"
    )
    assert done.returncode == 0, done.stderr
