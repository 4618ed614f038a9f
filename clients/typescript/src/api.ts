/** The service behind its base address: the key on every call, and no call before the service wants one. */

import type { Clock } from "./clock.js";
import * as errors from "./errors.js";
import { type Answer, type Fetch, USER_AGENT, call } from "./http.js";
import { retryAfter } from "./retry-after.js";

/** What the client gets from outside, so that tests can give it something else. */
export interface Tools {
  readonly fetch: Fetch;
  readonly clock: Clock;
  /** Draws from [0, 1). */
  readonly random: () => number;
}

/** One call, under the base address. */
export interface ApiCall {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | FormData;
}

type ApiErrorClass = new (fault: errors.Fault) => errors.ApiError;

/**
 * Every call has a connection of its own: the server may just have closed a kept one, and a create whose connection is
 * cut is a create whose outcome nobody knows.
 */
const STANDING = { accept: "application/json", "user-agent": USER_AGENT, connection: "close" };

const CLASSES: Readonly<Record<number, ApiErrorClass>> = {
  401: errors.AuthError,
  402: errors.BalanceError,
  403: errors.PermissionDenied,
  404: errors.NotFound,
  429: errors.RateLimited,
};

function classOf(status: number): ApiErrorClass {
  if (status < 300 || status >= 500) return errors.ServerError;
  return status < 400 ? errors.RedirectRefused : errors.ValidationError;
}

/** What to say of an error answer that gives no reason. */
function silence(status: number): string {
  if (status >= 300 && status < 400) return "a redirect, which is not followed";
  return status < 300 ? "the answer is not what was asked for" : "the service gives no reason";
}

/** A shorter key is a placeholder; blotting it out would only garble words. */
const SHORTEST_SECRET = 8;

/** *text* without *key*, percent-encoded and in base64 too. */
export function blot(text: string, key: string): string {
  if (key.length < SHORTEST_SECRET) return text;
  const longestFirst = spellings(key).sort((one, other) => other.length - one.length);
  return longestFirst.reduce((left, spelling) => left.replaceAll(spelling, "***"), text);
}

/** How *key* may be written: in base64 it depends on what stands ahead of it, and its ends on what stands around it. */
function spellings(key: string): string[] {
  const found = [key, encodeURIComponent(key)];
  for (const [ahead, start] of [0, 2, 3].entries()) {
    const data = Buffer.from("\0".repeat(ahead) + key);
    const whole = data.toString("base64").slice(start).replace(/=+$/, "");
    const core = data.length % 3 ? whole.slice(0, -1) : whole;
    if (core.length >= SHORTEST_SECRET) found.push(core, core.replaceAll("+", "-").replaceAll("/", "_"));
  }
  return found;
}

const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f-\u009f]+/g;

export class Api {
  /** When the service, by its last `Retry-After`, wants to hear from this key again; milliseconds since 1970. */
  private opensAt = 0;

  /**
   * @param timeoutMs the longest a call may take, from connecting to the last byte.
   * @throws ConfigError the key cannot stand in a header. The platform's own message would quote it.
   */
  constructor(
    private readonly key: string,
    private readonly timeoutMs: number,
    readonly tools: Tools,
  ) {
    if (!/^[\x21-\x7e]+$/.test(key))
      throw new errors.ConfigError("the API key is empty or holds characters that no key has");
  }

  /**
   * Makes *request* as soon as the service allows it, and reads the answer.
   *
   * @param deadline milliseconds since 1970 after which nothing is sent and no answer is waited for.
   * @throws GaveUp the service asked for a wait beyond the deadline.
   * @throws NetworkError there was no answer.
   */
  async send(request: ApiCall, deadline: number): Promise<Answer> {
    const { clock, fetch } = this.tools;
    await this.opened(deadline);
    const headers = { ...STANDING, ...request.headers, authorization: `Bearer ${this.key}` };
    const init = { method: request.method, headers, ...(request.body === undefined ? {} : { body: request.body }) };
    const answer = await call(fetch, request.url, init, Math.min(this.timeoutMs, deadline - clock.now()));
    if (answer.status === 429 || answer.status >= 500) {
      this.opensAt = Math.max(this.opensAt, clock.now() + (this.retryAfter(answer) ?? 0));
    }
    return answer;
  }

  private async opened(deadline: number): Promise<void> {
    const { clock } = this.tools;
    if (clock.now() >= deadline) throw new errors.GaveUp("the time limit passed");
    for (let wait = this.opensAt - clock.now(); wait > 0; wait = this.opensAt - clock.now()) {
      if (this.opensAt > deadline)
        throw new errors.GaveUp(`the service asks to wait ${Math.ceil(wait / 1000)} s, beyond the time limit`);
      await clock.sleep(wait);
    }
  }

  /** Milliseconds that *answer* asks to wait, if it does. */
  retryAfter(answer: Answer): number | undefined {
    return retryAfter(answer.headers, this.tools.clock.now());
  }

  /** The error for an answer that is not what was asked for. */
  errorOf(answer: Answer): errors.ApiError {
    const fault = this.fault(answer);
    return new (CLASSES[fault.status] ?? classOf(fault.status))(fault);
  }

  private fault({ status, headers, json }: Answer): errors.Fault {
    // The file host has its members at the top, and calls the message msg.
    const whole = (json ?? {}) as { error?: Record<string, unknown>; code?: unknown; msg?: unknown };
    const body = whole.error ?? { code: whole.code, message: whole.msg };
    const text = (value: unknown): string | null => (typeof value === "string" ? this.clean(value) : null);
    return {
      status,
      code: typeof body["code"] === "number" ? body["code"] : text(body["code"]),
      type: text(body["type"]),
      message: text(body["message"]) ?? silence(status),
      param: text(body["param"]),
      requestId: text(headers.get("x-request-id") ?? headers.get("x-oneapi-request-id")),
    };
  }

  /** *text* from outside, fit to be shown: without the key, should somebody echo it, and without control characters. */
  clean(text: string): string {
    return blot(text, this.key).replace(CONTROL_CHARACTERS, " ");
  }
}
