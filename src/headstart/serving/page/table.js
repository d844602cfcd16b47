// Several answers: a table that fills, whose rows can be asked why, and that can be downloaded.

import { headline, sure } from "./answer.js";
import { KINDS, anew, find, make, say, show, tell, url } from "./parts.js";
import { predict } from "./server.js";

const AT_ONCE = 16;
const together = (inputs) => {
  const form = new FormData();
  for (const each of inputs) form.append("file", each.content, each.name);
  return form;
};
const COLUMNS = [
  ["answer", (said) => headline(said)],
  ["sure", (said) => sure(said)],
  ["may be", (said) => (said.set ? said.set.join(", ") : "")],
  ["unlike the training data", (said) => (said.outlier ? (said.outlier.is ? "yes" : "no") : "")],
];
// A cell that begins like a formula would be run by a spreadsheet, and so would what comes after a sign at which one may divide it.
const FORMULA = /(^|[;\t\r\n])(?=[=+\-@\t\r\n])/g;
const quoted = (text) => {
  const safe = text !== "" && Number.isFinite(Number(text)) ? text : text.replace(FORMULA, "$1'");
  return `"${safe.replaceAll('"', '""')}"`;
};
const listed = (labels) => (labels || []).join(" | ");
// What a table holds of an answer: the figures as they came, whatever the page rounds.
const columnsOf = (model) => {
  const told = (value) => String(value ?? "");
  const own = model.labels.length
    ? [
      ["answer", (said) => (said.labels ? listed(said.labels) : told(said.label))],
      ["probability", (said) => told(said.probability)],
      ["set", (said) => listed(said.set)],
    ]
    : ["value", "low", "high"].map((name) => [name, (said) => told(said[name])]);
  return [
    ["input", (said) => said.input],
    ...own,
    ["outlier", (said) => (said.outlier ? told(said.outlier.is) : "")],
    ...model.labels.map((label) => [label, (said) => told(said.probabilities?.[label])]),
    ["error", (said) => said.error || ""],
  ];
};
const download = (answers, model) => {
  const columns = columnsOf(model);
  const lines = [columns.map(([name]) => name), ...answers.map((said) => columns.map(([, value]) => value(said)))];
  const link = make("a");
  link.href = url(new Blob(["\uFEFF", lines.map((line) => line.map(quoted).join(",")).join("\r\n"), "\r\n"], { type: "text/csv" }));
  link.download = "answers.csv";
  link.click();
};
// A narrow window lays rows out as blocks, and some browsers then forget that they are a table's: so their roles are said.
const roles = (row) => {
  row.setAttribute("role", "row");
  for (const cell of row.cells) cell.setAttribute("role", { col: "columnheader", row: "rowheader" }[cell.scope] || "cell");
  return row;
};
export const several = async (inputs, model, signal, run) => {
  const made = find("many").content.cloneNode(true), body = made.querySelector("tbody"), title = made.querySelector("h2");
  const head = make("tr"), button = made.querySelector(".download"), answers = [];
  for (const words of ["", KINDS[model.modality].what, ...COLUMNS.map(([name]) => name), ""]) {
    const cell = make(words ? "th" : "td", words);
    if (words) cell.scope = "col";
    head.append(cell);
  }
  made.querySelector("thead").append(roles(head));
  button.disabled = true;
  button.addEventListener("click", () => download(answers, model));
  const whole = made.firstElementChild;
  show(null, made);
  for (const some of portions(inputs, model)) {
    title.textContent = `${answers.length} of ${inputs.length} answered`;
    const found = await portion(some, model, { signal, place: title });
    some.forEach((input, place) => {
      const said = { ...found[place], input: input.name };
      answers.push(said);
      body.append(line(input, said, model, { whole, run }));
    });
  }
  const refused = answers.filter((said) => said.error).length;
  title.textContent = `${answers.length} ${KINDS[model.modality].many}${refused ? `, ${refused} of them without an answer` : ""}`;
  button.disabled = false;
  tell(`Finished: ${title.textContent}`);
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
const portion = async (some, model, now) => {
  try {
    return await predict(together(some), model, 0, now);
  } catch (refused) {
    now.signal.throwIfAborted();
    return some.map(() => ({ error: refused.message })); // what cannot be answered costs no other its answer
  }
};
const line = (input, said, model, { whole, run }) => {
  const row = make("tr"), sample = make("td"), name = make("th", input.name);
  name.scope = "row";
  name.dir = "auto";
  if (model.modality === "image") {
    const picture = make("img");
    picture.alt = "";
    picture.src = url(input.content);
    picture.addEventListener("error", () => picture.remove()); // what a browser cannot show
    sample.append(picture);
  }
  row.append(sample, name);
  if (said.error) {
    const cell = make("td", said.error, "wrong");
    cell.colSpan = COLUMNS.length + 1;
    row.append(cell);
    return roles(row);
  }
  for (const [words, value] of COLUMNS) {
    const cell = make("td", value(said), words === "sure" ? "num" : "");
    cell.dataset.column = words;
    row.append(cell);
  }
  const last = make("td"), button = make("button", "Why?", "link");
  button.type = "button";
  button.setAttribute("aria-label", `Why: ${input.name}`);
  button.addEventListener("click", () => {
    const back = make("button", `Back to all ${KINDS[model.modality].many}`);
    back.type = "button";
    back.addEventListener("click", () => {
      anew("look");
      say("");
      tell("");
      show(null, whole);
      button.focus();
    });
    run([input], back);
  });
  last.append(button);
  row.append(last);
  return roles(row);
};
