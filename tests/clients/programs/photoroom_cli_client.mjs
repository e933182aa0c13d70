// npm `photoroom-cli`: Photoroom's API, called by the functions behind its menus.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [action, photo, output] = process.argv.slice(2);
// The tool keeps its keys in the home directory, which it asks for when it is loaded.
process.env.HOME = fs.mkdtempSync(path.join(os.tmpdir(), "photoroom-"));
const part = (name) => import(pathToFileURL(path.join(process.env.NODE_PATH, "photoroom-cli/dist", name)));
const { addApiKey } = await part("shared/config-manager.js");
const { getAccountDetails, removeBackgroundApi } = await part("shared/api-client.js");

await addApiKey("stack", "live", process.env.STACK_KEY, true);
if (action === "account") {
  const { credits } = await getAccountDetails();
  console.log(JSON.stringify({ credits: credits.available, subscription: credits.subscription }));
  fs.rmSync(process.env.HOME, { recursive: true });
  process.exit(0);
}
const [{ result }] = await removeBackgroundApi([photo], { format: "png", size: "full", despill: true });
if (action === "error") {
  console.log(JSON.stringify({ error: result.error, type: result.type, statusCode: result.statusCode }));
} else {
  if (!result.success) throw new Error(result.error);
  fs.writeFileSync(output, result.data);
  console.log(JSON.stringify({ uncertainty: result.uncertaintyScore }));
}
fs.rmSync(process.env.HOME, { recursive: true });
