"""The page in a real browser, with a real server behind it: what a person drops is answered and explained, and nothing else is asked for."""

import base64
import csv
import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from support.browser import Browser, Visit, browser
from support.cache import cache_in
from support.made import photos, reviews, sounds
from support.serving import PATIENCE, Running, running

WIDTHS = [(1280, 900), (390, 844)]
# A camera and a microphone that Chromium makes up, and that it lets the page have without asking.
_DEVICES = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("page")
    with cache_in(place / "cache"):
        for name, data in (
            ("image", photos(place / "photos")),
            ("text", reviews(place / "reviews.csv")),
            ("audio", sounds(place / "sounds")),
        ):
            hs.fit(data, options=hs.FitOptions(backbone=f"toy:{name}", with_examples=True)).save(place / name)
    return place


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    with running(folder / "image", folder / "text", folder / "audio", "--max-items", "8") as found:
        yield found


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile"), *_DEVICES) as opened:
        yield opened


@pytest.fixture
def visit(server: Running, chromium: Browser) -> Visit:
    return chromium.open(f"{server.address}/")


def until(visit: Visit, script: str) -> Any:
    """The value of an expression once it is true."""
    end = time.monotonic() + PATIENCE
    while not visit.run(f"Boolean({script})"):
        assert time.monotonic() < end, f"{script} stays false; the page says {visit.run('document.body.innerText')!r}"
        visit.browser.settle()
    return visit.run(script)


def choose(visit: Visit, model: str) -> None:
    until(visit, "document.querySelectorAll('#model option').length === 3")
    visit.run(
        f"(() => {{ const s = document.getElementById('model'); s.value = {model!r}; s.dispatchEvent(new Event('change')); }})()"
    )


def between(visit: Visit, body: str) -> None:
    """Stand between the page and the server: JavaScript that gets `path`, a text, and `options`, and may return an answer of its own in the place of `inner()`'s."""
    visit.run(
        f"""(() => {{ const fetched = window.fetch; window.asked = [];
        window.fetch = async (given, options) => {{
            const path = String(given), inner = () => fetched(given, options);
            window.asked.push({{ path, signal: options?.signal, late: options?.signal?.aborted }});
            {body}
            return inner(); }}; }})()"""
    )


def drop(visit: Visit, files: list[Path]) -> None:
    """Drop files on the page, as a person does with a mouse."""
    given = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in files]
    visit.run(
        f"""(() => {{
        const moved = new DataTransfer();
        for (const [name, text] of {json.dumps(given)})
            moved.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
        document.getElementById('ask').dispatchEvent(new DragEvent('drop', {{ dataTransfer: moved, bubbles: true, cancelable: true }}));
        }})()"""
    )


def downloaded(visit: Visit, files: list[Path]) -> list[str]:
    """The lines of the table that is saved where some files were dropped and answered."""
    visit.run(
        """(() => { window.saved = []; const inner = URL.createObjectURL;
        URL.createObjectURL = (blob) => { if (blob.type === 'text/csv') blob.text().then((text) => window.saved.push(text)); return inner(blob); };
        HTMLAnchorElement.prototype.click = () => {}; })()"""
    )
    drop(visit, files)
    until(visit, "document.querySelector('.download') && !document.querySelector('.download').disabled")
    visit.run("document.querySelector('.download').click()")
    [table] = until(visit, "window.saved.length ? window.saved : null")
    return list(table.lstrip("\ufeff").splitlines())


def text_of(visit: Visit, place: str) -> str:
    return str(visit.run(f"document.querySelector({place!r}).innerText"))


def own(visit: Visit, server: Running) -> None:
    """Nothing went wrong, and nobody but the server was asked."""
    assert visit.errors == []
    assert [each for each in visit.requests if not each.startswith(server.address)] == []


def seen(visit: Visit, width: int, height: int, *, dark: bool) -> None:
    """What a person sees at a size: not one colour, dark where that is asked for. HEADSTART_SCREENSHOTS names a folder that keeps it."""
    content = base64.b64decode(visit.picture())
    if folder := os.environ.get("HEADSTART_SCREENSHOTS"):
        Path(folder, f"page-{width}-{'dark' if dark else 'light'}.png").write_bytes(content)
    shown = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert shown.shape == (height, width, 3)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 500, "the answered picture and its map are in sight"
    assert bool(np.median(shown) < 100) is dark


def test_a_picture_is_answered_and_explained(visit: Visit, server: Running, folder: Path) -> None:
    choose(visit, "image")
    picture = folder / "photos" / "val" / "red" / "0.png"
    drop(visit, [picture])
    until(visit, "document.querySelector('.stage canvas') && document.querySelectorAll('.near img').length === 5")
    expected = hs.predict(folder / "image", [picture])[0]
    assert text_of(visit, ".label").startswith(expected["label"])
    shares = visit.run("[...document.querySelectorAll('.bars .track i')].map((each) => parseFloat(each.style.width))")
    assert shares == pytest.approx(sorted((100 * p for p in expected["probabilities"].values()), reverse=True), abs=0.1)
    assert text_of(visit, ".name") == "0.png"
    assert visit.run("document.querySelector('.stage img').width") == 192, (
        "48 pixels are shown as large as one can look at"
    )
    assert "train/red/1.png" in text_of(visit, ".near"), "an id is broken where a folder ends, and is still what it was"
    assert "Red: hiding it lowers" in text_of(visit, ".legend")
    assert until(visit, "[...document.querySelectorAll('.near img')].every((each) => each.naturalWidth > 0)")
    painted = visit.run(
        """(() => { const c = document.querySelector('.stage canvas');
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((value) => value > 0); })()"""
    )
    assert painted
    for width, height in WIDTHS:
        for dark in (False, True):
            visit.resize(width, height, dark=dark)
            assert visit.run("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
            seen(visit, width, height, dark=dark)
    own(visit, server)


def test_a_text_is_answered_word_by_word(visit: Visit, server: Running, folder: Path) -> None:
    choose(visit, "text")
    words = "film 7 was lovely , clever and <b>warm</b> \U0001f600 indeed"
    visit.run(f"document.getElementById('text').value = {json.dumps(words)}")
    visit.run("document.getElementById('write').requestSubmit()")
    until(visit, "document.querySelectorAll('mark').length > 3")
    assert text_of(visit, ".shown blockquote") == words, "markup in a text stays a text"
    assert text_of(visit, ".label").startswith(hs.predict(folder / "text", [words])[0]["label"])
    assert until(visit, "document.querySelectorAll('.near blockquote').length === 5")
    own(visit, server)


def test_several_files_become_a_table_to_download(visit: Visit, server: Running, folder: Path, tmp_path: Path) -> None:
    choose(visit, "image")
    bad = tmp_path / "=bad.png"
    bad.write_bytes(b"no picture")
    files = [*sorted((folder / "photos").rglob("*.png"))[:16], bad]  # the last one comes alone
    lines = downloaded(visit, files)
    assert visit.run("document.querySelectorAll('tbody tr').length") == len(files)
    assert "no JPEG, PNG" in text_of(visit, "tbody tr:last-child")
    assert text_of(visit, "#results h2") == "17 pictures, 1 of them without an answer"
    assert visit.run("document.querySelectorAll('tbody img').length") == 16, (
        "what cannot be shown leaves no broken picture"
    )
    for width, height in WIDTHS:
        visit.resize(width, height)
        out = "[...document.querySelectorAll('tbody td')].filter((each) => each.getBoundingClientRect().right > innerWidth)"
        assert visit.run(f"{out}.length") == 0, "every reason and every button is in sight"
        assert visit.run(
            "document.querySelector('.scroll').scrollWidth <= document.querySelector('.scroll').clientWidth"
        )
    rows = list(csv.reader(lines))
    assert rows[0] == ["input", "answer", "probability", "set", "outlier", "blue", "red", "error"]
    assert len(rows) == 1 + len(files)
    assert rows[-1][0] == "'=bad.png", "a name that looks like a formula is none in a spreadsheet"
    assert all(line.startswith('"') and line.endswith('"') for line in lines)
    visit.run("document.querySelector('tbody .link').click()")
    until(visit, "document.querySelector('.answer canvas')")
    visit.run("document.querySelector('#results > button').click()")
    assert visit.run("document.querySelectorAll('tbody tr').length") == len(files)
    assert visit.run("document.activeElement.getAttribute('aria-label')") == f"Why: {files[0].name}"
    own(visit, server)


def test_numbers_are_shown_as_they_are(folder: Path, chromium: Browser, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{'long ' * (i % 20)}film {i},{-2500 + 50 * (i % 20) + rng.integers(3)}" for i in range(120)]
    (tmp_path / "values.csv").write_text("text,value\n" + "\n".join(lines), encoding="utf-8")
    reading = hs.ReadOptions(task="regression", target="value")
    hs.fit(tmp_path / "values.csv", options=hs.FitOptions(backbone="toy:text", reading=reading)).save(
        tmp_path / "values"
    )
    with running(tmp_path / "values") as found:
        visit = chromium.open(f"{found.address}/")
        until(visit, "!document.getElementById('ask').hidden")
        visit.run("document.getElementById('text').value = 'long long film 2'")
        visit.run("document.getElementById('write').requestSubmit()")
        until(visit, "document.querySelector('.label')")
        [answer] = found.client.post("/predict", content=b"long long film 2").json()["predictions"]
        shown = float(str(visit.run("document.querySelector('.label').firstChild.textContent")))
        assert shown == pytest.approx(answer["value"], rel=1e-3)
        until(visit, "document.querySelectorAll('.near li').length === 5")
        assert visit.run("document.querySelectorAll('.near b').length") == 0, "nothing is told of them but their ids"
        assert text_of(visit, ".near li .id")
        files = []
        for number, words in enumerate(("long long film 2", "film 3", "long film 4")):
            files.append(tmp_path / f"{number}.txt")
            files[-1].write_text(words, encoding="utf-8")
        rows = list(csv.DictReader(downloaded(visit, files)))
        assert list(rows[0]) == ["input", "value", "low", "high", "outlier", "error"]
        for key in ("value", "low", "high"):
            assert float(rows[0][key]) == pytest.approx(answer[key], rel=1e-9)


def test_several_labels_are_divided_by_a_sign_that_divides_no_cells(
    folder: Path, chromium: Browser, tmp_path: Path
) -> None:
    tags = ("good|=1+1", "bad;=cmd()", "good|bad;=cmd()")
    lines = [f"film {'dull' if 'bad' in tags[i % 3] else 'warm'} {i},{tags[i % 3]}" for i in range(60)]
    (tmp_path / "tags.csv").write_text("text,tags\n" + "\n".join(lines) + "\n", encoding="utf-8")
    reading = hs.ReadOptions(task="multi_label", target="tags", separator="|")
    hs.fit(tmp_path / "tags.csv", options=hs.FitOptions(backbone="toy:text", reading=reading)).save(tmp_path / "tags")
    with running(tmp_path / "tags") as found:
        visit = chromium.open(f"{found.address}/")
        until(visit, "!document.getElementById('ask').hidden")
        visit.run("document.getElementById('text').value = 'film dull 2'")
        visit.run("document.getElementById('write').requestSubmit()")
        until(visit, "document.querySelectorAll('.near li').length === 5")
        assert visit.run("document.querySelectorAll('.near b').length") == 0
        files = []
        for number in range(3):
            files.append(tmp_path / f"a;-{number}.txt")
            files[-1].write_text(lines[number].split(",")[0], encoding="utf-8")
        rows = list(csv.reader(downloaded(visit, files)))
    assert rows[0][1:4] == ["answer", "probability", "set"]
    assert rows[0][5:] == ["'=1+1", "bad;'=cmd()", "good", "error"]
    answers = {label for row in rows[1:] for label in row[1].split(" | ")}
    assert answers <= {"", "'=1+1", "=1+1", "bad;'=cmd()", "good"}
    assert len(answers - {""}) > 1
    assert rows[1][0] == "a;'-0.txt", "what follows a semicolon is no formula either"


def test_what_is_dropped_beside_the_card_does_not_leave_the_page(visit: Visit, server: Running, folder: Path) -> None:
    choose(visit, "image")
    content = base64.b64encode((folder / "photos" / "val" / "red" / "0.png").read_bytes()).decode()
    left = visit.run(
        f"""(() => {{
        const dropped = (place, fill) => {{
            const moved = new DataTransfer();
            fill(moved);
            return ['dragover', 'drop'].map((kind) => place.dispatchEvent(
                new DragEvent(kind, {{ dataTransfer: moved, bubbles: true, cancelable: true }})));
        }};
        const bytes = Uint8Array.from(atob({content!r}), (c) => c.charCodeAt(0));
        return [
            dropped(document.querySelector('footer'), (moved) => moved.items.add(new File([bytes], 'beside.png'))),
            dropped(document.body, (moved) => moved.setData('text/uri-list', 'https://example.org/')),
            dropped(document.getElementById('token'), (moved) => moved.setData('text/plain', 'words')),
        ]; }})()"""
    )
    assert left == [[False, False], [False, False], [True, True]], "words still fall into a field of text"
    until(visit, "document.querySelector('.answer')")
    assert text_of(visit, ".name") == "beside.png"
    own(visit, server)


def test_a_token_that_is_wanted_in_the_midst_costs_no_answer(visit: Visit, folder: Path) -> None:
    choose(visit, "image")
    visit.run(
        """(() => { const inner = window.fetch; window.asked = 0;
        window.fetch = async (path, options) => {
            if (String(path).startsWith('predict') && ++window.asked > 1 && !options.headers.Authorization)
                return new Response('{"error": "this server wants its token"}', { status: 401 });
            return inner(path, options); }; })()"""
    )
    files = sorted((folder / "photos").rglob("*.png"))[:20]
    drop(visit, files)
    until(visit, "!document.getElementById('key').hidden")
    assert visit.run("document.querySelectorAll('tbody tr').length") == 8, "what is answered stays"
    visit.run("document.getElementById('token').value = 'given'")
    visit.run("document.getElementById('key').requestSubmit()")
    until(visit, "document.querySelector('.download') && !document.querySelector('.download').disabled")
    assert visit.run("document.querySelectorAll('tbody tr').length") == 20
    assert visit.run("document.querySelectorAll('tbody .wrong').length") == 0
    assert visit.run("document.getElementById('key').hidden")
    assert not visit.run("document.getElementById('ask').hidden")
    visit.run("sessionStorage.clear()")


def test_a_busy_server_is_asked_again_when_it_says(visit: Visit, folder: Path) -> None:
    choose(visit, "image")
    visit.run(
        """(() => { const inner = window.fetch; window.times = [];
        window.fetch = async (path, options) => {
            if (!String(path).startsWith('predict')) return inner(path, options);
            window.times.push(performance.now());
            if (window.times.length > 1) return inner(path, options);
            return new Response('{"error": "busy"}', { status: 429, headers: { 'Retry-After': '3' } }); }; })()"""
    )
    drop(visit, [folder / "photos" / "val" / "red" / "0.png"])
    said = "['results', 'status'].map((each) => document.getElementById(each).textContent)"
    until(visit, f"{said}.every((each) => each === 'The server is busy: it is asked again in 3 s.')")
    until(visit, "document.querySelector('.answer')")
    first, second = visit.run("window.times")
    assert 3000 <= second - first < 8000


@pytest.mark.parametrize("limit", [("--max-body", "150kB"), ("--max-seconds", "2s")])
def test_a_recording_ends_before_it_is_too_long(limit: tuple[str, str], folder: Path, chromium: Browser) -> None:
    with running(folder / "audio", *limit) as found:
        visit = chromium.open(f"{found.address}/")
        until(visit, "!document.getElementById('ask').hidden")
        visit.run("document.getElementById('device').click()")
        until(visit, "document.getElementById('elapsed').innerText.startsWith('Stopped after')")
        assert "the server takes no longer recording" in text_of(visit, "#elapsed")
        assert text_of(visit, "#take") == "Ask"
        visit.run("document.getElementById('take').click()")
        until(visit, "document.querySelector('.answer') || !document.getElementById('problem').hidden")
        assert visit.run("document.getElementById('problem').hidden"), text_of(visit, "#problem")
        assert text_of(visit, ".name") == "recording.wav"


def test_a_file_that_cannot_be_read_is_one_sentence(visit: Visit, tmp_path: Path) -> None:
    choose(visit, "image")
    (tmp_path / "notes.png").write_bytes(b"words")
    drop(visit, [tmp_path / "notes.png"])
    until(visit, "!document.getElementById('problem').hidden")
    assert text_of(visit, "#problem").startswith("notes.png: the input is no JPEG, PNG")


def test_the_camera_and_the_microphone(visit: Visit, server: Running) -> None:
    for model, button in (("image", "Take the picture"), ("audio", "Stop, and ask")):
        choose(visit, model)
        visit.run("document.getElementById('device').click()")
        until(visit, "!document.getElementById('live').hidden")
        assert text_of(visit, "#take") == button
        assert visit.run("document.activeElement.id") == "take"
        if model == "audio":
            until(visit, "parseFloat(document.getElementById('elapsed').innerText) > 1")
        visit.run("document.getElementById('take').click()")
        until(visit, "document.querySelector('.answer') || !document.getElementById('problem').hidden")
        assert visit.run("document.getElementById('problem').hidden"), text_of(visit, "#problem")
        assert text_of(visit, ".name") in {"camera.jpg", "recording.wav"}
        assert visit.run("document.getElementById('live').hidden")
        assert visit.run("document.activeElement.id") == "device", "the focus is not lost with what is hidden"
    own(visit, server)


def test_a_token_is_asked_for_and_kept_for_the_tab(folder: Path, chromium: Browser) -> None:
    with running(folder / "text", HEADSTART_TOKEN="s3cret") as found:
        visit = chromium.open(f"{found.address}/")
        until(visit, "!document.getElementById('key').hidden")
        assert visit.run("document.getElementById('ask').hidden")
        for token, shown in (("wrong", False), ("s3cret", True)):
            visit.run(f"document.getElementById('token').value = {token!r}")
            visit.run("document.getElementById('key').requestSubmit()")
            until(visit, f"document.getElementById({'ask' if shown else 'problem'!r}).hidden === false")
            if not shown:
                assert text_of(visit, "#problem") == "The server does not take this token."
        assert visit.run("document.getElementById('key').hidden")
        assert text_of(visit, "#title") == "Bad or good?"
        assert visit.run("document.activeElement.id") == "choose", "the focus is not lost with what is hidden"
        visit.run("document.getElementById('write').requestSubmit()")
        assert text_of(visit, "#problem") == "There is no text yet: write one, then ask."
        assert visit.run("document.activeElement.id") == "text"
        visit.run("sessionStorage.clear()")


def test_an_answer_that_is_no_longer_wanted_is_not_shown(visit: Visit, folder: Path) -> None:
    choose(visit, "image")
    red, blue = (folder / "photos" / "val" / colour / "1.png" for colour in ("red", "blue"))
    visit.run(
        """(() => { const inner = window.fetch; let first = true;
        window.fetch = async (path, asked) => {
            const late = first && String(path).startsWith('predict'); first = first && !late;
            const answer = await inner(path, late ? { ...asked, signal: undefined } : asked);
            if (late) { await new Promise((done) => setTimeout(done, 700)); window.came = true; }
            return answer; }; })()"""
    )
    drop(visit, [red])
    drop(visit, [blue])
    until(visit, "document.querySelector('.stage canvas') && window.came")
    visit.browser.settle()
    assert visit.run("document.querySelectorAll('.answer').length") == 1
    assert text_of(visit, ".label").startswith("blue")


def test_a_table_goes_on_while_one_of_its_answers_is_looked_at(visit: Visit, server: Running, folder: Path) -> None:
    choose(visit, "image")
    between(
        visit,
        "if (path.includes('neighbours=0') && document.querySelector('tbody tr'))"
        " await new Promise((done) => { window.goOn = done; });",
    )
    files = sorted((folder / "photos").rglob("*.png"))[:20]
    drop(visit, files)
    until(visit, "window.goOn && document.querySelectorAll('tbody .link').length === 8")
    visit.run("document.querySelector('tbody .link').click()")
    until(visit, "document.querySelector('.answer .stage canvas')")
    assert visit.run("document.activeElement.innerText") == "Back to all pictures"
    visit.run("window.goOn()")
    visit.run("document.querySelector('#results > button').click()")
    assert visit.run("document.activeElement.getAttribute('aria-label')") == f"Why: {files[0].name}"
    until(visit, "(window.goOn(), !document.querySelector('.download').disabled)")
    assert visit.run("document.querySelectorAll('tbody .link').length") == 20
    assert text_of(visit, "#results h2") == "20 pictures"
    own(visit, server)


def test_an_error_where_one_answer_is_looked_at_keeps_the_table(visit: Visit, folder: Path) -> None:
    choose(visit, "image")
    between(
        visit,
        "if (path.includes('neighbours=5')) return new Response('{\"error\": \"too late\"}', { status: 503 });",
    )
    drop(visit, sorted((folder / "photos").rglob("*.png"))[:2])
    until(visit, "document.querySelector('.download') && !document.querySelector('.download').disabled")
    visit.run("document.querySelector('tbody .link').click()")
    until(visit, "!document.getElementById('problem').hidden")
    assert text_of(visit, "#problem") == "0.png: too late"
    assert visit.run("document.activeElement.innerText") == "Back to all pictures"
    visit.run("document.activeElement.click()")
    assert visit.run("document.querySelectorAll('tbody .link').length") == 2
    assert visit.run("document.getElementById('problem').hidden"), "what is shown again has no error"
    assert not visit.run("document.querySelector('.download').disabled")


@pytest.mark.parametrize("busy", [False, True])
def test_what_is_no_longer_wanted_is_given_up(busy: bool, visit: Visit, folder: Path) -> None:
    choose(visit, "image")
    never = "new Promise((done, fail) => options.signal?.addEventListener('abort', () => fail(options.signal.reason)))"
    late = "new Response('{\"error\": \"busy\"}', { status: 429, headers: { 'Retry-After': '1' } })"
    between(visit, f"if (path.startsWith('explain')) return {late if busy else never};")
    maps = "window.asked.filter((each) => each.path.startsWith('explain'))"
    for colour in ("red", "blue"):
        drop(visit, [folder / "photos" / "val" / colour / "0.png"])
        until(visit, f"document.querySelector('.label')?.innerText.startsWith({colour!r}) && {maps}.length")
    wanted = f"{maps}.filter((each) => each.signal?.aborted === false)"
    if busy:  # the first one's next try would have been due
        until(visit, f"{wanted}.length > 1")
    assert visit.run(f"new Set({wanted}.map((each) => each.signal)).size") == 1, "one map is still waited for"
    assert visit.run(f"{maps}[0].signal.aborted")
    assert not visit.run(f"{maps}.some((each) => each.late)"), "nothing is asked that nobody waits for"
    assert visit.run("document.getElementById('problem').hidden"), "that is no error"
    assert visit.errors == []


def test_a_folder_is_no_lost_server(visit: Visit, server: Running, folder: Path) -> None:
    choose(visit, "image")
    visit.resize(*WIDTHS[0])
    here = folder / "photos" / "val" / "red"
    x, y = visit.run(
        "(() => { const box = document.getElementById('drop').getBoundingClientRect(); return [box.x + 20, box.y + 20]; })()"
    )
    moved = {"items": [], "files": [str(here), str(here / "3.png")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        visit.browser.call("Input.dispatchDragEvent", visit.session, type=kind, x=x, y=y, data=moved)
    until(visit, "document.querySelector('.answer')")
    assert text_of(visit, ".name") == "3.png", "the rest is answered"
    assert text_of(visit, "#problem").startswith("red: a folder, or a file that cannot be read.")
    own(visit, server)


def test_a_server_that_is_gone_is_said(visit: Visit) -> None:
    gone = "window.fetch = async () => { throw new TypeError('gone'); };"
    visit.browser.call("Page.addScriptToEvaluateOnNewDocument", visit.session, source=gone)
    visit.run("location.reload()")
    visit.browser.settle()
    until(visit, "document.getElementById('problem')?.hidden === false")
    assert text_of(visit, "#problem").startswith("The server cannot be reached.")
    assert text_of(visit, "#lead") == "", "nobody is asked any more"


def test_the_line_of_a_short_recording_is_as_long_as_its_player(visit: Visit, server: Running, folder: Path) -> None:
    choose(visit, "audio")
    drop(visit, [folder / "sounds" / "low" / "0.wav"])
    until(visit, "document.querySelector('.spans')")
    ends = "document.querySelector('{}').getBoundingClientRect().right"
    assert visit.run(f"{ends.format('.spans')} - {ends.format('.spans i:last-child')}") < 1
    assert "0.1 to 0.1 s" not in text_of(visit, ".legend")
    own(visit, server)
