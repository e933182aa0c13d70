// Painting on the picture with a pointer or by keyboard.

const STEP_PX = 8;

export class Brush {
  constructor(editor, sizeInput, onChange) {
    this.editor = editor;
    this.sizeInput = sizeInput;
    this.onChange = onChange;
    this.mode = "compare";
    this.isDown = false;
    const target = editor.after;
    target.addEventListener("pointerdown", (event) => this.#down(event));
    target.addEventListener("pointermove", (event) => this.#move(event));
    target.addEventListener("pointerup", () => this.#up());
    target.addEventListener("pointercancel", () => this.#up());
    target.addEventListener("pointerleave", () => {
      if (!this.isDown) this.#point(null);
    });
    target.addEventListener("keydown", (event) => this.#key(event));
    target.addEventListener("blur", () => this.#point(null));
    sizeInput.addEventListener("input", () => this.#point(this.editor.cursor));
  }

  use(mode) {
    this.mode = mode;
    this.editor.isPainting = mode !== "compare";
    this.editor.cursor = null;
    this.editor.after.classList.toggle("painting", this.editor.isPainting);
    this.editor.show();
  }

  get #paints() {
    return this.mode === "keep" || this.mode === "erase";
  }

  // The brush's diameter in pixels of the cut-out: the slider is in thousandths of the longer side.
  get diameter() {
    const { width, height } = this.editor.cut;
    return Math.max(1, (Number(this.sizeInput.value) / 1000) * Math.max(width, height));
  }

  #where(event) {
    const box = this.editor.after.getBoundingClientRect();
    const { shown } = this.editor;
    return {
      x: shown.x + ((event.clientX - box.left) / box.width) * shown.width,
      y: shown.y + ((event.clientY - box.top) / box.height) * shown.height,
    };
  }

  #point(place) {
    if (!this.#paints || !this.editor.cut) return;
    this.editor.cursor = place ? { x: place.x, y: place.y, diameter: this.diameter } : null;
    this.editor.show();
  }

  #down(event) {
    if (!this.#paints || event.button !== 0) return;
    event.preventDefault();
    this.editor.after.focus();
    this.editor.after.setPointerCapture(event.pointerId);
    this.isDown = true;
    this.editor.begin(this.mode, this.diameter, this.#where(event));
  }

  #move(event) {
    if (!this.#paints) return;
    const place = this.#where(event);
    this.editor.cursor = { ...place, diameter: this.diameter };
    if (this.isDown) this.editor.extend(place);
    else this.editor.show();
  }

  #up() {
    if (!this.isDown) return;
    this.isDown = false;
    this.editor.end();
    this.onChange();
  }

  #key(event) {
    if (!this.#paints || event.ctrlKey || event.metaKey) return;
    const { width, height } = this.editor.cut;
    const place = this.editor.cursor ?? { x: width / 2, y: height / 2 };
    const step = (Math.max(width, height) / 1000) * STEP_PX * (event.shiftKey ? 5 : 1);
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) {
      this.#point({
        x: Math.min(width, Math.max(0, place.x + moves[event.key][0])),
        y: Math.min(height, Math.max(0, place.y + moves[event.key][1])),
      });
    } else if (event.key === " " || event.key === "Enter") {
      this.editor.begin(this.mode, this.diameter, { x: place.x, y: place.y });
      this.editor.end();
      this.#point(place);
      this.onChange();
    } else if (event.key === "[" || event.key === "]") {
      this.sizeInput.value = Number(this.sizeInput.value) + (event.key === "[" ? -8 : 8);
      this.#point(place);
    } else {
      return;
    }
    event.preventDefault();
  }
}
