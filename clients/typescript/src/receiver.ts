/**
 * Hears callbacks: an `http` request handler that answers at once, trusts nothing, and acts once.
 *
 * Deliveries are unsigned (the document names no signature), so a callback is a hint and no more: what it says of the
 * task is never used, only its id, and the task is read with the key before anything happens. No URL in it is ever
 * fetched.
 */

import { createHash, timingSafeEqual } from "node:crypto";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { Bell } from "./bell.js";
import { type Clock, systemClock } from "./clock.js";
import { CONTRACT } from "./contract.js";
import { ApiError, ConfigError, NetworkError, RateLimited, ServerError } from "./errors.js";
import { Once } from "./once.js";
import { seconds, whole } from "./settings.js";
import { type TaskView, isTerminal, isUsableId } from "./task.js";

export interface ReceiverOptions {
  /** Reads a task with the key, as `KlingClient.get`. Not needed where only `watch` is used. */
  readonly read?: (taskId: string) => Promise<TaskView>;
  /** Called once for each finished task that `read` confirms, after the callback was answered. */
  readonly effect?: (task: TaskView) => Promise<void>;
  /** Where callbacks come in, a query included if it has one. A secret in it keeps strangers out. */
  readonly path?: string;
  /**
   * Whether a task is one of ours. News of others is kept until `expect` names them. Without it, `read` tells: it does
   * not find them.
   */
  readonly known?: (taskId: string) => boolean;
  /** Keeps the callback before it is answered; when it throws, the sender hears 500 and tries again. */
  readonly store?: (callback: Callback) => Promise<void>;
  /** The ledger, shared with whoever else may see the same task finish. */
  readonly once?: Once;
  /** Bytes of the largest body that is read. */
  readonly maxBytes?: number;
  /** How many confirmations may wait, and how many early callbacks are kept; beyond that the sender hears 503. */
  readonly backlog?: number;
  /** How often a confirmation or an effect that fails is tried. */
  readonly attempts?: number;
  /** Seconds before the second attempt, doubled before each further one. */
  readonly retryWait?: number;
  readonly clock?: Clock;
  /** Hears what could not be done. */
  readonly log?: (message: string) => void;
}

const DEFAULTS: Required<
  Pick<ReceiverOptions, "path" | "maxBytes" | "backlog" | "attempts" | "retryWait" | "clock" | "log">
> = {
  path: "/",
  maxBytes: 2 ** 20,
  backlog: 1000,
  attempts: 5,
  retryWait: 1,
  clock: systemClock,
  log: () => undefined,
};
/** Tasks that are confirmed and acted on at the same time. */
const PARALLEL = 16;
const HIGHEST_PORT = 65_535;
/** Milliseconds between two looks at callers who stall: what a limit may be late by. */
const CHECKS = 250;
/** Read and dropped beyond the limit, so that the sender sees the answer and not a cut connection. */
const DRAINED = 16 * 2 ** 20;

/** The JSON of a callback: only its id is used. */
export type Callback = Readonly<Record<string, unknown>> & { readonly id: string };

export class Receiver {
  readonly once: Once;
  private readonly options: ReceiverOptions & typeof DEFAULTS;
  private readonly bells = new Map<string, Set<Bell>>();
  private readonly early = new Set<string>();
  private readonly queued = new Set<string>();
  private readonly working = new Map<string, Promise<void>>();
  private readonly waiting: (() => void)[] = [];
  private busy = 0;

  constructor(options: ReceiverOptions = {}) {
    this.options = { ...DEFAULTS, ...options };
    const { backlog, attempts, retryWait, maxBytes } = this.options;
    whole("backlog", backlog, 0);
    whole("attempts", attempts, 1);
    whole("maxBytes", maxBytes, 1);
    seconds("retryWait", retryWait, 0);
    this.once = options.once ?? new Once();
  }

  /** The request handler. Nothing slow happens here but `store`. */
  readonly handle = (request: IncomingMessage, response: ServerResponse): void => {
    void this.answer(request).then(
      (status) => reply(response, status),
      () => response.destroy(),
    );
  };

  /**
   * A bell that rings when news of *taskId* comes in; whoever holds it confirms and acts himself. News that came before
   * counts at once. `end` stops it.
   */
  watch(taskId: string): { readonly bell: Bell; readonly end: () => void } {
    const bell = new Bell();
    const bells = this.bells.get(taskId) ?? new Set();
    this.bells.set(taskId, bells.add(bell));
    if (this.early.delete(taskId)) bell.ring();
    const end = (): void => {
      bells.delete(bell);
      if (bells.size === 0 && this.bells.get(taskId) === bells) this.bells.delete(taskId);
    };
    return { bell, end };
  }

  /** *taskId* is ours, as its create's answer has just told: news that came before that is looked at now. */
  expect(taskId: string): void {
    if (this.early.delete(taskId)) this.enqueue(taskId);
  }

  /** Settles when everything heard so far has been confirmed and acted on, or given up. */
  async drain(): Promise<void> {
    while (this.working.size > 0) await Promise.all(this.working.values());
  }

  private async answer(request: IncomingMessage): Promise<number> {
    const status = this.isOurs(request.url ?? "") ? (request.method === "POST" ? 200 : 405) : 404;
    if (status !== 200) {
      request.resume();
      return status;
    }
    const content = await bodyOf(request, this.options.maxBytes);
    if (content === undefined) return 413;
    const callback = callbackFrom(content);
    return callback ? this.accept(callback) : 400;
  }

  /** Keeps a callback and sees to it later; the status says whether that worked. */
  private async accept(callback: Callback): Promise<number> {
    try {
      await this.options.store?.(callback);
      return this.take(callback.id) ? 204 : 503;
    } catch {
      this.log(`a callback for ${callback.id} could not be kept`);
      return 500;
    }
  }

  /** News of a task: to whoever watches it, to the queue, or kept until it is known. False when there is no room. */
  private take(taskId: string): boolean {
    const bells = this.bells.get(taskId);
    for (const bell of bells ?? []) bell.ring();
    if (bells || this.once.has(taskId)) return true;
    const { effect, known } = this.options;
    if (effect && (known?.(taskId) ?? true)) return this.enqueue(taskId);
    this.early.delete(taskId);
    this.early.add(taskId);
    // The oldest give way: whoever floods us with unknown ids must not fill the memory.
    for (const oldest of this.early) if (this.early.size > this.options.backlog) this.early.delete(oldest);
    return true;
  }

  /** Has *taskId* confirmed, once for any number of callbacks that wait. */
  private enqueue(taskId: string): boolean {
    if (this.queued.has(taskId)) return true;
    if (this.queued.size >= this.options.backlog) return false;
    this.queued.add(taskId);
    // However many callbacks come while a task is confirmed, it is read once more.
    const work = (this.working.get(taskId) ?? Promise.resolve())
      .then(() => this.seeTo(taskId))
      .catch((error: unknown) => this.log(`${taskId} was given up: ${String(error)}`));
    this.working.set(taskId, work);
    void work.then(() => {
      if (this.working.get(taskId) === work) this.working.delete(taskId);
    });
    return true;
  }

  /** Runs *action* when one of so many places is free: one that takes long delays no other, and many do not crowd. */
  private async inTurn<T>(action: () => Promise<T>): Promise<T> {
    if (this.busy >= Math.min(PARALLEL, Math.max(1, this.options.backlog))) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    } else this.busy += 1;
    try {
      return await action();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.busy -= 1;
    }
  }

  /** Tries to confirm and act, within the attempts. A callback that the service does not confirm has no effect. */
  private async seeTo(taskId: string): Promise<void> {
    const { attempts, retryWait, clock } = this.options;
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      if (attempt > 0) await clock.sleep(retryWait * 1000 * 2 ** (attempt - 1));
      try {
        return await this.inTurn(() => {
          this.queued.delete(taskId);
          return this.confirm(taskId);
        });
      } catch (error) {
        const passing = !(error instanceof ApiError) || error instanceof ServerError || error instanceof RateLimited;
        const what =
          error instanceof ApiError || error instanceof NetworkError
            ? "could not be confirmed"
            : "could not be acted on";
        this.log(`${taskId} ${what}: ${error instanceof Error ? error.message : "unknown"}`);
        if (!passing) return undefined;
      }
    }
    return this.log(`${taskId} was given up after ${attempts} attempts`);
  }

  /** Passes a line on. A log that throws stops nothing. */
  private log(message: string): void {
    try {
      this.options.log(message);
    } catch {
      // There is no other place to say it.
    }
  }

  /** Reads the task, and acts if it is finished. What the callback said of it does not matter. */
  private async confirm(taskId: string): Promise<void> {
    const { read, effect } = this.options;
    if (this.once.has(taskId) || !read || !effect) return;
    const task = await read(taskId);
    if (isTerminal(task)) await this.once.run(taskId, () => effect(task));
  }

  /** Whether *asked* is the receiver's path; compared in constant time, for it may be a secret. */
  private isOurs(asked: string): boolean {
    const { path } = this.options;
    const compared = path.includes("?") ? asked : (asked.split("?", 1)[0] ?? "");
    const hash = (text: string): Buffer => createHash("sha256").update(text).digest();
    return timingSafeEqual(hash(compared), hash(path));
  }
}

function reply(response: ServerResponse, status: number): void {
  if (status === 405) response.setHeader("allow", "POST");
  if (status >= 400) response.setHeader("connection", "close");
  response.writeHead(status, status === 204 ? {} : { "content-length": 0 }).end();
}

/** The whole body; undefined when it is larger than *most* bytes. */
function bodyOf(request: IncomingMessage, most: number): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= most) chunks.push(chunk);
      else resolve(undefined);
      if (size > DRAINED) request.destroy();
    });
    request.on("end", () => resolve(Buffer.concat(chunks)));
    request.on("error", reject);
    request.on("close", () => reject(new Error("the caller hung up")));
  });
}

/** The JSON object with a task id in *content*, undefined when it is anything else. */
function callbackFrom(content: Buffer): Callback | undefined {
  try {
    const body = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(content)) as Partial<Callback> | null;
    return typeof body?.id === "string" && isUsableId(body.id) ? (body as Callback) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Serves *receiver* on *port* of this machine (0: a free one) until `close`.
 *
 * @param limit seconds that one request may take; a caller who stalls is not waited for longer than the service itself
 *     would wait.
 * @throws ConfigError the port cannot be had.
 */
export async function listen(
  receiver: Receiver,
  port: number,
  limit: number = CONTRACT.callback.timeoutSeconds,
): Promise<{ port: number; close: () => void }> {
  if (!Number.isInteger(port) || port < 0 || port > HIGHEST_PORT)
    throw new ConfigError(`cannot listen on port ${port}: ports go from 0 to ${HIGHEST_PORT}`);
  // The platform looks for late requests every 30 s unless it is asked to look more often.
  const server: Server = createServer({ connectionsCheckingInterval: CHECKS }, receiver.handle);
  server.requestTimeout = server.headersTimeout = limit * 1000;
  server.unref();
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(new ConfigError(`cannot listen on port ${port} (${error.code ?? error.name})`)),
    );
    server.listen(port, "127.0.0.1", resolve);
  });
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { port: (server.address() as AddressInfo).port, close };
}
