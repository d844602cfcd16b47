"""`make demo`: the main job on real data, with the very commands that a person types.

It writes the 1,797 handwritten digits that scikit-learn ships (8 x 8 pixels; by Alpaydin and Kaynak, UCI) as PNG files into
class folders, and runs `headstart` on them with a real ImageNet backbone. Nothing is downloaded.
"""

import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIGITS = Path("demo/digits")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# What runs, in this order, and nothing else.
COMMANDS = (
    "headstart fit demo/digits --hold-out 0.2 --out demo/model",
    "headstart evaluate demo/model demo/digits",
    "headstart predict demo/model demo/digits/three/0003.png demo/digits/seven/0007.png demo/digits/eight/0008.png",
)
# Dark ink on white paper, with a margin because a backbone looks at the middle of an image, then 8 times as large.
MARGIN, SCALE = 1, 8

AFTERWARDS = """
The model is the directory {model}, and its card, with every figure and its interval, is {card}.
Next, your own photos, in one folder a class:
  $ headstart fit photos/ --out mine
  $ headstart predict mine new/*.jpg
To have `headstart` in this shell:  {activate}
"""


def write_digits(folder: Path) -> int:
    """Write the digits that are not there yet as `folder/NAME/NNNN.png`, ink from 16 to 0 as 0 to 255; returns how many."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    ink = np.pad(digits.images, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    pixels = 255 - np.rint(ink * (255 / 16)).astype(np.uint8)
    side = SCALE * pixels.shape[1]
    for name in NAMES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    written = 0
    for number, (image, digit) in enumerate(zip(pixels, digits.target, strict=True)):
        path = folder / NAMES[digit] / f"{number:04d}.png"
        if not path.exists():
            part = path.with_suffix(".part")
            Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC).save(part, format="PNG")
            part.replace(path)
            written += 1
    return written


def run(command: str) -> int:
    """Show a command as a person types it, run it with this environment's `headstart`, and return its exit status."""
    print(f"\n$ {command}", flush=True)
    program, *arguments = shlex.split(command)
    installed = shutil.which(program, path=str(Path(sys.executable).parent))
    if installed is None:
        print(f"there is no {program} beside {sys.executable}: start this program by  make demo", file=sys.stderr)
        return 1
    return subprocess.run([installed, *arguments], cwd=ROOT, check=False).returncode


def main() -> int:
    """Write the digits, run the commands, say where the results lie; the status of the first command that fails."""
    start = time.perf_counter()
    written = write_digits(ROOT / DIGITS)
    print(f"{DIGITS}: 1797 handwritten digits in {len(NAMES)} class folders ({written} written now)", flush=True)
    for command in COMMANDS:
        if status := run(command):
            print(f"\nthe demo stops here: the command above ended with status {status}", file=sys.stderr)
            return status
    activate = r".venv\Scripts\activate" if sys.platform == "win32" else ". .venv/bin/activate"
    print(AFTERWARDS.format(model="demo/model", card="demo/model/README.md", activate=activate), end="")
    print(f"The demo took {time.perf_counter() - start:.0f} seconds.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
