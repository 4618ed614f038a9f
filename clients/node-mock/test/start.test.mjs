// Starting, stopping, and the words where there is nothing to start.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { LOOKING } from "../finding.js";
import { KlingMock, seconds } from "../index.js";

const bin = fileURLToPath(new URL("../bin.js", import.meta.url));

test("spans are written as in kling-mock", () => {
  assert.equal(seconds("1h30m"), 5400);
  assert.equal(seconds("250ms"), 0.25);
  assert.equal(seconds(24), 24);
  assert.throws(() => seconds("soon"), /write it like/);
  assert.throws(() => seconds("5s!"), /write it like/);
});

test("a bad option is said in the fake's own words", async () => {
  await assert.rejects(KlingMock.start({ options: ["--clock", "fast"] }), /--clock fast/);
});

test("without a kling-mock the message says how to get one", () => {
  const env = { ...process.env, PATH: "/nonexistent", KLING_MOCK_COMMAND: "", KLINGKIT: "" };
  const done = spawnSync(process.execPath, [bin, "--version"], { env, encoding: "utf8" });
  assert.equal(done.status, 2);
  assert.match(done.stderr, /there is no kling-mock to run/);
  assert.match(done.stderr, /KLINGKIT/);
});

test("the package's own command on PATH, where npm puts it, is not taken for the fake", () => {
  const folder = mkdtempSync(join(tmpdir(), "own-bin-"));
  symlinkSync(bin, join(folder, "kling-mock"));
  const first = { ...process.env, PATH: `${folder}${delimiter}${process.env.PATH}` };
  const done = spawnSync(process.execPath, [bin, "--version"], { env: first, encoding: "utf8", timeout: 60_000 });
  assert.match(done.stdout, /^kling-mock/, done.stderr);
  const alone = { ...process.env, PATH: `${folder}${delimiter}${dirname(process.execPath)}`, KLING_MOCK_COMMAND: "", KLINGKIT: "" };
  const said = spawnSync(join(folder, "kling-mock"), ["--version"], { env: { ...alone, [LOOKING]: "1" }, encoding: "utf8", timeout: 60_000 });
  assert.equal(said.status, 1, "it gives up at once where it is only looked for");
  rmSync(folder, { recursive: true });
});

test("the bin passes on arguments and exit code", () => {
  const done = spawnSync(process.execPath, [bin, "exec", "--", process.execPath, "-e", "process.exit(7)"], { encoding: "utf8" });
  assert.equal(done.status, 7, done.stderr);
});

test("a control call that is refused rejects with the reason, and stopping twice is fine", async () => {
  const mock = await KlingMock.start();
  await assert.rejects(mock.advance("1s"), /run "kling-mock freeze" first/);
  await assert.rejects(mock.scenario("faild"), /did you mean/);
  await mock.stop();
  await mock[Symbol.asyncDispose]();
});
