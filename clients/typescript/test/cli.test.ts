import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer as createNetServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import {
  ID,
  IMAGE,
  KEY,
  MP4,
  type Script,
  type Stage,
  completed,
  failed,
  fault,
  folder,
  happy,
  open,
  pending,
  processing,
  video,
} from "./stage.js";

type T = Parameters<typeof open>[0];

const MAIN = fileURLToPath(new URL("../src/main.js", import.meta.url));
const QUICK = { KLING_MIN_POLL: "0.02", KLING_LINGER: "0", KLING_TIMEOUT: "2" };

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  readonly result: { outcome: string; task_id: string | null; effects: number; error: Record<string, unknown> | null };
}

interface Shell {
  readonly stage: Stage;
  readonly here: string;
  readonly start: (
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ) => { child: ChildProcess; ended: Promise<Ended> };
  readonly run: (args: readonly string[], env?: Readonly<Record<string, string>>) => Promise<Ended>;
}

/** A folder, a service, and the real command in a process of its own. */
async function shell(t: T, script: Script = happy): Promise<Shell> {
  const stage = await open(t, script);
  const here = folder(t);
  const base = {
    PATH: process.env["PATH"] ?? "",
    KLING_BASE_URL: stage.url,
    KLING_API_KEY: KEY,
    KLING_RESULT: join(here, "result.json"),
    ...QUICK,
  };
  const start: Shell["start"] = (args, env = {}) => {
    const child = spawn(process.execPath, [MAIN, ...args], { cwd: here, env: { ...base, ...env } });
    t.after(() => child.kill("SIGKILL"));
    return { child, ended: ended(child, base.KLING_RESULT) };
  };
  return { stage, here, start, run: (args, env) => start(args, env).ended };
}

async function ended(child: ChildProcess, resultFile: string): Promise<Ended> {
  const said = { out: "", err: "" };
  child.stdout?.on("data", (chunk: Buffer) => (said.out += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (said.err += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  assert.ok(!(said.out + said.err).includes(KEY), "the key was printed");
  const result = existsSync(resultFile)
    ? (JSON.parse(readFileSync(resultFile, "utf8")) as Ended["result"])
    : (null as never);
  return { code, ...said, result };
}

/** Waits until *stage* was asked for *part*; fails after some ten seconds. */
async function asked(stage: Stage, part: keyof Script): Promise<void> {
  for (let tries = 0; stage.of(part).length === 0; tries += 1) {
    assert.ok(tries < 2000, "it was never asked");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A port that the system says is free. */
async function freePort(): Promise<number> {
  const server = createNetServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const GENERATE = ["generate", IMAGE, "--out", "out.mp4"];

test("kling generate leaves a file, its name, its task and a result", async (t) => {
  const { stage, here, run } = await shell(t);
  const { code, out, err, result } = await run([
    ...GENERATE,
    "--prompt",
    "--a dash first",
    "--quality",
    "1080p",
    "--duration",
    "3",
  ]);
  assert.equal(code, 0, err);
  assert.ok(readFileSync(join(here, "out.mp4")).equals(MP4));
  assert.equal(out, `${join(here, "out.mp4")}\n`);
  assert.match(err, new RegExp(`${ID} accepted, 50 credits reserved[\\s\\S]*processing 42%[\\s\\S]*completed 100%`));
  assert.deepEqual(result, { outcome: "completed", task_id: ID, effects: 1, error: null });
  assert.deepEqual(readdirSync(here).sort(), ["out.mp4", "result.json"]);
  const { prompt, quality, duration } = JSON.parse(stage.of("create")[0]?.body ?? "") as Record<string, unknown>;
  assert.deepEqual([prompt, quality, duration], ["--a dash first", "1080p", 3]);
});

test("variables stand in for flags and for the image; flags win; --json answers programs", async (t) => {
  const { stage, run } = await shell(t);
  const env = {
    KLING_IMAGE: IMAGE,
    KLING_OUT: "v.mp4",
    KLING_DURATION: "7",
    KLING_PROMPT: "",
    EVOLINK_API_KEY: "sk-other",
  };
  const { code, out } = await run(["generate", "--json", "--duration", "4"], env);
  const answer = JSON.parse(out) as { outcome: string; files: string[]; task: { status: string } };
  assert.deepEqual([code, answer.outcome, answer.files.length, answer.task.status], [0, "completed", 1, "completed"]);
  const [create] = stage.of("create");
  assert.deepEqual(JSON.parse(create?.body ?? ""), { model: pending.model, image_start: IMAGE, duration: 4 });
  assert.equal(create?.headers.authorization, `Bearer ${KEY}`);
});

test("EVOLINK variables are read where KLING ones are missing", async (t) => {
  const { stage, run } = await shell(t);
  const { code } = await run(GENERATE, {
    KLING_BASE_URL: "",
    KLING_API_KEY: "",
    EVOLINK_BASE_URL: stage.url,
    EVOLINK_API_KEY: "sk-evo",
  });
  assert.equal(code, 0);
  assert.equal(stage.seen[0]?.headers.authorization, "Bearer sk-evo");
});

for (const [name, script, args, code, outcome, kind] of [
  ["a failed task", { ...happy, task: [{ body: failed }] }, [], 3, "failed", "task"],
  ["a refused request", happy, ["--duration", "16"], 4, "refused", "invalid"],
  ["a duration in words", happy, ["--duration", "five"], 4, "refused", "invalid"],
  ["aspect_ratio", happy, ["--field", "aspect_ratio=16:9"], 4, "refused", "invalid"],
  ["an http callback", happy, ["--callback-url", "http://example.com/"], 4, "refused", "invalid"],
  ["a bad key", { create: [{ status: 401, body: fault("unauthorized", KEY) }] }, [], 4, "refused", "auth"],
  ["no balance", { create: [{ status: 402, body: fault("insufficient_quota") }] }, [], 4, "refused", "balance"],
  ["a stuck task", { ...happy, task: [{ body: processing }] }, ["--deadline", "0.3"], 5, "gave_up", "deadline"],
  ["a lost create", { create: [{ cut: "before" }] }, [], 6, "unknown", "unknown"],
  ["a refused connection", happy, ["--base-url", "http://127.0.0.1:2"], 7, "failed", "network"],
  ["no result", { ...happy, task: [{ body: { ...completed, results: [] } }] }, [], 8, "failed", "result"],
  ["an endless video", { ...happy, link: [video] }, ["--max-bytes", "100"], 8, "failed", "download"],
  ["an unknown flag", happy, ["--frobnicate"], 2, "refused", "config"],
  ["a flag without its value", happy, ["--prompt"], 2, "refused", "config"],
  ["a deadline of nothing", happy, ["--deadline", "0"], 2, "refused", "config"],
  ["a plain http address", happy, ["--base-url", "http://example.com"], 2, "refused", "config"],
  ["--receive without a port", happy, ["--receive"], 77, "refused", "cannot"],
] as const satisfies readonly (readonly [string, Script, readonly string[], number, string, string])[]) {
  test(`${name} ends with ${code} and one clear line`, async (t) => {
    const { run, here } = await shell(t, script);
    const ended = await run([...GENERATE, ...args]);
    assert.deepEqual(
      [ended.code, ended.result.outcome, ended.result.error?.["class"]],
      [code, outcome, kind],
      ended.err,
    );
    assert.match(ended.err, /^kling: .+$/m);
    assert.doesNotMatch(ended.err, /^\s+at /m);
    assert.ok(!existsSync(join(here, "out.mp4")));
  });
}

test("the service's code and message are passed on", async (t) => {
  const { run } = await shell(t, { ...happy, task: [{ body: failed }] });
  const { err, result } = await run(GENERATE);
  assert.match(err, /content_policy_violation: refused by the safety review/);
  assert.deepEqual(result.error, {
    class: "task",
    code: "content_policy_violation",
    message: "refused by the safety review",
    retryable: false,
  });
});

test("a run that is killed after its create leaves the id, and runs again without a new create", async (t) => {
  const { stage, here, run, start } = await shell(t, { ...happy, task: [{ hang: true }, { body: completed }] });
  const { child, ended } = start(GENERATE, { KLING_TIMEOUT: "60" });
  await asked(stage, "task");
  child.kill("SIGKILL");
  assert.match((await ended).err, new RegExp(ID));
  assert.match(readFileSync(join(here, "out.mp4.kling.json"), "utf8"), new RegExp(ID));
  assert.equal((await run(GENERATE)).code, 0);
  assert.deepEqual([stage.of("create").length, readdirSync(here).sort()], [1, ["out.mp4", "result.json"]]);
});

test("SIGTERM ends the run tidily and says how to go on", async (t) => {
  const { stage, here, start, run } = await shell(t, { ...happy, task: [{ hang: true }, { body: completed }] });
  const { child, ended } = start(GENERATE, { KLING_TIMEOUT: "60" });
  await asked(stage, "task");
  child.kill("SIGTERM");
  const { code, err, result } = await ended;
  assert.deepEqual([code, result.outcome, result.task_id], [10, "gave_up", ID]);
  assert.match(err, new RegExp(`kling resume ${ID}`));
  assert.deepEqual(readdirSync(here).sort(), ["out.mp4.kling.json", "result.json"]);
  assert.equal((await run(["resume", "out.mp4.kling.json"])).code, 0);
  assert.ok(existsSync(join(here, "out.mp4")));
});

test("a run that is stopped while its create is under way says that a task may exist", async (t) => {
  const { stage, start, run } = await shell(t, { ...happy, create: [{ hang: true }, { body: pending }] });
  const { child, ended } = start(GENERATE, { KLING_TIMEOUT: "60" });
  await asked(stage, "create");
  child.kill("SIGINT");
  const { code, err, result } = await ended;
  assert.deepEqual([code, result.outcome], [10, "unknown"]);
  assert.match(err, /may be accepted/);
  const key = /--idempotency-key (\S+)/.exec((await run(GENERATE)).err)?.[1] ?? "";
  assert.equal((await run([...GENERATE, "--idempotency-key", key])).code, 0);
  assert.deepEqual(new Set(stage.of("create").map((seen) => seen.headers["idempotency-key"])), new Set([key]));
});

test("the same run twice at once makes one create", async (t) => {
  const { stage, run } = await shell(t, {
    ...happy,
    task: [{ body: pending }, { body: pending }, { body: processing }, { body: processing }, { body: completed }],
  });
  const env = { KLING_MIN_POLL: "0.3" };
  const codes = (await Promise.all([run(GENERATE, env), run(GENERATE, env)])).map((each) => each.code);
  assert.deepEqual(codes.sort(), [0, 9]);
  assert.equal(stage.of("create").length, 1);
});

test("a callback is heard while the task is waited for, and polling finishes without one", async (t) => {
  const port = await freePort();
  let called: Promise<number> | undefined;
  const call = (): { body: object } => {
    called ??= fetch(`http://127.0.0.1:${port}/hook?s=1`, {
      method: "POST",
      body: JSON.stringify({ ...completed, results: ["https://evil.test/"] }),
    }).then((answer) => answer.status);
    return { body: pending };
  };
  const { run, stage } = await shell(t, { ...happy, create: [call], task: [{ body: completed }] });
  const env = { KLING_CALLBACK_URL: "https://hooks.example.com/hook?s=1", KLING_CALLBACK_PORT: String(port) };
  const { code, err, result } = await run([...GENERATE, "--receive"], env);
  assert.deepEqual([code, await called, result.effects], [0, 204, 1], err);
  assert.equal(
    (JSON.parse(stage.of("create")[0]?.body ?? "") as { callback_url: string }).callback_url,
    env.KLING_CALLBACK_URL,
  );
  assert.equal((await run(["generate", IMAGE, "--out", "b.mp4", "--receive"], env)).code, 0);
});

test("status and credits show what the service says", async (t) => {
  const credits = {
    success: true,
    data: {
      token: { remaining_credits: 950, used_credits: 50, unlimited_credits: false },
      user: { remaining_credits: 950, used_credits: 50 },
    },
  };
  const { run } = await shell(t, { task: [{ body: completed }], other: [{ body: credits }] });
  assert.match((await run(["status", ID])).out, new RegExp(`^${ID} completed 100%\nhttp`));
  assert.equal((JSON.parse((await run(["status", ID, "--json"])).out) as { id: string }).id, ID);
  assert.match((await run(["credits"])).out, /^token: 950 credits left, 50 used$/m);
});

test("help and version are answers, not failures; no command is one", async (t) => {
  const { run } = await shell(t);
  assert.match((await run(["--help"])).out, /generate[\s\S]*resume/);
  assert.match((await run(["generate", "--help"])).out, /--repeat-lost-create/);
  assert.match((await run(["--version"])).out, /^kling, version \d/);
  for (const args of [[], ["frobnicate"], ["generate"], ["generate", "a", "b"], ["credits", "x"]])
    assert.equal((await run(args)).code, 2);
});

test("a self-signed service is refused", async (t) => {
  const { here, run } = await shell(t);
  const { createServer } = await import("node:https");
  const { execFileSync } = await import("node:child_process");
  const [key, cert] = [join(here, "key.pem"), join(here, "cert.pem")];
  try {
    execFileSync(
      "openssl",
      [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        key,
        "-out",
        cert,
      ],
      { stdio: "ignore" },
    );
  } catch {
    return t.skip("no openssl here to make a certificate with");
  }
  const seen: string[] = [];
  const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => {
    seen.push(request.url ?? "");
    response.end(JSON.stringify({ success: true, data: {} }));
  });
  await new Promise<void>((resolve) => server.listen(0, resolve));
  t.after(() => (server.close(), server.closeAllConnections()));
  const url = `https://localhost:${(server.address() as { port: number }).port}`;
  assert.deepEqual([(await run(["credits", "--base-url", url])).code, seen], [7, []]);
  assert.equal((await run(["credits", "--base-url", url], { NODE_EXTRA_CA_CERTS: cert })).code, 0);
  assert.deepEqual(seen, ["/v1/credits"]);
});

test("an output of a path that is no text is quoted without control characters", async (t) => {
  const { run, here } = await shell(t);
  writeFileSync(join(here, "x"), "");
  const { err, code } = await run(["generate", IMAGE, "--out", "x/\u001b[31mred.mp4"]);
  assert.equal(code, 2);
  assert.ok(!err.includes("\u001b"));
});
