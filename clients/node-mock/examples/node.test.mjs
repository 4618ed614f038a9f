// node:test: one fake for the file, an account for each test, a clock that only the test moves.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { KlingMock } from "../index.js";

let mock;
before(async () => { mock = await KlingMock.start(); });
after(() => mock.stop());

/** The application under test: makes a video and says how it ended. */
async function makeVideo({ url, apiKey }, onPoll) {
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
  const body = { model: "kling-v3-turbo-image-to-video", image_start: "https://image.test/1280x720.jpg" };
  let task = await (await fetch(`${url}/v1/videos/generations`, { method: "POST", headers, body: JSON.stringify(body) })).json();
  while (task.status === "pending" || task.status === "processing") {
    await onPoll();
    task = await (await fetch(`${url}/v1/tasks/${task.id}`, { headers })).json();
  }
  return task;
}

test("a video is made without waiting for it", async () => {
  const account = mock.account();
  await account.freeze();
  const task = await makeVideo(account, () => account.advance("10m"));
  assert.equal(task.status, "completed");
  assert.equal((await fetch(task.results[0], { method: "HEAD" })).status, 200);
  await account.advance("24h");
  assert.equal((await fetch(task.results[0])).status, 403);
});

test("a failure is what the test chooses", async () => {
  const account = mock.account();
  await account.freeze();
  await account.scenario("failed", { code: "service_error" });
  const task = await makeVideo(account, () => account.advance("10m"));
  assert.equal(task.error.code, "service_error");
  assert.equal((await account.journal()).filter((entry) => entry.kind === "exchange").length, 2);
});
