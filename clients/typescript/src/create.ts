/** The one call that costs money. */

import type { Api } from "./api.js";
import { CONTRACT, type CreateVideo } from "./contract.js";
import {
  CreateOutcomeUnknown,
  GaveUp,
  type KlingError,
  NetworkError,
  RateLimited,
  RequestInvalid,
  ServerError,
} from "./errors.js";
import { type TaskView, taskFrom } from "./task.js";

/** What a create needs beside its body. */
export interface CreateOptions {
  readonly base: string;
  /** The same key and body name the same task, where the service honours it (wire-facts, Idempotency, grade C). */
  readonly idempotencyKey: string;
  /** Milliseconds since 1970 after which nothing more is sent. */
  readonly deadline: number;
  /** How often the create may be sent while it is answered 429, in all. */
  readonly attempts: number;
  /** How often a create whose reply was lost, or was 5xx, is sent again with the same key: 0, or 1 if the user says so. */
  readonly repeats: number;
  /** Milliseconds to wait before a repetition that the service names no time for. */
  readonly backoffMs: number;
  readonly onTrouble?: ((message: string) => void) | undefined;
}

/** An accepted create. */
export interface Created {
  readonly task: TaskView;
  /** Whether the service answered an earlier create with the same key, and charged nothing for this one. */
  readonly replayed: boolean;
}

/**
 * Sends the create. It is sent again only after 429, when the service surely made no task, or, if the user says so,
 * once after a lost reply, with the same Idempotency-Key.
 *
 * @throws CreateOutcomeUnknown a reply was lost, was 5xx, or names no task: a task may exist.
 * @throws ApiError NetworkError GaveUp nothing was created.
 */
export async function create(api: Api, body: CreateVideo, options: CreateOptions): Promise<Created> {
  let { attempts, repeats } = options;
  let lost: KlingError | undefined;
  for (;;) {
    const sent = await once(api, body, options);
    if ("task" in sent) return sent;
    attempts -= 1;
    const isLost = maybeAccepted(sent.error);
    if (isLost) lost = sent.error;
    const again = isLost ? repeats-- > 0 : sent.error instanceof RateLimited && attempts > 0;
    const wait = (sent.afterMs ?? options.backoffMs) + api.tools.random() * options.backoffMs;
    if (!again || api.tools.clock.now() + wait >= options.deadline) {
      throw lost ? new CreateOutcomeUnknown(options.idempotencyKey, lost) : sent.error;
    }
    options.onTrouble?.(`${sent.error.message}; the create is sent again in ${(wait / 1000).toFixed(1)} s`);
    await api.tools.clock.sleep(wait);
  }
}

/**
 * Lets a well-formed Idempotency-Key pass.
 *
 * @throws RequestInvalid the contract's pattern does not match it.
 */
export function checkIdempotencyKey(key: string): void {
  const { minLength, maxLength, pattern, header } = CONTRACT.idempotency;
  if (key.length >= minLength && key.length <= maxLength && new RegExp(pattern).test(key)) return;
  throw new RequestInvalid(header, `must be ${minLength} to ${maxLength} characters of ${pattern}`);
}

interface Failure {
  readonly error: KlingError;
  readonly afterMs: number | undefined;
}

const maybeAccepted = (error: KlingError): boolean =>
  error instanceof ServerError || (error instanceof NetworkError && error.sent);

async function once(api: Api, body: CreateVideo, options: CreateOptions): Promise<Created | Failure> {
  const headers = { "content-type": "application/json", [CONTRACT.idempotency.header]: options.idempotencyKey };
  const request = {
    method: "POST",
    url: options.base + CONTRACT.paths.create,
    headers,
    body: JSON.stringify(body),
  } as const;
  try {
    const answer = await api.send(request, options.deadline);
    const task = answer.status < 300 ? taskFrom(answer.json) : undefined;
    if (task) return { task, replayed: answer.headers.get("idempotency-replayed") === "true" };
    return { error: api.errorOf(answer), afterMs: api.retryAfter(answer) };
  } catch (error) {
    if (error instanceof NetworkError || error instanceof GaveUp) return { error, afterMs: undefined };
    throw error;
  }
}
