// npm `standardwebhooks`: reads webhooks as JSON from standard input and says of each whether it is genuine.
"use strict";
const fs = require("node:fs");
const { Webhook } = require("standardwebhooks");

const posts = JSON.parse(fs.readFileSync(0, "utf8"));
const verdicts = posts.map(({ secret, headers, body }) => {
  try {
    return new Webhook(secret).verify(body, headers).type;
  } catch (failure) {
    return failure.message;
  }
});
console.log(JSON.stringify(verdicts));
