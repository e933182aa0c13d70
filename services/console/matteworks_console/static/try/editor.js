// The picture on its canvas: cut-out over a background, beside the original, corrected by brush strokes.
//
// All coordinates are pixels of the cut-out. Strokes are kept as lines, so undo draws them anew.

const SCREEN_PX = 1600;
const VISIBLE_ALPHA = 8;

export class Editor {
  constructor(after, before) {
    this.after = after;
    this.before = before;
    this.strokes = [];
    this.undone = [];
    this.options = { background: "none", colour: "#ffffff", backgroundPicture: null, crop: false, margin: 0 };
    this.cursor = null;
    // While somebody selects: the boxes [left, top, right, bottom] of the subjects, with their numbers.
    this.isSelecting = false;
    this.marks = [];
  }

  // Show another picture: its pixels upright, and the cut-out of the same sides ratio.
  load(original, cutout, { keepStrokes = false } = {}) {
    const [width, height] = [cutout.width, cutout.height];
    if (!keepStrokes || this.cut?.width !== width || this.cut?.height !== height) {
      this.strokes = [];
      this.undone = [];
    }
    this.source = canvas(width, height);
    this.source.getContext("2d").drawImage(original, 0, 0, width, height);
    this.base = cutout;
    this.cut = canvas(width, height);
    this.redraw();
  }

  get isEdited() {
    return this.strokes.length > 0;
  }

  // Begin a stroke of "keep" or "erase"; diameter in pixels of the cut-out.
  begin(mode, diameter, point) {
    this.strokes.push({ mode, diameter, points: [point] });
    this.undone = [];
    this.#paint(this.strokes.at(-1), 0);
    this.show();
  }

  extend(point) {
    const stroke = this.strokes.at(-1);
    stroke.points.push(point);
    this.#paint(stroke, stroke.points.length - 2);
    this.show();
  }

  // A stroke has ended: what depends on the whole matte is found anew.
  end() {
    this.box = null;
    this.show();
  }

  // Show another cut-out of the same picture in place of all that was there; undo brings that back.
  replace(image, chosen) {
    this.strokes.push({ mode: "select", image, chosen });
    this.undone = [];
    this.redraw();
  }

  undo() {
    if (!this.strokes.length) return;
    this.undone.push(this.strokes.pop());
    this.redraw();
  }

  redo() {
    if (!this.undone.length) return;
    this.strokes.push(this.undone.pop());
    this.redraw();
  }

  redraw() {
    const context = this.cut.getContext("2d");
    context.globalCompositeOperation = "source-over";
    context.clearRect(0, 0, this.cut.width, this.cut.height);
    context.drawImage(this.base, 0, 0);
    for (const stroke of this.strokes) this.#paint(stroke, 0);
    this.box = null;
    this.show();
  }

  #paint(stroke, from) {
    const context = this.cut.getContext("2d");
    if (stroke.mode === "select") {
      context.clearRect(0, 0, this.cut.width, this.cut.height);
      context.drawImage(stroke.image, 0, 0, this.cut.width, this.cut.height);
      return;
    }
    context.save();
    context.lineCap = "round";
    context.lineJoin = "round";
    context.lineWidth = stroke.diameter;
    context.globalCompositeOperation = stroke.mode === "erase" ? "destination-out" : "source-over";
    context.strokeStyle = stroke.mode === "erase" ? "#000" : context.createPattern(this.source, "no-repeat");
    const points = stroke.points.slice(from);
    context.beginPath();
    context.moveTo(points[0].x, points[0].y);
    if (points.length === 1) context.lineTo(points[0].x + 0.01, points[0].y);
    for (const point of points.slice(1)) context.lineTo(point.x, point.y);
    context.stroke();
    context.restore();
  }

  // The part of the picture that the result shows.
  frame() {
    const whole = { x: 0, y: 0, width: this.cut.width, height: this.cut.height };
    if (!this.options.crop) return whole;
    this.box ??= visibleBox(this.cut);
    if (!this.box) return whole;
    const horizontal = Math.round((this.box.width * this.options.margin) / 100);
    const vertical = Math.round((this.box.height * this.options.margin) / 100);
    const x = Math.max(0, this.box.x - horizontal);
    const y = Math.max(0, this.box.y - vertical);
    return {
      x,
      y,
      width: Math.min(this.cut.width, this.box.x + this.box.width + horizontal) - x,
      height: Math.min(this.cut.height, this.box.y + this.box.height + vertical) - y,
    };
  }

  show() {
    if (!this.cut) return;
    // While somebody paints, the whole picture is there to paint on.
    const frame = this.isPainting ? { x: 0, y: 0, width: this.cut.width, height: this.cut.height } : this.frame();
    this.shown = frame;
    const scale = Math.min(1, SCREEN_PX / Math.max(frame.width, frame.height));
    for (const target of [this.after, this.before]) {
      resize(target, Math.max(1, Math.round(frame.width * scale)), Math.max(1, Math.round(frame.height * scale)));
    }
    this.#compose(this.after.getContext("2d"), frame);
    const context = this.before.getContext("2d");
    context.clearRect(0, 0, this.before.width, this.before.height);
    context.drawImage(
      this.source, frame.x, frame.y, frame.width, frame.height, 0, 0, this.before.width, this.before.height,
    );
    if (this.isSelecting) this.#mark(this.after.getContext("2d"), scale);
    if (this.isPainting && this.cursor) this.#ring(this.after.getContext("2d"), scale);
  }

  // The rest of the picture, faint, and a box with its number around each subject.
  #mark(context, scale) {
    context.save();
    context.globalCompositeOperation = "destination-over";
    context.globalAlpha = 0.4;
    context.drawImage(this.source, 0, 0, context.canvas.width, context.canvas.height);
    context.restore();
    context.save();
    const size = Math.max(14, context.canvas.width / 40);
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textBaseline = "top";
    for (const { number, box } of this.marks) {
      const [left, top, right, bottom] = box.map((edge) => edge * scale);
      for (const [style, width] of [["#000", 3], ["#fff", 1]]) {
        context.strokeStyle = style;
        context.lineWidth = width;
        context.strokeRect(left, top, right - left, bottom - top);
      }
      const width = context.measureText(number).width + size;
      context.fillStyle = "#000";
      context.fillRect(left, top, width, size * 1.5);
      context.fillStyle = "#fff";
      context.fillText(number, left + size / 2, top + size / 4);
    }
    context.restore();
  }

  #ring(context, scale) {
    context.save();
    for (const [style, width] of [["#000", 3], ["#fff", 1]]) {
      context.beginPath();
      context.arc(this.cursor.x * scale, this.cursor.y * scale, (this.cursor.diameter * scale) / 2, 0, 2 * Math.PI);
      context.strokeStyle = style;
      context.lineWidth = width;
      context.stroke();
    }
    context.restore();
  }

  #compose(context, frame) {
    const { width, height } = context.canvas;
    context.clearRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    if (this.options.background === "colour") {
      context.fillStyle = this.options.colour;
      context.fillRect(0, 0, width, height);
    }
    const picture = this.options.backgroundPicture;
    if (this.options.background === "picture" && picture) {
      const scale = Math.max(width / picture.width, height / picture.height);
      const [w, h] = [picture.width * scale, picture.height * scale];
      context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
    }
    context.drawImage(this.cut, frame.x, frame.y, frame.width, frame.height, 0, 0, width, height);
  }

  // The result as a file. JPEG knows no transparency: what would be transparent is white.
  async file(format) {
    const frame = this.frame();
    const target = canvas(frame.width, frame.height);
    const context = target.getContext("2d");
    this.#compose(context, frame);
    if (format === "jpg") {
      context.globalCompositeOperation = "destination-over";
      context.fillStyle = "#fff";
      context.fillRect(0, 0, frame.width, frame.height);
    }
    const type = { png: "image/png", jpg: "image/jpeg", webp: "image/webp" }[format];
    const blob = await new Promise((resolve) => target.toBlob(resolve, type, 0.92));
    if (!blob) throw new Error("This browser could not write the file. Choose another format.");
    return blob;
  }
}

function canvas(width, height) {
  const made = document.createElement("canvas");
  made.width = width;
  made.height = height;
  return made;
}

function resize(target, width, height) {
  if (target.width !== width) target.width = width;
  if (target.height !== height) target.height = height;
}

// The smallest box that holds everything that can be seen; null when nothing can.
function visibleBox(target) {
  const { width, height } = target;
  const copy = canvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(target, 0, 0);
  const pixels = copy.getImageData(0, 0, width, height).data;
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0, at = y * width * 4 + 3; x < width; x += 1, at += 4) {
      if (pixels[at] >= VISIBLE_ALPHA) {
        if (x < left) left = x;
        if (x > right) right = x;
        if (y < top) top = y;
        bottom = y;
      }
    }
  }
  return right < 0 ? null : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}
