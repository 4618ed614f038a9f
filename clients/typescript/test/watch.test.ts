import assert from "node:assert/strict";
import { test } from "node:test";

import { Bell } from "../src/bell.js";
import * as kling from "../src/index.js";
import {
  FakeClock,
  ID,
  KEY,
  type Reply,
  type Script,
  type Stage,
  clientOf,
  completed,
  failed,
  fault,
  open,
  pending,
  processing,
} from "./stage.js";

const done: Reply = { body: completed };

/** Watches a task of *script* on a fake clock. */
async function watched(
  t: Parameters<typeof open>[0],
  task: Script["task"],
  fresh = true,
): Promise<{ stage: Stage; task: kling.TaskView; gaps: number[] }> {
  const clock = new FakeClock();
  const stage = await open(t, { task: task ?? [] }, clock);
  const result = await clientOf(stage, {}, clock).wait(ID, fresh);
  const gaps = stage.seen.slice(1).map((seen, at) => seen.at - (stage.seen[at]?.at ?? 0));
  return { stage, task: result, gaps };
}

test("a task is read with the key until it is completed, and not once more", async (t) => {
  const { stage, task } = await watched(t, [{ body: pending }, { body: processing }, done]);
  assert.deepEqual([task.status, task.progress, stage.seen.length], ["completed", 100, 3]);
  assert.ok(stage.seen.every((seen) => seen.headers.authorization === `Bearer ${KEY}` && !seen.url.includes(KEY)));
});

test("the waits keep the floor and never shrink, with trouble between", async (t) => {
  const trouble: Reply[] = [
    { status: 500 },
    { body: processing },
    { status: 429, headers: { "retry-after": "20" } },
    { cut: "before" },
  ];
  const { gaps } = await watched(t, [{ body: pending }, ...trouble, { body: processing }, { body: processing }, done]);
  assert.ok(
    gaps.every((gap, at) => gap >= 5000 && gap >= (gaps[at - 1] ?? 0)),
    String(gaps),
  );
});

for (const [name, reply] of Object.entries({
  "a 500": { status: 500, body: fault("internal_error") },
  "an HTML 502": { status: 502, body: "<html>", headers: { "content-type": "text/html" } },
  "a 503": { status: 503 },
  "a 504": { status: 504 },
  "a 408": { status: 408 },
  "a cut connection": { cut: "before" },
  "a cut body": { body: completed, cut: 30 },
  silence: { hang: true },
  "HTML with a 200": { body: "<html>" },
  "JSON null": { body: null },
  "an array": { body: [completed] },
  "a task without a status": { body: { ...completed, status: undefined } },
  "another task": { body: { ...completed, id: "task-unified-1-aaaaaaaa" } },
  "one redirect": { status: 302, headers: { location: "https://example.com/" } },
  "a 404 right after the create": { status: 404, body: fault("task_not_found") },
} satisfies Record<string, Reply>)) {
  test(`${name} does not end the job`, async (t) => {
    const { stage, task } = await watched(t, [reply, done]);
    assert.deepEqual([task.status, stage.seen.length], ["completed", 2]);
  });
}

for (const [name, headers] of [
  ["seconds", (): Record<string, string> => ({ "retry-after": "45" })],
  [
    "a date",
    (now: number): Record<string, string> => ({
      "retry-after": new Date(now + 45_000).toUTCString(),
      date: new Date(now).toUTCString(),
    }),
  ],
] as const) {
  test(`after 429 with Retry-After as ${name} nothing is sent before it is over`, async (t) => {
    const clock = new FakeClock();
    const stage = await open(t, { task: [(seen) => ({ status: 429, headers: headers(seen.at) }), done] }, clock);
    const client = clientOf(stage, {}, clock);
    const bell = new Bell();
    bell.ring();
    await client.wait(ID, true, { bell });
    const [first, second] = stage.seen;
    assert.ok((second?.at ?? 0) - (first?.at ?? 0) >= 45_000);
  });
}

test("other calls of the same client wait for Retry-After as well", async (t) => {
  const clock = new FakeClock();
  const stage = await open(t, { task: [{ status: 429, headers: { "retry-after": "45" } }, { body: pending }] }, clock);
  const client = clientOf(stage, {}, clock);
  await assert.rejects(client.get(ID), kling.RateLimited);
  await client.get(ID);
  assert.ok((stage.seen[1]?.at ?? 0) - (stage.seen[0]?.at ?? 0) >= 45_000);
});

for (const [status, type] of [
  [400, kling.ValidationError],
  [401, kling.AuthError],
  [402, kling.BalanceError],
  [403, kling.PermissionDenied],
] as const) {
  test(`a ${status} in mid-job stops the polling`, async (t) => {
    const stage = await open(t, { task: [{ body: processing }, { status, body: fault("x") }] });
    const error = await clientOf(stage)
      .wait(ID, true)
      .catch((thrown: unknown) => thrown);
    assert.ok(error instanceof type && error.taskId === ID);
    assert.equal(stage.seen.length, 2);
  });
}

test("a 404 is believed in the end, and at once of a task that was seen or is not new", async (t) => {
  const missing: Reply = { status: 404, body: fault("task_not_found") };
  for (const [script, fresh, reads] of [
    [[missing], true, 4],
    [[{ body: processing }, missing], true, 2],
    [[missing], false, 1],
  ] as const) {
    const stage = await open(t, { task: script });
    await assert.rejects(clientOf(stage).wait(ID, fresh), kling.NotFound);
    assert.equal(stage.seen.length, reads);
  }
});

test("an unknown status is not finished, and odd progress ends nothing", async (t) => {
  const odd = [
    { status: "archived" },
    { status: "COMPLETED" },
    { progress: 99 },
    { progress: 3 },
    { progress: "half" },
    { progress: -1 },
  ];
  const { stage } = await watched(t, [...odd.map((each) => ({ body: { ...processing, ...each } })), done]);
  assert.equal(stage.seen.length, odd.length + 1);
});

test("unknown fields are ignored and missing ones missed by nobody", async (t) => {
  const bare = { id: ID, status: "processing", surprise: { deep: [1] } };
  const { task } = await watched(t, [
    { body: bare },
    { body: { ...bare, status: "completed", results: ["https://f.test/a.mp4"], extra: null } },
  ]);
  assert.deepEqual(task.results, ["https://f.test/a.mp4"]);
});

for (const [name, body, code] of [
  ["failed", failed, "content_policy_violation"],
  ["failed without a reason", { ...failed, error: undefined }, null],
  [
    "cancelled as documented",
    { ...failed, error: { code: "request_cancelled", message: "cancelled" } },
    "request_cancelled",
  ],
  ["cancelled in so many words", { ...processing, status: "cancelled" }, "request_cancelled"],
] as const) {
  test(`a task that is ${name} is over`, async (t) => {
    const { stage, task } = await watched(t, [{ body }]);
    assert.equal(stage.seen.length, 1);
    assert.throws(
      () => kling.linksOf(task),
      (error) => error instanceof kling.TaskFailed && error.code === code,
    );
  });
}

test("whether a new task may help comes from the contract's table", () => {
  const retryable = (code: string): boolean => new kling.TaskFailed(ID, code, "").retryable;
  assert.deepEqual(["service_error", "content_policy_violation", "never_heard_of"].map(retryable), [
    true,
    false,
    false,
  ]);
});

test("a stuck task is given up at the deadline, and may still be running", async (t) => {
  const clock = new FakeClock();
  const stage = await open(t, { task: [{ body: processing }] }, clock);
  const begun = clock.now();
  const error = await clientOf(stage, { deadline: 120 }, clock)
    .wait(ID, true)
    .catch((thrown: unknown) => thrown);
  assert.ok(error instanceof kling.GaveUp);
  assert.match(error.message, /may still be running/);
  assert.ok(clock.now() - begun > 90_000 && clock.now() - begun <= 120_000);
});

test("a service that asks for a wait beyond the deadline is not waited for", async (t) => {
  const stage = await open(t, { task: [{ status: 429, headers: { "retry-after": "99999" } }] });
  await assert.rejects(clientOf(stage).wait(ID, true), kling.GaveUp);
  assert.equal(stage.seen.length, 1);
});

test("a callback ends the wait early, but never below the floor", async (t) => {
  const clock = new FakeClock();
  const bell = new Bell();
  const stage = await open(
    t,
    { task: [() => (bell.ring(), { body: pending }), () => (bell.ring(), { body: pending }), done] },
    clock,
  );
  await clientOf(stage, { pace: { minPoll: 2, first: 3, ceiling: 3 } }, clock).wait(ID, true, { bell });
  const gaps = stage.seen.slice(1).map((seen, at) => seen.at - (stage.seen[at]?.at ?? 0));
  assert.deepEqual(gaps, [2000, 2000]);
});

test("an id is one path segment, whatever it holds", async (t) => {
  const id = "a/b?c#d%2e";
  const stage = await open(t, { task: [{ body: { ...completed, id } }] });
  await clientOf(stage).get(id);
  assert.equal(stage.seen[0]?.url, `/v1/tasks/${encodeURIComponent(id)}`);
  for (const bad of ["", ".", "..", "a b", "é"]) await assert.rejects(clientOf(stage).get(bad), kling.RequestInvalid);
});

test("an API answer without end is cut off", async (t) => {
  const stage = await open(t, { task: [{ body: Buffer.alloc(5 * 2 ** 20, "x") }] });
  await assert.rejects(clientOf(stage).get(ID), /larger than/);
});
