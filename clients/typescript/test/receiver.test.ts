import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";

import * as kling from "../src/index.js";
import { taskFrom } from "../src/task.js";
import { FakeClock, ID, clientOf, completed, failed, fault, open, pending, processing } from "./stage.js";

type T = Parameters<typeof open>[0];

const view = (body: object): kling.TaskView => taskFrom(body) as kling.TaskView;
const post = (url: string, body: unknown = completed, init: RequestInit = {}): Promise<Response> =>
  fetch(url, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body), ...init });

interface Heard {
  readonly url: string;
  readonly receiver: kling.Receiver;
  readonly effects: kling.TaskView[];
  readonly reads: string[];
}

/** A listening receiver whose reads answer *bodies* in order. */
async function hearing(
  t: T,
  bodies: readonly (object | Error)[] = [completed],
  options: kling.ReceiverOptions = {},
): Promise<Heard> {
  const [effects, reads, left]: [kling.TaskView[], string[], (object | Error)[]] = [[], [], [...bodies]];
  const read = (id: string): Promise<kling.TaskView> => {
    reads.push(id);
    const next = left.length > 1 ? left.shift() : left[0];
    return next instanceof Error ? Promise.reject(next) : Promise.resolve(view(next ?? {}));
  };
  const effect = (task: kling.TaskView): Promise<void> => Promise.resolve(void effects.push(task));
  const receiver = new kling.Receiver({ read, effect, clock: new FakeClock(), ...options });
  const { port, close } = await kling.listen(receiver, 0);
  t.after(close);
  return { url: `http://127.0.0.1:${port}`, receiver, effects, reads };
}

test("a callback is answered 204, confirmed by a read, and acted on once", async (t) => {
  const { url, receiver, effects, reads } = await hearing(t);
  assert.equal((await post(url)).status, 204);
  await receiver.drain();
  assert.deepEqual([reads, effects.map((task) => task.id)], [[ID], [ID]]);
});

test("the same callback, twice and at once, has its effect once", async (t) => {
  const { url, receiver, effects } = await hearing(t);
  const answers = await Promise.all(Array.from({ length: 10 }, () => post(url)));
  assert.ok(answers.every((answer) => answer.status === 204));
  await receiver.drain();
  await post(url);
  await receiver.drain();
  assert.equal(effects.length, 1);
});

test("callbacks that come while one is confirmed lead to one more read, not to one each", async (t) => {
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => (go = resolve));
  let reads = 0;
  const read = async (): Promise<kling.TaskView> => (++reads, await gate, view(processing));
  const { url, receiver } = await hearing(t, [], { read });
  for (let count = 0; count < 10; count += 1) await post(url);
  go();
  await receiver.drain();
  assert.equal(reads, 2);
});

test("the answer does not wait for the effect", async (t) => {
  let finish = (): void => undefined;
  const slow = new Promise<void>((resolve) => (finish = resolve));
  const { url, receiver } = await hearing(t, [completed], { effect: () => slow });
  assert.equal((await post(url)).status, 204);
  finish();
  await receiver.drain();
});

test("a callback that the service does not confirm has no effect, until one is confirmed", async (t) => {
  const { url, receiver, effects } = await hearing(t, [processing, failed]);
  await post(url);
  await receiver.drain();
  assert.equal(effects.length, 0);
  await post(url);
  await receiver.drain();
  assert.deepEqual(
    effects.map((task) => task.status),
    ["failed"],
    "what the read says counts, not what the callback says",
  );
});

test("an unknown task has no effect and does no harm", async (t) => {
  const stage = await open(t, { task: [{ status: 404, body: fault("task_not_found") }] });
  const client = clientOf(stage);
  const { url, receiver, effects } = await hearing(t, [], { read: (id) => client.get(id) });
  assert.equal((await post(url, { ...completed, id: "task-unified-1-unknown0" })).status, 204);
  await receiver.drain();
  assert.deepEqual([effects.length, stage.seen.length], [0, 1]);
});

test("a callback before the create's reply is kept and matched later", async (t) => {
  const ours = new Set<string>();
  const { url, receiver, effects, reads } = await hearing(t, [completed], { known: (id) => ours.has(id) });
  assert.equal((await post(url)).status, 204);
  await receiver.drain();
  assert.equal(reads.length, 0);
  ours.add(ID);
  receiver.expect(ID);
  await receiver.drain();
  assert.equal(effects.length, 1);
});

test("whoever watches is rung, at once for news that came early", async (t) => {
  const { url, receiver, reads } = await hearing(t, [completed], { known: () => false });
  await post(url);
  const early = receiver.watch(ID);
  assert.ok(early.bell.signal.aborted);
  early.bell.reset();
  await post(url);
  assert.ok(early.bell.signal.aborted);
  early.end();
  assert.equal(reads.length, 0);
});

test("a poll and a callback share one ledger", async (t) => {
  const { url, receiver, effects, reads } = await hearing(t);
  await receiver.once.run(ID, () => Promise.resolve());
  assert.equal((await post(url)).status, 204);
  await receiver.drain();
  assert.deepEqual([effects.length, reads.length], [0, 0]);
});

test("a read or an effect that fails is tried again; a refusal is not", async (t) => {
  const cut = new kling.NetworkError("cut", true);
  const again = await hearing(t, [cut, cut, completed]);
  await post(again.url);
  await again.receiver.drain();
  assert.equal(again.effects.length, 1);
  let tries = 0;
  const effect = (): Promise<void> => (++tries < 3 ? Promise.reject(new Error("disk full")) : Promise.resolve());
  const clumsy = await hearing(t, [completed], { effect });
  await post(clumsy.url);
  await clumsy.receiver.drain();
  assert.equal(tries, 3);
  const refused = await hearing(t, [
    new kling.AuthError({ status: 401, code: null, type: null, message: "", param: null, requestId: null }),
  ]);
  await post(refused.url);
  await refused.receiver.drain();
  assert.equal(refused.reads.length, 1);
});

test("a receiver that cannot keep a callback answers 5xx, so that the sender tries again", async (t) => {
  const { url, reads } = await hearing(t, [completed], { store: () => Promise.reject(new Error("no disk")) });
  assert.equal((await post(url)).status, 500);
  assert.equal(reads.length, 0);
  const full = await hearing(t, [completed], { backlog: 0 });
  assert.equal((await post(full.url)).status, 503);
});

for (const [name, body] of [
  ["no JSON", "hello"],
  ["half a JSON", '{"id": "task'],
  ["a list", "[1]"],
  ["null", "null"],
  ["an id that is a number", '{"id": 5}'],
  ["no id", "{}"],
  ["an id of two dots", '{"id": ".."}'],
  ["nothing", ""],
] as const) {
  test(`${name} is refused with 400`, async (t) => {
    const { url, reads } = await hearing(t);
    assert.equal((await post(url, body)).status, 400);
    assert.equal(reads.length, 0);
  });
}

test("bytes that are no UTF-8 are refused with 400", async (t) => {
  const { url } = await hearing(t);
  assert.equal((await fetch(url, { method: "POST", body: Buffer.from([0x22, 0xff, 0x22]) })).status, 400);
});

test("a body over the bound is refused with 413, one at the bound is read", async (t) => {
  const { url } = await hearing(t);
  const padded = (size: number): string =>
    JSON.stringify({ ...pending, pad: "" }).replace('"pad":""', `"pad":"${"x".repeat(size)}"`);
  const rest = padded(0).length;
  assert.equal((await post(url, padded(2 ** 20 - rest))).status, 204);
  assert.equal((await post(url, padded(2 ** 20 - rest + 1))).status, 413);
});

test("only POST is taken, and only on the path", async (t) => {
  const { url } = await hearing(t, [completed], { path: "/hook?secret=1" });
  for (const method of ["GET", "PUT", "DELETE", "HEAD"]) {
    const answer = await fetch(`${url}/hook?secret=1`, { method });
    assert.deepEqual([answer.status, answer.headers.get("allow")], [405, "POST"]);
  }
  for (const path of ["/", "/hook", "/hook?secret=2"]) assert.equal((await post(url + path)).status, 404);
  assert.equal((await post(`${url}/hook?secret=1`)).status, 204);
});

test("a caller who hangs up in the middle does no harm", async (t) => {
  const { url, reads } = await hearing(t);
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  await new Promise<void>((resolve) =>
    socket.write("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{", () => resolve()),
  );
  socket.destroy();
  assert.equal((await post(url)).status, 204);
  assert.equal(reads.length, 1);
});

test("strangers who name many tasks do not fill the memory", async (t) => {
  const { url, receiver } = await hearing(t, [completed], { known: () => false, backlog: 3 });
  for (const id of ["a", "b", "c", "d"]) await post(url, { ...completed, id });
  assert.deepEqual(
    ["a", "b", "c", "d"].map((id) => receiver.watch(id).bell.signal.aborted),
    [false, true, true, true],
  );
});

test("a port that is taken is a clear error", async (t) => {
  const { url } = await hearing(t);
  await assert.rejects(kling.listen(new kling.Receiver(), Number(new URL(url).port)), kling.ConfigError);
});

test("an effect that throws has not happened", async () => {
  const once = new kling.Once();
  await assert.rejects(once.run("a", () => Promise.reject(new Error("no"))));
  assert.equal(await once.run("a", () => Promise.resolve()), true);
  assert.equal(await once.run("a", () => Promise.resolve()), false);
});
