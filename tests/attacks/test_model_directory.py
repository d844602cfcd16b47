"""Every step of the load order, attacked: what is wrong is refused with a sentence, and nothing of it is used."""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import headstart as hs
from headstart.core.errors import ModelError
from headstart.model.loading import card_of
from support.cache import cache_in
from support.made import reviews

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    with cache_in(folder / "cache"):
        model = hs.fit(reviews(folder / "reviews.csv"), backbone="toy:text")
    model.save(folder / "model")
    return folder / "model"


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit(model: Path, change: Change) -> None:
    """Change the manifest as an attacker would who can also write digests."""
    manifest = json.loads((model / "manifest.json").read_text("utf-8"))
    change(manifest)
    (model / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def relist(model: Path) -> None:
    """State the present digests, so that a later step is reached."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["files"] = {
            path.relative_to(model).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(model.rglob("*"))
            if path.is_file() and path.name != "manifest.json"
        }

    edit(model, change)


def _spec(manifest: dict[str, Any], **changes: str) -> dict[str, Any]:
    """The first spec, changed."""
    return {**manifest["backbone"]["specs"][0], **changes}


def _prepared(manifest: dict[str, Any], *, prepare: str) -> None:
    manifest["backbone"].update(specs=[_spec(manifest, prepare=prepare)])


def _change(**changes: Any) -> dict[str, Any]:
    """What another precision changes, as a fit writes it, changed."""
    good = {"fitted": "float32", "other": "bfloat16", "n": 30, "labels": 1, "probability": 0.01, "value": None}
    return good | changes


def refused(model: Path, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        hs.load(model)


def test_untouched_it_loads(model: Path) -> None:
    assert hs.load(model).labels == ("bad", "good")
    relist(model)
    assert hs.load(model).labels == ("bad", "good")
    edit(model, lambda m: m["fit"].update(precision=_change()))
    assert hs.load(model).labels == ("bad", "good")


def test_no_manifest(model: Path) -> None:
    (model / "manifest.json").unlink()
    refused(model, "is no headstart model")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not the JSON"),
        (b"[]", "one JSON object"),
        (b'{"format": 1, "format": 1}', "twice"),
        (b'{"format": NaN}', "no JSON number"),
        (b'{"temperature": 1e999}', "too large"),
        (b'{"temperature": -1e999}', "too large"),
        (b'{"temperature": ' + b"9" * 400 + b"}", "too large"),
        (b'{"temperature": ' + b"9" * 9000 + b"}", "too large"),
        (b"\xff\xfe", "not the JSON"),
        (b"[" * 100_000, "not the JSON"),
        (b'{"format": 1, "kind": "features+head"}', "lacks the keys"),
    ],
)
def test_a_manifest_that_is_none(model: Path, content: bytes, sentence: str) -> None:
    (model / "manifest.json").write_bytes(content)
    refused(model, sentence)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.update(format=2), "install a newer headstart"),
        (lambda m: m.update(format=True), "install a newer headstart"),
        (lambda m: m.update(kind="pickle"), "kind"),
        (lambda m: m.update(extra=1), "unknown keys"),
        (lambda m: m.pop("temperature"), "lacks the keys"),
        (lambda m: m.update(temperature=0), "temperature has to be above 0"),
        (lambda m: m.update(temperature=-0.5), "temperature has to be above 0"),
        (lambda m: m.update(temperature=5e-324), "temperature has to be above 0"),
        (lambda m: m.update(temperature=1e300), "temperature has to be above 0"),
        (lambda m: m.update(format="1"), "install a newer headstart"),
        (lambda m: m.update(format=1.0), "install a newer headstart"),
        (lambda m: m.update(temperature=10**400), "too large"),
        (lambda m: m.update(temperature=True), "wrong type for temperature"),
        (lambda m: m.update(temperature=None), "wrong type for temperature"),
        (lambda m: m.update(temperature="1"), "wrong type"),
        (lambda m: m.update(labels=["a", 1]), "wrong type"),
        (lambda m: m.update(task="../../os"), "task"),
        (lambda m: m.update(task="regression"), "task"),
        (lambda m: m.update(labels=["good"]), "at least 2 labels"),
        (lambda m: m.update(labels=[]), "at least 2 labels"),
        (lambda m: m.update(labels=["good", "good"]), "distinct names"),
        (lambda m: m.update(labels=["good", ""]), "distinct names"),
        (lambda m: m.update(labels=["good", "\ud800"]), "not the JSON"),
        (lambda m: m.update(labels=["bad", "good", "ugly"], prior=None, conformal=None), "manifest makes it"),
        (lambda m: m["head"].update(link="identity"), "predicts numbers"),
        (lambda m: (m["head"].update(link="identity"), m.update(labels=[])), "prior has another length"),
        (lambda m: (m["head"].update(link="identity"), m.update(labels=[], prior=[])), "prior has another length"),
        (lambda m: m.update(prior=[1.0]), "prior has another length"),
        (lambda m: m.update(prior=[1.5, -0.5]), "shares from 0 to 1"),
        (lambda m: m.update(prior=[0.5, 0.4999]), "add up to 1"),
        (lambda m: m.update(prior=[10**400, 0]), "too large"),
        (lambda m: m.update(prior=[True, False]), "wrong type for prior"),
        (lambda m: m.update(inputs=[]), "one input"),
        (lambda m: m.update(inputs=m["inputs"] * 2), "one input"),
        (lambda m: m["inputs"][0].update(modality="smell"), "one input"),
        (lambda m: m["inputs"][0].update(modality="image"), "specs are of another modality"),
        (lambda m: m["inputs"][0].update(more="x"), "wrong type for inputs"),
        (lambda m: m["inputs"][0].pop("name"), "wrong type for inputs"),
        (lambda m: m["licences"][0].pop("of"), "wrong type for licences"),
        (lambda m: m.update(rule="eval"), "wrong type for rule"),
        (lambda m: m.update(conformal={"q": 1}), "conformal has the keys"),
        (lambda m: m.update(conformal=[]), "wrong type for conformal"),
        (lambda m: m["conformal"].pop("of"), "conformal has the keys"),
        (lambda m: m["conformal"].update(more=1), "conformal has the keys"),
        (lambda m: m["conformal"].update(quantile="0.1"), "wrong type for quantile"),
        (lambda m: m["conformal"].update(quantile=None), "wrong type for quantile"),
        (lambda m: m["conformal"].update(by_label=["x", None]), "wrong type for by_label"),
        (lambda m: m["conformal"].update(n=True), "wrong type for n"),
        (lambda m: m["conformal"].update(quantile=1.5), "no sets or intervals of such a model"),
        (lambda m: m["conformal"].update(quantile=-0.1), "no sets or intervals of such a model"),
        (lambda m: m["conformal"].update(by_label=[0.5]), "no sets or intervals of such a model"),
        (lambda m: m["conformal"].update(by_label=[0.5, 2]), "no sets or intervals of such a model"),
        (lambda m: m["conformal"].update(by_label=None), "no sets or intervals of such a model"),
        (lambda m: m["conformal"].update(coverage=1), "no sets or intervals of such a model"),
        (lambda m: m["conformal"].update(n=0), "no sets or intervals of such a model"),
        (lambda m: m["conformal"].update(spread=-1), "no sets or intervals of such a model"),
        (lambda m: m["conformal"].update(of="0" * 32), "judge was fitted for another head"),
        (lambda m: m.update(temperature=m["temperature"] * 2), "judge was fitted for another head"),
        (lambda m: m.update(outlier=None), "belong together"),
        (lambda m: m["outlier"].pop("k"), "outlier has the keys"),
        (lambda m: m["outlier"].update(rows="30"), "wrong type for rows"),
        (lambda m: m["outlier"].update(rows=0), "sizes or a threshold"),
        (lambda m: m["outlier"].update(rows=29), "manifest makes it"),
        (lambda m: m["outlier"].update(directions=0), "sizes or a threshold"),
        (lambda m: m["outlier"].update(measures=4), "sizes or a threshold"),
        (lambda m: m["outlier"].update(measures=2), "manifest makes it"),
        (lambda m: m["outlier"].update(k=0), "sizes or a threshold"),
        (lambda m: m["outlier"].update(k=31), "sizes or a threshold"),
        (lambda m: m["outlier"].update(threshold=1), "sizes or a threshold"),
        (lambda m: m["outlier"].update(of="0" * 32), "judge was fitted for another head"),
        (lambda m: m["head"].update(kind="pickle"), "neither linear, neighbours nor mlp"),
        (lambda m: m["head"].update(link="exec"), "link"),
        (lambda m: m["head"].update(more=1), "neither linear, neighbours nor mlp"),
        (lambda m: m["head"].update(kind=["linear"]), "neither linear, neighbours nor mlp"),
        (lambda m: m["head"].update(link=["softmax"]), "link"),
        (lambda m: m["backbone"].update(by="url"), "backbone has the keys"),
        (lambda m: m["backbone"].update(by=["value"]), "backbone has the keys"),
        (lambda m: m["backbone"].update(by=None), "backbone has the keys"),
        (lambda m: m["backbone"].update(specs=[*m["backbone"]["specs"], _spec(m, modality="image")]), "modality"),
        (lambda m: m["backbone"].update(specs=[_spec(m, modality="image")]), "modality"),
        (
            lambda m: m["backbone"].update(specs=[*m["backbone"]["specs"], _spec(m, weights="0" * 32)]),
            "several backbones",
        ),
        (lambda m: m["backbone"].update(specs=[_spec(m, prepare="text(")]), "cannot be built as the manifest"),
        *(
            (partial(_prepared, prepare=prepare), "cannot be built as the man")
            for prepare in (
                f"text(max_tokens={'-' * 7000}1)",
                f"text(max_tokens={10**400})",
                f"text(max_tokens=0x{'f' * 5000})",
                f"text(max_tokens={2**70})",
                f"text(max_tokens={'+'.join('1' * 9000)})",
                f"text(max_tokens={'(' * 150}{'[' * 20_000})",
            )
        ),
        (
            lambda m: m["backbone"].update(specs=[_spec(m, prepare="text(max_tokens='x')")]),
            "cannot be built as the man",
        ),
        (lambda m: m["backbone"]["specs"][0].pop("dim"), "backbone spec"),
        (lambda m: m["backbone"]["specs"][0].update(dim="8"), "wrong type"),
        (lambda m: m["backbone"]["specs"][0].update(dim=7), "manifest makes it"),
        (lambda m: m["backbone"].update(specs=[]), "no spec"),
        (lambda m: m["backbone"].update(assets=["../manifest.json"]), "assets"),
        (lambda m: m["backbone"].update(assets=7), "list of plain file names"),
        (lambda m: m["backbone"].update(assets=[7]), "list of plain file names"),
        (lambda m: m["backbone"].update(assets=["a/b"]), "list of plain file names"),
        (lambda m: m["backbone"].update(assets=[".."]), "list of plain file names"),
        (lambda m: m["backbone"].update(assets=["absent.json"]), "assets that the model does not hold"),
        (lambda m: m["backbone"]["architecture"].update(options={"size": 3}), "options that it does not take"),
        (lambda m: m["backbone"]["architecture"].update(options=[]), "architecture"),
        (lambda m: m["backbone"]["architecture"].update(name="image"), "not that of its specs"),
        (lambda m: m["backbone"]["architecture"].update(extra=1), "architecture"),
        (lambda m: m["backbone"]["architecture"].update(name=1), "architecture"),
        (lambda m: m["fit"].pop("metrics"), "fit has the keys"),
        (lambda m: m["fit"].update(metrics={"accuracy": 1}), "fit cannot be read"),
        (lambda m: m["fit"].pop("precision"), "fit has the keys"),
        (lambda m: m["fit"].update(precision="float32"), "precision hold something"),
        (lambda m: m["fit"].update(precision={}), "precision hold something"),
        (lambda m: m["fit"].update(precision=_change(more=1)), "precision hold something"),
        (lambda m: m["fit"].update(precision=_change(n=0, labels=0)), "precision hold something"),
        (lambda m: m["fit"].update(precision=_change(labels=31)), "precision hold something"),
        (lambda m: m["fit"].update(precision=_change(probability=2)), "precision hold something"),
        (lambda m: m["fit"].update(precision=_change(probability=10**400)), "too large"),
        (lambda m: m["fit"].update(precision=_change(other="float32")), "precision hold something"),
        (lambda m: m["fit"].update(precision=_change(fitted="os.system")), "precision hold something"),
        (lambda m: m["fit"].update(precision=_change(fitted="float16")), "another precision than its backbone's"),
        (lambda m: m["fit"].update(precision=_change(probability=None, value=1.0, labels=0)), "another kind of answer"),
        (lambda m: m["backbone"]["specs"][0].update(precision="bfloat16"), "differs from the saved one"),
        (lambda m: m["backbone"]["specs"][0].update(precision="float8"), "float32, bfloat16"),
        (
            lambda m: m["backbone"].update(specs=[*m["backbone"]["specs"], _spec(m, precision="bfloat16")]),
            "several backbones",
        ),
        (
            lambda m: m["fit"].update(metrics={"accuracy": {"value": "1", "low": 0, "high": 1}}),
            "metrics hold something",
        ),
        (lambda m: m["fit"].update(out_of_fold=[]), "out_of_fold hold something"),
        (lambda m: m["fit"].update(n=[1, 2, 3]), "n hold something"),
        (lambda m: m["fit"].update(n={"train": 30}), "n hold something"),
        (lambda m: m["fit"]["n"].update(train="30"), "n hold something"),
        (lambda m: m["fit"]["n"].update(train=-1), "n hold something"),
        (lambda m: m["fit"]["n"].update(train=True), "n hold something"),
        (lambda m: m["fit"]["classes"].update(good=0.5), "classes hold something"),
        (lambda m: m["fit"].update(candidates="ridge"), "candidates hold something"),
        (lambda m: m["fit"].update(candidates=["ridge"]), "candidates hold something"),
        (lambda m: m["fit"]["candidates"][0].update(recipe={"a": 1}), "candidates hold something"),
        (lambda m: m["fit"].update(notes="abc"), "notes hold something"),
        (lambda m: m["fit"].update(notes=[1]), "notes hold something"),
        (lambda m: m["fit"].update(warnings=[None]), "warnings hold something"),
        (lambda m: m["fit"].update(warnings={}), "warnings hold something"),
        (lambda m: m["fit"].update(task=None), "task hold something"),
        (lambda m: m["fit"].update(extracted="7"), "extracted hold something"),
        (lambda m: m["fit"].update(seconds={"total": "long"}), "seconds hold something"),
        (lambda m: m["fit"].update(skipped=[{"input": "a", "reason": "b"}]), "skipped hold something"),
        (lambda m: m["reading"].update(more=None), "reading options"),
        (lambda m: m["reading"].pop("group"), "reading options"),
        (lambda m: m["reading"].update(target=True), "wrong type for target"),
        (lambda m: m["reading"].update(labelled=None), "wrong type for labelled"),
        (lambda m: m["reading"].update(labelled="yes", group=3), "wrong type for group, labelled"),
        (lambda m: m["files"].update({"../outside": "0"}), "no headstart model may hold"),
        (lambda m: m["files"].update({"/etc/passwd": "0"}), "no headstart model may hold"),
        (lambda m: m["files"].update({"assets/../../x": "0"}), "no headstart model may hold"),
        (lambda m: m["files"].update({"C:\\x": "0"}), "no headstart model may hold"),
        (lambda m: m["files"].update({"manifest.json": "0"}), "no headstart model may hold"),
        (lambda m: m["files"].update({"absent.bin": "0"}), "lacks the file absent.bin"),
        (lambda m: m["files"].pop("README.md"), "holds the file README.md"),
    ],
)
def test_a_manifest_that_lies(model: Path, change: Change, sentence: str) -> None:
    edit(model, change)
    refused(model, sentence)


def test_an_unknown_source_is_never_imported(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("planted", "os", "..planted", "headstart.core", "backbone"):
        edit(model, lambda m, name=name: m["backbone"]["architecture"].update(source=name))  # type: ignore[misc]
        refused(model, "source|specs|backbone")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        *("head.safetensors", "backbone.safetensors", "split.safetensors", "probe.safetensors", "judge.safetensors"),
        *("README.md", "assets/tokenizer.json"),
    ],
)
def test_a_flipped_byte_anywhere(model: Path, name: str) -> None:
    content = bytearray((model / name).read_bytes())
    content[len(content) // 2] ^= 1
    (model / name).write_bytes(content)
    refused(model, f"file {name} is not the one that was saved")


def test_a_truncated_file(model: Path) -> None:
    content = (model / "head.safetensors").read_bytes()
    (model / "head.safetensors").write_bytes(content[:-3])
    relist(model)
    refused(model, "no safetensors file")


def test_a_huge_header(model: Path) -> None:
    content = (model / "head.safetensors").read_bytes()
    (model / "head.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + content[8:])
    relist(model)
    refused(model, "no safetensors file")


@contextmanager
def tensors_of(model: Path, name: str) -> Iterator[dict[str, np.ndarray]]:
    """The tensors of a file, written back and listed anew as they are at the end."""
    tensors = load_file(model / name)
    yield tensors
    save_file(tensors, model / name)
    relist(model)


def test_swapped_tensors(model: Path) -> None:
    with tensors_of(model, "head.safetensors") as tensors:
        tensors["weight"], tensors["bias"] = tensors["bias"], tensors["weight"]
    refused(model, "manifest makes it")


@pytest.mark.parametrize("name", ["more", "less", "double", "single", "infinite"])
def test_other_tensors(model: Path, name: str) -> None:
    with tensors_of(model, "head.safetensors") as tensors:
        if name == "more":
            tensors["more"] = np.zeros(1, np.float32)
        elif name == "less":
            del tensors["bias"]
        elif name == "double":
            tensors["weight"] = tensors["weight"].astype(np.float64)
        elif name == "single":
            tensors["bias"] = tensors["bias"].astype(np.float32)
        else:
            tensors["bias"][0] = np.inf
    refused(model, "head.safetensors")


def test_other_weights_of_the_backbone(model: Path) -> None:
    with tensors_of(model, "backbone.safetensors") as tensors:
        first = min(tensors)
        tensors[first] = tensors[first] + np.ones((), tensors[first].dtype)
    refused(model, "their digest differs")


def test_an_extra_file_and_a_folder(model: Path) -> None:
    (model / "run.py").write_text("raise SystemExit", encoding="utf-8")
    refused(model, "holds the file run.py")
    (model / "run.py").unlink()
    (model / "sub").mkdir()
    refused(model, "only assets/")


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="this system makes no links without rights")
@pytest.mark.parametrize("name", ["evil.py", "assets/sitecustomize.py", "HEAD.safetensors", "graph.onnx"])
def test_a_listed_file_that_is_no_part_of_a_model(model: Path, name: str) -> None:
    (model / name).write_bytes(b"")
    relist(model)
    refused(model, f"file list names '{name}', which is no part of this model")


def test_links(model: Path, tmp_path: Path) -> None:
    shutil.copy(model / "head.safetensors", tmp_path / "elsewhere")
    (model / "head.safetensors").unlink()
    (model / "head.safetensors").symlink_to(tmp_path / "elsewhere")
    refused(model, "link")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe(model: Path) -> None:
    os.mkfifo(model / "pipe")
    refused(model, "no regular file")


def test_rows_that_drifted(model: Path) -> None:
    edit(model, lambda m: m["libraries"].update(numpy="0.0.1"))
    with tensors_of(model, "probe.safetensors") as tensors:
        tensors["rows.0"] = tensors["rows.0"] * np.float32(1.5)
    refused(model, "other rows here .* numpy 0.0.1")


def test_rows_that_drifted_on_another_processor(model: Path) -> None:
    """Its units decide what sums of products in few bits come to."""
    with tensors_of(model, "probe.safetensors") as tensors:
        tensors["rows.0"] = tensors["rows.0"] * np.float32(1.5)
    assert hs.load(model).labels == ("bad", "good"), "on the same machine nothing is computed again"
    edit(model, lambda m: m.update(machine=m["machine"].replace("CPython", "vnni CPython")))
    refused(model, "other rows here .* vnni CPython")


@pytest.mark.parametrize("dtype", ["BF16", "F8_E5M2", "F8_E4M3"])
def test_a_probe_of_a_type_that_numpy_has_not(model: Path, dtype: str) -> None:
    """safetensors reads the header, and NumPy cannot hold the numbers."""
    width = 2 if dtype == "BF16" else 1
    header = json.dumps({"values": {"dtype": dtype, "shape": [8], "data_offsets": [0, 8 * width]}}).encode()
    (model / "probe.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8 * width))
    relist(model)
    edit(model, lambda m: m["libraries"].update(numpy="0.0.1"))
    refused(model, "of a type that no model has|does not hold|is no safetensors file")


def test_a_card_that_is_no_text(model: Path) -> None:
    (model / "README.md").write_bytes(b"\xff\xfe card")
    relist(model)
    with pytest.raises(ModelError, match=r"the card of .* cannot be read"):
        card_of(model)


def test_neighbours_that_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    fitted = hs.fit(reviews(tmp_path / "r.csv"), backbone="toy:text", options=hs.FitOptions(head="knn"))
    model = fitted.save(tmp_path / "model")
    kept = (model / "manifest.json").read_bytes()
    invalid = "no valid number of neighbours or sharpness"
    for change, sentence in (
        ({"k": 31}, "asks 31 neighbours, and has 30 rows"),
        ({"k": 0}, invalid),
        ({"k": -1}, invalid),
        ({"k": 2.0}, invalid),
        ({"k": True}, invalid),
        ({"sharpness": None}, invalid),
        ({"sharpness": True}, invalid),
        ({"sharpness": 10**400}, "too large"),
        ({"sharpness": float("inf")}, "no JSON number"),
    ):
        edit(model, lambda m, change=change: m["head"].update(change))  # type: ignore[misc]
        refused(model, sentence)
        (model / "manifest.json").write_bytes(kept)
    assert hs.load(model).labels == ("bad", "good")
    tensors = load_file(model / "head.safetensors")
    for name, value in (("votes", -1.0), ("rows", 1e30)):
        save_file(tensors | {name: np.full_like(tensors[name], value)}, model / "head.safetensors")
        relist(model)
        refused(model, "longer than 1, or votes that are no shares")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("rows", lambda a: a * 2, "longer than 1"),
        ("rows", lambda a: a.astype(np.float32), "manifest makes it"),
        ("rows", lambda a: a[:-1].copy(), "manifest makes it"),
        ("rows", lambda a: np.full_like(a, np.nan), "not finite"),
        ("mean", lambda a: np.full_like(a, np.inf), "not finite"),
        ("directions", lambda a: a[:-1].copy(), "manifest makes it"),
        ("within", lambda a: a * 0, "variances that are not above 0"),
        ("centres", lambda a: a.astype(np.float32), "manifest makes it"),
        ("held_out", lambda a: np.ascontiguousarray(a[:, ::-1]), "not sorted"),
        ("joint", lambda a: np.ascontiguousarray(a[::-1]), "not sorted"),
        ("joint", lambda a: a + 1, "not sorted, or no ranks"),
        ("labels", lambda a: a + 1, "labels that the model does not have"),
        ("labels", lambda a: a - 2, "labels that the model does not have"),
        ("ids", lambda _: np.frombuffer(b"[1]", np.uint8), "name each of its rows once"),
        ("ids", lambda _: np.frombuffer(b'["a"]', np.uint8), "name each of its rows once"),
        ("ids", lambda _: np.frombuffer(b"\xff", np.uint8), "does not name its rows"),
        ("ids", lambda _: np.frombuffer(b"[" * 100_000, np.uint8), "does not name its rows"),
        ("more", lambda _: np.zeros(1, np.float32), "has to hold"),
    ],
)
def test_a_judge_that_lies(model: Path, name: str, value: Callable[[Any], np.ndarray], sentence: str) -> None:
    with tensors_of(model, "judge.safetensors") as tensors:
        tensors[name] = value(tensors.get(name))
    refused(model, sentence)


def test_a_judge_of_another_head(model: Path) -> None:
    with tensors_of(model, "head.safetensors") as tensors:
        tensors["weight"] = tensors["weight"] * np.float32(1.01)
    refused(model, "judge was fitted for another head")


def test_a_judge_that_is_not_there(model: Path) -> None:
    (model / "judge.safetensors").unlink()
    relist(model)
    refused(model, "belong together")
    edit(model, lambda m: m.update(outlier=None, conformal=None))
    assert hs.load(model).judge is None


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ends", lambda a: a[:-1], "one example for each row"),
        ("ends", lambda a: a + 1, "one example for each row"),
        ("ends", lambda a: np.ascontiguousarray(a[::-1]), "one example for each row"),
        ("ends", lambda a: np.concatenate([[-5], a[1:]]), "one example for each row"),
        ("ends", lambda a: a.astype(np.int32), "manifest makes it"),
        ("content", lambda a: a[:-1], "one example for each row"),
        ("content", lambda a: a.astype(np.int16), "manifest makes it"),
        ("more", lambda _: np.zeros(1, np.uint8), "has to hold"),
    ],
)
def test_examples_that_lie(tmp_path: Path, name: str, value: Callable[[Any], np.ndarray], sentence: str) -> None:
    options = hs.FitOptions(backbone="toy:text", with_examples=True)
    model = hs.fit(reviews(tmp_path / "reviews.csv"), options=options).save(tmp_path / "model")
    loaded = hs.load(model)
    assert loaded.examples is not None
    assert loaded.judge is not None
    assert loaded.judge.neighbours is not None
    assert loaded.examples.at(0).decode("utf-8").startswith("film ")
    assert len(loaded.examples) == len(loaded.judge.neighbours.rows)
    with tensors_of(model, "examples.safetensors") as tensors:
        tensors[name] = value(tensors.get(name))
    refused(model, sentence)


def test_hidden_layers_that_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    options = hs.FitOptions(head="mlp(hidden=12, epochs=2)")
    model = hs.fit(reviews(tmp_path / "r.csv"), backbone="toy:text", options=options).save(tmp_path / "model")
    kept = (model / "manifest.json").read_bytes()
    widths = "widths of its 1 to 4 hidden layers"
    for change, sentence in (
        ({"activation": "eval"}, "activation 'eval', and there are relu, gelu_tanh"),
        ({"activation": ["relu"]}, "there are relu, gelu_tanh"),
        ({"activation": None}, "there are relu, gelu_tanh"),
        ({"widths": []}, widths),
        ({"widths": 12}, widths),
        ({"widths": [0]}, widths),
        ({"widths": [-12]}, widths),
        ({"widths": [12.0]}, widths),
        ({"widths": [True]}, widths),
        ({"widths": [12] * 5}, widths),
        ({"widths": [13]}, "manifest makes it"),
        ({"widths": [10**18]}, "manifest makes it"),
        ({"widths": [12, 12]}, "has to hold"),
        ({"k": 3}, "neither linear, neighbours nor mlp"),
        ({"kind": "linear"}, "neither linear, neighbours nor mlp"),
    ):
        edit(model, lambda m, change=change: m["head"].update(change))  # type: ignore[misc]
        refused(model, sentence)
        (model / "manifest.json").write_bytes(kept)
    assert hs.load(model).labels == ("bad", "good")
    tensors = load_file(model / "head.safetensors")
    assert set(tensors) == {"weight", "bias", "hidden.0.weight", "hidden.0.bias"}
    for name, tensor in tensors.items():
        other = np.float32 if tensor.dtype == np.float64 else np.float64
        broken = np.full_like(tensor, np.nan)
        for changed in (
            {name: tensor.astype(other)},
            {name: broken},
            {name: tensor[..., :-1].copy()},
            {"more": tensor},
        ):
            save_file(tensors | changed, model / "head.safetensors")
            relist(model)
            refused(model, "head.safetensors")


@pytest.mark.parametrize("name", ["unsorted", "twice", "no part", "unknown part", "fewer parts"])
def test_a_split_that_lies(model: Path, name: str) -> None:
    with tensors_of(model, "split.safetensors") as tensors:
        if name == "unsorted":
            tensors["digests"] = np.ascontiguousarray(tensors["digests"][::-1])
        elif name == "twice":
            tensors["digests"][1] = tensors["digests"][0]
        elif name == "fewer parts":
            tensors["parts"] = tensors["parts"][:-1].copy()
        else:
            tensors["parts"][0] = 0 if name == "no part" else 8
    refused(model, "distinct sorted digests")


def test_a_probe_that_does_not_fit_the_backbone(model: Path) -> None:
    edit(model, lambda m: m["libraries"].update(numpy="0.0.1"))
    with tensors_of(model, "probe.safetensors") as tensors:
        tensors["values"] = np.zeros((8,), np.float32)
    refused(model, "inputs that the backbone takes")


def test_a_manifest_that_is_too_large_is_not_read(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (model / "manifest.json").open("r+b") as file:
        file.truncate((64 << 20) + 1)
    read: list[Path] = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or b"")
    refused(model, "larger than 64 MiB")
    assert not read


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_manifest_that_is_a_pipe_is_not_waited_for(model: Path) -> None:
    (model / "manifest.json").unlink()
    os.mkfifo(model / "manifest.json")
    refused(model, "is no regular file")


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="this system makes no links without rights")
def test_a_manifest_that_is_a_link_is_not_followed(model: Path, tmp_path: Path) -> None:
    (model / "manifest.json").rename(tmp_path / "elsewhere")
    (model / "manifest.json").symlink_to(tmp_path / "elsewhere")
    refused(model, "is no regular file")


@pytest.mark.parametrize("name", ["manifest.json", "head.safetensors", "assets/tokenizer.json"])
def test_a_file_that_may_not_be_read_is_named(model: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run with rights that read everything, so the system's refusal is played."""
    real = Path.open

    def shut(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == model / name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", shut)
    refused(model, rf"{Path(name).name} cannot be read: Permission denied")


def test_a_folder_that_may_not_be_listed_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def shut(path: Any) -> Any:
        if str(path).endswith("assets"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", shut)
    refused(model, "assets cannot be read: Permission denied")


def test_a_directory_that_is_not_there(model: Path) -> None:
    refused(model.with_name("modle"), r"there is no directory .*modle\. Did you mean 'model'\?")
    refused(model / "deeper" / "still", r"there is no directory .*still\.$")
    refused(model / "README.md", "is a file, and a model is a directory")
    (model.parent / "photos").mkdir()
    refused(model.parent / "photos", "photos is no headstart model: it has no manifest.json")
    refused(model.parent / ("x" * 300), "cannot be read")
