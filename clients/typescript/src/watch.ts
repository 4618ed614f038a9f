/** Reads a task until it has ended, at a pace that the service can bear. */

import type { Api } from "./api.js";
import type { Bell } from "./bell.js";
import { CONTRACT } from "./contract.js";
import { GaveUp, type KlingError, NetworkError } from "./errors.js";
import type { Answer } from "./http.js";
import type { Pace } from "./pace.js";
import { type TaskView, isTerminal, taskFrom } from "./task.js";

export interface WatchOptions {
  readonly base: string;
  readonly pace: Pace;
  /** The shortest time between two reads, milliseconds; holds for a read that a callback asked for, too. */
  readonly floorMs: number;
  /** Milliseconds since 1970 after which no read is made. */
  readonly deadline: number;
  /** It was just created, so it exists even if the service does not know it yet: a first 404 is not believed. */
  readonly fresh: boolean;
  /** Do not wait before the first read. */
  readonly atOnce: boolean;
  /** Rung by a callback: the next read need not wait longer than the floor. */
  readonly bell?: Bell | undefined;
  readonly onRead?: ((task: TaskView) => void) | undefined;
  /** Hears why a read did not succeed; it will be repeated. */
  readonly onTrouble?: ((message: string) => void) | undefined;
}

/** How often a brand-new task may be answered 404 before that is believed: it may be visible late. */
const PATIENCE_WITH_404 = 3;
/** How often a query may be answered with a redirect before that is believed. */
const PATIENCE_WITH_REDIRECTS = 3;
/** Told to try again by their very meaning, though they are no 5xx: Request Timeout, Too Early, Too Many Requests. */
const PASSING = [408, 425, 429];
/** Refusals that are not believed at once; a good answer settles both. */
interface Patience {
  missing: number;
  redirects: number;
}

/** A read that may be repeated. */
interface Setback {
  readonly reason: string;
  readonly retryAfterMs: number | undefined;
}

/** The URL of the task called *id*. */
export const taskUrl = (base: string, id: string): string =>
  base + CONTRACT.paths.task.replace("{task_id}", encodeURIComponent(id));

/**
 * The task once it is terminal.
 *
 * 5xx, 429, cut and late answers, answers that are no task, and unknown statuses all mean: not finished, read again
 * later.
 *
 * @throws GaveUp the deadline passed first; the task may still be running.
 * @throws ApiError the service refuses to show the task (401 and the like); it may still be running.
 */
export async function watch(api: Api, id: string, options: WatchOptions): Promise<TaskView> {
  const patience = { missing: options.fresh ? PATIENCE_WITH_404 : 0, redirects: PATIENCE_WITH_REDIRECTS };
  let wait = options.atOnce ? 0 : options.pace.ordinary();
  let setback: Setback | undefined;
  for (;;) {
    await pause(api, wait, options, () => gaveUp(id, setback));
    const seen = await read(api, id, options, patience);
    if ("reason" in seen) {
      setback = seen;
      wait = options.pace.afterFailure(seen.retryAfterMs);
      options.onTrouble?.(`${seen.reason}; reading again in ${(wait / 1000).toFixed(1)} s`);
    } else {
      setback = undefined;
      options.onRead?.(seen);
      if (isTerminal(seen)) return seen;
      wait = options.pace.ordinary();
    }
  }
}

async function pause(api: Api, wait: number, options: WatchOptions, gaveUp: () => GaveUp): Promise<void> {
  const { clock } = api.tools;
  const begun = clock.now();
  if (begun + wait >= options.deadline) throw gaveUp();
  await clock.sleep(wait, options.bell?.signal);
  options.bell?.reset();
  await clock.sleep(Math.min(wait, options.floorMs) - (clock.now() - begun));
}

function gaveUp(id: string, setback: Setback | undefined): GaveUp {
  const last = setback ? `; the last read failed: ${setback.reason}` : "";
  const error = new GaveUp(`the time limit passed; task ${id} may still be running${last}`);
  error.taskId = id;
  return error;
}

async function read(api: Api, id: string, options: WatchOptions, patience: Patience): Promise<TaskView | Setback> {
  try {
    const answer = await api.send({ method: "GET", url: taskUrl(options.base, id) }, options.deadline);
    const seen = judged(api, id, answer, patience);
    if (!("reason" in seen)) Object.assign(patience, { missing: 0, redirects: PATIENCE_WITH_REDIRECTS });
    return seen;
  } catch (error) {
    if (error instanceof NetworkError) return { reason: error.message, retryAfterMs: undefined };
    if (error instanceof GaveUp) throw gaveUp(id, { reason: error.message, retryAfterMs: undefined });
    (error as KlingError).taskId = id;
    throw error;
  }
}

/** Whether the same read may succeed later. */
function isPassing(status: number, patience: Patience): boolean {
  if (status === 404) return patience.missing-- > 0;
  if (status >= 300 && status < 400) return patience.redirects-- > 0;
  return status < 300 || status >= 500 || PASSING.includes(status);
}

function judged(api: Api, id: string, answer: Answer, patience: Patience): TaskView | Setback {
  const { status } = answer;
  const task = status === 200 ? taskFrom(answer.json, id) : undefined;
  if (task) return task;
  if (!isPassing(status, patience)) throw api.errorOf(answer);
  const reason = status < 300 ? "the answer is not this task" : `the answer was ${status}`;
  return { reason, retryAfterMs: api.retryAfter(answer) };
}
