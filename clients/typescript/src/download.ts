/** Saves a video: without the key, within bounds, and under its final name only when it is whole. */

import { isLoopback } from "./address.js";
import type { Tools } from "./api.js";
import { CONTRACT } from "./contract.js";
import { DownloadError, type KlingError, LinkExpired, NetworkError, NotAVideo } from "./errors.js";
import { USER_AGENT, lost } from "./http.js";
import { PartFile } from "./part-file.js";
import { retryAfter } from "./retry-after.js";
import { seconds, whole } from "./settings.js";
import { Stall } from "./stall.js";

export interface DownloadSettings {
  /** The largest video taken, bytes. A few seconds of 1080p are far below it; an endless body meets it. */
  readonly maxBytes: number;
  /** How often a link is tried, resumed attempts included. */
  readonly attempts: number;
  /** Seconds before the second attempt; doubled before each further one. */
  readonly firstWait: number;
  /** Seconds for all attempts together. */
  readonly deadline: number;
  /** Seconds without a byte after which an attempt counts as lost. */
  readonly stall: number;
  /** How many redirects are followed in one attempt. */
  readonly redirects: number;
}

export const DOWNLOAD: DownloadSettings = {
  maxBytes: 256 * 2 ** 20,
  attempts: 5,
  firstWait: 1,
  deadline: 600,
  stall: 20,
  redirects: 3,
};

/** What a download is doing: a link is fetched; a whole video gets its final name. */
export type Step = "downloading" | "saving";

/**
 * Refuses bounds that make no sense.
 *
 * @throws ConfigError a number is out of its range.
 */
export function checkDownload(settings: DownloadSettings): void {
  whole("maxBytes", settings.maxBytes, 1);
  whole("attempts", settings.attempts, 1);
  whole("redirects", settings.redirects, 0);
  seconds("firstWait", settings.firstWait, 0);
  seconds("deadline", settings.deadline);
  seconds("stall", settings.stall);
}

/** What the user hears and allows. */
export interface DownloadOptions {
  readonly onStep?: ((step: Step) => void) | undefined;
  /** Take plain http links of any host, not only of the loopback. */
  readonly allowHttp?: boolean;
  readonly onBytes?: ((received: number, total: number | undefined) => void) | undefined;
  readonly onTrouble?: ((message: string) => void) | undefined;
}

/** The attempt failed in a way that another may mend, after the wait that the host asked for. */
class Again extends Error {
  constructor(
    readonly reason: KlingError,
    readonly afterMs = 0,
  ) {
    super(reason.message);
  }
}

const GONE = [403, 404, 410];
const PASSING = [408, 425, 429];
const REDIRECTS = [301, 302, 303, 307, 308];
/** What stores say of files whose type they do not know. */
const UNTYPED = ["", "application/octet-stream", "binary/octet-stream", "application/mp4"];

/**
 * Saves what *link* serves as *out*, resuming and repeating as needed. On failure *out* is as it was before.
 *
 * @throws LinkExpired the link is gone.
 * @throws NotAVideo it serves something else.
 * @throws DownloadError it could not be had within the bounds.
 */
export async function download(
  tools: Tools,
  link: string,
  out: string,
  settings: DownloadSettings,
  options: DownloadOptions,
): Promise<void> {
  const part = await PartFile.beside(out);
  options.onStep?.("downloading");
  const end = tools.clock.now() + settings.deadline * 1000;
  try {
    for (let attempt = 1; ; attempt += 1) {
      const failure = await new Attempt(tools, part, settings, options, end).make(link);
      if (!failure) break;
      await waitFor(failure, attempt, end, tools, settings, options);
    }
    options.onStep?.("saving");
    await part.commit();
  } finally {
    await part.end();
  }
}

async function waitFor(
  failure: Again,
  attempt: number,
  end: number,
  tools: Tools,
  settings: DownloadSettings,
  options: DownloadOptions,
): Promise<void> {
  const wait = Math.max(settings.firstWait * 1000 * 2 ** (attempt - 1), failure.afterMs);
  const { reason } = failure;
  if (attempt >= settings.attempts || tools.clock.now() + wait >= end) {
    throw reason instanceof DownloadError
      ? reason
      : new DownloadError(`the video could not be downloaded: ${reason.message}`);
  }
  options.onTrouble?.(`${reason.message}; the download goes on in ${(wait / 1000).toFixed(1)} s`);
  await tools.clock.sleep(wait);
}

/** One request, and as much of the body as comes. */
class Attempt {
  private readonly stall: Stall;

  constructor(
    private readonly tools: Tools,
    private readonly part: PartFile,
    private readonly settings: DownloadSettings,
    private readonly options: DownloadOptions,
    private readonly end: number,
  ) {
    this.stall = new Stall(() => Math.min(settings.stall * 1000, end - tools.clock.now()));
  }

  /** Undefined when the part is a whole video; a failure that another attempt may mend; any other failure is thrown. */
  async make(link: string): Promise<Again | undefined> {
    try {
      await this.fill(await this.open(link));
      return undefined;
    } catch (error) {
      if (error instanceof Again) return error;
      if (error instanceof NotAVideo) {
        await this.part.begin();
        return new Again(error);
      }
      if (error instanceof DownloadError) throw error;
      this.checkTime();
      return new Again(lost(error, this.settings.stall * 1000));
    } finally {
      this.stall.end();
    }
  }

  /** The first answer that is no redirect. */
  private async open(link: string): Promise<Response> {
    let url = new URL(link);
    for (let hop = 0; hop <= this.settings.redirects; hop += 1) {
      this.checkLink(url);
      const headers = {
        "user-agent": USER_AGENT,
        accept: "*/*",
        "accept-encoding": "identity",
        ...this.part.resuming(),
      };
      const response = await this.tools.fetch(url.href, { headers, redirect: "manual", signal: this.stall.signal });
      const target = response.headers.get("location");
      if (!REDIRECTS.includes(response.status) || !target || !URL.canParse(target, url.href)) return response;
      await response.body?.cancel();
      const next = new URL(target, url.href);
      if (isLoopback(next) && !isLoopback(url))
        throw new DownloadError("the link redirects to this machine; not followed");
      url = next;
    }
    throw new DownloadError("the link redirects without end");
  }

  /** Lets https pass, and plain http where it does not leave this machine or the user said so. */
  private checkLink(url: URL): void {
    const plainIsFine = this.options.allowHttp || isLoopback(url);
    if (url.protocol === "https:" || (url.protocol === "http:" && plainIsFine)) return;
    throw new DownloadError(`not a link to download from: ${url.protocol}//${url.hostname}`);
  }

  private async fill(response: Response): Promise<void> {
    try {
      await this.accept(response);
      for await (const chunk of response.body ?? []) {
        this.stall.restart();
        this.checkTime();
        this.checkBound(this.part.size + chunk.byteLength);
        await this.part.append(chunk);
        this.options.onBytes?.(this.part.size, this.part.total);
      }
    } finally {
      if (response.body && !response.bodyUsed) await response.body.cancel();
    }
    const { size, total } = this.part;
    if (total !== undefined && size !== total)
      throw new Again(new NetworkError(`the video was cut after ${size} of ${total} bytes`, true));
    await this.part.check();
  }

  /** Judges the status and headers, and sets the part to where the body begins. */
  private async accept(response: Response): Promise<void> {
    const { status, headers } = response;
    if (GONE.includes(status))
      throw new LinkExpired(`the link answers HTTP ${status}: it has expired, or was never there`);
    if (PASSING.includes(status) || status >= 500) {
      throw new Again(
        new DownloadError(`the link answers HTTP ${status}`),
        retryAfter(headers, this.tools.clock.now()),
      );
    }
    if (status === 416) throw new NotAVideo("the link refuses to go on where it was cut");
    if (status !== 200 && status !== 206) throw new DownloadError(`the link answers HTTP ${status}`);
    const type = (headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
    if (type !== CONTRACT.link.contentType && !type.startsWith("video/") && !UNTYPED.includes(type)) {
      throw new NotAVideo(`the link serves ${type}, not a video`);
    }
    if (status === 200) await this.part.begin(headers);
    else if (!this.part.fits(headers)) throw new NotAVideo("the link served another range than was asked for");
    this.checkBound(this.part.total ?? 0);
  }

  private checkBound(size: number): void {
    if (size > this.settings.maxBytes)
      throw new DownloadError(`the video is larger than ${this.settings.maxBytes} bytes`);
  }

  private checkTime(): void {
    if (this.tools.clock.now() >= this.end) throw new DownloadError("the download took longer than its time limit");
  }
}
