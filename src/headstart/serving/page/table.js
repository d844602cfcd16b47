// Several answers: a table that fills, whose rows can be asked why, and that can be downloaded.

import { headline, sure } from "./answer.js";
import { KINDS, find, make, state, tell, url } from "./parts.js";
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
export const several = async (inputs, model, now, run) => {
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
    if (now !== state.round) return;
    some.forEach((input, place) => {
      const said = { ...found[place], input: input.name };
      answers.push(said);
      body.append(line(input, said, model, { whole, run }));
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
      state.round += 1;
      find("results").replaceChildren(whole);
      button.focus();
    });
    run([input], back);
  });
  last.append(button);
  row.append(last);
  return row;
};
