import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import * as kling from "../src/index.js";
import {
  FakeClock,
  ID,
  IMAGE,
  MP4,
  type Script,
  type Stage,
  clientOf,
  completed,
  failed,
  fault,
  folder,
  happy,
  open,
  pending,
  processing,
} from "./stage.js";

type T = Parameters<typeof open>[0];

interface Scene {
  readonly stage: Stage;
  readonly out: string;
  readonly state: string;
  readonly events: kling.GenerationEvent[];
  readonly generation: (options?: kling.GenerationOptions) => kling.Generation;
}

async function scene(
  t: T,
  script: Script,
  options: kling.ClientOptions = {},
  out = join(folder(t), "out.mp4"),
): Promise<Scene> {
  const clock = new FakeClock();
  const stage = await open(t, script, clock);
  const events: kling.GenerationEvent[] = [];
  const make = (more: kling.GenerationOptions = {}): kling.Generation =>
    new kling.Generation(clientOf(stage, options, clock), out, { onEvent: (event) => events.push(event), ...more });
  return { stage, out, state: `${out}.kling.json`, events, generation: make };
}

const wishes: kling.Wishes = { image: IMAGE, fields: { duration: 3 } };
const thrown = (error: unknown): unknown => error;
const record = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;

test("a first frame becomes a file, with one create and nothing left behind", async (t) => {
  const { stage, out, generation, events } = await scene(t, happy);
  const { task, paths } = await generation().run(wishes);
  assert.deepEqual([task.id, paths, stage.of("create").length], [ID, [out], 1]);
  assert.ok(readFileSync(out).equals(MP4));
  assert.deepEqual(readdirSync(join(out, "..")), ["out.mp4"]);
  assert.deepEqual(
    [...new Set(events.map((event) => event.kind))],
    ["creating", "accepted", "status", "downloading", "bytes", "saved"],
  );
  assert.ok(events.some((event) => event.text.includes("50 credits reserved")));
});

test("a local first frame is uploaded first, with the key, and its URL is sent", async (t) => {
  const { stage, out, generation } = await scene(t, { ...happy, upload: [{ status: 503 }, ...(happy.upload ?? [])] });
  const image = join(out, "..", "frame.png");
  const png = Buffer.alloc(40);
  png.write("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\0\0\0\x02\0", "latin1");
  writeFileSync(image, png);
  await generation().run({ ...wishes, image });
  const [, upload] = stage.of("upload");
  assert.match(String(upload?.headers.authorization), /^Bearer /);
  assert.match(upload?.body ?? "", /name="file"; filename="frame.png"[\s\S]*image\/png/);
  assert.equal(
    (JSON.parse(stage.of("create")[0]?.body ?? "") as { image_start: string }).image_start,
    `${stage.url}/files/frame.png`,
  );
});

test("wishes against the contract, and a bad file, cost no upload", async (t) => {
  const { stage, out, generation } = await scene(t, happy);
  await assert.rejects(generation().run({ image: join(out, "..", "none.png"), fields: {} }), kling.ConfigError);
  await assert.rejects(generation().run({ image: "photo.png", fields: { duration: 99 } }), kling.RequestInvalid);
  assert.equal(stage.seen.length, 0);
});

test("the id is on disk, readable by its owner only and without the key, before the first read", async (t) => {
  const found: unknown[] = [];
  const here = folder(t);
  const out = join(here, "out.mp4");
  const look = (): { body: object } => (found.push(record(`${out}.kling.json`)), { body: completed });
  const { generation, stage } = await scene(t, { ...happy, task: [look] }, {}, out);
  await generation().run(wishes);
  const [kept] = found as Record<string, unknown>[];
  assert.deepEqual(
    [kept?.["phase"], kept?.["task_id"], kept?.["idempotency_key"]],
    ["accepted", ID, stage.seen[0]?.headers["idempotency-key"]],
  );
  assert.ok(!JSON.stringify(kept).includes("sk-test"));
});

test("a run that was stopped is resumed by the same wishes, with no new create", async (t) => {
  const { stage, generation, state, out } = await scene(t, {
    ...happy,
    task: [{ status: 401, body: fault("unauthorized") }, { body: completed }],
  });
  const error = await generation().run(wishes).catch(thrown);
  assert.ok(error instanceof kling.AuthError && error.taskId === ID);
  assert.equal(record(state)["task_id"], ID);
  await generation().run(wishes);
  assert.deepEqual([stage.of("create").length, existsSync(state), existsSync(out)], [1, false, true]);
});

test("a resumed task that the service does not show yet is waited for", async (t) => {
  const missing = { status: 404, body: fault("task_not_found") };
  const { stage, generation } = await scene(t, { ...happy, task: [{ status: 401 }, missing, { body: completed }] });
  await generation().run(wishes).catch(thrown);
  await generation().run(wishes);
  assert.deepEqual([stage.of("create").length, stage.of("task").length], [1, 3]);
});

test("what was begun for other wishes is not taken for these", async (t) => {
  const { stage, generation } = await scene(t, { ...happy, task: [{ status: 401 }, { body: completed }] });
  await generation().run(wishes).catch(thrown);
  await assert.rejects(generation().run({ ...wishes, fields: { duration: 4 } }), /about another request/);
  await generation().run({ ...wishes, fields: { duration: 4 }, fresh: true });
  assert.equal(stage.of("create").length, 2);
});

test("a lost create is remembered; the next run asks, and repeats it only under its own key", async (t) => {
  const { stage, generation, state } = await scene(t, { ...happy, create: [{ cut: "before" }, { body: pending }] });
  const lost = await generation().run(wishes).catch(thrown);
  assert.ok(lost instanceof kling.CreateOutcomeUnknown);
  assert.equal(record(state)["phase"], "creating");
  await assert.rejects(generation().run(wishes), kling.CreateOutcomeUnknown);
  assert.equal(stage.of("create").length, 1);
  await generation().run({ ...wishes, idempotencyKey: lost.idempotencyKey });
  const [first, second] = stage.of("create");
  assert.deepEqual(
    [first?.headers["idempotency-key"], first?.body],
    [second?.headers["idempotency-key"], second?.body],
  );
});

test("a refused create leaves no record, nor does a failed task, and neither is created again", async (t) => {
  for (const script of [
    { ...happy, create: [{ status: 402, body: fault("insufficient_quota") }] },
    { ...happy, task: [{ body: failed }] },
  ]) {
    const { stage, generation, state } = await scene(t, script);
    await assert.rejects(generation().run(wishes), kling.KlingError);
    assert.deepEqual([stage.of("create").length, existsSync(state)], [1, false]);
  }
});

test("two runs for one file at once make one create", async (t) => {
  const { stage, generation, out } = await scene(t, happy);
  const results = await Promise.allSettled([generation().run(wishes), generation().run(wishes)]);
  const [refused] = results.filter((each) => each.status === "rejected");
  assert.ok(refused?.reason instanceof kling.Busy, String(refused?.reason));
  assert.equal(stage.of("create").length, 1);
  assert.deepEqual(readdirSync(join(out, "..")), ["out.mp4"]);
});

test("an output that cannot be written is found out before anything is sent", async (t) => {
  const here = folder(t);
  writeFileSync(join(here, "there.mp4"), "something");
  for (const out of [
    here,
    join(here, "none", "out.mp4"),
    join(here, "there.mp4"),
    join(here, "there.mp4", "out.mp4"),
  ]) {
    const { stage, generation } = await scene(t, happy, {}, out);
    await assert.rejects(generation().run(wishes), kling.ConfigError);
    assert.equal(stage.seen.length, 0);
  }
  const { generation } = await scene(t, happy, {}, join(here, "there.mp4"));
  await generation().run({ ...wishes, overwrite: true });
});

test("a state file that is none is left alone", async (t) => {
  const { stage, generation, state } = await scene(t, happy);
  for (const text of [
    "{",
    "[]",
    "null",
    '{"version": 2}',
    '{"version": 1, "phase": "accepted", "digest": "x", "idempotency_key": "k", "base_url": "u"}',
  ]) {
    writeFileSync(state, text);
    await assert.rejects(generation().run(wishes), /not a state file/);
  }
  assert.equal(stage.seen.length, 0);
});

test("a task is resumed by its id, read at once and created never", async (t) => {
  const { stage, generation, out } = await scene(t, { ...happy, task: [{ body: completed }] });
  await generation().resume(ID);
  assert.deepEqual([stage.seen[0]?.method, stage.of("create").length, existsSync(out)], ["GET", 0, true]);
});

test("a deadline ends the run, names the task and keeps it to be resumed", async (t) => {
  const { generation, state } = await scene(t, { ...happy, task: [{ body: processing }] }, { deadline: 30 });
  const error = await generation().run(wishes).catch(thrown);
  assert.ok(error instanceof kling.GaveUp && error.taskId === ID);
  assert.equal(record(state)["task_id"], ID);
});

test("a callback and a read that both see the end have one effect", async (t) => {
  const once = new kling.Once();
  const receiver = new kling.Receiver({ once });
  const { generation, stage } = await scene(t, { ...happy, task: [{ body: completed }] });
  await generation({ receiver }).run(wishes);
  assert.equal(await once.run(ID, () => assert.fail("a second effect")), false);
  assert.deepEqual([once.count, stage.of("link").length], [1, 1]);
});
