"use strict";
// Shows one clip after the other. The server keeps every answer before the next clip is shown.
const at = (id) => document.getElementById(id);
const KEYS = { 1: "right", 2: "wrong_text", 3: "two_voices", 4: "cut_word", 5: "noise", 6: "unsure" };
let clips = [];
let current = -1; // clip that is shown; -1: none yet
let busy = false; // an answer is on its way
let begun = false;
let playing = -1; // clip in the player
const sounds = new Map(); // clip → promise of the address of its audio, for this clip and the next

async function send(path, body) {
  const reply = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const result = await reply.json().catch(() => ({ error: `the server answers ${reply.status}` }));
  if (!reply.ok) throw new Error(result.error);
  return result;
}

function sound(number) {
  if (number >= clips.length) return null;
  if (!sounds.has(number)) {
    const loading = fetch(`audio/${number}`).then(async (reply) => {
      if (!reply.ok) throw new Error((await reply.json()).error);
      return URL.createObjectURL(await reply.blob());
    });
    loading.catch(() => sounds.delete(number));
    sounds.set(number, loading);
  }
  return sounds.get(number);
}

function forget() {
  for (const [number, loading] of sounds) {
    // A browser may read the address of the clip in the player again.
    if (number !== current && number !== next(current + 1) && number !== playing) {
      sounds.delete(number);
      loading.then((address) => URL.revokeObjectURL(address), () => {});
    }
  }
}

const next = (from) => {
  const found = clips.findIndex((clip, number) => number >= from && clip.answer === null);
  return found >= 0 ? found : clips.findIndex((clip) => clip.answer === null);
};

function tell(error) {
  at("message").textContent = error ? String(error.message || error) : "";
}

async function play() {
  const number = current;
  try {
    const address = await sound(number);
    if (number !== current) return;
    playing = number;
    at("audio").src = address;
    await at("audio").play();
    tell();
  } catch (error) {
    if (number === current && error.name !== "AbortError") tell(error);
  }
  const following = next(number + 1);
  if (following >= 0) sound(following).catch(() => {});
}

function show(number) {
  current = number;
  at("audio").pause();
  at("start").hidden = true;
  at("edit").hidden = true;
  at("clip").hidden = number < 0;
  at("end").hidden = number >= 0;
  const answered = clips.filter((clip) => clip.answer !== null).length;
  at("done").style.width = `${(100 * answered) / clips.length}%`;
  at("bar").setAttribute("aria-valuemax", clips.length);
  at("bar").setAttribute("aria-valuenow", answered);
  at("progress").textContent = `${answered} of ${clips.length} clips`;
  if (number < 0) {
    const errors = clips.filter((clip) => clip.answer !== "right" && clip.answer !== "unsure").length;
    at("summary").textContent = `All ${clips.length} clips are answered; ${errors} of them have an error. Thank you.`;
    at("finish").focus();
    return;
  }
  document.activeElement.blur();
  const clip = clips[number];
  at("text").textContent = clip.text;
  at("seconds").textContent = `${(clip.ms / 1000).toFixed(1)} s`;
  for (const button of document.querySelectorAll("[data-answer]")) {
    button.setAttribute("aria-pressed", String(button.dataset.answer === clip.answer));
  }
  forget();
  play();
}

async function once(action) {
  if (busy) return;
  busy = true;
  try {
    await action();
  } catch (error) {
    tell(error);
  } finally {
    busy = false;
  }
}

const answer = (kind, correction = null) => once(async () => {
  if (current < 0) return;
  await send("answer", { clip: current, answer: kind, correction });
  Object.assign(clips[current], { answer: kind, correction });
  show(next(current + 1));
});

const undo = () => once(async () => {
  const { clip } = await send("undo", {});
  if (clip === null) return;
  Object.assign(clips[clip], { answer: null, correction: null });
  show(clip);
});

const finish = () => once(async () => {
  await send("finish", {});
  at("summary").textContent = "Your answers are kept. You can close this page.";
  at("finish").hidden = at("back").hidden = true;
});

function begin() {
  if (begun || !clips.length) return;
  begun = true;
  show(next(0));
}

function edit() {
  at("edit").hidden = false;
  at("correction").value = clips[current].text;
  at("correction").focus();
}

function keepCorrection() {
  const text = at("correction").value.trim();
  if (!text || text === clips[current].text.trim()) at("edit").hidden = true; // nothing was changed
  else answer("wrong_text", text);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (!at("edit").hidden) {
    if (key === "escape") at("edit").hidden = true;
    else if (key === "enter" && !event.shiftKey) keepCorrection();
    else return;
  } else if (event.repeat) {
    // a key that is held down answers one clip only
  } else if (!at("start").hidden) {
    if (key !== "enter" && key !== " ") return;
    begin();
  } else if (!at("end").hidden) {
    if (key === "u") undo();
    else if (key === "enter" && !at("finish").hidden) finish();
    else return;
  } else if (key in KEYS) answer(KEYS[key]);
  else if (key === " ") play();
  else if (key === "e") edit();
  else if (key === "u" || key === "backspace") undo();
  else return;
  event.preventDefault();
});

for (const button of document.querySelectorAll("[data-answer]")) {
  button.addEventListener("click", () => answer(button.dataset.answer));
}
at("begin").addEventListener("click", begin);
at("again").addEventListener("click", play);
at("correct").addEventListener("click", edit);
at("undo").addEventListener("click", undo);
at("back").addEventListener("click", undo);
at("finish").addEventListener("click", finish);
at("audio").addEventListener("timeupdate", () => {
  at("played").value = at("audio").duration ? at("audio").currentTime / at("audio").duration : 0;
});
at("audio").addEventListener("ended", () => { at("played").value = 1; });

fetch("clips").then((reply) => reply.json()).then((state) => {
  clips = state.clips;
  at("corpus").textContent = `${state.corpus}, release ${state.release}`;
  const answered = clips.filter((clip) => clip.answer !== null).length;
  at("progress").textContent = `${answered} of ${clips.length} clips`;
  at("begin").disabled = false;
  sound(Math.max(0, next(0))).catch(tell);
}).catch(tell);
