/** What outlives a run: the record of a task that is owed, and the lock of a run at work. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { type FileHandle, open as openFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";

import * as kling from "../src/index.js";
import { LEASE, Lock } from "../src/lock.js";
import { Slot } from "../src/state.js";
import {
  FakeClock,
  ID,
  IMAGE,
  MP4,
  type Reply,
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
  readonly clock: FakeClock;
  readonly run: (wishes?: Partial<kling.Wishes>, options?: kling.GenerationOptions) => Promise<kling.Video>;
  readonly resume: (id: string) => Promise<kling.Video>;
}

async function scene(t: T, script: Script, options: kling.ClientOptions = {}): Promise<Scene> {
  const clock = new FakeClock();
  const stage = await open(t, script, clock);
  const out = join(folder(t), "out.mp4");
  const make = (more: kling.GenerationOptions = {}): kling.Generation =>
    new kling.Generation(clientOf(stage, options, clock), out, more);
  return {
    stage,
    out,
    clock,
    run: (wishes = {}, more = {}) => make(more).run({ image: IMAGE, fields: {}, ...wishes }),
    resume: (id) => make().resume(id),
  };
}

const thrown = (error: unknown): unknown => error;
const record = (out: string): Record<string, unknown> =>
  JSON.parse(readFileSync(`${out}.kling.json`, "utf8")) as Record<string, unknown>;
const keysOf = (stage: Stage): unknown[] => [
  ...new Set(stage.of("create").map((each) => each.headers["idempotency-key"])),
];

const FAILURES: Readonly<Record<string, Reply>> = {
  "401": { status: 401, body: fault("unauthorized") },
  "402": { status: 402, body: fault("insufficient_quota") },
  "400": { status: 400, body: fault("invalid_request") },
  "302": { status: 302, headers: { location: "https://x.test/" } },
  "429 for ever": { status: 429, headers: { "retry-after": "100000" } },
};

for (const [what, failure] of Object.entries(FAILURES)) {
  test(`a lost create is remembered when its repetition is answered ${what}`, async (t) => {
    const { stage, out, run } = await scene(t, { ...happy, create: [{ cut: "before" }, failure, { body: pending }] });
    const lost = await run().catch(thrown);
    assert.ok(lost instanceof kling.CreateOutcomeUnknown);
    const key = lost.idempotencyKey;
    await assert.rejects(run({ idempotencyKey: key }), kling.CreateOutcomeUnknown);
    assert.equal(record(out)["idempotency_key"], key);
    await assert.rejects(run(), kling.CreateOutcomeUnknown);
    await run({ idempotencyKey: key }).catch(thrown);
    assert.deepEqual(keysOf(stage), [key]);
  });
}

test("a lost create is remembered when its repetition cannot connect", async (t) => {
  let down = false;
  const fetch: typeof globalThis.fetch = (...args) =>
    down
      ? Promise.reject(
          new TypeError("fetch failed", {
            cause: Object.assign(new Error("refused"), { code: "ECONNREFUSED", syscall: "connect" }),
          }),
        )
      : globalThis.fetch(...args);
  const { stage, out, run } = await scene(
    t,
    { ...happy, create: [{ cut: "before" }, { body: pending }] },
    { tools: { fetch } },
  );
  const lost = (await run().catch(thrown)) as kling.CreateOutcomeUnknown;
  down = true;
  await assert.rejects(run({ idempotencyKey: lost.idempotencyKey }), kling.CreateOutcomeUnknown);
  await assert.rejects(run({ repeatLostCreate: true }), kling.CreateOutcomeUnknown);
  down = false;
  assert.equal(record(out)["idempotency_key"], lost.idempotencyKey);
  await assert.rejects(run(), kling.CreateOutcomeUnknown);
  await run({ idempotencyKey: lost.idempotencyKey });
  assert.deepEqual(keysOf(stage), [lost.idempotencyKey]);
});

test("a new create that is refused does not forget the one before", async (t) => {
  const { out, run } = await scene(t, { ...happy, create: [{ cut: "before" }, FAILURES["402"] ?? {}] });
  const lost = (await run().catch(thrown)) as kling.CreateOutcomeUnknown;
  await assert.rejects(run({ fields: { duration: 4 }, fresh: true }), kling.BalanceError);
  assert.equal(record(out)["idempotency_key"], lost.idempotencyKey);
  await assert.rejects(run({ fields: { duration: 99 }, fresh: true }), kling.RequestInvalid);
  assert.equal(record(out)["idempotency_key"], lost.idempotencyKey);
});

test("resuming one task does not forget another, and a failed guess settles no lost create", async (t) => {
  const one = await scene(t, { ...happy, task: [{ status: 401 }, { body: completed }] });
  await assert.rejects(one.run(), kling.AuthError);
  await assert.rejects(one.resume("task-unified-1-other000"), new RegExp(ID));
  assert.equal(record(one.out)["task_id"], ID);
  await one.resume(ID);
  assert.ok(!existsSync(`${one.out}.kling.json`));
  const other = await scene(t, { ...happy, create: [{ cut: "before" }], task: [{ body: failed }] });
  const lost = (await other.run().catch(thrown)) as kling.CreateOutcomeUnknown;
  await assert.rejects(other.resume(ID), kling.TaskFailed);
  assert.equal(record(other.out)["idempotency_key"], lost.idempotencyKey);
});

test("a record that cannot be written does not cost the video", async (t) => {
  const { out, run } = await scene(t, happy);
  t.mock.method(Slot.prototype, "write", () => Promise.reject(new kling.ConfigError("cannot write: ENOSPC")));
  const told: string[] = [];
  await run({}, { onEvent: ({ kind, text }) => void (kind === "accepted" && told.push(text)) });
  assert.ok(readFileSync(out).equals(MP4));
  assert.match(told.join(), new RegExp(`${ID} accepted.*ENOSPC`));
});

test("a listener that throws does not cost the task's id", async (t) => {
  const { out, run } = await scene(t, happy);
  const onEvent = ({ kind }: kling.GenerationEvent): void => {
    if (kind === "accepted") throw new Error("mine");
  };
  await assert.rejects(run({}, { onEvent }), /mine/);
  assert.equal(record(out)["task_id"], ID);
});

test("record and folder are on the disk before the create is sent", async (t) => {
  const synced: string[] = [];
  const create = (): Reply => (synced.push("create"), { body: pending });
  const { out, run } = await scene(t, { ...happy, create: [create] });
  const handle = await openFile(dirname(out));
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const real = prototype.sync;
  t.mock.method(prototype, "sync", async function (this: FileHandle) {
    synced.push((await this.stat()).isDirectory() ? "folder" : "file");
    return real.call(this);
  });
  await run();
  // The lock first, then the record: each a file, then its folder.
  assert.deepEqual(synced.slice(0, 5), ["file", "folder", "file", "folder", "create"]);
});

test("a record made by another run stops the create", async (t) => {
  const { stage, out, run } = await scene(t, {
    ...happy,
    upload: [() => (writeFileSync(`${out}.kling.json`, JSON.stringify(RECORD)), happy.upload?.[0] as Reply)],
  });
  const image = join(dirname(out), "frame.png");
  const png = Buffer.alloc(40);
  png.write("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\0\0\0\x02\0", "latin1");
  writeFileSync(image, png);
  await assert.rejects(run({ image }), kling.Busy);
  assert.equal(stage.of("create").length, 0);
});

const RECORD = {
  version: 2,
  phase: "creating",
  request: { image: IMAGE },
  idempotency_key: "kling-0123456789abcdef",
  base_url: "https://api.test",
  body: {},
  task_id: null,
};

test("a record that makes no sense stops the run", async (t) => {
  const { stage, out, run } = await scene(t, happy);
  for (const change of [
    { phase: "accepted" },
    { phase: "accepted", task_id: "" },
    { phase: "accepted", task_id: ["x"] },
    { task_id: "task-1" },
    { phase: "done" },
    { idempotency_key: "" },
    { idempotency_key: 5 },
    { body: [] },
    { request: null },
    { version: 3 },
    { base_url: null },
  ]) {
    writeFileSync(`${out}.kling.json`, JSON.stringify({ ...RECORD, ...change }));
    await assert.rejects(run(), /not a state file/, JSON.stringify(change));
  }
  assert.equal(stage.seen.length, 0);
});

test("a lost create without the member task_id is one with null, and is never polled as undefined", async (t) => {
  const { stage, out, run } = await scene(t, happy);
  const { task_id: _gone, ...rest } = { ...RECORD, base_url: stage.url, later: 1 };
  writeFileSync(`${out}.kling.json`, JSON.stringify(rest));
  await assert.rejects(run(), kling.CreateOutcomeUnknown);
  assert.equal(stage.seen.length, 0);
});

test("a record of the first version is resumed by its id only", async (t) => {
  const { stage, out, run, resume } = await scene(t, happy);
  const { request: _gone, ...first } = { ...RECORD, version: 1, digest: "0", phase: "accepted", task_id: ID };
  writeFileSync(`${out}.kling.json`, JSON.stringify(first));
  await assert.rejects(run(), new RegExp(ID));
  await resume(ID);
  assert.equal(stage.of("create").length, 0);
  assert.ok(existsSync(out));
});

test("an address has one spelling", () => {
  const spelled = (baseUrl: string): string => new kling.KlingClient({ apiKey: "sk-12345678", baseUrl }).baseUrl;
  for (const [one, other] of [
    ["https://api.test", "HTTPS://API.TEST:443/"],
    ["https://api.test", "https://api.test/v1/"],
    ["https://api.test/eu", "https://api.test/eu//"],
    ["http://127.0.0.1", "http://0x7f.1:80"],
    ["https://xn--bcher-kva.test", "https://bücher.test"],
  ] as const)
    assert.equal(spelled(other), one);
});

test("a damaged lock is left over once a holder at work would have renewed it", async (t) => {
  for (const text of ["", "{", "null", "[]", '{"version": 1, "pid": 1}', "1", "999999999", "\0".repeat(8)]) {
    const { out, run, clock } = await scene(t, happy);
    writeFileSync(`${out}.kling.lock`, text);
    await run();
    assert.ok(clock.slept.filter((each) => each === 250).length * 250 >= LEASE);
  }
});

test("a lock that is renewed is at work, though its holder cannot be looked up", async (t) => {
  const path = join(folder(t), "out.mp4.kling.lock");
  writeFileSync(path, JSON.stringify({ version: 1, token: "t", pid: 1, host: "other", born: "1" }));
  const clock = new FakeClock();
  const sleep = async (ms: number): Promise<void> => {
    await clock.sleep(ms);
    utimesSync(path, clock.now() / 1000, clock.now() / 1000);
  };
  const slot = new Slot(path.slice(0, -".kling.lock".length), { now: () => clock.now(), sleep });
  await assert.rejects(
    slot.held(() => Promise.resolve()),
    kling.Busy,
  );
  assert.ok(existsSync(path));
});

test("the lock of a process that died is taken at once, also when another has its number; a living one's is not", async (t) => {
  const path = join(folder(t), "out.mp4.kling.lock");
  const clock = new FakeClock();
  const slot = (): Slot => new Slot(path.slice(0, -".kling.lock".length), clock);
  let content = {};
  await slot().held(async () => {
    content = JSON.parse(readFileSync(path, "utf8")) as object;
    await assert.rejects(
      slot().held(() => Promise.resolve()),
      kling.Busy,
    );
  });
  assert.ok(!existsSync(path));
  for (const change of [{ born: "1" }, { pid: 999_999_999 }]) {
    writeFileSync(path, JSON.stringify({ ...content, ...change }));
    await slot().held(() => Promise.resolve());
  }
  assert.deepEqual(clock.slept, []);
  assert.deepEqual(readdirSync(dirname(path)), []);
});

test("a process that nobody has waited for is dead, as it stays where the first process of a container waits for none", async (t) => {
  const path = join(folder(t), "out.mp4.kling.lock");
  const clock = new FakeClock();
  const slot = new Slot(path.slice(0, -".kling.lock".length), clock);
  let content = {};
  await slot.held(() => {
    content = JSON.parse(readFileSync(path, "utf8")) as object;
    return Promise.resolve();
  });
  // The shell becomes one that waits for nobody, and says whose parent it is.
  const parent = spawn("sh", ["-c", "true & echo $!; exec cat"], { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => parent.stdin.end());
  const pid = Number(String((await once(parent.stdout, "data"))[0]));
  const fields = (): string[] => readFileSync(`/proc/${String(pid)}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  // Bounded by the system's answers, not by time.
  for (let looks = 0; looks < 100_000 && fields()[0] !== "Z"; looks += 1);
  assert.equal(fields()[0], "Z");
  writeFileSync(path, JSON.stringify({ ...content, pid, born: fields()[19] }));
  await slot.held(() => Promise.resolve());
  assert.deepEqual(clock.slept, []);
});

test("a holder renews its lock, and removes its own only", async (t) => {
  const path = join(folder(t), "x.lock");
  const lock = new Lock(path, new FakeClock(), 1);
  await lock.held(async () => {
    utimesSync(path, 1, 1);
    // Bounded by the file system's answers, not by time.
    for (let looks = 0; looks < 100_000 && (await stat(path)).mtimeMs === 1000; looks += 1);
    assert.notEqual((await stat(path)).mtimeMs, 1000);
    writeFileSync(path, JSON.stringify({ version: 1, token: "other", pid: 1, host: "", born: "" }));
  });
  assert.ok(existsSync(path));
});

test("giving up leaves a record to resume; a create that was never sent leaves none", async (t) => {
  const stuck = await scene(t, { ...happy, task: [{ body: processing }] });
  await assert.rejects(stuck.run(), kling.GaveUp);
  assert.equal(record(stuck.out)["task_id"], ID);
  const refused = await scene(t, { ...happy, create: [FAILURES["402"] ?? {}] });
  await assert.rejects(refused.run(), kling.BalanceError);
  assert.ok(!existsSync(`${refused.out}.kling.json`));
});
