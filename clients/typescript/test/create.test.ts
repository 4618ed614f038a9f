import assert from "node:assert/strict";
import { test } from "node:test";

import * as kling from "../src/index.js";
import { FakeClock, ID, IMAGE, KEY, type Reply, clientOf, failed, fault, happy, open, pending } from "./stage.js";

test("a create carries the key, an Idempotency-Key, a name and only what was set", async (t) => {
  const stage = await open(t, happy);
  const { task, replayed } = await clientOf(stage).create({ image_start: IMAGE, duration: 3 });
  const [seen] = stage.seen;
  assert.deepEqual([task.id, task.status, task.creditsReserved, replayed], [ID, "pending", 50, false]);
  assert.deepEqual(JSON.parse(seen?.body ?? ""), {
    model: kling.CONTRACT.create.fields.model.const,
    image_start: IMAGE,
    duration: 3,
  });
  assert.equal(seen?.headers.authorization, `Bearer ${KEY}`);
  assert.equal(seen?.headers["content-type"], "application/json");
  assert.match(String(seen?.headers["idempotency-key"]), /^[A-Za-z0-9._-]{16,96}$/);
  assert.match(String(seen?.headers["user-agent"]), /^kling-client-typescript\//);
});

test("two requests of the user have two Idempotency-Keys", async (t) => {
  const stage = await open(t, happy);
  await clientOf(stage).create({ image_start: IMAGE });
  await clientOf(stage).create({ image_start: IMAGE });
  assert.equal(new Set(stage.seen.map((seen) => seen.headers["idempotency-key"])).size, 2);
});

test("a request against the contract is not sent", async (t) => {
  const stage = await open(t, happy);
  await assert.rejects(clientOf(stage).create({ image_start: IMAGE, duration: 16 }), kling.RequestInvalid);
  await assert.rejects(
    clientOf(stage).create({ image_start: IMAGE }, { idempotencyKey: "short" }),
    kling.RequestInvalid,
  );
  assert.equal(stage.seen.length, 0);
});

const LOST: Readonly<Record<string, Reply>> = {
  "a cut connection": { cut: "before" },
  "a reply cut in its body": { body: pending, cut: 20 },
  silence: { hang: true },
  "a 500": { status: 500, body: fault("internal_error") },
  "an HTML 502": { status: 502, body: "<html>Bad Gateway</html>", headers: { "content-type": "text/html" } },
  "a 503 with Retry-After": { status: 503, body: {}, headers: { "retry-after": "1" } },
  "a 504": { status: 504, body: "" },
  "a 200 that is no JSON": { body: "accepted, probably" },
  "a 200 without an id": { body: { status: "pending" } },
  "a 200 with an id that leads elsewhere": { body: { ...pending, id: ".." } },
};
for (const [name, reply] of Object.entries(LOST)) {
  test(`after ${name} the create is not sent again, and its outcome is unknown`, async (t) => {
    const stage = await open(t, { create: [reply, { body: pending }] });
    const error = await clientOf(stage)
      .create({ image_start: IMAGE })
      .catch((thrown: unknown) => thrown);
    assert.ok(error instanceof kling.CreateOutcomeUnknown, String(error));
    assert.deepEqual([error.outcome, error.exitCode, stage.seen.length], ["unknown", 6, 1]);
    assert.equal(error.idempotencyKey, stage.seen[0]?.headers["idempotency-key"]);
  });
}

test("when the user says so, a lost create is sent once more, with the same key and body", async (t) => {
  const stage = await open(t, {
    create: [{ cut: "before" }, { body: pending, headers: { "idempotency-replayed": "true" } }],
  });
  const { replayed } = await clientOf(stage, { repeatLostCreate: true }).create({ image_start: IMAGE });
  const [first, second] = stage.seen;
  assert.ok(replayed);
  assert.equal(first?.headers["idempotency-key"], second?.headers["idempotency-key"]);
  assert.equal(first?.body, second?.body);
});

test("a second loss is not repeated, and a refusal after a loss does not hide the loss", async (t) => {
  const twice = await open(t, { create: [{ cut: "before" }] });
  await assert.rejects(
    clientOf(twice, { repeatLostCreate: true }).create({ image_start: IMAGE }),
    kling.CreateOutcomeUnknown,
  );
  assert.equal(twice.seen.length, 2);
  const refused = await open(t, { create: [{ cut: "before" }, { status: 400, body: fault("invalid_request") }] });
  await assert.rejects(
    clientOf(refused, { repeatLostCreate: true }).create({ image_start: IMAGE }),
    kling.CreateOutcomeUnknown,
  );
});

for (const [status, code, type, kind] of [
  [400, "invalid_request", kling.ValidationError, "invalid"],
  [401, "unauthorized", kling.AuthError, "auth"],
  [402, "insufficient_quota", kling.BalanceError, "balance"],
  [403, "model_access_denied", kling.PermissionDenied, "permission"],
  [404, "not_found", kling.NotFound, "not_found"],
  [409, "idempotency_conflict", kling.ValidationError, "invalid"],
  [413, "request_too_large", kling.ValidationError, "invalid"],
] as const) {
  test(`a create answered ${status} is never sent again`, async (t) => {
    const stage = await open(t, { create: [{ status, body: fault(code, "because") }] });
    const error = await clientOf(stage)
      .create({ image_start: IMAGE })
      .catch((thrown: unknown) => thrown);
    assert.ok(error instanceof type);
    assert.deepEqual([error.outcome, error.exitCode, error.kind, error.fault.code], ["refused", 4, kind, code]);
    assert.match(error.message, /because/);
    assert.equal(stage.seen.length, 1);
  });
}

test("the older dialect, whose code is the status, is read as well", async (t) => {
  const body = { error: { code: 402, message: "balance", type: "insufficient_quota_error" } };
  const stage = await open(t, { create: [{ status: 402, body, headers: { "x-request-id": "r1" } }] });
  const error = await clientOf(stage)
    .create({ image_start: IMAGE })
    .catch((thrown: unknown) => thrown);
  assert.ok(error instanceof kling.BalanceError);
  assert.deepEqual(
    [error.fault.code, error.fault.type, error.fault.requestId],
    [402, "insufficient_quota_error", "r1"],
  );
});

test("429 is waited out, in seconds and as a date, with the same Idempotency-Key", async (t) => {
  const clock = new FakeClock();
  const dated = (): Reply => ({
    status: 429,
    body: fault("rate_limit_exceeded"),
    headers: { "retry-after": new Date(clock.now() + 7000).toUTCString(), date: "" },
  });
  const stage = await open(
    t,
    {
      create: [{ status: 429, body: {}, headers: { "retry-after": "30" } }, dated, { status: 429 }, { body: pending }],
    },
    clock,
  );
  await clientOf(stage, {}, clock).create({ image_start: IMAGE });
  const gaps = stage.seen.slice(1).map((seen, at) => seen.at - (stage.seen[at]?.at ?? 0));
  assert.ok((gaps[0] ?? 0) >= 30_000 && (gaps[1] ?? 0) >= 7000 && (gaps[2] ?? 0) >= 5000, String(gaps));
  assert.equal(new Set(stage.seen.map((seen) => seen.headers["idempotency-key"])).size, 1);
});

test("429 for ever, or beyond the deadline, ends as rate limited with nothing created", async (t) => {
  const stage = await open(t, { create: [{ status: 429, body: fault("rate_limit_exceeded") }] });
  await assert.rejects(clientOf(stage, { createAttempts: 3 }).create({ image_start: IMAGE }), kling.RateLimited);
  assert.equal(stage.seen.length, 3);
  const later = await open(t, { create: [{ status: 429, body: {}, headers: { "retry-after": "86400" } }] });
  await assert.rejects(clientOf(later).create({ image_start: IMAGE }), kling.RateLimited);
  assert.equal(later.seen.length, 1);
});

test("a redirect is not followed: neither the key nor the create goes elsewhere", async (t) => {
  const other = await open(t, happy);
  for (const status of [301, 302, 307, 308]) {
    const stage = await open(t, { create: [{ status, headers: { location: `${other.url}/v1/videos/generations` } }] });
    await assert.rejects(clientOf(stage).create({ image_start: IMAGE }), kling.RedirectRefused);
  }
  assert.equal(other.seen.length, 0);
});

test("when nothing listens, nothing was sent, and the error says so", async (t) => {
  const stage = await open(t, happy);
  // Nobody listens on the first; the second is a port that `fetch` refuses to call.
  for (const baseUrl of ["http://127.0.0.1:2", "http://127.0.0.1:9"]) {
    const error = await clientOf(stage, { baseUrl })
      .create({ image_start: IMAGE })
      .catch((thrown: unknown) => thrown);
    assert.ok(error instanceof kling.NetworkError && !error.sent, String(error));
  }
});

test("the key is in no message, even when the service echoes it", async (t) => {
  const stage = await open(t, {
    create: [{ status: 400, body: fault(KEY, `bad key ${KEY}\u001b[2J`) }],
    task: [{ body: { ...failed, error: { code: "x", message: KEY } } }],
  });
  const client = clientOf(stage);
  const refused = await client.create({ image_start: IMAGE }).catch((thrown: unknown) => thrown);
  assert.ok(refused instanceof kling.ValidationError);
  const broken = await client.save(await client.get(ID), "/nowhere/x.mp4").catch((thrown: unknown) => thrown);
  assert.ok(broken instanceof kling.TaskFailed);
  for (const error of [refused, broken]) {
    assert.ok(!JSON.stringify([error.message, error.stack, error.facts()]).includes(KEY));
    assert.ok(!error.message.includes("\u001b"));
  }
});

test("a key that no header can carry is refused without being quoted", () => {
  for (const apiKey of ["sk-a b", "sk-\nx", "sk-é"]) {
    const make = (): unknown => new kling.KlingClient({ apiKey, baseUrl: "http://127.0.0.1:9" });
    assert.throws(make, (error) => error instanceof kling.ConfigError && !error.message.includes(apiKey));
  }
});

test("numbers that would poll without pause or never end are refused", () => {
  const options = { apiKey: KEY, baseUrl: "http://127.0.0.1:9" };
  for (const wrong of [
    { deadline: 0 },
    { timeout: -1 },
    { pace: { minPoll: 0 } },
    { deadline: Number.POSITIVE_INFINITY },
  ]) {
    assert.throws(() => new kling.KlingClient({ ...options, ...wrong }), kling.ConfigError);
  }
});
