// One answer: what was given, the label with its probabilities, the nearest training examples, and what it hangs on.

import { find, make, percent, plain, show, tell, url } from "./parts.js";
import { paint } from "./saliency.js";
import { ask, bare, explain, predict } from "./server.js";

// A picture of a few pixels, a digit or a cell, is shown as large as one can look at, and its pixels as they are.
const LEAST = 192;
const enlarge = (picture) => {
  const longest = Math.max(picture.naturalWidth, picture.naturalHeight);
  if (!longest || longest >= LEAST) return;
  picture.width = Math.round((picture.naturalWidth * LEAST) / longest);
  picture.classList.add("few");
};

const shown = (input, kind) => {
  if (kind === "image") {
    const stage = make("div", "", "stage"), picture = make("img");
    picture.alt = "";
    picture.src = url(input.content);
    stage.append(picture);
    picture.addEventListener("load", () => enlarge(picture));
    picture.addEventListener("error", () => stage.replaceWith(make("p", "Your browser cannot show this picture.", "muted small")));
    return stage;
  }
  if (kind === "audio") {
    const box = make("div"), player = make("audio");
    player.controls = true;
    player.setAttribute("aria-label", input.name);
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
export const headline = (said) => {
  if (said.label !== undefined) return said.label;
  if (said.labels) return said.labels.length ? said.labels.join(", ") : "none of the labels";
  return plain(said.value);
};
export const sure = (said) => {
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

const card = (input, said, model, signal) => {
  const made = find("one").content.cloneNode(true), part = (kind) => made.querySelector(`.${kind}`);
  part("shown").append(shown(input, model.modality));
  part("name").textContent = input.name;
  part("label").textContent = headline(said);
  if (sure(said)) part("label").append(make("span", sure(said), "num"));
  part("doubts").textContent = doubts(said);
  bars(part("bars"), said);
  part("set").textContent = setWords(said, model);
  neighbours(part("more"), said, model, signal);
  return made.querySelector(".answer");
};
const neighbours = (place, said, model, signal) => {
  if (!said.neighbours || !said.neighbours.length) return;
  const list = make("ol", "", model.modality === "image" ? "near" : "near wide");
  place.append(make("h3", "Nearest training examples"), list);
  for (const each of said.neighbours) {
    const row = make("li"), id = make("span", "", "id");
    id.dir = "auto";
    for (const step of each.id.split(/(?<=[/\\])/)) id.append(step, make("wbr"));  // a path is broken where a folder ends
    if (each.example !== null) example(row, each, model, signal);
    if (each.label) row.append(make("b", each.label), " "); // what has several labels, or a value, is told by its id alone
    row.append(make("span", each.similarity.toFixed(2), "num muted"), id);
    list.append(row);
  }
};
const example = async (row, each, model, signal) => {
  let content;
  try {
    content = await ask(`models/${encodeURIComponent(model.name)}/examples/${each.example}`, "blob", { signal });
  } catch {
    return;
  }
  if (!content.size) return;
  const made = { image: "img", audio: "audio", text: "blockquote" }[model.modality];
  const shows = make(made);
  if (model.modality === "text") {
    shows.textContent = await content.text();
    shows.dir = "auto";
  } else {
    shows.src = url(content);
    shows[model.modality === "audio" ? "ariaLabel" : "alt"] = `training example ${each.id}`;
    if (model.modality === "audio") shows.controls = true;
  }
  row.prepend(shows);
};

const why = async (article, input, model, signal) => {
  const place = article.querySelector(".shown");
  const words = make("p", "Looking for what it hangs on …", "legend small muted");
  place.append(words);
  try {
    paint(place, await explain(input, model, { signal, place: words }), model.modality, input);
    words.remove();
  } catch (refused) {
    words.textContent = `What it hangs on cannot be shown: ${refused.message}`;
  }
};

export const single = async (input, model, now, back) => {
  const [said] = await predict(bare(input), model, model.neighbours ? 5 : 0, now);
  said.input = input.name;
  const article = card(input, said, model, now.signal);
  show(back, article);
  tell(`${headline(said)}${sure(said) ? `, ${sure(said)}` : ""}. ${doubts(said)}`);
  await why(article, input, model, now.signal);
};
