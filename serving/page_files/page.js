"use strict";
// Asks the server for its voices, sends it prompts and texts, and plays what comes back.
const at = (id) => document.getElementById(id);
const RATE = 24000; // of prompts that are recorded here
let voices = [];
let speaking = null; // what can stop the request that is on its way
let seconds = 3; // of a prompt that are used
let sound = null; // address of the last sound

function tell(error) {
  at("message").textContent = error ? String(error.message || error) : "";
}

async function ask(path, options = {}) {
  const key = at("key").value;
  const headers = { ...(options.headers || {}), ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const reply = await fetch(path, { ...options, headers });
  if (reply.ok) return reply;
  if (reply.status === 401) for (const each of document.querySelectorAll(".keyed")) each.hidden = false;
  const result = await reply.json().catch(() => null);
  throw new Error(result ? result.error.message : `the server answers ${reply.status}`);
}

function option(value, text, disabled) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = text;
  made.disabled = disabled;
  return made;
}

function showVoices(chosen) {
  at("voice").replaceChildren(...voices.map((each) => option(each.id, each.name + (each.allowed ? "" : " (refused)"), !each.allowed)));
  const first = voices.find((each) => each.id === chosen) || voices.find((each) => each.allowed);
  if (first) at("voice").value = first.id;
  showBasis();
}

function showBasis() {
  const chosen = voices.find((each) => each.id === at("voice").value);
  const refused = voices.filter((each) => !each.allowed).map((each) => `${each.name} is refused: ${each.reason}`);
  at("basis").textContent = [chosen ? `Allowed by ${chosen.reason}.` : "", ...refused].join(" ");
}

async function load() {
  const models = await (await ask("v1/models")).json();
  const found = await (await ask("v1/audio/voices")).json();
  voices = found.data;
  seconds = found.prompt_seconds;
  at("model").textContent = models.data[0].id;
  at("seconds").textContent = seconds;
  at("text").maxLength = found.max_input;
  at("format").replaceChildren(...found.formats.map((name) => option(name, name, false)));
  at("format").value = "wav";
  showVoices();
  at("speak").disabled = false;
}

async function send(content, kind, name) {
  const made = await (await ask("v1/audio/voices", { method: "POST", headers: { "Content-Type": kind }, body: content })).json();
  voices = [...voices.filter((each) => each.id !== made.id), { ...made, name: `${name}, ${made.seconds.toFixed(1)} s` }];
  showVoices(made.id);
}

// A WAV file of 16 bits: what the server reads, whatever the browser records.
function wav(samples) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const put = (place, text) => [...text].forEach((letter, i) => bytes.setUint8(place + i, letter.charCodeAt(0)));
  put(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * samples.length, true);
  put(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true);
  bytes.setUint16(22, 1, true);
  bytes.setUint32(24, RATE, true);
  bytes.setUint32(28, 2 * RATE, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  put(36, "data");
  bytes.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => bytes.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, Math.round(value * 32768))), true));
  return new Blob([bytes], { type: "audio/wav" });
}

async function record() {
  if (!navigator.mediaDevices) throw new Error("this browser records only on https and 127.0.0.1; send a file instead");
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  const parts = [];
  const recorder = new MediaRecorder(stream);
  const ended = new Promise((done, failed) => {
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = done;
    recorder.onerror = (event) => failed(event.error);
  });
  recorder.start();
  try {
    for (let left = Math.ceil(seconds + 0.5); left > 0; left -= 1) {
      at("record").textContent = `Speak now: ${left}`;
      await new Promise((done) => setTimeout(done, 1000));
    }
    recorder.stop();
    await ended;
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    at("record").textContent = "Record";
  }
  const decoder = new OfflineAudioContext(1, 1, RATE);
  const heard = await decoder.decodeAudioData(await new Blob(parts).arrayBuffer());
  await send(wav(heard.getChannelData(0)), "audio/wav", "your recording");
}

async function speak() {
  speaking = new AbortController();
  const format = at("format").value;
  const body = { model: at("model").textContent, input: at("text").value, voice: at("voice").value, response_format: format,
    seed: Number(at("seed").value), partial: true };
  const reply = await ask("v1/audio/speech", { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body), signal: speaking.signal });
  const content = await reply.blob();
  if (sound) URL.revokeObjectURL(sound);
  sound = URL.createObjectURL(content);
  at("save").href = sound;
  at("save").download = `speech.${format}`;
  at("audio").hidden = format === "pcm"; // no player knows it
  at("audio").src = format === "pcm" ? "" : sound;
  at("told").textContent = `${reply.headers.get("Voxbeam-Seconds")} s, watermark ${reply.headers.get("Voxbeam-Watermark")}`;
  at("result").hidden = false;
  tell(decodeURIComponent(reply.headers.get("Voxbeam-Problems") || ""));
  if (format !== "pcm") await at("audio").play().catch(() => {}); // a browser may want a click first
}

// Does one thing at a time, and shows what went wrong.
async function busy(work) {
  const buttons = [at("speak"), at("record"), at("file")];
  buttons.forEach((each) => { each.disabled = true; });
  tell();
  try {
    await work();
  } catch (error) {
    if (error.name !== "AbortError") tell(error);
  } finally {
    speaking = null;
    at("stop").hidden = true;
    buttons.forEach((each) => { each.disabled = false; });
  }
}

at("voice").addEventListener("change", showBasis);
at("key").addEventListener("change", () => busy(load));
at("record").addEventListener("click", () => busy(record));
at("file").addEventListener("change", () => {
  const file = at("file").files[0];
  if (file) busy(() => send(file, file.type || "application/octet-stream", file.name));
});
at("stop").addEventListener("click", () => speaking && speaking.abort());
at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  busy(() => { const done = speak(); at("stop").hidden = false; return done; });
});
busy(load);
