// Keeps the page current: asks for the parts that move anew when the server says that something changed.

const status = document.getElementById("live");
const LONGEST_PAUSE_MS = 30000;
let pause = 1000;
let events = null;

function refresh() {
  for (const part of document.querySelectorAll("[hx-trigger='live-changed']")) htmx.trigger(part, "live-changed");
}

function listen() {
  if (events || document.hidden) return;
  events = new EventSource(status.dataset.events);
  events.addEventListener("open", () => {
    status.textContent = "Live.";
    pause = 1000;
    // What changed while nobody listened.
    refresh();
  });
  events.addEventListener("changed", refresh);
  events.addEventListener("signed-out", () => location.reload());
  events.addEventListener("error", () => {
    status.textContent = "Connecting again …";
    // After a refusal the browser does not try again by itself.
    if (events?.readyState !== EventSource.CLOSED) return;
    events = null;
    setTimeout(listen, pause);
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
  });
}

// A browser has six connections to a site without TLS: pages that nobody looks at must not keep them.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return listen();
  events?.close();
  events = null;
  status.textContent = "Paused.";
});

listen();
