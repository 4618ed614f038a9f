/** Any model of the family: its file says what a create takes, and it is asked before anything is sent. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { test } from "node:test";

import { run as runCommand } from "../src/cli.js";
import { DEFAULT_MODEL, assigned, checkBody, withPicture } from "../src/fields.js";
import * as kling from "../src/index.js";
import { MODELS } from "../src/models.js";
import { problems } from "../src/schema.js";
import { IMAGE, KEY, clientOf, completed, folder, happy, open } from "./stage.js";

const TEXT = "kling-v3-text-to-video";
const MOTION = "kling-v3-motion-control";

test("a picture finds its field, and a text model takes none", () => {
  assert.deepEqual(withPicture("kling-v3-image-to-video", {}, "u"), { image_start: "u" });
  assert.deepEqual(withPicture(MOTION, { image_urls: ["a"] }, "u"), { image_urls: ["u", "a"] });
  assert.throws(() => withPicture(TEXT, {}, "u"), /takes no picture/);
});

test("values have the type that the file wants", () => {
  assert.deepEqual(
    assigned("kling-v3-image-to-video", [
      "prompt=5",
      "duration=6",
      "sound=on",
      "model_params.multi_shot=true",
      "model_params.shot_type=intelligence",
      'model_params.element_list=[{"element_id": "7"}]',
    ]),
    {
      prompt: "5",
      duration: 6,
      sound: "on",
      model_params: { multi_shot: true, shot_type: "intelligence", element_list: [{ element_id: "7" }] },
    },
  );
  assert.deepEqual(assigned(MOTION, ["video_urls=https://v.test/a.mp4", "video_urls=https://v.test/b.mp4"]), {
    video_urls: ["https://v.test/a.mp4", "https://v.test/b.mp4"],
  });
});

test("a field that the model has not is refused", () => {
  for (const pair of ["qualitty=720p", "model_params.shots=1", "duration[]=1", "aspect_ratio"])
    assert.throws(() => assigned("kling-v3-image-to-video", [pair]), /has no such field; it has/);
  assert.throws(() => assigned("kling-v3-image-to-video", ["model_params=1", "model_params.shot_type=x"]), /as a whole/);
});

test("sums, totals and conditions of a model's file are judged, with the field at fault", () => {
  const shots = (...durations: string[]): object => ({
    model: "kling-v3-image-to-video",
    image_start: "https://i.test/a.png",
    duration: 6,
    model_params: {
      multi_shot: true,
      shot_type: "customize",
      multi_prompt: durations.map((duration, at) => ({ index: at + 1, prompt: "x", duration })),
    },
  });
  const param = (body: object): string | undefined => {
    try {
      checkBody((body as { model: string }).model, body as Record<string, unknown>);
      return undefined;
    } catch (error) {
      return (error as kling.RequestInvalid).param;
    }
  };
  assert.equal(param(shots("2", "4")), undefined);
  assert.equal(param(shots("2", "5")), "model_params.multi_prompt");
  assert.equal(param(shots("2", "9")), "model_params.multi_prompt[1].duration");
  assert.equal(param(shots("2", "0")), "model_params.multi_prompt[1].duration");
  assert.equal(param({ model: "kling-v3-image-to-video", image_end: "https://i.test/a.png" }), "image_start");
  assert.equal(param({ model: TEXT, prompt: "x".repeat(2501) }), "prompt");
});

test("the keywords of JSON Schema that model files use mean what they mean", () => {
  const wrong = (value: unknown, schema: kling.KlingError | object): boolean => problems(value, schema as never, {}).length > 0;
  for (const [schema, right, bad] of [
    [{ type: "integer" }, 5, 5.5],
    [{ type: "number" }, 5.5, true],
    [{ type: ["string", "boolean"] }, true, 5],
    [{ type: "object" }, {}, []],
    [{ const: { a: 1 } }, { a: 1 }, { a: 2 }],
    [{ minimum: 1, maximum: 2 }, 2, 3],
    [{ exclusiveMinimum: 1 }, 1.5, 1],
    [{ exclusiveMaximum: 1 }, 0.5, 1],
    [{ multipleOf: 0.5 }, 2.5, 2.3],
    [{ minLength: 2 }, "ab", "a"],
    [{ maxLength: 1 }, "\u{1f600}", "ab"],
    [{ pattern: "^a" }, "ab", "ba"],
    [{ minItems: 1, maxItems: 2 }, [1], []],
    [{ maxItems: 2 }, [1], [1, 2, 3]],
    [{ uniqueItems: true }, [{ a: 1 }, { a: 2 }], [{ a: 1 }, { a: 1 }]],
    [{ items: { type: "string" } }, ["a"], [1]],
    [{ additionalProperties: false, properties: { a: true } }, { a: 1 }, { b: 1 }],
    [{ minProperties: 1 }, { a: 1 }, {}],
    [{ maxProperties: 1 }, { a: 1 }, { a: 1, b: 1 }],
    [{ dependentRequired: { a: ["b"] } }, { a: 1, b: 1 }, { a: 1 }],
    [{ oneOf: [{ const: 1 }, { const: 2 }] }, 1, 3],
    [{ anyOf: [{ required: ["a"] }, { required: ["b"] }] }, { b: 1 }, {}],
    [{ allOf: [{ required: ["a"] }] }, { a: 1 }, {}],
    [{ not: { required: ["a"] } }, {}, { a: 1 }],
    [{ if: { required: ["a"] }, then: { required: ["b"] }, else: { required: ["c"] } }, { a: 1, b: 1 }, {}],
    [{ properties: { a: false } }, {}, { a: 1 }],
  ] as const) {
    assert.ok(!wrong(right, schema), JSON.stringify([schema, right]));
    assert.ok(wrong(bad, schema), JSON.stringify([schema, bad]));
  }
});

test("the default model is one of the family, and an unknown one is refused before anything else", () => {
  assert.ok(DEFAULT_MODEL in MODELS);
  assert.throws(() => new kling.KlingClient({ apiKey: KEY, model: "kling-v9" }), /there is no kling-v9; there are kling-/);
  assert.throws(() => new kling.KlingClient({ apiKey: KEY, model: "toString" }), kling.RequestInvalid);
});

test("an element is named in place of a video", async (t) => {
  const { results: _results, ...done } = completed;
  const stage = await open(t, { ...happy, task: [{ body: { ...done, result_data: [{ element_id: "123" }] } }] });
  const told: string[] = [];
  const fields = {
    model_params: {
      element_name: "x",
      element_description: "x",
      reference_type: "video_refer",
      element_video_list: { refer_videos: [{ video_url: "https://v.test/a.mp4" }] },
    },
  };
  const { task, paths } = await new kling.Generation(
    clientOf(stage, { model: "kling-custom-element" }),
    join(folder(t), "none"),
    { onEvent: ({ text }) => told.push(text) },
  ).run({ image: undefined, fields });
  assert.deepEqual([task.elementId, paths, told.at(-1)], ["123", [], "saved element 123"]);
});

async function command(t: Parameters<typeof open>[0], args: readonly string[]): Promise<{ code: number; err: string; bodies: unknown[] }> {
  const stage = await open(t, happy);
  let said = "";
  const [out, err] = [new PassThrough(), new PassThrough()];
  err.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const own = ["--api-key", KEY, "--base-url", stage.url, "--min-poll", "0.01", "--out", join(folder(t), "out.mp4")];
  const around = { env: {}, streams: { out, err }, interrupted: new Promise<never>(() => undefined) };
  const code = await runCommand(["generate", ...args, ...own], around);
  return { code, err: said, bodies: stage.of("create").map((each) => JSON.parse(each.body) as unknown) };
}

test("the command takes any model", async (t) => {
  const { code, err, bodies } = await command(t, ["--model", TEXT, "--set", "prompt=A cat", "--set", "duration=4"]);
  assert.equal(code, 0, err);
  assert.deepEqual(bodies, [{ model: TEXT, prompt: "A cat", duration: 4 }]);
  const named = await command(t, [IMAGE, "--model", DEFAULT_MODEL, "--set", "duration=3"]);
  assert.deepEqual(named.bodies, [{ model: DEFAULT_MODEL, image_start: IMAGE, duration: 3 }]);
});

for (const [args, words] of [
  [["--model", "kling-v9"], "there is no kling-v9"],
  [["--model", TEXT], "prompt"],
  [["--model", TEXT, "--set", "prompt=a", "--set", "duration=16"], "duration"],
  [["--model", TEXT, "--set", "prompt=a", "--set", "durations=5"], "no such field"],
  [[IMAGE, "--model", TEXT, "--set", "prompt=a"], "takes no picture"],
  [["--model", TEXT, "--set", "prompt=a", "--callback-url", "https://10.0.0.1/"], "internal"],
  [[IMAGE, "--set", "qualitty=720p"], "no such field"],
] as const) {
  test(`${args.join(" ")} is refused before anything is sent`, async (t) => {
    const { code, err, bodies } = await command(t, args);
    assert.deepEqual([code, err.split("\n").length, bodies], [4, 2, []], err);
    assert.ok(err.includes(words), err);
  });
}

test("no image and no other model is a usage error", async (t) => {
  assert.equal((await command(t, [])).code, 2);
  assert.equal((await command(t, ["--model", TEXT, "--set", "prompt"])).code, 2);
});
