import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { CONTRACT } from "../src/contract.js";

const root = new URL("../../", import.meta.url);
const contract = readFileSync(new URL("../../openapi/kling-v3-turbo.yaml", root), "utf8");
const { generate } = (await import(new URL("scripts/generate.mjs", root).href)) as {
  generate: (text: string) => Promise<string>;
};

test("src/contract.ts is what the contract says", async () => {
  const committed = readFileSync(new URL("src/contract.ts", root), "utf8");
  assert.equal(committed, await generate(contract), "run: npm run generate");
});

test("a changed number, enum or error code of the contract reaches the client with no code edit", async () => {
  const changed = contract
    .replace("maximum: 15", "maximum: 20")
    .replace("const: 1080p", "const: 4k")
    .replace("const: service_error", "const: new_error");
  const made = await generate(changed);
  assert.match(made, /maximum: 20/);
  assert.match(made, /string & \("720p" \| "4k"\)/);
  assert.match(made, /new_error: \{/);
});

test("a contract that lost a statement is no contract", async () => {
  await assert.rejects(generate(contract.replace("min_side_px: 300", "")), /nothing at min_side_px/);
});

test("the terminal statuses come from the contract's terminal shapes", () => {
  assert.deepEqual([CONTRACT.task.success, CONTRACT.task.failure], [["completed"], ["failed"]]);
});

test("the lock file names no registry and the package no runtime dependency", () => {
  const lock = readFileSync(new URL("package-lock.json", root), "utf8");
  const manifest = JSON.parse(readFileSync(new URL("package.json", root), "utf8")) as object;
  assert.doesNotMatch(lock, /"resolved"|registry/);
  assert.ok(!("dependencies" in manifest));
});
