import { createServer } from "node:http";
// The application: its page makes a video through its own server, which reads its environment.
createServer(async (request, response) => {
  if (request.url !== "/make") {
    response.setHeader("content-type", "text/html");
    response.end(`<button onclick="fetch('/make').then(r => r.text()).then(t => { state.textContent = t })">Make</button><p id="state"></p>`);
    return;
  }
  const headers = { Authorization: `Bearer ${process.env.EVOLINK_API_KEY}`, "Content-Type": "application/json" };
  const body = JSON.stringify({ model: "kling-v3-turbo-image-to-video", image_start: "https://image.test/1280x720.jpg" });
  let task = await (await fetch(`${process.env.EVOLINK_BASE_URL}/v1/videos/generations`, { method: "POST", headers, body })).json();
  while (!["completed", "failed"].includes(task.status)) {
    await new Promise((done) => setTimeout(done, 200));
    task = await (await fetch(`${process.env.EVOLINK_BASE_URL}/v1/tasks/${task.id}`, { headers })).json();
  }
  response.end(task.status);
}).listen(3000, "127.0.0.1");
