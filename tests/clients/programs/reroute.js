// Sends HTTPS calls for the vendors' hosts to the stack, whichever library makes them.
"use strict";
const http = require("node:http");
const https = require("node:https");

// The prefix is for paths that other providers have too.
const VENDORS = new Map([
  ["api.remove.bg", ""],
  ["sdk.photoroom.com", ""],
  ["image-api.photoroom.com", "/photoroom"],
]);
const stack = new URL(process.env.STACK_URL);
const httpsRequest = https.request;

https.request = function request(...inputs) {
  const first = inputs[0];
  const options =
    typeof first === "string" || first instanceof URL
      ? { ...urlParts(new URL(first)), ...(typeof inputs[1] === "object" ? inputs[1] : {}) }
      : first;
  const host = options.hostname || options.host;
  if (!VENDORS.has(host)) return httpsRequest.apply(this, inputs);
  const answer = inputs.find((input) => typeof input === "function");
  return http.request(
    { ...options, path: VENDORS.get(host) + options.path, protocol: "http:", host: stack.hostname, hostname: stack.hostname, port: stack.port, agent: undefined },
    answer,
  );
};

function urlParts(url) {
  return { hostname: url.hostname, path: url.pathname + url.search };
}

const ownFetch = globalThis.fetch;

globalThis.fetch = function fetch(input, init) {
  const url = new URL(input instanceof Request ? input.url : input);
  if (!VENDORS.has(url.host)) return ownFetch(input, init);
  return ownFetch(new URL(VENDORS.get(url.host) + url.pathname + url.search, stack), init);
};
