// One picture through the public API, and what went wrong in plain words.

export const MAX_BYTES = 22 * 1024 * 1024;
const TYPES = ["image/jpeg", "image/png", "image/webp"];

export class Refusal extends Error {
  constructor(words, { retryAfterS = 0 } = {}) {
    super(words);
    this.retryAfterS = retryAfterS;
  }
}

// Why a file need not even be sent; empty when it may be.
export function unfit(file) {
  if (!TYPES.includes(file.type)) return `${file.name} is not a JPEG, PNG or WebP picture.`;
  if (file.size > MAX_BYTES) return `${file.name} is larger than 22 MB. Save it smaller and try again.`;
  if (file.size === 0) return `${file.name} is empty.`;
  return "";
}

// Fields are those of POST /v1.0/removebg. Throws Refusal, or AbortError when the signal says so.
export async function cutOut(file, fields, key, signal) {
  const headers = { "X-Api-Key": key };
  const response = await call("/v1.0/removebg", "image_file", file, fields, headers, key, signal);
  return { blob: await response.blob(), credits: response.headers.get("X-Credits-Charged") };
}

async function call(path, fileField, file, fields, headers, key, signal) {
  if (!key) throw new Refusal("Enter your API key first.");
  const form = new FormData();
  form.append(fileField, file, "picture");
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  let response;
  try {
    response = await fetch(path, { method: "POST", headers, body: form, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server does not answer. Check your connection and try again.", { retryAfterS: 2 });
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

// The subjects of a picture, largest first: { subject, box, type, label }. Costs nothing.
export async function listSubjects(file, key, signal) {
  const response = await callTool("subjects", file, {}, key, signal);
  return (await response.json()).data.subjects;
}

// The cut-out of what is chosen: places [x, y] on it and beside it, numbers of subjects.
export async function selectPart(file, { inside, outside, subjects }, key, signal) {
  const points = [...inside.map((place) => [...place, 1]), ...outside.map((place) => [...place, 0])];
  const fields = {};
  if (points.length) fields.points = JSON.stringify(points);
  if (subjects.length) fields.subjects = subjects.join(",");
  const response = await callTool("magic-select/image", file, fields, key, signal);
  return { blob: await response.blob(), credits: response.headers.get("X-Credits-Charged") };
}

function callTool(tool, file, fields, key, signal) {
  return call(`/api/tools/${tool}`, "image", file, fields, { Authorization: `Bearer ${key}` }, key, signal);
}

async function refusal(response) {
  const retryAfterS = Number(response.headers.get("Retry-After")) || 0;
  let first = {};
  try {
    const document = await response.json();
    first = document.errors?.[0] ?? { title: document.error?.message };
  } catch {
    // Not our document: the status says enough.
  }
  const later = retryAfterS ? ` Try again in ${retryAfterS} s.` : " Try again in a moment.";
  const words = {
    401: "The API key is not valid, or may not be used from here.",
    402: "The credits of this key are used up.",
    403: "The API key is not valid, or may not be used from here.",
    413: "The picture is too large: 22 MB and 50 megapixels at most.",
    429: `Too many pictures at once.${later}`,
    503: `The server is busy.${later}`,
    504: "The server took too long. Try again, or try a smaller picture.",
  };
  if (first.code === "unknown_foreground") {
    return new Refusal("No subject was found in this picture. Try one with a clear person, animal or thing.");
  }
  const told = first.title ? `${first.title}${/[.!?]$/.test(first.title) ? "" : "."} ${first.detail ?? ""}` : "";
  return new Refusal(words[response.status] ?? (told.trim() || "That did not work. Try another picture."), {
    retryAfterS: [429, 503].includes(response.status) ? Math.max(retryAfterS, 1) : 0,
  });
}
