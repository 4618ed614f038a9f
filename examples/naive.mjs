// What one writes in ten minutes: create, poll every half second, save. `kling-contract client -- node examples/naive.mjs {image} {out}`
import { writeFile } from "node:fs/promises";

const [image, out] = process.argv.slice(2);
const base = process.env.KLING_BASE_URL;
const headers = { Authorization: `Bearer ${process.env.KLING_API_KEY}`, "Content-Type": "application/json" };

async function post(body) {
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await fetch(`${base}/v1/videos/generations`, { method: "POST", headers, body: JSON.stringify(body) });
      if (answer.ok) return await answer.json();
      if (attempt === 3) throw new Error(`create failed: ${answer.status}`);
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}

const duration = Number(process.env.KLING_DURATION ?? 5);
const quality = process.env.KLING_QUALITY ?? "720p";
const prompt = process.env.KLING_PROMPT ?? "";
let task = await post({ model: "kling-v3-turbo-image-to-video", image_start: image, prompt, quality, duration });
while (task.status !== "completed" && task.status !== "failed") {
  await new Promise((resolve) => setTimeout(resolve, 500));
  task = await (await fetch(`${base}/v1/tasks/${task.id}`, { headers })).json();
}
if (task.status === "failed") throw new Error(task.error.message);
const video = await fetch(task.results[0], { headers });
await writeFile(out, Buffer.from(await video.arrayBuffer()));
console.log(`saved ${out}`);
