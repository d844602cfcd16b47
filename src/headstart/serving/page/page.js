// The page: what is given to it, which model is asked, and what becomes of the answer.

import { single } from "./answer.js";
import { close, connect } from "./devices.js";
import { KINDS, anew, current, find, forget, kept, make, say, show, state, tell } from "./parts.js";
import { ask, hasToken, onWanted, useToken } from "./server.js";
import { several } from "./table.js";

const root = document.documentElement;
find("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  kept("headstart-theme", root.dataset.theme);
});
const theme = kept("headstart-theme");
if (theme === "dark" || theme === "light") root.dataset.theme = theme;

const run = async (inputs, back = null) => {
  const model = current();
  if (!model) return;
  let signal = anew("look");
  if (!back) {
    // Where there is a way back, its table goes on being filled, and its pictures are still shown.
    signal = anew("question");
    forget();
  }
  say("");
  tell("Asking");
  const place = make("p", "Asking …", "muted");
  show(back, place);
  try {
    await (inputs.length === 1 ? single(inputs[0], model, { signal, place }, back) : several(inputs, model, signal, run));
  } catch (refused) {
    if (signal.aborted) return;
    show(back);
    say(`${inputs.length === 1 ? `${inputs[0].name}: ` : ""}${refused.message}`);
  }
};

const given = async (list) => {
  const inputs = [...list].map((file) => ({ name: file.name, content: file })), unread = [];
  for (const each of inputs) await each.content.slice(0, 1).arrayBuffer().catch(() => unread.push(each));
  const read = inputs.filter((each) => !unread.includes(each));
  if (read.length) run(read);
  if (unread.length) say(`${unread.map((each) => each.name).join(", ")}: a folder, or a file that cannot be read. Drop the files themselves.`);
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
  else say("What was dropped is no file. Save it first, then drop or choose the file.");
});
// Beside the card a browser would leave the page for what is dropped: files are taken, and the rest goes nowhere but into a field of text.
for (const kind of ["dragover", "drop"]) {
  addEventListener(kind, (event) => {
    const files = [...event.dataTransfer.types].includes("Files");
    if (event.defaultPrevented || (!files && event.target.closest?.("input, textarea"))) return;
    event.preventDefault();
    if (kind === "drop" && !drop.hidden) given(event.dataTransfer.files);
  });
}
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) given(event.clipboardData.files);
});
find("write").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = find("text").value;
  if (words.trim()) {
    run([{ name: "your text", content: new Blob([words]) }]);
    return;
  }
  say("There is no text yet: write one, then ask.");
  find("text").focus();
});
connect(run);

const asked = (model, kind) => {
  if (!model.labels.length) return `Which number belongs to this ${kind.what}?`;
  if (model.labels.length > 3) return `Which of ${model.labels.length} labels?`;
  const words = model.labels.length > 1 ? `${model.labels.slice(0, -1).join(", ")} or ${model.labels.at(-1)}?` : `${model.labels[0]}, or not?`;
  return words.charAt(0).toLocaleUpperCase() + words.slice(1);
};
// What goes on when a token has been given.
let resume = null, pending = null;
const settle = () => {
  resume = pending = null;
  const model = current(), kind = KINDS[model.modality];
  close();
  anew("look");
  anew("question");
  show(null);
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
onWanted(() => {
  pending ||= new Promise((done) => {
    const words = find("lead").textContent;
    wants();
    resume = () => {
      pending = resume = null;
      find("lead").textContent = words;
      find("ask").hidden = false;
      done();
    };
  });
  return pending;
});
const begin = async () => {
  try {
    state.models = (await ask("models", "json")).models;
  } catch (refused) {
    find("lead").textContent = "";
    if (refused.status === 401) wants();
    if (refused.status !== 401) say(`${refused.message} (Load this page to ask again.)`);
    else if (hasToken()) say("The server does not take this token.");
    return;
  }
  const typed = find("key").contains(document.activeElement);
  find("key").hidden = true;
  if (resume) resume();
  else greet();
  if (typed) find("choose").focus();
};
const greet = () => {
  find("model").replaceChildren(...state.models.map((each) => make("option", each.name)));
  find("choice").hidden = state.models.length < 2;
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
  useToken(given);
  say("");
  begin();
});
begin();
