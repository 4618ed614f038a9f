import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { CONTRACT } from "../src/contract.js";

const root = new URL("../../", import.meta.url);
const read = (name: string): string => readFileSync(new URL(`../../openapi/${name}`, root), "utf8");
const contract = read("kling-v3-turbo.yaml");
const OWN = "kling-v3-turbo-image-to-video";
const own = read(`models/${OWN}.yaml`);
interface Sources {
  readonly document?: string;
  readonly models?: Readonly<Record<string, string>>;
}
const { generate, generateModels } = (await import(new URL("scripts/generate.mjs", root).href)) as {
  generate: (changes?: Sources) => Promise<string>;
  generateModels: (changes?: Sources) => string;
};

test("src/contract.ts and src/models.ts are what the contract says", async () => {
  const committed = (name: string): string => readFileSync(new URL(`src/${name}.ts`, root), "utf8");
  assert.equal(committed("contract"), await generate(), "run: npm run generate");
  assert.equal(committed("models"), generateModels(), "run: npm run generate");
});

test("a changed number, enum or error code of the contract reaches the client with no code edit", async () => {
  const document = contract
    .replace("maximum: 15", "maximum: 20")
    .replace("const: 1080p", "const: 4k")
    .replace("const: service_error", "const: new_error");
  const made = await generate({ document });
  assert.match(made, /maximum: 20/);
  assert.match(made, /string & \("720p" \| "4k"\)/);
  assert.match(made, /new_error: \{/);
  const models = { [OWN]: own.replace("maxLength: 2500", "maxLength: 2600") };
  assert.match(await generate({ models }), /maxLength: 2600/);
  assert.match(generateModels({ models }), /"maxLength":2600/);
});

test("a contract that lost a statement is no contract", async () => {
  const models = { [OWN]: own.replace("min_side_px: 300", "") };
  await assert.rejects(generate({ models }), /nothing at min_side_px/);
  await assert.rejects(generate({ models: {} }), /nothing at kling-v3-turbo/);
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
