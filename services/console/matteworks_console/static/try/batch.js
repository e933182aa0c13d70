// Many pictures: two at a time, each with its progress, and one ZIP of what came out.

import { Refusal, cutOut, unfit } from "./request.js";
import { zip } from "./zip.js";

const AT_ONCE = 2;
const ATTEMPTS = 4;
export const MAX_FILES = 100;

export class Batch {
  // fields() gives those of the API for each picture; elements are those of the page.
  constructor(elements, fields, key) {
    this.elements = elements;
    this.fields = fields;
    this.key = key;
    this.results = [];
    this.done = 0;
  }

  async run(files) {
    this.abort = new AbortController();
    this.total = files.length;
    this.elements.list.replaceChildren();
    this.elements.zip.disabled = true;
    this.elements.stop.disabled = false;
    this.#tell();
    const waiting = files.map((file) => ({ file, row: this.#row(file) }));
    const worker = async () => {
      while (waiting.length && !this.abort.signal.aborted) await this.#one(waiting.shift());
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    for (const { row } of waiting) row.say("Stopped.", 1);
    this.elements.stop.disabled = true;
    this.elements.zip.disabled = this.results.length === 0;
    this.#tell(true);
  }

  stop() {
    this.abort?.abort();
  }

  // The ZIP of everything that came out. Equal names get a number.
  async zip() {
    const taken = new Set();
    const entries = this.results.map(({ name, blob }) => {
      const dot = name.lastIndexOf(".");
      let unique = name;
      for (let n = 2; taken.has(unique); n += 1) unique = `${name.slice(0, dot)}-${n}${name.slice(dot)}`;
      taken.add(unique);
      return { name: unique, blob };
    });
    return zip(entries);
  }

  async #one({ file, row }) {
    const reason = unfit(file);
    try {
      if (reason) throw new Refusal(reason);
      row.say("Working …", 0.5);
      const fields = this.fields();
      const { blob } = await this.#patiently(file, fields, row);
      const stem = file.name.replace(/\.[^.]*$/, "").replace(/[\\/:*?"<>|\u0000-\u001f]/g, "_") || "picture";
      this.results.push({ name: `${stem}.${fields.format}`, blob });
      row.say("Done.", 1);
    } catch (error) {
      row.say(error.name === "AbortError" ? "Stopped." : error.message, 1, true);
    }
    this.done += 1;
    this.#tell();
  }

  async #patiently(file, fields, row) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await cutOut(file, fields, this.key(), this.abort.signal);
      } catch (error) {
        if (!(error instanceof Refusal) || !error.retryAfterS || attempt === ATTEMPTS) throw error;
        row.say(`Waiting ${error.retryAfterS} s …`, 0.5);
        await pause(error.retryAfterS * 1000, this.abort.signal);
      }
    }
  }

  #row(file) {
    const item = document.createElement("li");
    const name = document.createElement("span");
    name.className = "file-name";
    name.textContent = file.name;
    const bar = document.createElement("progress");
    bar.max = 1;
    bar.value = 0;
    bar.setAttribute("aria-label", `Progress of ${file.name}`);
    const state = document.createElement("span");
    state.className = "file-state";
    state.textContent = "Waiting";
    item.append(name, bar, state);
    this.elements.list.append(item);
    return {
      say(words, value, isProblem = false) {
        state.textContent = words;
        bar.value = value;
        item.classList.toggle("failed", isProblem);
      },
    };
  }

  #tell(isOver = false) {
    const failed = this.done - this.results.length;
    const words = `${this.results.length} of ${this.total} cut out${failed ? `, ${failed} not` : ""}`;
    this.elements.summary.textContent = isOver ? `${words}.` : `${words} …`;
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    });
  });
}
