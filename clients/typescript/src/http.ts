/** One HTTP call: bounded in time and size, no redirect followed, every failure named. */

import { readFileSync } from "node:fs";

import { LONGEST_TIMER } from "./clock.js";
import { NetworkError } from "./errors.js";

/** What package.json says. */
export const PACKAGE = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

/** Names the client to the service. */
export const USER_AGENT = `kling-client-typescript/${PACKAGE.version} node/${process.versions.node}`;

export type Fetch = typeof fetch;

/** An answer whose body has been read. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** The body as JSON, or undefined when it is none. */
  readonly json: unknown;
}

/** The largest API answer that is read, in bytes; task objects are a few hundred. */
const LARGEST_ANSWER = 4 * 2 ** 20;

const BAD_PORT = "bad port";
/** Failures that come before a request can have been written. Others of TLS may come in the middle of it, as alerts do. */
const BEFORE_SENDING = new Set([
  "UND_ERR_CONNECT_TIMEOUT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "ERR_SSL_WRONG_VERSION_NUMBER",
  BAD_PORT,
]);
/** OpenSSL's verdicts on a certificate. */
const OF_CERTIFICATES = /^(CERT|UNABLE_TO|DEPTH_ZERO|SELF_SIGNED|INVALID_CA|PATH_LENGTH|HOSTNAME)_/;
/** What was being done when the system refused it: the same code may come from a connection that has sent. */
const BEFORE_CONNECTED = new Set(["connect", "getaddrinfo"]);

/**
 * Calls *url* and reads the whole answer within *timeoutMs*.
 *
 * @throws NetworkError no connection was made, or the call was cut, timed out, or answered with too much.
 */
export async function call(fetch: Fetch, url: string, init: RequestInit, timeoutMs: number): Promise<Answer> {
  try {
    const signal = AbortSignal.timeout(Math.min(Math.max(1, Math.ceil(timeoutMs)), LONGEST_TIMER));
    const response = await fetch(url, { ...init, redirect: "manual", signal });
    const text = await boundedText(response);
    return { status: response.status, headers: response.headers, json: parsed(text) };
  } catch (error) {
    throw lost(error, timeoutMs);
  }
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > LARGEST_ANSWER) throw new NetworkError(`the answer is larger than ${LARGEST_ANSWER} bytes`, true);
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/**
 * The named error for what `fetch` threw. Only the code of the cause is passed on: messages of the platform may quote
 * headers.
 */
export function lost(error: unknown, timeoutMs: number): NetworkError {
  if (error instanceof NetworkError) return error;
  if (error instanceof Error && error.name === "TimeoutError") {
    return new NetworkError(`no answer within ${timeoutMs / 1000} s`, true);
  }
  const code = causeCode(error);
  const sent = !BEFORE_SENDING.has(code) && !OF_CERTIFICATES.test(code) && !isUnconnected(error);
  return new NetworkError(sent ? `the connection was cut (${code})` : `no connection (${code})`, sent);
}

/** Whether every failure in *error* is one of connecting. */
function isUnconnected(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.length > 0 && error.errors.every(isUnconnected);
  if (!(error instanceof Error)) return false;
  const { syscall } = error as NodeJS.ErrnoException;
  return (syscall !== undefined && BEFORE_CONNECTED.has(syscall)) || isUnconnected(error.cause);
}

function causeCode(error: unknown): string {
  for (let each = error; each instanceof Error; each = each.cause) {
    // Ports that `fetch` never calls; the error has no code.
    if (each.message === "bad port") return BAD_PORT;
    if ("code" in each && typeof each.code === "string") return each.code;
  }
  return error instanceof Error ? error.name : "unknown";
}
