// vitest: the same in TypeScript, with a callback that is retried.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { KlingMock, type Outcome } from "../index.js";

let mock: KlingMock;
let receiver: Server;
const statuses = [500, 204];

beforeAll(async () => {
  mock = await KlingMock.start();
  receiver = createServer((_, response) => response.writeHead(statuses.shift() ?? 204).end());
  await new Promise<void>((resolve) => { receiver.listen(0, "127.0.0.1", resolve); });
}, 60_000);
afterAll(async () => {
  receiver.close();
  await mock.stop();
});

test("a callback is tried again after a 500", async () => {
  const account = mock.account();
  await account.freeze();
  await account.relay("https://hooks.example.com", `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`);
  const created = await fetch(`${account.url}/v1/videos/generations`, {
    method: "POST",
    headers: { authorization: `Bearer ${account.apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({
      model: "kling-v3-turbo-image-to-video", image_start: "https://image.test/1280x720.jpg",
      callback_url: "https://hooks.example.com/done",
    }),
  });
  const task = (await created.json()) as { id: string };
  await account.advance("10m");
  const [delivery] = await account.deliveries(task.id);
  const outcomes: Outcome[] = delivery.attempts.map((attempt) => attempt.outcome);
  expect(outcomes).toEqual(["status", "2xx"]);
  expect(delivery.state).toBe("delivered");
});
