// The server: what is asked of it, with its token, and again where it is busy.

import { kept, tell } from "./parts.js";

let token = kept("headstart-token") || "";
export const hasToken = () => token !== "";
export const useToken = (given) => {
  token = given;
  kept("headstart-token", token);
};

// What is done where a token is wanted in the midst of something: it ends when one is given that the server takes.
let wanted = null;
export const onWanted = (given) => { wanted = given; };

class Refused extends Error {
  constructor(status, words, after = 0) {
    super(words);
    this.status = status;
    this.after = after;
  }
}
// `read` is the method of an answer that gives its content. What a signal ends fails with that signal's reason, which nobody is told.
export const ask = async (path, read, options = {}) => {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let answer, content;
  try {
    answer = await fetch(path, { ...options, headers });
    content = await answer[answer.ok ? read : "text"]();
  } catch { /* said below */ }
  options.signal?.throwIfAborted();
  if (content === undefined) throw new Refused(0, "The server cannot be reached. Is it still running?");
  if (answer.ok) return content;
  let words;
  try {
    words = JSON.parse(content).error;
  } catch { /* its status alone */ }
  throw new Refused(answer.status, words || `The server answered with ${answer.status}.`, Number(answer.headers.get("Retry-After")) || 0);
};
const wait = (seconds) => new Promise((done) => { setTimeout(done, 1000 * seconds); });
const aborted = (signal) => new Promise((_, fail) => { signal.addEventListener("abort", () => fail(signal.reason)); });
// A server that is busy is asked again, a little later each time and not before it says; one that wants a token, when it has been given.
// Meanwhile the place that says what is under way says this.
const patiently = async (path, body, { signal, place }) => {
  for (let tries = 0; ;) {
    try {
      return await ask(path, "json", { method: "POST", body, signal });
    } catch (refused) {
      if (refused.status === 401 && wanted) {
        await Promise.race([wanted(), aborted(signal)]);
        continue;
      }
      if (refused.status !== 429 || tries > 5) throw refused;
      tries += 1;
      const seconds = Math.max(tries, refused.after), words = place.textContent;
      place.textContent = `The server is busy: it is asked again in ${seconds} s.`;
      tell(place.textContent);
      await Promise.race([wait(seconds), aborted(signal)]);
      place.textContent = words;
    }
  }
};

// Without the type that a system gives to a file: it is not what decides how the server reads it.
export const bare = (input) => new Blob([input.content]);
export const predict = async (body, model, k, now) => {
  const path = `predict?model=${encodeURIComponent(model.name)}&neighbours=${k}`;
  return (await patiently(path, body, now)).predictions;
};
export const explain = async (input, model, now) => {
  const path = `explain?model=${encodeURIComponent(model.name)}`;
  return (await patiently(path, bare(input), now)).saliency;
};
