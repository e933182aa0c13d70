// The page to try: choose a picture, see it cut out, correct it, take it away.

import { Batch, MAX_FILES } from "./batch.js";
import { Brush } from "./brush.js";
import { Editor } from "./editor.js";
import { cutOut, listSubjects, selectPart, unfit } from "./request.js";
import { Selecting } from "./select.js";

const find = (id) => document.getElementById(id);
const form = find("options");
const editor = new Editor(find("after"), find("before"));
const brush = new Brush(editor, find("brush"), changed);
const selecting = new Selecting(
  editor,
  { panel: find("select"), list: find("subjects"), words: find("select-words") },
  { list: atServer("Looking for subjects …", listSubjects), cut: atServer("Cutting it out …", cutPart), onChange: changed },
);
let current = null;
let batch = null;
let request = null;

const key = () => find("main").dataset.key || find("key")?.value.trim() || "";

// ------------------------------------------------------------------ choosing

find("files").addEventListener("change", (event) => {
  take([...event.target.files]);
  event.target.value = "";
});
for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", async () => {
    const response = await fetch(button.dataset.sample);
    const blob = await response.blob();
    take([new File([blob], button.dataset.name, { type: blob.type })]);
  });
}
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length) take(files);
});
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    find("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) find("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  find("drop").classList.remove("over");
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  take([...event.dataTransfer.files]);
});

function take(files) {
  problem("");
  if (files.length > MAX_FILES) return problem(`Choose ${MAX_FILES} pictures at most.`);
  if (files.length > 1) return takeMany(files);
  if (files.length === 1) return takeOne(files[0]);
}

async function takeOne(file) {
  const reason = unfit(file);
  if (reason) return problem(reason);
  let original;
  try {
    original = await createImageBitmap(file);
  } catch {
    return problem(`${file.name} cannot be read. It may be damaged; save it again and retry.`);
  }
  current = { file, original };
  selecting.forget();
  await ask();
  await selecting.use(selecting.isOn, current);
}

// ------------------------------------------------------------------ asking

// Ask for the cut-out of the current picture. What the browser can do itself costs nothing and is not asked.
async function ask({ keepStrokes = false } = {}) {
  request?.abort();
  request = new AbortController();
  const { signal } = request;
  const asked = current;
  const values = new FormData(form);
  const fields = { size: values.get("size"), format: "png" };
  if (values.get("shadow") !== "none") fields.shadow_type = values.get("shadow");
  busy("Removing the background …");
  try {
    const { blob, credits } = await cutOut(asked.file, fields, key(), signal);
    const cutout = await createImageBitmap(blob);
    if (asked !== current) return;
    asked.blob = blob;
    find("editor").hidden = false;
    find("result-options").hidden = false;
    find("drop").classList.add("compact");
    editor.load(asked.original, cutout, { keepStrokes });
    if (!keepStrokes) find("stage").scrollIntoView({ block: "nearest" });
    facts(cutout, credits);
    problem("");
    changed();
  } catch (error) {
    if (error.name !== "AbortError") problem(error.message);
  } finally {
    if (!signal.aborted) busy("");
  }
}

// What `work` answers for the current picture; undefined when it failed, which is told, or came too late.
function atServer(words, work) {
  return async (...given) => {
    request?.abort();
    request = new AbortController();
    const { signal } = request;
    busy(words);
    try {
      const answer = await work(...given, key(), signal);
      problem("");
      return answer;
    } catch (error) {
      if (error.name !== "AbortError") problem(error.message);
    } finally {
      if (!signal.aborted) busy("");
    }
  };
}

async function cutPart(file, chosen, key, signal) {
  const { blob, credits } = await selectPart(file, chosen, key, signal);
  const image = await createImageBitmap(blob);
  facts(image, credits);
  return image;
}

function facts(cutout, credits) {
  const cost = credits === null ? "" : ` Charged: ${credits} ${credits === "1" ? "credit" : "credits"}.`;
  find("facts").textContent = `${cutout.width} × ${cutout.height} pixels.${cost}`;
}

// ------------------------------------------------------------------ options

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => {
  if (event.target.name === "colour") form.elements.background.value = "colour";
});
form.addEventListener("change", (event) => {
  const { name } = event.target;
  if (name === "background" && event.target.value === "picture" && !editor.options.backgroundPicture) {
    find("background-picture").click();
  }
  if ((name === "shadow" || name === "size") && current) ask({ keepStrokes: true });
  changed();
});
find("background-picture").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  const reason = unfit(file);
  if (reason) return problem(reason);
  try {
    editor.options.backgroundPicture = await createImageBitmap(file);
  } catch {
    return problem(`${file.name} cannot be read. Choose another background.`);
  }
  editor.options.backgroundFile = file;
  form.elements.background.value = "picture";
  problem("");
  changed();
});

function changed() {
  const values = new FormData(form);
  editor.options.background = values.get("background");
  editor.options.colour = values.get("colour");
  editor.options.crop = values.get("crop") === "true";
  editor.options.margin = Number(form.elements.margin.value);
  find("background-picture").hidden = editor.options.background !== "picture";
  find("undo").disabled = !editor.strokes.length;
  find("redo").disabled = !editor.undone.length;
  find("download").disabled = !editor.cut;
  form.elements.margin.disabled = !editor.options.crop;
  editor.show();
}

// ------------------------------------------------------------------ looking and painting

find("split").addEventListener("input", split);
function split() {
  find("canvases").style.setProperty("--split", `${find("split").value}%`);
}
split();
// The line between original and cut-out can be dragged on the picture, too.
for (const kind of ["pointerdown", "pointermove"]) {
  find("after").addEventListener(kind, (event) => {
    if (editor.isPainting || !editor.cut || !(event.buttons & 1)) return;
    if (kind === "pointerdown") event.target.setPointerCapture(event.pointerId);
    const box = event.target.getBoundingClientRect();
    find("split").value = Math.round((100 * (event.clientX - box.left)) / box.width);
    split();
  });
}
for (const radio of document.querySelectorAll("[name=tool]")) {
  radio.addEventListener("change", () => {
    brush.use(radio.value);
    find("stage").classList.toggle("painting", radio.value !== "compare");
    find("compare-row").classList.toggle("idle", radio.value !== "compare");
    find("brush-hint").hidden = radio.value === "select";
    selecting.use(radio.value === "select", current);
  });
}
function step(work) {
  work();
  selecting.follow();
  changed();
}
find("undo").addEventListener("click", () => step(() => editor.undo()));
find("redo").addEventListener("click", () => step(() => editor.redo()));
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || !editor.cut || event.target.matches("input:not([type=range], [type=radio], [type=checkbox])")) return;
  const letter = event.key.toLowerCase();
  if (letter === "z" && !event.shiftKey) step(() => editor.undo());
  else if (letter === "y" || (letter === "z" && event.shiftKey)) step(() => editor.redo());
  else return;
  event.preventDefault();
});
const peek = (isOn) => () => find("stage").classList.toggle("peek", isOn);
for (const kind of ["pointerdown", "keydown"]) find("peek").addEventListener(kind, peek(true));
for (const kind of ["pointerup", "pointerleave", "keyup", "blur"]) find("peek").addEventListener(kind, peek(false));

// ------------------------------------------------------------------ taking away

find("download").addEventListener("click", async () => {
  const format = new FormData(form).get("format");
  const { background, crop } = editor.options;
  const isUntouched = !editor.isEdited && background === "none" && !crop && format === "png";
  try {
    // Untouched, the server's own file: its colours did not pass through a canvas.
    save(isUntouched ? current.blob : await editor.file(format), `${stem(current.file.name)}-cutout.${format}`);
  } catch (error) {
    problem(error.message);
  }
});
find("copy").addEventListener("click", async () => {
  const code = find("program");
  try {
    await navigator.clipboard.writeText(code.textContent);
    find("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(code);
    find("copied").textContent = "Selected; press Ctrl+C.";
  }
});

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const stem = (name) => name.replace(/\.[^.]*$/, "") || "picture";

// ------------------------------------------------------------------ many

async function takeMany(files) {
  batch?.stop();
  find("batch").hidden = false;
  find("result-options").hidden = false;
  batch = new Batch(
    { list: find("batch-list"), summary: find("batch-summary"), zip: find("batch-zip"), stop: find("batch-stop") },
    batchFields,
    key,
  );
  await batch.run(files);
}

// The server does all of it here: there is nothing to look at before.
function batchFields() {
  const values = new FormData(form);
  const fields = { size: values.get("size"), format: values.get("format") };
  if (values.get("shadow") !== "none") fields.shadow_type = values.get("shadow");
  if (values.get("background") === "colour") fields.bg_color = values.get("colour").slice(1);
  if (values.get("background") === "picture" && editor.options.backgroundFile) {
    fields.bg_image_file = editor.options.backgroundFile;
  }
  if (values.get("crop") === "true") {
    fields.crop = "true";
    if (form.elements.margin.value !== "0") fields.crop_margin = `${form.elements.margin.value}%`;
  }
  return fields;
}

find("batch-stop").addEventListener("click", () => batch?.stop());
find("batch-zip").addEventListener("click", async () => save(await batch.zip(), "cutouts.zip"));

changed();

// ------------------------------------------------------------------ telling

function problem(words) {
  find("problem").textContent = words;
  find("problem").hidden = !words;
}

function busy(words) {
  find("busy").textContent = words;
  find("stage").classList.toggle("is-busy", Boolean(words));
  if (words) find("editor").hidden = false;
  else if (!editor.cut) find("editor").hidden = true;
}
