"""The page in a real browser: no error, no request, no sideways scrolling, and a first screen that says what it has to say."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import headstart as hs
from headstart.reporting.report import report
from headstart.reporting.suspects import suspects_page
from support.browser import Browser, Visit, browser
from support.cache import cache_in
from support.made import photos, reviews, sounds

# A printer prints what a person sees in dark.
DARK = [{"name": "prefers-color-scheme", "value": "dark"}]
WIDTHS = [(1280, 900), (390, 844)]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A report of each modality, made once."""
    with cache_in(tmp_path_factory.mktemp("cache")):
        folders = {modality: tmp_path_factory.mktemp(modality) for modality in ("image", "text", "audio")}
        return {modality: page_of(folder, modality) for modality, folder in folders.items()}


def page_of(folder: Path, modality: str) -> Path:
    """A report on made data of one modality, with some labels swapped so that there are errors to show."""
    data = {"image": photos, "audio": sounds}.get(modality, reviews)(
        folder / ("data.csv" if modality == "text" else "data")
    )
    if modality == "image":
        for i in range(3):
            (data / "val" / "red" / f"{i}.png").rename(data / "val" / "blue" / f"red{i}.png")
    model = hs.fit(data, backbone=f"toy:{modality}")
    return report(model, data, out=folder / "report.html").path


@pytest.mark.parametrize("modality", ["image", "text", "audio"])
def test_a_page_opens_without_error_and_asks_for_nothing(
    chromium: Browser, pages: Mapping[str, Path], modality: str
) -> None:
    visit = chromium.open(pages[modality])
    for width, height in WIDTHS:
        for dark in (False, True):
            visit.resize(width, height, dark=dark)
            assert visit.run("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    assert visit.run("document.querySelectorAll('main > section').length") >= 7
    assert (visit.errors, visit.requests) == ([], [])


def suspects_of(folder: Path, modality: str) -> Path:
    """A page of suspects on made data of one modality, with planted copies, and ids and labels that are long."""
    data = {"image": photos, "audio": sounds}.get(modality, reviews)(
        folder / ("data.csv" if modality == "text" else "data")
    )
    if modality == "text":
        rows = data.read_text(encoding="utf-8").splitlines()
        copies = [f"{text.rsplit(',', 1)[0].upper()}!,{'long' * 30}" for text in rows[1:5]]
        data.write_text("\n".join([*rows, *copies, *rows[5:7]]) + "\n", encoding="utf-8")
    else:
        own = sorted(each for each in data.rglob("*") if each.suffix in {".png", ".wav"})
        (own[0].parent / f"{'copy' * 40}{own[0].suffix}").write_bytes(own[0].read_bytes())
        other = next(each for each in own if each.parent.name != own[0].parent.name)
        (own[0].parent / f"torn{own[0].suffix}").write_bytes(other.read_bytes())
        (own[0].parent / f"broken{own[0].suffix}").write_bytes(own[0].read_bytes()[:60])
    options = hs.CheckOptions(backbone=f"toy:{modality}")
    return suspects_page(data, hs.check(data, options=options), out=folder / "suspects.html", options=options)


@pytest.mark.parametrize("modality", ["image", "text", "audio"])
def test_a_page_of_suspects_opens_without_error_and_asks_for_nothing(
    chromium: Browser, tmp_path: Path, modality: str
) -> None:
    visit = chromium.open(suspects_of(tmp_path, modality))
    grounds = set()
    for width, height in [(1200, 900), (400, 844)]:
        for dark in (False, True):
            visit.resize(width, height, dark=dark)
            assert visit.run("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
            grounds.add(visit.run("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2, "light and dark"
    assert visit.run("document.querySelectorAll('main > section').length") >= 4
    shown = {"image": "img", "text": "blockquote", "audio": "audio"}[modality]
    assert visit.run(f"document.querySelectorAll('.twins .sides > div:nth-child(2) > {shown}').length") > 0
    broken = "[...document.querySelectorAll('img')].filter((each) => !each.complete || !each.naturalWidth).length"
    visit.run("document.querySelectorAll('img').forEach((each) => { each.loading = 'eager'; })")
    assert visit.run(broken) == 0
    assert (visit.errors, visit.requests) == ([], [])


def test_a_page_of_suspects_runs_no_script_and_takes_no_other_style(chromium: Browser, tmp_path: Path) -> None:
    page = suspects_of(tmp_path, "text")
    planted = "<script>document.title = 'taken over'</script><style>body{display:none}</style></body>"
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", planted), encoding="utf-8")
    visit = chromium.open(page)
    assert len([each for each in visit.errors if "Content Security Policy" in each]) == 2, visit.errors
    assert visit.run("document.title") == "data.csv: what looks wrong"
    assert visit.run("getComputedStyle(document.body).display") == "block"


def test_a_printed_page_of_suspects_is_light(chromium: Browser, tmp_path: Path) -> None:
    visit = chromium.open(suspects_of(tmp_path, "image"))
    visit.resize(1200, 900, dark=True)
    dark = visit.run("getComputedStyle(document.body).backgroundColor")
    chromium.call("Emulation.setEmulatedMedia", visit.session, media="print", features=DARK)
    assert visit.run("getComputedStyle(document.body).backgroundColor") != dark
    assert visit.run("getComputedStyle(document.querySelector('.toc')).display") == "none"
    assert visit.run("getComputedStyle(document.querySelector('.there')).display") == "none"


@pytest.mark.parametrize(("width", "height"), WIDTHS)
def test_the_first_screen_tells_verdict_figure_and_doubt(
    chromium: Browser, pages: Mapping[str, Path], width: int, height: int
) -> None:
    visit = chromium.open(pages["image"])
    visit.resize(width, height)
    for part in (".verdict", ".big", ".headline .interval", ".doubt .lead"):
        bottom = visit.run(f"document.querySelector('{part}').getBoundingClientRect().bottom")
        assert 0 < bottom <= height, f"{part} ends at {bottom:.0f} of {height}"


def test_the_theme_and_the_map_answer(chromium: Browser, pages: Mapping[str, Path]) -> None:
    visit = chromium.open(pages["image"])
    visit.resize(1280, 900)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = visit.run(ground)
    visit.run("document.getElementById('theme').click()")
    assert visit.run(ground) != light
    press = "document.getElementById('mapbox').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
    assert visit.run("document.getElementById('tip').hidden") is True
    visit.run(press)
    assert visit.run("document.getElementById('tip').hidden") is False
    assert visit.run("document.getElementById('tip-label').textContent").startswith("is ")
    assert "data:image/jpeg" in visit.run("getComputedStyle(document.getElementById('thumb')).backgroundImage")[:40]
    visit.run("document.querySelector('#legend button').click()")
    assert visit.run("document.querySelectorAll('.map.some circle.lit').length") > 0
    assert visit.errors == []


def test_print_is_light_and_opens_what_is_folded(chromium: Browser, pages: Mapping[str, Path]) -> None:
    visit = chromium.open(pages["image"])
    visit.resize(1280, 900, dark=True)
    dark = visit.run("getComputedStyle(document.body).backgroundColor")
    chromium.call("Emulation.setEmulatedMedia", visit.session, media="print", features=DARK)
    assert visit.run("getComputedStyle(document.body).backgroundColor") != dark
    assert visit.run("getComputedStyle(document.querySelector('.toc')).display") == "none"
    visit.run("dispatchEvent(new Event('beforeprint'))")
    assert visit.run("[...document.querySelectorAll('details')].every((each) => each.open)") is True


Planted = Callable[[str], Visit]


@pytest.fixture
def planted(chromium: Browser, pages: Mapping[str, Path], tmp_path: Path) -> Planted:
    """Open a report with something planted before the end of its body."""

    def plant(markup: str) -> Visit:
        page, text = tmp_path / "planted.html", pages["text"].read_text(encoding="utf-8")
        assert text.count("</body>") == 1
        page.write_text(text.replace("</body>", f"{markup}</body>"), encoding="utf-8")
        return chromium.open(page)

    return plant


def test_a_planted_console_error_is_seen(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "planted.html"
    page.write_text("<script>console.error('planted'); throw new Error('thrown')</script>", encoding="utf-8")
    errors = chromium.open(page).errors
    assert "planted" in errors
    assert any("thrown" in each for each in errors)


def test_a_planted_request_is_seen(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "planted.html"
    page.write_text("<img src='http://127.0.0.1:9/planted.png'>", encoding="utf-8")
    assert chromium.open(page).requests == ["http://127.0.0.1:9/planted.png"]


@pytest.mark.parametrize(
    "markup",
    [
        "<script>document.title = 'taken over'</script>",
        "<img src='http://127.0.0.1:9/planted.png'>",
        "<iframe src='http://127.0.0.1:9/'></iframe>",
    ],
    ids=["script", "picture", "frame"],
)
def test_the_policy_of_the_page_refuses_what_is_not_its_own(planted: Planted, markup: str) -> None:
    visit = planted(markup)
    assert any("Content Security Policy" in each for each in visit.errors), visit.errors
    assert visit.run("document.title") != "taken over"


HOSTILE = [
    "<script>document.title='taken'</script>",
    '"><img src=x onerror=alert(1)>',
    "שלום <b>עולם</b>",
    "🐜</script>&amp;",
]


def test_hostile_names_and_texts_stay_text(chromium: Browser, tmp_path: Path) -> None:
    table = tmp_path / "hostile.jsonl"
    rows = [
        {"text": f"{name} {'splendid' if i % 2 else 'dull'} {i}", "label": HOSTILE[(i + (i == 9)) % 2]}
        for i in range(40)
        for name in HOSTILE[2:]
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = hs.fit(table, target="label", backbone="toy:text")
    visit = chromium.open(report(model, table, out=tmp_path / "report.html").path)
    assert (visit.errors, visit.requests) == ([], [])
    assert "taken" not in visit.run("document.title").replace("hostile", "")
    assert visit.run("document.querySelectorAll('script').length") == 2
    assert visit.run("document.querySelectorAll('img, b b').length") == 0
    shown = visit.run("document.querySelector('#labels').textContent")
    assert HOSTILE[0] in shown
    assert HOSTILE[1] in shown
