// npm `removebg-wrapper`: multipart through `request`, the result as output.png in the working directory.
"use strict";
const fs = require("node:fs");
const { rbFromImageFile } = require("removebg-wrapper");

const [action, photo, output] = process.argv.slice(2);
const said = [];
console.error = (...words) => said.push(words.join(" "));

rbFromImageFile(photo, process.env.STACK_KEY);
process.on("exit", () => {
  if (action === "remove") fs.renameSync("output.png", output);
  console.log(JSON.stringify({ error: said.join("\n") }));
});
