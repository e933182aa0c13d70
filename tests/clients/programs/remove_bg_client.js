// npm `remove.bg`: JSON answers, a file as multipart and base64 in a JSON body.
"use strict";
const fs = require("node:fs");
const { removeBackgroundFromImageFile, removeBackgroundFromImageBase64 } = require("remove.bg");

const [action, photo, output] = process.argv.slice(2);
const apiKey = process.env.STACK_KEY;

(async () => {
  if (action === "error") {
    const errors = await removeBackgroundFromImageFile({ path: photo, apiKey }).catch((rejected) => rejected);
    console.log(JSON.stringify({ error: errors[0].title }));
    return;
  }
  const asFile = await removeBackgroundFromImageFile({ path: photo, apiKey, size: "full", outputFile: output });
  const base64img = fs.readFileSync(photo, "base64");
  await removeBackgroundFromImageBase64({ base64img, apiKey, size: "full", crop: true, crop_margin: "5%" });
  const { base64img: _, ...facts } = asFile;
  console.log(JSON.stringify(facts));
})();
