// npm `axios` with `form-data`, as the vendor's sample had it for years: bytes, whatever Accept says.
"use strict";
const fs = require("node:fs");
const axios = require("axios");
const FormData = require("form-data");

const [action, photo, output] = process.argv.slice(2);
const url = process.env.STACK_URL + "/v1.0";
const key = { "X-Api-Key": process.env.STACK_KEY };

(async () => {
  if (action === "account") {
    const { data } = await axios.get(`${url}/account`, { headers: key });
    console.log(JSON.stringify({ credits: data.data.attributes.credits.total }));
    return;
  }
  const form = new FormData();
  form.append("size", "auto");
  form.append("image_file", fs.createReadStream(photo), "photo.jpg");
  try {
    const answer = await axios({
      method: "post",
      url: `${url}/removebg`,
      data: form,
      responseType: "arraybuffer",
      headers: { ...form.getHeaders(), ...key },
    });
    fs.writeFileSync(output, answer.data);
    console.log("{}");
  } catch (failure) {
    const { errors } = JSON.parse(Buffer.from(failure.response.data).toString());
    console.log(JSON.stringify({ error: errors[0].title }));
  }
})();
