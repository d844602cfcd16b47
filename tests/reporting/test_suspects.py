"""The page of suspects: escaped, small, without a script, and with what a person needs to judge each item."""

import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.audit.findings import KINDS, Audit, Finding, Suspect
from headstart.cli.main import build_parser
from headstart.core.errors import ExtraMissing, UsageError
from headstart.data.samples import Samples, make_samples
from headstart.reporting.markup import policy_hash
from headstart.reporting.suspects import suspects_page
from headstart.verbs.check import CheckOptions, check
from support.made import photos, reviews, sounds
from support.media import sound

SCRIPT = "<script>alert('ü')</script>"
MANY = 60
SHOWN = tuple(kind for kind in KINDS if kind not in {"group", "unreadable"})


def toy(modality: str, **options: object) -> CheckOptions:
    return CheckOptions(backbone=f"toy:{modality}", **options)  # type: ignore[arg-type]


def audit_of(
    suspects: Sequence[Suspect], *, modality: str = "image", findings: Sequence[Finding] = (), parts: Sequence[str] = ()
) -> Audit:
    counts = {part: {"red": 3, "blue": 4} for part in parts or ("all",)}
    told = findings or [Finding(each, "note", 1, f"a finding of {each}") for each in {one.kind for one in suspects}]
    return Audit(48, modality, ("how it was read",), counts, tuple(told), tuple(suspects))


def written(data: Path | Samples, audit: Audit, folder: Path) -> str:
    out = folder / "suspects.html"
    assert suspects_page(data, audit, out=out, options=toy(audit.modality)) == out
    return out.read_text(encoding="utf-8")


def section(html: str, kind: str) -> str:
    return html.split(f'<section id="{kind}">')[1].split("</section>", maxsplit=1)[0]


def test_every_text_of_the_data_is_escaped(tmp_path: Path) -> None:
    samples = make_samples(
        [SCRIPT, "other"],
        [f"{SCRIPT} text", 'a "quote" & more'],
        modality="text",
        inline=True,
        source=SCRIPT.replace("/", "|"),
    )
    suspects = [
        Suspect("label_error", SCRIPT, SCRIPT, SCRIPT, suggestion=SCRIPT, score=0.5, why=SCRIPT),
        Suspect("leak", "other", "train", SCRIPT, SCRIPT, SCRIPT, SCRIPT, score=0.9, why=SCRIPT),
        Suspect("group", SCRIPT, why=SCRIPT),
        Suspect("unreadable", SCRIPT, why=SCRIPT),
    ]
    findings = [Finding("leak", "error", 1, SCRIPT)]
    audit = Audit(2, "text", (SCRIPT,), {SCRIPT: {SCRIPT: 2}, "train": {}}, tuple(findings), tuple(suspects))
    html = written(samples, audit, tmp_path)
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(&#39;ü&#39;)&lt;/script&gt;") >= 15
    assert "a &#34;quote&#34; &amp; more" in html


def test_the_policy_allows_the_style_of_the_page_and_nothing_else(tmp_path: Path) -> None:
    html = written(photos(tmp_path / "photos"), audit_of([Suspect("outlier", "train/red/0.png")]), tmp_path)
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    [style] = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    allowed = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert allowed == {
        "default-src": "'none'",
        "img-src": "data:",
        "media-src": "data:",
        "style-src": f"'{policy_hash(style)}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "style=" not in html
    assert '<html lang="en">' in html
    assert "<title>photos: what looks wrong</title>" in html


def test_folders_of_this_machine_are_not_named(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    told = Finding("outlier", "note", 1, f"{data}/train is odd")
    audit = Audit(
        48,
        "image",
        (f"class folders of {data}",),
        {"all": {}},
        (told,),
        (Suspect("unreadable", "a", why=f"no {data}/a"),),
    )
    html = written(data, audit, tmp_path)
    assert str(tmp_path) not in html
    assert "photos/train is odd." in html
    assert "Class folders of photos." in html


def test_a_copy_and_its_twin_stand_side_by_side(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    twins = ("train", "blue"), ("val", "red")
    (part, label), (other_part, other_label) = twins
    pair = Suspect("leak", "val/red/0.png", other_part, other_label, "train/blue/1.png", part, label, score=0.97, why="the reason")  # fmt: skip
    same = Suspect("exact_duplicate", "train/red/0.png", "train", "red", "train/red/1.png", "train", "red", score=1.0, why="equal")  # fmt: skip
    html = written(data, audit_of([pair, same], parts=("train", "val")), tmp_path)
    [card] = re.findall(r"<li>.*?</li>", section(html, "leak"), re.DOTALL)
    assert [card.count(each) for each in ("<img", "data:image/jpeg;base64,")] == [2, 2]
    assert re.findall(r'alt="([^"]+)"', card) == ["the photo val/red/0.png", "the photo train/blue/1.png"]
    assert re.findall(r'<b class="wrong" dir="auto">(\w+)</b>', card) == ["red", "blue"]
    assert re.findall(r'in</span> <span dir="auto">(\w+)<', card) == ["val", "train"]
    assert "likeness 0.97" in card
    assert "the reason" in card
    assert "equal content" in section(html, "exact_duplicate")
    assert 'class="wrong"' not in section(html, "exact_duplicate")


def test_a_doubtful_label_stands_beside_what_it_would_rather_be(tmp_path: Path) -> None:
    one = Suspect("label_error", "red/0.png", "all", "red", suggestion="blue", score=0.97, why="its neighbours")
    card = section(written(photos(tmp_path / "photos", parts=("",)), audit_of([one]), tmp_path), "label_error")
    assert re.findall(r'<span class="key">(\w+)</span> <b[^>]*>(\w+)</b>', card) == [("is", "red"), ("rather", "blue")]
    assert "its neighbours" in card
    assert ">all<" not in card


def test_kinds_stand_in_their_order_with_the_titles_of_the_command_line(tmp_path: Path) -> None:
    suspects = [Suspect(kind, "train/red/0.png", other="train/red/1.png", score=0.9) for kind in reversed(KINDS)]
    html = written(photos(tmp_path / "photos"), audit_of(suspects), tmp_path)
    assert re.findall(r'<section id="(\w+)">', html) == ["found", *KINDS, "again"]
    assert "<h2>Copies across parts: 1 pair</h2>" in html
    assert "<h2>Labels that look wrong: 1</h2>" in html


def test_past_48_of_a_kind_the_rest_is_counted(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", n=15)
    ids = [f"{part}/{label}/{i}.png" for part in ("train", "val") for label in ("red", "blue") for i in range(15)]
    suspects = [Suspect("outlier", name, why="far") for name in ids] + [Suspect("unreadable", f"gone{i}", why="is no image") for i in range(50)]  # fmt: skip
    html = written(data, audit_of(suspects), tmp_path)
    assert section(html, "outlier").count("<img") == 48
    assert "and 12 more in the CSV" in section(html, "outlier")
    assert section(html, "unreadable").count("<li>") == 48
    assert "and 2 more in the CSV" in section(html, "unreadable")
    assert section(html, "outlier").index(ids[0]) < section(html, "outlier").index(ids[1])


def test_what_cannot_be_read_is_told_by_words(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    gone = data / "train" / "red" / "1.png"
    suspects = [Suspect("unreadable", "train/red/broken.png", why="ends in the middle"), Suspect("odd", "train/red/1.png", why="odd"), Suspect("odd", "elsewhere.png", why="strange")]  # fmt: skip
    samples = hs.read(data)
    gone.unlink()
    html = written(samples, audit_of(suspects), tmp_path)
    assert "<img" not in html
    assert "train/red/broken.png" in section(html, "unreadable")
    assert "ends in the middle" in section(html, "unreadable")
    assert "cannot be shown: No such file or directory" in section(html, "odd")
    assert "strange" in section(html, "odd")


def noise(folder: Path, n: int = 6) -> Samples:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (1200, 1600, 3), dtype=np.uint8)).save(folder / f"{i}.jpg", quality=60)
    return hs.read(folder, options=hs.ReadOptions(labelled=False))


def long_sounds(folder: Path, n: int = 6) -> Samples:
    folder.mkdir()
    for i in range(n):
        (folder / f"{i}.wav").write_bytes(sound(20.0, seed=i))
    return hs.read(folder, options=hs.ReadOptions(labelled=False))


def long_texts(folder: Path, n: int = 6) -> Samples:
    texts = ["\"&<>'" * 20_000 for _ in range(n)]
    ids = [f"{i} {'&' * 5000}" for i in range(n)]
    return make_samples(ids, texts, modality="text", inline=True, source=str(folder))


@pytest.mark.parametrize("make", [noise, long_sounds, long_texts])
def test_the_page_stays_small_whatever_the_data(tmp_path: Path, make: object) -> None:
    samples: Samples = make(tmp_path / "data")  # type: ignore[operator]
    ids, label = samples.ids, "<&'" * 3000
    suspects = [
        Suspect(kind, ids[i % 6], label, label, ids[(i + 1) % 6], label, label, label, score=0.9, why=label)
        for kind in KINDS
        for i in range(MANY)
    ]
    findings = [Finding(kind, "error", MANY, f"{label} {kind}") for kind in KINDS]
    html = written(samples, audit_of(suspects, modality=samples.modality, findings=findings), tmp_path)
    assert 200_000 < len(html.encode("utf-8")) < 10_000_000
    for kind in SHOWN:
        assert section(html, kind).count("<li>") >= 10


def test_texts_are_quoted_and_recordings_can_be_played(tmp_path: Path) -> None:
    table = reviews(tmp_path / "reviews.csv")
    [first] = hs.read(table).ids[:1]
    html = written(table, audit_of([Suspect("outlier", first, why="far")], modality="text"), tmp_path)
    assert re.search(r'<blockquote dir="auto">film 0 was', html)
    folder = sounds(tmp_path / "sounds")
    html = written(folder, audit_of([Suspect("outlier", "low/0.wav", why="far")], modality="audio"), tmp_path)
    assert re.search(r'<audio controls [^>]*aria-label="the recording low/0.wav" src="data:audio/wav;base64,', html)


def test_data_without_a_fault_has_a_page_too(tmp_path: Path) -> None:
    audit = Audit(1, "image", (), {"all": {}}, (), ())
    html = written(photos(tmp_path / "photos"), audit, tmp_path)
    assert "1 image looked at, and nothing was found" in html
    assert re.findall(r'<section id="(\w+)">', html) == ["found", "again"]


def test_findings_have_their_severity_in_words_and_lead_to_their_suspects(tmp_path: Path) -> None:
    findings = [Finding("leak", "error", 1, "copies are there"), Finding("shift", "warning", 1, "parts differ")]
    html = written(
        photos(tmp_path / "photos"), audit_of([Suspect("leak", "train/red/0.png")], findings=findings), tmp_path
    )
    found = section(html, "found")
    assert re.search(r'error: </span><span dir="auto">Copies are there\.</span> <a class="there" href="#leak">', found)
    assert re.search(r'warning: </span><span dir="auto">Parts differ\.</span></p>', found)
    assert "red (3), blue (4)" in found


def test_the_command_on_the_page_is_one_that_the_command_line_takes(tmp_path: Path) -> None:
    data, out = reviews(tmp_path / "some reviews.csv"), tmp_path / "a page.html"
    options = toy("text", seed=3, most=20, reading=hs.ReadOptions(target="label"))
    suspects_page(data, check(data, options=options), out=out, options=options)
    [command] = re.findall(r"<pre>(.*?)</pre>", out.read_text(encoding="utf-8"), re.DOTALL)
    words = shlex.split(command.replace("&#39;", "'"))
    assert words[0] == "headstart"
    asked = build_parser().parse_args(words[1:])
    assert (asked.data, asked.backbone, asked.target) == ("some reviews.csv", "toy:text", "label")
    assert (asked.seed, asked.most, asked.page) == (3, 20, "a page.html")


def test_the_page_is_not_written_into_the_data(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    audit = audit_of([])
    for given in (data, str(data), hs.read(data)):
        with pytest.raises(UsageError, match=r"lies inside the data .*photos, which is never written to"):
            suspects_page(given, audit, out=data / "train" / "page.html", options=toy("image"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the page takes a file in a folder that is there"):
        suspects_page(data, audit, out=tmp_path, options=toy("image"))
    some = [shutil.copy(data / "train" / "red" / f"{i}.png", tmp_path / f"{i}.png") for i in range(2)]
    with pytest.raises(UsageError, match="lies inside the data"):
        suspects_page(some, audit, out=some[1], options=toy("image"))


def test_without_jinja2_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ExtraMissing, match=r"the page of suspects needs jinja2, .* 'headstart\[report\]'"):
        suspects_page(tmp_path / "photos", audit_of([]), out=tmp_path / "page.html", options=toy("image"))
