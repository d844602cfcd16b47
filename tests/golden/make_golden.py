"""Make the golden model directories: `python tests/golden/make_golden.py [NAME ...]`, all of them or those of these names.

They are committed, and every later version must load them and repeat their answers. Make new ones only when the format's number changes
(or, while it is 0, when docs/format.md changes), and keep the old ones once it is 1.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = ("text-linear", "text-neighbours", "text-judge", "text-mlp", "text-examples", "image-linear", "image-graph")
sys.path.insert(0, str(HERE.parent))


def main(names: list[str]) -> None:
    """Fit the golden models on made data, save them, and write down what they answer."""
    import headstart as hs
    from headstart.model.judge import Judging
    from headstart.model.manifest import FORMAT
    from support.golden import TEXTS
    from support.made import photos, reviews
    from support.tunable import network

    target = HERE / f"format-{FORMAT}"
    for golden in names or GOLDEN:
        shutil.rmtree(target / golden, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HEADSTART_CACHE"] = str(folder / "cache")
        data = reviews(folder / "reviews.csv", n=40)
        heads = {
            "text-linear": "logistic",
            "text-neighbours": "knn",
            "text-judge": "lda",
            "text-mlp": "mlp(hidden=8, epochs=5)",
            "text-examples": "ridge",
        }
        for golden in [name for name in heads if name in (names or GOLDEN)]:
            shown = golden == "text-examples"
            options = hs.FitOptions(backbone="toy:text", head=heads[golden], with_examples=shown)
            model = hs.fit(data, options=options)
            model.save(target / golden)
            _expect(target / golden, hs.predict(model, TEXTS, judging=Judging(abstain="any")))
        pictures = photos(folder / "photos")
        for golden in [name for name in ("image-linear", "image-graph") if name in (names or GOLDEN)]:
            backbone = "toy:image" if golden == "image-linear" else network(alike=False)
            model = hs.fit(pictures, options=hs.FitOptions(backbone=backbone, head="lda", check=False))
            if golden == "image-linear":
                model.save(target / golden)
            else:
                model = hs.load(hs.export(model, to="onnx", out=target / golden).path)
            shutil.copy(folder / "photos" / "val" / "red" / "0.png", target / f"{golden}.png")
            _expect(target / golden, hs.predict(model, [target / f"{golden}.png"]))


def _expect(golden: Path, answers: list[dict[str, object]]) -> None:
    path = golden.with_name(f"{golden.name}.expected.json")
    for answer in answers:
        del answer["input"]
    path.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
