import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { baseAddress, checkCallback } from "../src/address.js";
import { CONTRACT, ConfigError, RequestInvalid, createBody } from "../src/index.js";
import { readFrame } from "../src/image.js";
import { IMAGE, folder } from "./stage.js";

const { prompt, duration } = CONTRACT.create.fields;
const asked = (fields: object): unknown => createBody({ image_start: IMAGE, ...fields });

test("only what was set is sent, beside the model", () => {
  assert.deepEqual(asked({ prompt: undefined }), { model: CONTRACT.create.fields.model.const, image_start: IMAGE });
});

test("values at the contract's bounds pass, characters counting and not bytes", () => {
  asked({ duration: duration.minimum });
  asked({ duration: duration.maximum });
  asked({ prompt: "😀".repeat(prompt.maxLength) });
  asked({ prompt: "" });
});

for (const [field, value] of [
  ["duration", duration.minimum - 1],
  ["duration", duration.maximum + 1],
  ["duration", 5.5],
  ["duration", "5"],
  ["duration", null],
  ["quality", "4k"],
  ["quality", "720P"],
  ["quality", ""],
  ["prompt", "x".repeat(prompt.maxLength + 1)],
  ["prompt", 7],
  ["prompt", "\ud800"],
  ["aspect_ratio", "16:9"],
  ["image_end", IMAGE],
  ["image_start", "ftp://example.com/a.jpg"],
  ["image_start", "data:image/png;base64,AA=="],
  ["callback_url", "http://example.com/hook"],
  ["callback_url", `https://example.com/${"x".repeat(CONTRACT.callback.maxLength)}`],
  ["toString", "x"],
  ["no_such_field", 1],
] as const) {
  test(`${field} = ${JSON.stringify(value).slice(0, 40)} is refused before anything is sent`, () => {
    assert.throws(
      () => asked({ [field]: value }),
      (error) => error instanceof RequestInvalid && error.param === field,
    );
  });
}

for (const host of [
  "127.0.0.1",
  "127.1",
  "2130706433",
  "0x7f.1",
  "0177.0.0.1",
  "127.0.0.1.",
  "10.1.2.3",
  "172.16.0.1",
  "172.31.255.255",
  "192.168.1.1",
  "169.254.169.254",
  "100.64.0.1",
  "0.0.0.0",
  "224.0.0.1",
  "[::1]",
  "[::]",
  "[::ffff:127.0.0.1]",
  "[::ffff:a00:1]",
  "[fc00::1]",
  "[fe80::1]",
  "localhost",
  "a.localhost",
  "LOCALHOST.",
  "user@example.com",
  "user:word@example.com",
]) {
  test(`a callback to ${host} is refused`, () => {
    assert.throws(() => checkCallback(`https://${host}/hook`), RequestInvalid);
  });
}

for (const host of [
  "hooks.example.com",
  "hooks.example.com:8443",
  "11.0.0.1",
  "172.15.0.1",
  "172.32.0.1",
  "192.167.1.1",
  "[2606:4700::1]",
]) {
  test(`a callback to ${host} is fine`, () => checkCallback(`https://${host}/hook?secret=1`));
}

for (const text of [
  "//example.com/x",
  "https:example.com",
  "https://",
  "javascript:alert(1)",
  "https://exa mple.com/",
  "https:\\\\example.com",
]) {
  test(`${text} is no callback address`, () => {
    assert.throws(() => checkCallback(text), RequestInvalid);
  });
}

test("a field that the contract forbids is told apart from one that it does not know", () => {
  assert.throws(() => asked({ aspect_ratio: "1:1" }), /not taken by this model/);
  assert.throws(() => asked({ aspekt: "1:1" }), /not a field of the contract/);
});

test("a plain http base address is for this machine only, unless the user says so", () => {
  assert.equal(baseAddress("http://127.0.0.1:4010/"), "http://127.0.0.1:4010");
  assert.equal(baseAddress("http://localhost:4010/prefix/"), "http://localhost:4010/prefix");
  assert.equal(baseAddress("http://[::1]:1"), "http://[::1]:1");
  assert.equal(baseAddress("http://example.com", true), "http://example.com");
  assert.equal(baseAddress("127.0.0.1:4010/v1"), "http://127.0.0.1:4010");
  assert.equal(baseAddress("localhost"), "http://localhost");
  assert.equal(baseAddress("[::1]:4010"), "http://[::1]:4010");
  assert.equal(baseAddress("api.example.com"), "https://api.example.com");
  for (const text of [
    "http://example.com",
    "mailto:a",
    "//example.com",
    "http://127.0.0.1.example.com",
    "ftp://localhost",
    "nonsense",
    "https://user@example.com",
    "https://example.com/?key=1",
  ]) {
    assert.throws(() => baseAddress(text), ConfigError, text);
  }
});

const png = (width: number, height: number): Buffer => {
  const bytes = Buffer.alloc(40);
  bytes.write("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "latin1");
  bytes.writeUInt32BE(width, 16);
  bytes.writeUInt32BE(height, 20);
  return bytes;
};
const jpeg = (width: number, height: number): Buffer =>
  Buffer.from([
    0xff,
    0xd8,
    0xff,
    0xe0,
    0,
    4,
    1,
    2,
    0xff,
    0xff,
    0xc2,
    0,
    11,
    8,
    height >> 8,
    height & 255,
    width >> 8,
    width & 255,
    3,
    0,
    0,
    0,
    0,
  ]);

for (const [bytes, verdict] of [
  [png(300, 300), "png"],
  [png(750, 300), "png"],
  [jpeg(640, 480), "jpeg"],
  [png(299, 400), /shorter than 300/],
  [jpeg(751, 300), /ratio/],
  [Buffer.from("GIF89a, or so it says"), /not a whole/],
  [jpeg(640, 480).subarray(0, 12), /not a whole/],
  [Buffer.alloc(0), /not a whole/],
] as const) {
  test(`a local first frame of ${bytes.length} bytes: ${String(verdict)}`, async (t) => {
    const path = join(folder(t), "frame.bin");
    writeFileSync(path, bytes);
    if (typeof verdict === "string") assert.equal((await readFrame(path)).format, verdict);
    else
      await assert.rejects(readFrame(path), (error) => error instanceof RequestInvalid && verdict.test(error.message));
  });
}

test("a first frame that is not there, or is a folder, is a clear error", async (t) => {
  await assert.rejects(readFrame("/no/such/frame.png"), ConfigError);
  await assert.rejects(readFrame(folder(t)), ConfigError);
});
