/** The client: create, read, wait, download, upload. `generate` in generation.ts is all of it as one. */

import { randomBytes } from "node:crypto";
import { extname } from "node:path";

import { baseAddress } from "./address.js";
import { Api, type Tools } from "./api.js";
import type { Bell } from "./bell.js";
import { systemClock } from "./clock.js";
import { CONTRACT, type CreateVideo } from "./contract.js";
import { type Created, checkIdempotencyKey, create } from "./create.js";
import { DOWNLOAD, type DownloadSettings, type Step, checkDownload, download } from "./download.js";
import { ConfigError, LinkExpired, RequestInvalid } from "./errors.js";
import { DEFAULT_MODEL, checkModel, withPicture } from "./fields.js";
import { readFrame } from "./image.js";
import { PACE, Pace, type PaceSettings, checkPace } from "./pace.js";
import { seconds, whole } from "./settings.js";
import { type TaskView, isUsableId, linksOf, taskFrom } from "./task.js";
import { upload } from "./upload.js";
import { type ModelRequest, type VideoRequest, createBody } from "./validate.js";
import { taskUrl, watch } from "./watch.js";

/** Settings of which any may be left out. */
export type Loose<T> = { readonly [K in keyof T]?: T[K] | undefined };

export interface ClientOptions {
  /** Else KLING_API_KEY, else EVOLINK_API_KEY. */
  readonly apiKey?: string | undefined;
  /** Else KLING_BASE_URL, else EVOLINK_BASE_URL, else the contract's server. */
  readonly baseUrl?: string | undefined;
  /** Where files are uploaded; else KLING_FILES_BASE_URL, else the base URL. It gets the key too. */
  readonly filesBaseUrl?: string | undefined;
  /** Take plain http for hosts other than this machine. */
  readonly allowHttp?: boolean | undefined;
  /** The manners of reading. */
  readonly pace?: Loose<PaceSettings> | undefined;
  /** Seconds after which a wait gives up. */
  readonly deadline?: number | undefined;
  /** Seconds that one call may take. */
  readonly timeout?: number | undefined;
  /** The bounds of a download. */
  readonly download?: Loose<DownloadSettings> | undefined;
  /**
   * Send a create whose reply was lost, or was 5xx, once more with the same Idempotency-Key. Off, because nobody
   * documents that the service honours the key (wire-facts, grade C).
   */
  readonly repeatLostCreate?: boolean | undefined;
  /** How often a create is sent while it is answered 429; each time with the same key. */
  readonly createAttempts?: number | undefined;
  /** Another model of the family than kling-v3-turbo-image-to-video; its file in openapi/models says what a create takes. */
  readonly model?: string | undefined;
  /** Replaced in tests. */
  readonly tools?: Partial<Tools> | undefined;
}

/** What a long call tells while it goes on, and what may shorten it. */
export interface Hooks {
  readonly onRead?: ((task: TaskView) => void) | undefined;
  readonly onTrouble?: ((message: string) => void) | undefined;
  readonly onBytes?: ((received: number, total: number | undefined) => void) | undefined;
  /** Hears what a download is doing, for each video. */
  readonly onStep?: ((step: Step) => void) | undefined;
  /** Rung when a callback brings news of the task. */
  readonly bell?: Bell | undefined;
  /** Read a task without a pause before; else so for a task that is not fresh. */
  readonly atOnce?: boolean | undefined;
  /** Milliseconds since 1970; else the client's deadline from now. */
  readonly deadline?: number | undefined;
}

const GIVE_UP_SECONDS = 600;
const TIMEOUT_SECONDS = 60;
const UPLOAD_ATTEMPTS = 3;
const CREATE_ATTEMPTS = 5;

export class KlingClient {
  readonly baseUrl: string;
  readonly clock: Tools["clock"];
  /** The model of this client's creates. */
  readonly model: string;
  private readonly api: Api;
  private readonly files: Api;
  private readonly filesUrl: string;
  private readonly pace: PaceSettings;
  private readonly downloads: DownloadSettings;
  private readonly deadlineMs: number;
  private readonly createAttempts: number;

  /** @throws ConfigError key, address or a number cannot be used. No message holds the key. */
  constructor(private readonly options: ClientOptions = {}) {
    const { env } = process;
    const base = options.baseUrl || env["KLING_BASE_URL"] || env["EVOLINK_BASE_URL"] || CONTRACT.server;
    const key = options.apiKey || env["KLING_API_KEY"] || env["EVOLINK_API_KEY"] || "";
    if (key === "") throw new ConfigError("no API key: set KLING_API_KEY, or give --api-key");
    const tools: Tools = { fetch: globalThis.fetch, clock: systemClock, random: Math.random, ...options.tools };
    this.clock = tools.clock;
    this.model = options.model ?? DEFAULT_MODEL;
    checkModel(this.model);
    this.baseUrl = baseAddress(base, options.allowHttp);
    this.filesUrl = baseAddress(options.filesBaseUrl || env["KLING_FILES_BASE_URL"] || base, options.allowHttp);
    const timeoutMs = seconds("timeout", options.timeout ?? TIMEOUT_SECONDS) * 1000;
    this.api = new Api(key, timeoutMs, tools);
    this.files = new Api(key, timeoutMs, tools);
    this.pace = { ...PACE, ...given({ minPoll: CONTRACT.polling.minPollSeconds }), ...given(options.pace ?? {}) };
    checkPace(this.pace);
    this.createAttempts = whole("createAttempts", options.createAttempts ?? CREATE_ATTEMPTS, 1);
    const { minPoll } = this.pace;
    this.deadlineMs = seconds("deadline", options.deadline ?? CONTRACT.polling.giveUpSeconds ?? GIVE_UP_SECONDS) * 1000;
    const bounds = { deadline: this.deadlineMs / 1000, firstWait: Math.min(DOWNLOAD.firstWait, minPoll) };
    this.downloads = { ...DOWNLOAD, ...bounds, ...given(options.download ?? {}) };
    checkDownload(this.downloads);
  }

  /** When a request that begins now must be over; milliseconds since 1970. */
  deadlineFromNow(): number {
    return this.clock.now() + this.deadlineMs;
  }

  /** Whether this client may send a lost create again with the same Idempotency-Key. */
  get repeatsLostCreate(): boolean {
    return this.options.repeatLostCreate ?? false;
  }

  /** *text* with the API key blotted out, for whoever prints what a server said. */
  clean(text: string): string {
    return this.api.clean(text);
  }

  /** A random Idempotency-Key, as the contract wants it. */
  newIdempotencyKey(): string {
    return `kling-${randomBytes(16).toString("hex")}`;
  }

  /**
   * Creates a task. It costs credits, and is never sent twice unless that is safe.
   *
   * @throws RequestInvalid the contract forbids it; nothing was sent.
   * @throws ApiError NetworkError nothing was created.
   * @throws CreateOutcomeUnknown it may have been accepted.
   */
  async create(request: VideoRequest | ModelRequest, hooks: Hooks & { readonly idempotencyKey?: string } = {}): Promise<Created> {
    const body = createBody(request, this.model);
    const idempotencyKey = hooks.idempotencyKey ?? this.newIdempotencyKey();
    checkIdempotencyKey(idempotencyKey);
    return create(this.api, body, {
      base: this.baseUrl,
      idempotencyKey,
      deadline: hooks.deadline ?? this.deadlineFromNow(),
      attempts: this.createAttempts,
      repeats: this.options.repeatLostCreate ? 1 : 0,
      backoffMs: this.pace.minPoll * 1000,
      onTrouble: hooks.onTrouble,
    });
  }

  /**
   * The body of a create, checked against the contract.
   *
   * @param url of the first frame, or of another model's first picture; undefined where it needs none.
   * @throws RequestInvalid the contract forbids it.
   */
  body(url: string | undefined, fields: ModelRequest): CreateVideo {
    if (this.model === DEFAULT_MODEL) return createBody({ ...fields, image_start: url }, this.model);
    return createBody(url === undefined ? fields : withPicture(this.model, fields, url), this.model);
  }

  /**
   * The URL of a first frame: *image* itself when it is one; else the file of that name, checked and uploaded.
   *
   * @throws RequestInvalid it is no image that the contract takes; nothing was sent.
   * @throws ApiError NetworkError it was not taken.
   */
  async frameUrl(image: string, hooks: Hooks = {}): Promise<string> {
    if (isUrl(image)) return image;
    return upload(this.files, await readFrame(image, this.model), image, {
      base: this.filesUrl,
      deadline: hooks.deadline ?? this.deadlineFromNow(),
      attempts: UPLOAD_ATTEMPTS,
      backoffMs: this.downloads.firstWait * 1000,
      onTrouble: hooks.onTrouble,
    });
  }

  /**
   * Reads a task, once.
   *
   * @throws ApiError NetworkError it cannot be read; ServerError also for an answer that is not this task.
   */
  async get(taskId: string): Promise<TaskView> {
    const answer = await this.api.send(
      { method: "GET", url: taskUrl(this.baseUrl, checkedId(taskId)) },
      this.deadlineFromNow(),
    );
    const task = answer.status === 200 ? taskFrom(answer.json, taskId) : undefined;
    if (task) return task;
    throw this.api.errorOf(answer);
  }

  /**
   * Waits until a task is completed or failed, and gives it back.
   *
   * @param fresh it was just created: a first 404 is not believed, and there is a pause before the first read.
   * @throws GaveUp the deadline passed; it may still be running.
   * @throws ApiError it cannot be read: no such task, key refused.
   */
  async wait(taskId: string, fresh = false, hooks: Hooks = {}): Promise<TaskView> {
    return watch(this.api, checkedId(taskId), {
      base: this.baseUrl,
      pace: new Pace(this.pace, this.api.tools.random),
      floorMs: this.pace.minPoll * 1000,
      deadline: hooks.deadline ?? this.deadlineFromNow(),
      fresh,
      atOnce: hooks.atOnce ?? !fresh,
      bell: hooks.bell,
      onRead: hooks.onRead,
      onTrouble: hooks.onTrouble,
    });
  }

  /**
   * Saves a terminal task's videos, without the API key; links that have expired are read anew, once. A second video
   * goes to NAME-2, and so on.
   *
   * @returns the paths.
   * @throws TaskFailed ResultMissing there is none.
   * @throws DownloadError a video could not be saved; *out* is as it was before.
   */
  async save(task: TaskView, out: string, hooks: Hooks = {}): Promise<string[]> {
    const saved: string[] = [];
    let links = this.links(task);
    let refreshed = false;
    const { onBytes, onTrouble, onStep } = hooks;
    const options = { allowHttp: this.options.allowHttp ?? false, onBytes, onTrouble, onStep };
    while (saved.length < links.length) {
      const target = numbered(out, saved.length + 1);
      try {
        await download(this.api.tools, links[saved.length] ?? "", target, this.downloads, options);
        saved.push(target);
      } catch (error) {
        if (!(error instanceof LinkExpired) || refreshed) throw error;
        hooks.onTrouble?.(`${error.message}; asking for a fresh link`);
        [links, refreshed] = [this.links(await this.wait(task.id, false, { ...hooks, deadline: undefined })), true];
      }
    }
    return saved;
  }

  /**
   * The balance as the service says it: `token` and `user`, each with remaining and used credits.
   *
   * @throws ApiError NetworkError it cannot be read.
   */
  async credits(): Promise<Readonly<Record<string, unknown>>> {
    const answer = await this.api.send(
      { method: "GET", url: this.baseUrl + CONTRACT.paths.credits },
      this.deadlineFromNow(),
    );
    const data = (answer.json as { data?: unknown } | null | undefined)?.data;
    if (answer.status === 200 && typeof data === "object" && data !== null) return data as Record<string, unknown>;
    throw this.api.errorOf(answer);
  }

  /** The links of *task*; what a failed one says is cleaned, since it is shown. */
  private links(task: TaskView): readonly string[] {
    const { error } = task;
    const clean = (text: string | null): string | null => (text === null ? null : this.clean(text));
    return linksOf(error ? { ...task, error: { code: clean(error.code), message: clean(error.message) } } : task);
  }
}

/** Whether *image* names a URL rather than a file. */
export const isUrl = (image: string): boolean => /^[a-z][a-z0-9+.-]+:/i.test(image);

const numbered = (out: string, count: number): string => {
  const suffix = extname(out);
  return count === 1 ? out : `${out.slice(0, out.length - suffix.length)}-${count}${suffix}`;
};

/** Those of *settings* that are set. */
function given<T extends object>(settings: T): { [K in keyof T]: NonNullable<T[K]> } {
  const set = Object.entries(settings).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(set) as { [K in keyof T]: NonNullable<T[K]> };
}

function checkedId(taskId: string): string {
  if (isUsableId(taskId)) return taskId;
  throw new RequestInvalid("task_id", "that is no task id");
}
