// What an answer hangs on: drawn over a picture, marked in a text, as a line under a recording, and in words.

import { make } from "./parts.js";

export const paint = (place, saliency, kind, input) => {
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
      span.style.flexGrow = String(1000 * (part.end - part.start)); // shares that add up to less than 1 would leave a rest
      span.title = `${part.start.toFixed(2)} to ${part.end.toFixed(2)} s`;
      line.append(span);
    }
    place.append(line);
  }
  const what = saliency.label ? `“${saliency.label}”` : "the value";
  const colours = stage || kind !== "image" ? `Red: hiding it lowers ${what}. Blue: hiding it raises it.` : `Parts of it were hidden, to see what becomes of ${what}.`;
  place.append(make("p", colours + strongest(saliency, kind), "legend small muted"));
};
// The strongest parts in words: colours alone say nothing to some.
const strongest = (saliency, kind) => {
  const parts = saliency.parts.filter((part) => part.score > 0).sort((a, b) => b.score - a.score).slice(0, 3);
  if (!parts.length) return "";
  const third = (share, names) => names[Math.min(2, Math.floor(3 * share))];
  const name = (part) => {
    if (kind === "text") return `“${part.text}”`;
    if (kind === "audio") return `${part.start.toFixed(2)} to ${part.end.toFixed(2)} s`;
    const [left, top, right, bottom] = part.box;
    return `${third((top + bottom) / 2, ["top", "middle", "bottom"])} ${third((left + right) / 2, ["left", "centre", "right"])}`;
  };
  return ` Most of all: ${[...new Set(parts.map(name))].join(", ")}.`;
};
