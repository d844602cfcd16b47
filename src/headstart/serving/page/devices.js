// The camera and the microphone. What they give is sent when it is taken, and not before.

import { current, find, make, say, tell } from "./parts.js";

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
// Bytes of a recording's header, and of one of its samples.
const HEADER = 44, SAMPLE = 2;
const microphone = () => lent({ audio: { channelCount: 1 } }, async (stream) => {
  const context = new AudioContext(), blocks = [];
  await context.audioWorklet.addModule("recorder.js");
  const source = context.createMediaStreamSource(stream), recorder = new AudioWorkletNode(context, "recorder");
  const { body, seconds } = current().limits, most = Math.min(body, HEADER + SAMPLE * context.sampleRate * seconds);
  let count = 0, full = false;
  recorder.port.onmessage = (event) => {
    if (full) return;
    full = HEADER + SAMPLE * (count + event.data.length) > most;
    if (full) { // the server would refuse what is longer
      ended(stream);
      find("take").textContent = "Ask";
      const words = `Stopped after ${(count / context.sampleRate).toFixed(1)} s: the server takes no longer recording.`;
      find("elapsed").textContent = words;
      tell(words);
      return;
    }
    blocks.push(event.data);
    count += event.data.length;
    find("elapsed").textContent = `${(count / context.sampleRate).toFixed(1)} s recorded`;
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
  const count = blocks.reduce((sum, block) => sum + block.length, 0), bytes = new DataView(new ArrayBuffer(HEADER + SAMPLE * count));
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
  let at = HEADER;
  for (const block of blocks) {
    for (const value of block) {
      bytes.setInt16(at, Math.round(32767 * Math.max(-1, Math.min(1, value))), true);
      at += SAMPLE;
    }
  }
  return new Blob([bytes.buffer], { type: "audio/wav" });
};
const open = (words, seen) => {
  find("take").textContent = words;
  find("video").hidden = !seen;
  find("live").hidden = false;
  find("take").focus();
};
export const close = () => {
  turn += 1;
  stop();
  stop = () => {};
  if (find("live").contains(document.activeElement)) find("device").focus();
  find("live").hidden = true;
  find("elapsed").textContent = "";
};

// A button that opens the one that the model hears or sees by; `run` gets what was taken.
export const connect = (run) => {
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
};
