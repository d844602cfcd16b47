// The server: what is asked of it, with its token, and again where it is busy.

import { kept } from "./parts.js";

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
export const ask = async (path, options = {}) => {
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
  throw new Refused(answer.status, words, Number(answer.headers.get("Retry-After")) || 0);
};
const wait = (seconds) => new Promise((done) => { setTimeout(done, 1000 * seconds); });
// A server that is busy is asked again, a little later each time and not before it says; one that wants a token, when it has been given.
const patiently = async (path, options) => {
  for (let tries = 0; ;) {
    try {
      return await ask(path, options);
    } catch (refused) {
      if (refused.status === 401 && wanted) {
        await wanted();
        continue;
      }
      if (refused.status !== 429 || tries > 5) throw refused;
      tries += 1;
      await wait(Math.max(tries, refused.after));
    }
  }
};

// Without the type that a system gives to a file: it is not what decides how the server reads it.
export const bare = (input) => new Blob([input.content]);
export const predict = async (body, model, k) => {
  const path = `predict?model=${encodeURIComponent(model.name)}&neighbours=${k}`;
  return (await (await patiently(path, { method: "POST", body })).json()).predictions;
};
export const explain = async (input, model) => {
  const path = `explain?model=${encodeURIComponent(model.name)}`;
  return (await (await patiently(path, { method: "POST", body: bare(input) })).json()).saliency;
};
