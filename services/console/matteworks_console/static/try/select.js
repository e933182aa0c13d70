// Choosing subjects: a click or a tap on the picture, or numbers in a list. The server cuts out what is meant.

const MAX_POINTS = 100;
const STEP_PX = 8;

export class Selecting {
  // `parts`: the panel, its list of subjects and its words. `list` and `cut` ask the server; they tell what
  // failed, and then answer nothing.
  constructor(editor, parts, { list, cut, onChange }) {
    this.editor = editor;
    this.parts = parts;
    this.list = list;
    this.cut = cut;
    this.onChange = onChange;
    this.isOn = false;
    this.picture = null;
    this.answers = new Map();
    const target = editor.after;
    target.addEventListener("pointerdown", (event) => this.#down(event));
    target.addEventListener("keydown", (event) => this.#key(event));
    parts.list.addEventListener("change", () => this.#choose());
  }

  // Another picture came: what was known of the last one is forgotten.
  forget() {
    this.picture = null;
    this.answers.clear();
    this.parts.list.replaceChildren();
    this.parts.words.textContent = "";
    this.editor.marks = [];
  }

  async use(isOn, picture) {
    this.isOn = isOn;
    this.parts.panel.hidden = !isOn;
    this.editor.isSelecting = isOn;
    this.editor.show();
    if (isOn && picture && this.picture !== picture) await this.#list(picture);
  }

  // After an undo or a redo the list says what is selected now.
  follow() {
    const { subjects } = this.#chosen();
    for (const box of this.parts.list.querySelectorAll("input")) box.checked = subjects.includes(Number(box.value));
  }

  async #list(picture) {
    const subjects = await this.list(picture.file);
    if (!subjects) return;
    this.picture = picture;
    const scale = this.#scale();
    this.editor.marks = subjects.map(({ subject, box }) => ({ number: subject, box: box.map((edge) => edge * scale) }));
    this.parts.list.replaceChildren(...subjects.map(choice));
    this.parts.words.textContent = subjects.length
      ? `${subjects.length} ${subjects.length === 1 ? "subject" : "subjects"} found.`
      : "No subject was recognised. Click what you want.";
    this.editor.show();
  }

  // Pixels of the cut-out for one of the picture.
  #scale() {
    return this.editor.cut.width / this.picture.original.width;
  }

  // What the picture on the screen was selected by.
  #chosen() {
    const last = this.editor.strokes.findLast((entry) => entry.mode === "select");
    return last?.chosen ?? { inside: [], outside: [], subjects: [] };
  }

  #choose() {
    const subjects = [...this.parts.list.querySelectorAll("input:checked")].map((box) => Number(box.value));
    if (subjects.length) this.#select({ inside: [], outside: [], subjects });
    else this.follow();
  }

  #down(event) {
    if (!this.isOn || event.button !== 0) return;
    event.preventDefault();
    this.editor.after.focus();
    const box = this.editor.after.getBoundingClientRect();
    const { shown } = this.editor;
    this.#point({
      x: shown.x + ((event.clientX - box.left) / box.width) * shown.width,
      y: shown.y + ((event.clientY - box.top) / box.height) * shown.height,
    });
  }

  #key(event) {
    if (!this.isOn || event.ctrlKey || event.metaKey) return;
    const { width, height } = this.editor.cut;
    const place = this.editor.cursor ?? { x: width / 2, y: height / 2 };
    const step = (Math.max(width, height) / 1000) * STEP_PX * (event.shiftKey ? 5 : 1);
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) {
      const [right, down] = moves[event.key];
      const x = Math.min(width - 1, Math.max(0, place.x + right));
      const y = Math.min(height - 1, Math.max(0, place.y + down));
      this.editor.cursor = { x, y, diameter: 3 * step };
      this.editor.show();
    } else if (event.key === " " || event.key === "Enter") {
      this.#point(place);
    } else {
      return;
    }
    event.preventDefault();
  }

  // A place in pixels of the cut-out: it begins a selection, adds to the one there is, or takes from it.
  #point({ x, y }) {
    if (!this.picture) return;
    const scale = this.#scale();
    const { width, height } = this.picture.original;
    const place = [Math.min(width - 1, Math.round(x / scale)), Math.min(height - 1, Math.round(y / scale))];
    const way = this.parts.panel.querySelector("[name=way]:checked").value;
    const { inside, outside, subjects } = this.#chosen();
    if (way === "new") this.#select({ inside: [place], outside: [], subjects: [] });
    else if (inside.length + outside.length >= MAX_POINTS) this.parts.words.textContent = "That is enough points. Begin anew.";
    else if (way === "add") this.#select({ inside: [...inside, place], outside, subjects });
    else this.#select({ inside, outside: [...outside, place], subjects });
  }

  async #select(chosen) {
    const { picture } = this;
    const name = JSON.stringify(chosen);
    let image = this.answers.get(name);
    if (!image) {
      image = await this.cut(picture.file, chosen);
      if (!image || picture !== this.picture) return this.follow();
      this.answers.set(name, image);
    }
    this.editor.replace(image, chosen);
    this.follow();
    this.onChange();
  }
}

function choice({ subject, label, type }) {
  const box = document.createElement("input");
  box.type = "checkbox";
  box.value = subject;
  const words = document.createElement("label");
  words.append(box, ` ${subject} ${label || type.replaceAll("_", " ") || "something"}`);
  const item = document.createElement("li");
  item.append(words);
  return item;
}
