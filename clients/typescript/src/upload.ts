/** Puts a local first frame where the service can read it. Uploads cost nothing, so they are repeated freely. */

import { basename } from "node:path";

import type { Api } from "./api.js";
import { CONTRACT, type UploadedFile } from "./contract.js";
import { type KlingError, NetworkError } from "./errors.js";
import type { Frame } from "./image.js";

export interface UploadOptions {
  /** The file host's base address. */
  readonly base: string;
  /** Milliseconds since 1970 after which nothing more is sent. */
  readonly deadline: number;
  /** How many times the file is sent, in all. */
  readonly attempts: number;
  /** Milliseconds to wait after the first failed attempt; doubled after each further one. */
  readonly backoffMs: number;
  readonly onTrouble?: ((message: string) => void) | undefined;
}

interface Failure {
  readonly error: KlingError;
  readonly afterMs: number;
  readonly passing: boolean;
}

/**
 * The URL of *frame* at the service.
 *
 * @throws ApiError the service refuses it, or answers without a URL.
 * @throws NetworkError no attempt was answered.
 */
export async function upload(api: Api, frame: Frame, path: string, options: UploadOptions): Promise<string> {
  const { clock } = api.tools;
  for (let attempt = 1; ; attempt += 1) {
    const sent = await once(api, frame, path, options);
    if (typeof sent === "string") return sent;
    const wait = Math.max(sent.afterMs, options.backoffMs * 2 ** (attempt - 1));
    if (!sent.passing || attempt >= options.attempts || clock.now() + wait >= options.deadline) throw sent.error;
    options.onTrouble?.(`upload: ${sent.error.message}; trying again in ${(wait / 1000).toFixed(1)} s`);
    await clock.sleep(wait);
  }
}

async function once(api: Api, frame: Frame, path: string, options: UploadOptions): Promise<string | Failure> {
  const body = new FormData();
  body.append("file", new Blob([frame.bytes], { type: `image/${frame.format}` }), basename(path));
  try {
    const answer = await api.send(
      { method: "POST", url: options.base + CONTRACT.paths.upload, body },
      options.deadline,
    );
    const url = (answer.json as Partial<UploadedFile> | undefined)?.data?.file_url;
    if (answer.status === 200 && typeof url === "string") return url;
    const passing = answer.status === 408 || answer.status === 429 || answer.status >= 500;
    return { error: api.errorOf(answer), afterMs: api.retryAfter(answer) ?? 0, passing };
  } catch (error) {
    if (error instanceof NetworkError) return { error, afterMs: 0, passing: true };
    throw error;
  }
}
