/** Stated limits are held, settings that make no sense are refused, and a run that is done is not reported as stopped. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import * as fs from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { type TestContext, test } from "node:test";

import { run as runCommand } from "../src/cli.js";
import { LONGEST_TIMER } from "../src/clock.js";
import { lost } from "../src/http.js";
import * as kling from "../src/index.js";
import { PartFile } from "../src/part-file.js";
import { taskFrom } from "../src/task.js";
import {
  ID,
  IMAGE,
  KEY,
  MP4,
  type Script,
  clientOf,
  completed,
  folder,
  happy,
  open,
  pending,
  processing,
  video,
} from "./stage.js";

const HOME = process.cwd();
const ODD = [Number.NaN, Number.POSITIVE_INFINITY, -1, "5" as unknown as number];

test("every number of a setting is checked", () => {
  const make = (options: kling.ClientOptions): kling.KlingClient =>
    new kling.KlingClient({ apiKey: KEY, baseUrl: "http://127.0.0.1:1", ...options });
  const groups = {
    pace: ["minPoll", "first", "growth", "ceiling", "errorCeiling", "spread"],
    download: ["maxBytes", "attempts", "firstWait", "deadline", "stall", "redirects"],
  };
  for (const value of ODD) {
    for (const [group, names] of Object.entries(groups))
      for (const name of names)
        assert.throws(() => make({ [group]: { [name]: value } }), kling.ConfigError, `${name} ${value}`);
    for (const name of ["timeout", "deadline", "createAttempts"])
      assert.throws(() => make({ [name]: value }), kling.ConfigError, `${name} ${value}`);
    for (const name of ["backlog", "attempts", "retryWait", "maxBytes"])
      assert.throws(() => new kling.Receiver({ [name]: value }), kling.ConfigError, `${name} ${value}`);
  }
  assert.throws(() => make({ pace: { first: 4 } }), /must not shrink/);
});

test("a timeout beyond what timers take is a long one, not none", async (t) => {
  const stage = await open(t, happy);
  const timeout = (LONGEST_TIMER + 1) / 1000;
  const client = clientOf(stage, { timeout, deadline: 1e9, download: { stall: timeout * 4 } });
  const task = taskFrom({ ...completed, results: [`${stage.url}/files/one.mp4`] }) as kling.TaskView;
  assert.equal((await client.get(ID)).id, ID);
  assert.equal((await client.save(task, join(folder(t), "out.mp4"))).length, 1);
});

/** The prototype of file handles, whose methods a test replaces. */
async function handles(): Promise<fs.FileHandle> {
  const handle = await fs.open("/dev/null");
  await handle.close();
  return Object.getPrototypeOf(handle) as fs.FileHandle;
}

type Write = (this: fs.FileHandle, data: Uint8Array, from: number, length: number, at: number) => Promise<unknown>;

test("a disk that takes a part of what it is given gets the rest, too", async (t) => {
  const prototype = await handles();
  const real = prototype.write as unknown as Write;
  const short: Write = function (data, from, length, at) {
    return real.call(this, data, from, Math.min(length, 100), at);
  };
  t.mock.method(prototype, "write", short as never);
  const stage = await open(t, happy);
  const out = join(folder(t), "out.mp4");
  const task = taskFrom({ ...completed, results: [`${stage.url}/files/one.mp4`] }) as kling.TaskView;
  await clientOf(stage).save(task, out);
  assert.ok(readFileSync(out).equals(MP4));
});

test("a disk that takes no more, or loses what it took, is no success", async (t) => {
  const prototype = await handles();
  const here = folder(t);
  const part = async (): Promise<PartFile> => {
    const file = await PartFile.beside(join(here, "out.mp4"));
    await file.begin();
    return file;
  };
  const one = await part();
  const none = t.mock.method(prototype, "write", () => Promise.resolve({ bytesWritten: 0 }));
  await assert.rejects(one.append(MP4), kling.DownloadError);
  none.mock.restore();
  await one.end();
  const other = await part();
  await other.append(MP4);
  await fs.truncate(join(here, readdirSync(here)[0] ?? ""), 100);
  await assert.rejects(other.commit(), /100 of \d+ bytes/);
  await other.end();
  assert.deepEqual(readdirSync(here), []);
});

test("only regular files are written", async (t) => {
  const here = folder(t);
  const stage = await open(t, happy);
  const out = join(here, "out.mp4");
  for (const make of [
    () => symlinkSync("/dev/null", out),
    () => execFileSync("mkfifo", [out]),
  ]) {
    make();
    const wishes = { image: IMAGE, fields: {}, overwrite: true };
    await assert.rejects(new kling.Generation(clientOf(stage), out).run(wishes), /not a regular file/);
    await assert.rejects(PartFile.beside(out), kling.DownloadError);
    await fs.rm(out);
  }
  await assert.rejects(clientOf(stage).frameUrl("/dev/zero"), /not a regular file/);
  assert.equal(stage.seen.length, 0);
});

test("a running task is not called failed", () => {
  const task = taskFrom(processing) as kling.TaskView;
  assert.throws(() => kling.linksOf(task), kling.ResultMissing);
  assert.throws(() => kling.linksOf(task), /is not completed \(processing\)/);
});

test("an accepted create without a status is an accepted create, and an answer without an id is the task asked for", async (t) => {
  const { status: _status, ...bare } = pending;
  const { id: _id, ...nameless } = completed;
  const { stage, run } = await command(t, { ...happy, create: [{ body: bare }], task: [{ body: nameless }] });
  assert.equal((await run("generate", IMAGE, "--out", "out.mp4")).code, 0);
  assert.equal(stage.of("create").length, 1);
});

test("what may have been sent is not called unsent", () => {
  const failure = (code: string, syscall?: string): TypeError =>
    new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code, ...(syscall ? { syscall } : {}) }) });
  for (const [error, sent] of [
    [failure("ECONNREFUSED", "connect"), false],
    [failure("ENOTFOUND", "getaddrinfo"), false],
    [failure("CERT_HAS_EXPIRED"), false],
    [failure("EHOSTUNREACH", "read"), true],
    [failure("ECONNRESET", "read"), true],
    [failure("ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED"), true],
    [failure("ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC"), true],
    [new TypeError("fetch failed", { cause: new AggregateError([failure("ECONNREFUSED", "connect")]) }), false],
    [new TypeError("fetch failed", { cause: new AggregateError([]) }), true],
  ] as const)
    assert.equal(lost(error, 1).sent, sent, String(error.cause));
});

test("one slow task delays no other", async () => {
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => (go = resolve));
  const acted: string[] = [];
  const view = (id: string): kling.TaskView => taskFrom({ ...completed, id }) as kling.TaskView;
  const receiver = new kling.Receiver({
    read: async (id) => (id === "slow-read" ? await gate : undefined, view(id)),
    effect: async ({ id }) => {
      if (id === "slow-effect") await gate;
      acted.push(id);
    },
  });
  for (const id of ["slow-read", "slow-effect", "quick"]) {
    receiver["take"](id);
  }
  for (let turns = 0; turns < 1000 && acted.length === 0; turns += 1) await Promise.resolve();
  assert.deepEqual(acted, ["quick"]);
  go();
  await receiver.drain();
  assert.deepEqual(acted.sort(), ["quick", "slow-effect", "slow-read"]);
});

test("a log that throws stops nothing, and neither does an effect", async () => {
  const acted: string[] = [];
  const receiver = new kling.Receiver({
    read: (id) => Promise.resolve(taskFrom({ ...completed, id }) as kling.TaskView),
    effect: ({ id }) => {
      acted.push(id);
      throw new Error("mine");
    },
    log: () => {
      throw new Error("the log is full");
    },
    attempts: 1,
  });
  for (const id of ["one", "two"]) {
    receiver["take"](id);
    await receiver.drain();
  }
  assert.deepEqual(acted, ["one", "two"]);
});

test("every watch hears the news", () => {
  const receiver = new kling.Receiver();
  const [first, second] = [receiver.watch(ID), receiver.watch(ID)];
  receiver["take"](ID);
  assert.deepEqual([first.bell.signal.aborted, second.bell.signal.aborted], [true, true]);
  second.end();
  first.bell.reset();
  receiver["take"](ID);
  assert.ok(first.bell.signal.aborted);
});

test("a caller who drips is ended at the limit, not half a minute later", async (t) => {
  const { port, close } = await kling.listen(new kling.Receiver(), 0, 0.2);
  t.after(close);
  const caller = connect(port, "127.0.0.1");
  caller.on("error", () => undefined);
  caller.write("POST / HTTP/1.1\r\nX-Long: ");
  const dripping = setInterval(() => caller.write("a"), 20);
  t.after(() => clearInterval(dripping));
  const said = await new Promise<string>((resolve) => {
    let text = "";
    caller.on("data", (chunk: Buffer) => (text += chunk.toString()));
    caller.on("close", () => resolve(text));
  });
  assert.match(said, /^(HTTP\/1\.1 408|$)/);
});

test("a port that is none is a usage error", async () => {
  for (const port of [-1, 65_536, 70_000, 1.5, Number.NaN])
    await assert.rejects(kling.listen(new kling.Receiver(), port), kling.ConfigError);
});

interface Ended {
  readonly code: number;
  readonly err: string;
  readonly out: string;
  readonly result: { outcome: string; effects: number } | undefined;
}

interface Command {
  readonly stage: Awaited<ReturnType<typeof open>>;
  readonly here: string;
  readonly stop: () => void;
  readonly run: (...args: string[]) => Promise<Ended>;
}

/** The command in this process, in a folder of its own, against a scripted service. */
async function command(t: TestContext, script: Script, env: NodeJS.ProcessEnv = {}): Promise<Command> {
  const stage = await open(t, script);
  const here = folder(t);
  process.chdir(here);
  t.after(() => process.chdir(HOME));
  let stop = (): void => undefined;
  const interrupted = new Promise<never>((_resolve, reject) => (stop = () => reject(new kling.Interrupted("interrupted"))));
  interrupted.catch(() => undefined);
  const resultFile = join(here, "result.json");
  const run = async (...args: string[]): Promise<Ended> => {
    const said = { out: "", err: "" };
    const [out, err] = [new PassThrough(), new PassThrough()];
    out.on("data", (chunk: Buffer) => (said.out += chunk.toString()));
    err.on("data", (chunk: Buffer) => (said.err += chunk.toString()));
    const own = args.some((each) => each === "--base-url") ? [] : ["--base-url", stage.url];
    const all = [args[0] ?? "", "--api-key", KEY, ...own, ...args.slice(1)];
    const around = {
      env: { KLING_RESULT: resultFile, KLING_MIN_POLL: "0.01", KLING_LINGER: "0", ...env },
      streams: { out, err },
      interrupted,
    };
    const code = await runCommand(all, around);
    const result = existsSync(resultFile)
      ? (JSON.parse(readFileSync(resultFile, "utf8")) as Ended["result"])
      : undefined;
    return { code, ...said, result };
  };
  return { stage, here, stop: () => stop(), run };
}

test("being stopped while a video gets its name, or after that, is success", async (t) => {
  const prototype = await handles();
  const real = prototype.sync;
  const { here, run, stop } = await command(t, { ...happy, task: [{ body: completed }] });
  t.mock.method(prototype, "sync", async function (this: fs.FileHandle) {
    if (readdirSync(here).some((name) => name.endsWith(".mp4.part") || /\.mp4\.[0-9a-f]+\.part$/.test(name))) stop();
    await real.call(this);
  });
  const { code, result } = await run("generate", IMAGE, "--out", "out.mp4");
  assert.deepEqual([code, result?.outcome, result?.effects], [0, "completed", 1]);
  // The lock goes with the process.
  const left = readdirSync(here).filter((name) => !name.endsWith(".lock"));
  assert.deepEqual(left.sort(), ["out.mp4", "result.json"]);
});

test("being stopped while late callbacks are listened to is success", async (t) => {
  const { here, run, stop } = await command(
    t,
    { ...happy, task: [{ body: completed }] },
    { KLING_LINGER: "1", KLING_CALLBACK_PORT: "0" },
  );
  const watching = setInterval(() => existsSync(join(here, "out.mp4")) && stop(), 5);
  t.after(() => clearInterval(watching));
  const { code, result } = await run("generate", IMAGE, "--out", "out.mp4", "--callback-url", "https://h.example.com/");
  assert.deepEqual([code, result?.outcome], [0, "completed"]);
});

test("being stopped while the video comes in is not", async (t) => {
  const { here, run, stop } = await command(t, {
    ...happy,
    task: [{ body: completed }],
    link: [() => (stop(), { ...video, hang: true })],
  });
  const { code, result } = await run("generate", IMAGE, "--out", "out.mp4");
  assert.deepEqual([code, result?.outcome], [10, "gave_up"]);
  assert.ok(!existsSync(join(here, "out.mp4")));
  assert.ok(existsSync(join(here, "out.mp4.kling.json")));
});

const CALLBACK = ["--callback-url", "https://h.example.com/"];
for (const [what, code, args] of [
  ["a port of 70000", 2, [IMAGE, ...CALLBACK, "--callback-port", "70000"]],
  ["a port of -1", 2, [IMAGE, ...CALLBACK, "--callback-port", "-1"]],
  ["half a port", 2, [IMAGE, ...CALLBACK, "--callback-port", "1.5"]],
  ["a deadline of nan", 2, [IMAGE, "--deadline", "nan"]],
  ["a deadline without end", 2, [IMAGE, "--deadline", "Infinity"]],
  ["a pause of ages", 2, [IMAGE, "--min-poll", "1e300"]],
  ["a timeout of ages", 2, [IMAGE, "--timeout", "1e10"]],
  ["a negative linger", 2, [IMAGE, ...CALLBACK, "--callback-port", "0", "--linger", "-1"]],
  ["half a byte", 2, [IMAGE, "--max-bytes", "1.5"]],
  ["a base URL with a port that is none", 2, [IMAGE, "--base-url", "http://127.0.0.1:70000"]],
  ["an image with a broken escape", 4, ["https://x.test/%zz.jpg"]],
  ["a callback with a broken escape", 4, [IMAGE, "--callback-url", "https://h.example.com/%zz"]],
] as const) {
  test(`${what} ends with ${code} and one line, and nothing is sent`, async (t) => {
    const { stage, here, run } = await command(t, happy);
    const ended = await run("generate", ...args);
    assert.equal(ended.code, code, ended.err);
    assert.equal(ended.err.split("\n").length, 2, ended.err);
    assert.equal(stage.seen.length, 0);
    assert.deepEqual(
      readdirSync(here).filter((name) => name.includes(".kling.")),
      [],
    );
  });
}

test("a field given by --field is kept where the flag of its name is not given", async (t) => {
  const { stage, run } = await command(t, happy);
  await run("generate", IMAGE, "--out", "out.mp4", "--field", "prompt=wind", "--field", "quality=720p", "--quality", "1080p");
  const { prompt, quality } = JSON.parse(stage.of("create")[0]?.body ?? "") as Record<string, unknown>;
  assert.deepEqual([prompt, quality], ["wind", "1080p"]);
});

test("a result file that cannot be written changes nothing else; a device is written to", async (t) => {
  const { here, run } = await command(t, happy);
  mkdirSync(join(here, "folder"));
  writeFileSync(join(here, "plain"), "");
  symlinkSync("/dev/null", join(here, "null"));
  for (const [name, complains] of [
    ["none/result.json", true],
    ["folder", true],
    ["plain/result.json", true],
    ["null", false],
  ] as const) {
    const { run: other, here: there } = await command(t, happy, { KLING_RESULT: join(here, name) });
    const { code, err } = await other("generate", IMAGE, "--out", "out.mp4");
    assert.deepEqual([code, err.includes("cannot write KLING_RESULT")], [0, complains], name);
    assert.ok(existsSync(join(there, "out.mp4")));
  }
  assert.ok((await fs.lstat(join(here, "null"))).isSymbolicLink());
  assert.equal((await run("status", ID)).code, 0);
});

test("a key that JSON spells in another way is hidden", async (t) => {
  const key = 'sk-"quoted\\key"';
  const { run } = await command(t, { ...happy, task: [{ body: { ...processing, note: `for ${key}`, [key]: 1 } }] });
  const { out } = await run("status", "--api-key", key, ID, "--json");
  assert.equal((JSON.parse(out) as { note: string }).note, "for ***");
  assert.ok(!out.includes("quoted"));
});
