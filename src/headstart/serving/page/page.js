"use strict";
(() => {
  const find = (id) => document.getElementById(id), root = document.documentElement;
  const kept = (name, value) => {
    try {
      if (value === undefined) return sessionStorage.getItem(name);
      sessionStorage.setItem(name, value);
    } catch { /* a browser may keep nothing */ }
    return null;
  };
  find("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept("headstart-theme", root.dataset.theme);
  });
  const theme = kept("headstart-theme");
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;

  // Every text from elsewhere goes into the page as text.
  const make = (name, words = "", kind = "") => {
    const made = document.createElement(name);
    if (words !== "") made.textContent = words;
    if (kind) made.className = kind;
    return made;
  };
  const percent = (share) => {
    const digits = share > 0.0995 && share < 0.995 ? 0 : 1;
    const shown = (100 * share).toFixed(digits);
    if (share < 1 && Number(shown) >= 100) return "> 99.9 %";
    return share > 0 && Number(shown) === 0 ? "< 0.1 %" : `${shown} %`;
  };
  const plain = (value) => String(Number(Number(value).toPrecision(4)));

  // Without the type that a system gives to a file: it is not what decides how the server reads it.
  const bare = (input) => new Blob([input.content]);
  const KINDS = {
    image: { what: "picture", many: "pictures", accept: "image/*", hint: "JPEG, PNG, WebP, BMP, TIFF or GIF" },
    audio: { what: "recording", many: "recordings", accept: "audio/*", hint: "WAV, FLAC, OGG, MP3 or AIFF" },
    text: { what: "text", many: "texts", accept: ".txt,.md,text/plain", hint: "Text files in UTF-8" },
  };
  const AT_ONCE = 16;
  let models = [], token = kept("headstart-token") || "", round = 0;
  const urls = [];
  const url = (blob) => {
    urls.push(URL.createObjectURL(blob));
    return urls[urls.length - 1];
  };
  const current = () => models.find((each) => each.name === find("model").value) || models[0];

  class Refused extends Error {
    constructor(status, words) {
      super(words);
      this.status = status;
    }
  }
  const ask = async (path, options = {}) => {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch {
      throw new Refused(0, "The server cannot be reached. Is it still running?");
    }
    if (answer.ok) return answer;
    let words = `The server answered with ${answer.status}.`;
    try {
      words = (await answer.json()).error || words;
    } catch { /* its status alone */ }
    throw new Refused(answer.status, words);
  };
  const say = (words) => {
    find("problem").hidden = !words;
    find("problem").textContent = words;
  };
  // What a screen reader is told; the cards themselves are read when one goes there.
  const tell = (words) => { find("status").textContent = words; };
  const wait = (seconds) => new Promise((done) => { setTimeout(done, 1000 * seconds); });
  // A server that is busy is asked again, a little later each time.
  const patiently = async (path, options) => {
    for (let tries = 0; ; tries += 1) {
      try {
        return await ask(path, options);
      } catch (refused) {
        if (refused.status !== 429 || tries > 5) throw refused;
        await wait(1 + tries);
      }
    }
  };

  const shown = (input, kind) => {
    if (kind === "image") {
      const stage = make("div", "", "stage"), picture = make("img");
      picture.alt = "";
      picture.src = url(input.content);
      stage.append(picture);
      picture.addEventListener("error", () => stage.replaceWith(make("p", "Your browser cannot show this picture.", "muted small")));
      return stage;
    }
    if (kind === "audio") {
      const box = make("div"), player = make("audio");
      player.controls = true;
      player.src = url(input.content);
      box.append(player);
      return box;
    }
    const quote = make("blockquote");
    quote.dir = "auto";
    input.content.text().then((words) => { quote.textContent = words; });
    return quote;
  };

  const bars = (list, said) => {
    if (!said.probabilities) return;
    const inside = new Set(said.set || said.labels || [said.label]);
    const order = Object.entries(said.probabilities).sort((a, b) => b[1] - a[1]);
    for (const [label, share] of order.slice(0, 6)) {
      const row = make("li", "", inside.has(label) ? "in" : "");
      const who = make("span", label, "who"), track = make("span", "", "track"), bar = make("i");
      who.dir = "auto";
      who.title = label;
      bar.style.width = `${100 * share}%`;
      track.append(bar);
      row.append(who, track, make("span", percent(share), "num"));
      list.append(row);
    }
    if (order.length > 6) list.append(make("li", `and ${order.length - 6} more`, "muted small"));
  };
  const headline = (said) => {
    if (said.label !== undefined) return said.label;
    if (said.labels) return said.labels.length ? said.labels.join(", ") : "none of the labels";
    return plain(said.value);
  };
  const sure = (said) => {
    if (said.probability !== undefined) return percent(said.probability);
    return said.low === undefined || said.low === null ? "" : `${plain(said.low)} to ${plain(said.high)}`;
  };
  const doubts = (said) => {
    const found = [];
    if (said.outlier && said.outlier.is) found.push("Unlike everything that this model was trained on: do not rely on this answer.");
    if (said.set && said.set.length > 1) found.push(`It cannot tell ${said.set.length} labels apart here.`);
    if (said.truncated) found.push("Only the beginning was read.");
    return found.join(" ");
  };
  const setWords = (said, model) => {
    if (!model.coverage) return "";
    const share = `${Math.round(100 * model.coverage)} %`;
    if (said.set) return `Holds the truth in ${share} of cases: ${said.set.join(", ")}`;
    return said.low === undefined || said.low === null ? "" : `Intervals like this one hold the truth in ${share} of cases.`;
  };

  const card = (input, said, model) => {
    const made = find("one").content.cloneNode(true), part = (kind) => made.querySelector(`.${kind}`);
    part("shown").append(shown(input, model.modality));
    part("name").textContent = input.name;
    part("label").textContent = headline(said);
    if (sure(said)) part("label").append(make("span", sure(said), "num"));
    part("doubts").textContent = doubts(said);
    bars(part("bars"), said);
    part("set").textContent = setWords(said, model);
    neighbours(part("more"), said, model);
    return made.querySelector(".answer");
  };
  const neighbours = async (place, said, model) => {
    if (!said.neighbours || !said.neighbours.length) return;
    const list = make("ol", "", model.modality === "image" ? "near" : "near wide");
    place.append(make("h2", "Nearest training examples"), list);
    for (const each of said.neighbours) {
      const row = make("li"), label = make("b", each.label), id = make("span", each.id, "id");
      id.dir = "auto";
      if (each.example !== null) example(row, each, model);
      row.append(label, make("span", ` ${each.similarity.toFixed(2)}`, "num muted"), id);
      list.append(row);
    }
  };
  const example = async (row, each, model) => {
    let answer;
    try {
      answer = await ask(`models/${encodeURIComponent(model.name)}/examples/${each.example}`);
    } catch {
      return;
    }
    const content = await answer.blob();
    if (!content.size) return;
    const made = { image: "img", audio: "audio", text: "blockquote" }[model.modality];
    const shows = make(made);
    if (model.modality === "text") {
      shows.textContent = await content.text();
      shows.dir = "auto";
    } else {
      shows.src = url(content);
      if (model.modality === "audio") shows.controls = true;
      else shows.alt = `training example ${each.id}`;
    }
    row.prepend(shows);
  };

  const paint = (place, saliency, kind, input) => {
    const most = Math.max(1e-9, ...saliency.parts.map((part) => Math.abs(part.score)));
    const strength = (part) => Math.min(1, Math.abs(part.score) / most);
    const colour = (part, alpha) => `rgba(${part.score > 0 ? "220,40,40" : "30,90,220"},${(alpha * strength(part)).toFixed(3)})`;
    const stage = place.querySelector(".stage");
    if (kind === "image" && stage) {
      const canvas = make("canvas"), box = stage.querySelector("img");
      canvas.width = 600;
      canvas.height = Math.max(1, Math.round(600 * box.naturalHeight / Math.max(1, box.naturalWidth)));
      const brush = canvas.getContext("2d");
      for (const part of saliency.parts) {
        if (!part.box) continue;
        const [left, top, right, bottom] = part.box;
        brush.fillStyle = colour(part, 0.62);
        brush.fillRect(left * canvas.width, top * canvas.height, (right - left) * canvas.width, (bottom - top) * canvas.height);
      }
      canvas.style.filter = "blur(7px)";
      stage.style.overflow = "hidden";
      stage.append(canvas);
    } else if (kind === "text") {
      const quote = place.querySelector("blockquote");
      input.content.text().then((words) => {
        quote.textContent = "";
        let at = 0;
        // Characters are counted as Python does: by code point.
        const points = [...words];
        for (const part of saliency.parts) {
          quote.append(points.slice(at, part.start).join(""));
          const mark = make("mark", points.slice(part.start, part.end).join(""));
          mark.style.background = colour(part, 0.55);
          quote.append(mark);
          at = part.end;
        }
        quote.append(points.slice(at).join(""));
      });
    } else if (kind === "audio") {
      const line = make("div", "", "spans");
      for (const part of saliency.parts) {
        const span = make("i");
        span.style.background = colour(part, 0.9);
        span.style.flexGrow = String(part.end - part.start);
        span.title = `${part.start.toFixed(2)} to ${part.end.toFixed(2)} s`;
        line.append(span);
      }
      place.append(line);
    }
    const what = saliency.label ? `“${saliency.label}”` : "the value";
    place.append(make("p", `Red: hiding it lowers ${what}. Blue: hiding it raises it.${strongest(saliency, kind)}`, "legend small muted"));
  };
  // The strongest parts in words: colours alone say nothing to some.
  const strongest = (saliency, kind) => {
    const parts = saliency.parts.filter((part) => part.score > 0).sort((a, b) => b.score - a.score).slice(0, 3);
    if (!parts.length) return "";
    const third = (share, names) => names[Math.min(2, Math.floor(3 * share))];
    const name = (part) => {
      if (kind === "text") return `“${part.text}”`;
      if (kind === "audio") return `${part.start.toFixed(1)} to ${part.end.toFixed(1)} s`;
      const [left, top, right, bottom] = part.box;
      return `${third((top + bottom) / 2, ["top", "middle", "bottom"])} ${third((left + right) / 2, ["left", "centre", "right"])}`;
    };
    return ` Most of all: ${[...new Set(parts.map(name))].join(", ")}.`;
  };
  const why = async (article, input, model, now) => {
    const place = article.querySelector(".shown");
    const words = make("p", "Looking for what it hangs on …", "legend small muted");
    place.append(words);
    try {
      const found = await (await patiently(`explain?model=${encodeURIComponent(model.name)}`, { method: "POST", body: bare(input) })).json();
      if (now === round) paint(place, found.saliency, model.modality, input);
      words.remove();
    } catch (refused) {
      words.textContent = `What it hangs on cannot be shown: ${refused.message}`;
    }
  };

  const predict = async (body, model, k) => {
    const path = `predict?model=${encodeURIComponent(model.name)}&neighbours=${k}`;
    return (await (await patiently(path, { method: "POST", body })).json()).predictions;
  };
  const together = (inputs) => {
    const form = new FormData();
    for (const each of inputs) form.append("file", each.content, each.name);
    return form;
  };
  const single = async (input, model, now, back) => {
    const [said] = await predict(bare(input), model, model.neighbours ? 5 : 0);
    if (now !== round) return;
    said.input = input.name;
    const article = card(input, said, model);
    find("results").replaceChildren(...(back ? [back] : []), article);
    tell(`${headline(said)}${sure(said) ? `, ${sure(said)}` : ""}. ${doubts(said)}`);
    if (back) back.focus();
    await why(article, input, model, now);
  };

  const COLUMNS = [
    ["answer", (said) => headline(said)],
    ["sure", (said) => sure(said)],
    ["may be", (said) => (said.set ? said.set.join(", ") : "")],
    ["unlike the training data", (said) => (said.outlier ? (said.outlier.is ? "yes" : "no") : "")],
  ];
  const quoted = (text) => {
    // A cell that begins like a formula would be run by a spreadsheet.
    const safe = /^[=+\-@\t\r]/.test(text) && !Number.isFinite(Number(text)) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const download = (answers, model) => {
    const head = ["input", "answer", "probability", "set", "outlier", ...model.labels, "error"];
    const lines = [head, ...answers.map((said) => [
      said.input,
      said.error ? "" : headline(said),
      said.error ? "" : String(said.probability ?? said.value ?? ""),
      (said.set || []).join(";"),
      said.outlier ? String(said.outlier.is) : "",
      ...model.labels.map((label) => String(said.probabilities?.[label] ?? "")),
      said.error || "",
    ])];
    const link = make("a");
    link.href = url(new Blob(["\uFEFF", lines.map((line) => line.map(quoted).join(",")).join("\r\n"), "\r\n"], { type: "text/csv" }));
    link.download = "answers.csv";
    link.click();
  };
  const several = async (inputs, model, now) => {
    const made = find("many").content.cloneNode(true), body = made.querySelector("tbody"), title = made.querySelector("h2");
    const head = make("tr"), button = made.querySelector(".download"), answers = [];
    for (const words of ["", KINDS[model.modality].what, ...COLUMNS.map(([name]) => name), ""]) {
      const cell = make(words ? "th" : "td", words);
      if (words) cell.scope = "col";
      head.append(cell);
    }
    made.querySelector("thead").append(head);
    button.disabled = true;
    button.addEventListener("click", () => download(answers, model));
    const whole = made.firstElementChild;
    find("results").replaceChildren(made);
    for (const some of portions(inputs, model)) {
      title.textContent = `${answers.length} of ${inputs.length} answered`;
      const found = await portion(some, model);
      if (now !== round) return;
      some.forEach((input, place) => {
        const said = { ...found[place], input: input.name };
        answers.push(said);
        body.append(line(input, said, model, whole));
      });
    }
    title.textContent = `${answers.length} ${KINDS[model.modality].many}`;
    button.disabled = false;
    tell(`${answers.length} answered`);
  };
  // As many at once as the server takes, in number and in bytes.
  const portions = (inputs, model) => {
    const found = [], most = Math.min(AT_ONCE, model.limits.items);
    let bytes = Infinity;
    for (const each of inputs) {
      const size = each.content.size + 1000;
      if (bytes + size > model.limits.body || found.at(-1).length >= most) {
        found.push([]);
        bytes = 1000;
      }
      found.at(-1).push(each);
      bytes += size;
    }
    return found;
  };
  const portion = async (some, model) => {
    try {
      return await predict(together(some), model, 0);
    } catch (refused) {
      if (refused.status === 401) throw refused;
      return some.map(() => ({ error: refused.message })); // what cannot be answered costs no other its answer
    }
  };
  const line = (input, said, model, whole) => {
    const row = make("tr"), sample = make("td"), name = make("th", input.name);
    name.scope = "row";
    name.dir = "auto";
    if (model.modality === "image") {
      const picture = make("img");
      picture.alt = "";
      picture.src = url(input.content);
      sample.append(picture);
    }
    row.append(sample, name);
    if (said.error) {
      const cell = make("td", said.error, "wrong");
      cell.colSpan = COLUMNS.length + 1;
      row.append(cell);
      return row;
    }
    for (const [, value] of COLUMNS) row.append(make("td", value(said), "num"));
    const last = make("td"), button = make("button", "Why?", "link");
    button.type = "button";
    button.setAttribute("aria-label", `Why: ${input.name}`);
    button.addEventListener("click", () => {
      const back = make("button", `Back to all ${KINDS[model.modality].many}`);
      back.type = "button";
      back.addEventListener("click", () => {
        round += 1;
        find("results").replaceChildren(whole);
        button.focus();
      });
      run([input], back);
    });
    last.append(button);
    row.append(last);
    return row;
  };

  const run = async (inputs, back = null) => {
    const model = current(), now = round += 1;
    if (!model) return;
    say("");
    tell("Asking");
    // What the table shows, to which one may go back, is still shown.
    if (!back) for (const each of urls.splice(0)) URL.revokeObjectURL(each);
    find("results").replaceChildren(...(back ? [back] : []), make("p", "Asking …", "muted"));
    try {
      await (inputs.length === 1 ? single(inputs[0], model, now, back) : several(inputs, model, now));
    } catch (refused) {
      if (now !== round) return;
      find("results").replaceChildren();
      if (refused.status === 401) wants();
      else say(`${inputs.length === 1 ? `${inputs[0].name}: ` : ""}${refused.message}`);
    }
  };

  const given = (list) => {
    const inputs = [...list].map((file) => ({ name: file.name, content: file }));
    if (inputs.length) run(inputs);
  };
  find("choose").addEventListener("click", () => find("files").click());
  find("files").addEventListener("change", (event) => {
    given(event.target.files);
    event.target.value = "";
  });
  const drop = find("ask");
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      find("drop").classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => find("drop").classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    find("drop").classList.remove("over");
    const words = event.dataTransfer.getData("text/plain");
    if (event.dataTransfer.files.length) given(event.dataTransfer.files);
    else if (words && current().modality === "text") run([{ name: "dropped text", content: new Blob([words]) }]);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) given(event.clipboardData.files);
  });
  find("write").addEventListener("submit", (event) => {
    event.preventDefault();
    const words = find("text").value;
    if (words.trim()) run([{ name: "your text", content: new Blob([words]) }]);
  });

  // The camera and the microphone. What they give is sent when it is taken, and not before.
  let stop = () => {}, turn = 0;
  const ended = (stream) => stream.getTracks().forEach((track) => track.stop());
  // Where something goes wrong between the permission and the first picture, nothing stays on.
  const lent = async (wanted, use) => {
    const stream = await navigator.mediaDevices.getUserMedia(wanted);
    try {
      return await use(stream);
    } catch (error) {
      ended(stream);
      throw error;
    }
  };
  const camera = () => lent({ video: { facingMode: "environment" } }, async (stream) => {
    const video = find("video");
    video.srcObject = stream;
    await video.play();
    return {
      words: "Take the picture",
      seen: true,
      end: () => ended(stream),
      taken: () => new Promise((done) => {
        const canvas = make("canvas");
        canvas.width = video.videoWidth;
        canvas.height = video.videoHeight;
        canvas.getContext("2d").drawImage(video, 0, 0);
        canvas.toBlob((content) => done({ name: "camera.jpg", content }), "image/jpeg", 0.95);
      }),
    };
  });
  const microphone = () => lent({ audio: { channelCount: 1 } }, async (stream) => {
    const context = new AudioContext(), blocks = [];
    await context.audioWorklet.addModule("recorder.js");
    const source = context.createMediaStreamSource(stream), recorder = new AudioWorkletNode(context, "recorder");
    recorder.port.onmessage = (event) => {
      blocks.push(event.data);
      const seconds = blocks.length * event.data.length / context.sampleRate;
      find("elapsed").textContent = `${seconds.toFixed(1)} s`;
    };
    source.connect(recorder);
    return {
      words: "Stop, and ask",
      seen: false,
      end: () => {
        ended(stream);
        context.close();
      },
      taken: async () => ({ name: "recording.wav", content: wav(blocks, context.sampleRate) }),
    };
  });
  const wav = (blocks, rate) => {
    const count = blocks.reduce((sum, block) => sum + block.length, 0), bytes = new DataView(new ArrayBuffer(44 + 2 * count));
    const words = (at, text) => [...text].forEach((mark, i) => bytes.setUint8(at + i, mark.charCodeAt(0)));
    words(0, "RIFF");
    bytes.setUint32(4, 36 + 2 * count, true);
    words(8, "WAVEfmt ");
    bytes.setUint32(16, 16, true);
    bytes.setUint16(20, 1, true);
    bytes.setUint16(22, 1, true);
    bytes.setUint32(24, rate, true);
    bytes.setUint32(28, 2 * rate, true);
    bytes.setUint16(32, 2, true);
    bytes.setUint16(34, 16, true);
    words(36, "data");
    bytes.setUint32(40, 2 * count, true);
    let at = 44;
    for (const block of blocks) {
      for (const value of block) {
        bytes.setInt16(at, Math.round(32767 * Math.max(-1, Math.min(1, value))), true);
        at += 2;
      }
    }
    return new Blob([bytes.buffer], { type: "audio/wav" });
  };
  const open = (words, seen) => {
    find("take").textContent = words;
    find("video").hidden = !seen;
    find("live").hidden = false;
  };
  const close = () => {
    turn += 1;
    stop();
    stop = () => {};
    find("live").hidden = true;
    find("elapsed").textContent = "";
  };
  let taking = null;
  find("device").addEventListener("click", async () => {
    close();
    say("");
    const mine = turn;
    try {
      const got = await (current().modality === "image" ? camera : microphone)();
      if (mine !== turn) { // meanwhile another one was asked for, or none any more
        got.end();
        return;
      }
      taking = got;
      stop = got.end;
      open(got.words, got.seen);
    } catch (error) {
      if (mine !== turn) return;
      const what = current().modality === "image" ? "camera" : "microphone";
      say(`The ${what} cannot be used: ${error.message || error.name}. Choose a file instead.`);
    }
  });
  find("take").addEventListener("click", async () => {
    const input = await taking.taken();
    close();
    run([input]);
  });
  find("cancel").addEventListener("click", close);

  const asked = (model, kind) => {
    if (!model.labels.length) return `Which number belongs to this ${kind.what}?`;
    if (model.labels.length > 3) return `Which of ${model.labels.length} labels?`;
    const words = model.labels.length > 1 ? `${model.labels.slice(0, -1).join(", ")} or ${model.labels.at(-1)}?` : `${model.labels[0]}, or not?`;
    return words.charAt(0).toLocaleUpperCase() + words.slice(1);
  };
  const settle = () => {
    const model = current(), kind = KINDS[model.modality];
    close();
    round += 1;
    find("results").replaceChildren();
    say("");
    const labels = model.labels.length > 12 ? `${model.labels.slice(0, 12).join(", ")} and ${model.labels.length - 12} more` : model.labels.join(", ");
    find("what").textContent = model.name;
    document.title = `${model.name}: headstart`;
    find("title").textContent = asked(model, kind);
    find("lead").textContent = model.labels.length > 3 ? `It knows ${labels}.` : "The model says what it is, how sure it can be, and what that hangs on.";
    find("drop-words").textContent = `Drop a ${kind.what} here, or several`;
    find("drop-hint").textContent = kind.hint;
    find("files").accept = kind.accept;
    find("write").hidden = model.modality !== "text";
    find("device").hidden = model.modality === "text" || !navigator.mediaDevices;
    find("device").textContent = model.modality === "image" ? "Use the camera" : "Use the microphone";
    find("ask").hidden = false;
    say(model.warnings.join(" "));
  };
  const wants = () => {
    find("key").hidden = false;
    find("ask").hidden = true;
    find("lead").textContent = "";
    find("token").focus();
  };
  const begin = async () => {
    try {
      models = (await (await ask("models")).json()).models;
    } catch (refused) {
      if (refused.status === 401) wants();
      else say(refused.message);
      if (token) say(refused.message);
      return;
    }
    find("key").hidden = true;
    find("model").replaceChildren(...models.map((each) => make("option", each.name)));
    find("choice").hidden = models.length < 2;
    settle();
  };
  find("model").addEventListener("change", settle);
  find("key").addEventListener("submit", (event) => {
    event.preventDefault();
    const given = find("token").value.trim();
    if (!/^[\x21-\x7e]+$/.test(given)) {
      say("A token is of ordinary letters, digits and signs, without spaces.");
      return;
    }
    token = given;
    kept("headstart-token", token);
    say("");
    begin();
  });
  begin();
})();
