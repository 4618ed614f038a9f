import assert from "node:assert/strict";
import { test } from "node:test";

import { systemClock } from "../src/clock.js";
import { PACE, Pace } from "../src/pace.js";
import { retryAfter } from "../src/retry-after.js";
import { EPOCH } from "./stage.js";

const rising = (waits: readonly number[]): boolean =>
  waits.every((wait, at) => at === 0 || wait >= (waits[at - 1] ?? 0));
/** Cheap repeatable dice. */
const dice =
  (seed: number): (() => number) =>
  () =>
    (seed = (seed * 16807) % 2147483647) / 2147483647;

test("waits keep the floor, never shrink and end at the ceiling, whatever the dice and the failures", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const [random, pace] = [dice(seed), new Pace(PACE, dice(seed))];
    const waits = Array.from({ length: 60 }, () => (random() < 0.2 ? pace.afterFailure() : pace.ordinary()));
    assert.ok(rising(waits), `seed ${seed}: ${waits.join(" ")}`);
    assert.ok((waits[0] ?? 0) >= PACE.minPoll * 1000);
    assert.ok((waits.at(-1) ?? 0) <= PACE.minPoll * PACE.errorCeiling * (1 + PACE.spread) * 1000);
  }
});

test("failed reads double the wait", () => {
  const pace = new Pace({ ...PACE, minPoll: 1 }, () => 0);
  assert.deepEqual([pace.ordinary(), pace.afterFailure(), pace.afterFailure()].map(Math.round), [1600, 3680, 7360]);
});

test("Retry-After is never undercut, beyond every ceiling", () => {
  const pace = new Pace(PACE, () => 0.5);
  assert.ok(pace.afterFailure(3_600_000) >= 3_600_000);
  assert.ok(
    pace.ordinary() <= PACE.minPoll * PACE.errorCeiling * (1 + PACE.spread) * 1000,
    "but it is not the pace for ever",
  );
});

test("two tasks do not poll in step", () => {
  assert.notEqual(new Pace(PACE, () => 0.1).ordinary(), new Pace(PACE, () => 0.9).ordinary());
});

for (const [text, wanted] of [
  ["2", 2000],
  [" 120 ", 120000],
  ["0.5", 500],
  ["0", 0],
  [new Date(EPOCH + 5000).toUTCString(), 5000],
  ["Saturday, 06-Sep-25 14:42:28 GMT", 5000],
  ["Sat Sep  6 14:42:28 2025", 5000],
  [new Date(EPOCH - 5000).toUTCString(), 0],
  ["soon", undefined],
  ["-3", undefined],
  ["2025-09-06", undefined],
  ["", undefined],
] as const) {
  test(`Retry-After: ${JSON.stringify(text)} is ${wanted} ms`, () => {
    assert.equal(retryAfter(new Headers({ "retry-after": text }), EPOCH), wanted);
  });
}

test("a date is measured against the answer's own Date too, and the longer wait counts", () => {
  const headers = new Headers({
    "retry-after": new Date(EPOCH + 60_000).toUTCString(),
    date: new Date(EPOCH).toUTCString(),
  });
  assert.equal(retryAfter(headers, EPOCH + 50_000), 60_000);
  assert.equal(retryAfter(headers, EPOCH - 40_000), 100_000);
});

test("the system clock never sleeps too short, and wakes at a signal", async () => {
  const begun = systemClock.now();
  await systemClock.sleep(15);
  assert.ok(systemClock.now() - begun >= 15);
  await systemClock.sleep(60_000, AbortSignal.timeout(1));
  await systemClock.sleep(60_000, AbortSignal.abort());
});
