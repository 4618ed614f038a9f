import assert from "node:assert/strict";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import * as kling from "../src/index.js";
import { taskFrom } from "../src/task.js";
import {
  FakeClock,
  MP4,
  type Reply,
  type Script,
  type Stage,
  clientOf,
  completed,
  folder,
  open,
  video,
} from "./stage.js";

type T = Parameters<typeof open>[0];

interface Saved {
  readonly stage: Stage;
  readonly out: string;
  readonly names: string[];
  readonly error: unknown;
}

/** Saves what *script* serves, and looks at the folder afterwards. */
async function saved(
  t: T,
  script: Script,
  options: kling.ClientOptions = {},
  body: object = completed,
): Promise<Saved> {
  const clock = new FakeClock();
  const stage = await open(t, script, clock);
  const here = folder(t);
  const out = join(here, "out.mp4");
  const task = taskFrom(JSON.parse(JSON.stringify(body).replaceAll("{stage}", stage.url)));
  assert.ok(task);
  const error = await clientOf(stage, options, clock)
    .save(task, out)
    .then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
  return { stage, out, names: readdirSync(here), error };
}

const whole = ({ out, error }: Saved): void => {
  assert.equal(error, undefined);
  assert.ok(readFileSync(out).equals(MP4));
};

test("the file has exactly the bytes served, and the key stays at home", async (t) => {
  const result = await saved(t, { link: [video] });
  whole(result);
  assert.deepEqual(result.names, ["out.mp4"]);
  assert.equal(result.stage.seen[0]?.headers.authorization, undefined);
});

/**
 * An answer that is cut once its first 4000 bytes have been read: a socket may lose what it had, and then there is
 * nothing to resume.
 */
function cutAnswer(): Response {
  const parts = [MP4.subarray(0, 4000)];
  const pull = (controller: ReadableStreamDefaultController): void => {
    const part = parts.shift();
    if (part) controller.enqueue(part);
    else controller.error(new TypeError("terminated"));
  };
  return new Response(new ReadableStream({ pull }, { highWaterMark: 0 }), {
    headers: { ...video.headers, "content-length": String(MP4.length) },
  });
}

test("a cut download goes on where it was cut, if the file is still the same", async (t) => {
  const asked: Headers[] = [];
  const fetch: typeof globalThis.fetch = (_url, init) => {
    asked.push(new Headers(init?.headers));
    if (asked.length === 1) return Promise.resolve(cutAnswer());
    const headers = { ...video.headers, "content-range": `bytes 4000-${MP4.length - 1}/${MP4.length}` };
    return Promise.resolve(new Response(MP4.subarray(4000), { status: 206, headers }));
  };
  whole(await saved(t, {}, { tools: { fetch } }));
  assert.deepEqual([asked.length, asked[1]?.get("range"), asked[1]?.get("if-range")], [2, "bytes=4000-", '"v1"']);
});

test("another part of the file than was asked for is not taken for the rest", async (t) => {
  const rest = MP4.length - 4000;
  const range = { "content-range": `bytes 10-${10 + rest - 1}/${MP4.length}` };
  const wrong = new Response(MP4.subarray(10, 10 + rest), { status: 206, headers: { ...video.headers, ...range } });
  const answers = [cutAnswer(), wrong, new Response(MP4, video)];
  const fetch: typeof globalThis.fetch = () => Promise.resolve(answers.shift() ?? Response.error());
  whole(await saved(t, {}, { tools: { fetch } }));
  assert.equal(answers.length, 0);
});

test("a server that ignores the range, or answers with another part, does not spoil the file", async (t) => {
  whole(await saved(t, { link: [{ ...video, cut: 4000 }, video] }));
  const wrong: Reply = {
    status: 206,
    body: MP4.subarray(10),
    headers: { ...video.headers, "content-range": `bytes 10-${MP4.length - 1}/${MP4.length}` },
  };
  whole(await saved(t, { link: [{ ...video, cut: 4000 }, wrong, video] }));
  whole(await saved(t, { link: [{ ...video, cut: 4000 }, { status: 416 }, video] }));
});

for (const [name, reply] of Object.entries({
  "a 503": { status: 503, headers: { "retry-after": "9" } },
  "a 429": { status: 429 },
  "a cut connection": { cut: "before" },
  "an error page with a 200": { body: "<html>sorry</html>", headers: { "content-type": "text/html" } },
  "JSON with a 200": { body: { error: "no" } },
  "a page that claims to be a video": { body: "<html>sorry</html>", headers: { "content-type": "video/mp4" } },
} satisfies Record<string, Reply>)) {
  test(`after ${name} the download is tried again, with no read of the task`, async (t) => {
    const result = await saved(t, { link: [reply, video] });
    whole(result);
    assert.equal(result.stage.of("task").length, 0);
  });
  test(`${name} for ever leaves no file`, async (t) => {
    const { error, names, stage } = await saved(t, { link: [reply] });
    assert.ok(error instanceof kling.DownloadError && error.exitCode === 8, String(error));
    assert.deepEqual([names, stage.of("link").length], [[], 5]);
  });
}

test("a download that is always cut leaves no file", async (t) => {
  const { error, names } = await saved(t, { link: [{ ...video, cut: 4000 }] });
  assert.ok(error instanceof kling.DownloadError);
  assert.deepEqual(names, []);
});

test("where no length is declared, the boxes show that the file was cut", async (t) => {
  const chunked = { "content-type": "video/mp4", "transfer-encoding": "chunked", "content-length": "" };
  const { error } = await saved(t, { link: [{ body: MP4.subarray(0, 5000), headers: chunked }] });
  assert.ok(error instanceof kling.DownloadError, String(error));
});

test("a silent link is not waited for without end", async (t) => {
  const { error } = await saved(t, { link: [{ hang: true }] }, { download: { stall: 0.05, attempts: 2 } });
  assert.match(String(error), /no answer within/);
});

for (const status of [403, 404, 410]) {
  test(`an expired link (${status}) leads to one fresh read of the task, and no create`, async (t) => {
    const fresh = { ...completed, results: ["{stage}/files/fresh.mp4"] };
    const result = await saved(t, { link: [{ status }, video], task: [{ body: fresh }] });
    whole(result);
    assert.deepEqual(
      result.stage.seen.map((seen) => seen.url.split("/").at(-1)),
      ["one.mp4", completed.id, "fresh.mp4"],
    );
  });
}

test("a link that stays expired is an error after one fresh read", async (t) => {
  const { error, stage, names } = await saved(t, { link: [{ status: 403 }], task: [{ body: completed }] });
  assert.ok(error instanceof kling.LinkExpired);
  assert.deepEqual([stage.of("task").length, stage.of("link").length, names], [1, 2, []]);
});

test("an endless body stops at the bound, declared or not", async (t) => {
  for (const headers of [
    video.headers ?? {},
    { "content-type": "video/mp4", "transfer-encoding": "chunked", "content-length": "" },
  ]) {
    const { error, names, stage } = await saved(
      t,
      { link: [{ body: MP4, headers }] },
      { download: { maxBytes: 5000 } },
    );
    assert.match(String(error), /larger than 5000 bytes/);
    assert.deepEqual([names, stage.seen.length], [[], 1]);
  }
});

test("an existing file is untouched until the new one is whole", async (t) => {
  const stage = await open(t, { link: [{ ...video, cut: 4000 }] });
  const out = join(folder(t), "out.mp4");
  writeFileSync(out, "before");
  const task = taskFrom({ ...completed, results: [`${stage.url}/files/a`] });
  assert.ok(task);
  await assert.rejects(clientOf(stage).save(task, out), kling.DownloadError);
  assert.equal(readFileSync(out, "utf8"), "before");
});

test("every link of results becomes a file", async (t) => {
  const two = { ...completed, results: ["{stage}/files/1", "{stage}/files/2"] };
  assert.deepEqual((await saved(t, { link: [video] }, {}, two)).names.sort(), ["out-2.mp4", "out.mp4"]);
});

for (const [name, results] of [
  ["no results", undefined],
  ["empty results", []],
  ["a result that is no link", ["javascript:alert(1)"]],
  ["results that are no list", "https://x.test/"],
] as const) {
  test(`a completed task with ${name} is an error`, async (t) => {
    const { error, stage } = await saved(t, {}, {}, { ...completed, results });
    assert.ok(error instanceof kling.ResultMissing);
    assert.equal(stage.seen.length, 0);
  });
}

test("redirects of a link are followed a little, and never from elsewhere to this machine", async (t) => {
  whole(await saved(t, { link: [{ status: 302, headers: { location: "{stage}/files/there.mp4" } }, video] }));
  assert.match(
    String((await saved(t, { link: [{ status: 302, headers: { location: "{stage}/files/there.mp4" } }] })).error),
    /without end/,
  );
  const fetch: typeof globalThis.fetch = () =>
    Promise.resolve(new Response(null, { status: 302, headers: { location: "http://127.0.0.1:1/" } }));
  const { error } = await saved(t, {}, { tools: { fetch } }, { ...completed, results: ["https://cdn.test/a.mp4"] });
  assert.match(String(error), /redirects to this machine/);
});

test("a plain http link to another machine is not asked", async (t) => {
  const { error } = await saved(t, {}, {}, { ...completed, results: ["http://cdn.test/a.mp4"] });
  assert.match(String(error), /not a link to download from/);
});
