// What every other file of the page uses: elements, words, and what is kept while it is open.

export const find = (id) => document.getElementById(id);
export const kept = (name, value) => {
  try {
    if (value === undefined) return sessionStorage.getItem(name);
    sessionStorage.setItem(name, value);
  } catch { /* a browser may keep nothing */ }
  return null;
};

// Every text from elsewhere goes into the page as text.
export const make = (name, words = "", kind = "") => {
  const made = document.createElement(name);
  if (words !== "") made.textContent = words;
  if (kind) made.className = kind;
  return made;
};
export const percent = (share) => {
  const digits = share > 0.0995 && share < 0.995 ? 0 : 1;
  const shown = (100 * share).toFixed(digits);
  if (share < 1 && Number(shown) >= 100) return "> 99.9 %";
  return share > 0 && Number(shown) === 0 ? "< 0.1 %" : `${shown} %`;
};
export const plain = (value) => String(Number(Number(value).toPrecision(4)));

export const KINDS = {
  image: { what: "picture", many: "pictures", accept: "image/*", hint: "JPEG, PNG, WebP, BMP, TIFF or GIF" },
  audio: { what: "recording", many: "recordings", accept: "audio/*", hint: "WAV, FLAC, OGG, MP3 or AIFF" },
  text: { what: "text", many: "texts", accept: ".txt,.md,text/plain", hint: "Text files in UTF-8" },
};
export const state = { models: [] };
export const current = () => state.models.find((each) => each.name === find("model").value) || state.models[0];

// What is under way: the question whose answers are shown, and the one answer of them that is looked at. What takes the place of either gives it up.
const under = { question: new AbortController(), look: new AbortController() };
export const anew = (what) => {
  under[what].abort();
  under[what] = new AbortController();
  return under[what].signal;
};

// What stands in the place of answers. A way back stays as it is from step to step, with the focus that it got at the first.
export const show = (back, ...shown) => {
  const place = find("results");
  for (const each of [...place.childNodes]) if (each !== back) each.remove();
  if (back && !back.isConnected) {
    place.append(back);
    back.focus();
  }
  place.append(...shown);
};

const urls = [];
export const url = (blob) => {
  urls.push(URL.createObjectURL(blob));
  return urls[urls.length - 1];
};
export const forget = () => {
  for (const each of urls.splice(0)) URL.revokeObjectURL(each);
};

export const say = (words) => {
  find("problem").hidden = !words;
  find("problem").textContent = words;
};
// What a screen reader is told; the cards themselves are read when one goes there.
export const tell = (words) => { find("status").textContent = words; };
