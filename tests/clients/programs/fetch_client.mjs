// Node's own `fetch` and `FormData`: the file arrives as application/octet-stream, named blob.
import fs from "node:fs";

const [action, photo, output] = process.argv.slice(2);
const url = process.env.STACK_URL + "/v1.0";
const headers = { "X-Api-Key": process.env.STACK_KEY };

if (action === "account") {
  const document = await (await fetch(`${url}/account`, { headers })).json();
  console.log(JSON.stringify({ credits: document.data.attributes.credits.total }));
} else {
  const form = new FormData();
  form.append("size", "auto");
  form.append("image_file", new Blob([fs.readFileSync(photo)]));
  const answer = await fetch(`${url}/removebg`, { method: "POST", headers, body: form });
  if (answer.ok) fs.writeFileSync(output, Buffer.from(await answer.arrayBuffer()));
  const facts = answer.ok ? {} : { error: (await answer.json()).errors[0].title };
  console.log(JSON.stringify(facts));
}
