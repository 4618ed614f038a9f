/**
 * What must survive this process: which task makes which file, and that only one run makes it.
 *
 * Beside `out.mp4` stand `out.mp4.kling.json`, while a task is owed (the Python client reads the same file), and
 * `out.mp4.kling.pid`, while a run is at it.
 */

import { createHash, randomBytes } from "node:crypto";
import { type FileHandle, link, open, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import type { CreateVideo } from "./contract.js";
import { Busy, ConfigError } from "./errors.js";
import { discard, track } from "./temporary.js";

/** One run's memory; it never holds the API key. */
export interface RunRecord {
  /** `creating` from just before the create is sent, `accepted` once the service named the task. */
  readonly phase: "creating" | "accepted";
  /** Tells requests apart, see `digest`. */
  readonly digest: string;
  readonly idempotency_key: string;
  readonly base_url: string;
  /** The create body as sent, so that it can be sent again unchanged with the same Idempotency-Key. */
  readonly body: CreateVideo;
  readonly task_id: string | null;
}

/** What the state file's name ends with, after the output file's. */
export const SUFFIX = ".kling.json";

const VERSION = 1;
const PRIVATE = 0o600;

/** A short name for what the user asked for, the same for the same wishes at the same service. */
export function digest(baseUrl: string, wanted: Readonly<Record<string, unknown>>): string {
  const set = Object.entries(wanted).filter(([, value]) => value !== undefined);
  const text = JSON.stringify([baseUrl, set.sort(([one], [other]) => (one < other ? -1 : 1))]);
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

const unwritable = (what: string, error: unknown): ConfigError =>
  new ConfigError(`cannot write ${what} (${(error as NodeJS.ErrnoException).code ?? String(error)})`);
const isCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code;

/** The place of one output file: its lock and its record. */
export class Slot {
  readonly path: string;
  private readonly lock: string;

  constructor(private readonly out: string) {
    this.path = out + SUFFIX;
    this.lock = `${out}.kling.pid`;
  }

  /**
   * Runs *action* while no other process can hold the same slot.
   *
   * @throws Busy another run holds it; the message names its task where it is known.
   * @throws ConfigError the folder cannot be written.
   */
  async held<T>(action: () => Promise<T>): Promise<T> {
    await this.take();
    track(this.lock);
    try {
      return await action();
    } finally {
      await discard(this.lock);
    }
  }

  private async take(): Promise<void> {
    for (let tries = 0; tries < 3; tries += 1) {
      try {
        return await writeNew(this.lock, String(process.pid));
      } catch (error) {
        if (!isCode(error, "EEXIST")) throw unwritable(`in ${dirname(this.out)}`, error);
      }
      if (!(await this.breakStale())) break;
    }
    throw await this.busy();
  }

  /** Removes the lock of a process that has died. Whether the lock may be free now. */
  private async breakStale(): Promise<boolean> {
    const holder = await readFile(this.lock, "utf8").catch(() => undefined);
    if (holder === undefined) return true;
    if (holder === "" || isAlive(Number(holder))) return false;
    const aside = `${this.lock}.${randomBytes(4).toString("hex")}`;
    try {
      await rename(this.lock, aside);
    } catch {
      return true;
    }
    // Somebody else may have broken it first and taken it: then it is theirs, and goes back.
    if ((await readFile(aside, "utf8")) !== holder) await link(aside, this.lock).catch(() => undefined);
    await rm(aside, { force: true });
    return true;
  }

  private async busy(): Promise<Busy> {
    const record = await this.read().catch(() => undefined);
    const task = record?.task_id ? ` (task ${record.task_id})` : "";
    return new Busy(`another run is making ${basename(this.out)}${task}; nothing was created`);
  }

  /**
   * The record, undefined when no task is owed.
   *
   * @throws ConfigError there is a file of that name, but it is no record.
   */
  async read(): Promise<RunRecord | undefined> {
    try {
      return recordFrom(await readFile(this.path, "utf8"), this.path);
    } catch (error) {
      if (isCode(error, "ENOENT")) return undefined;
      throw error instanceof ConfigError ? error : new ConfigError(`${this.path} cannot be read`);
    }
  }

  /**
   * Keeps *record* durably, readable by its owner only.
   *
   * @throws ConfigError it cannot be written.
   */
  async write(record: RunRecord): Promise<void> {
    const part = join(dirname(this.path), `.${basename(this.path)}.${randomBytes(4).toString("hex")}.part`);
    try {
      await writeNew(part, JSON.stringify({ version: VERSION, ...record }, null, 1));
      await rename(part, this.path);
    } catch (error) {
      await rm(part, { force: true });
      throw unwritable(this.path, error);
    }
  }

  /** Nothing is owed any more. */
  async clear(): Promise<void> {
    await rm(this.path, { force: true });
  }
}

async function writeNew(path: string, text: string): Promise<void> {
  const file: FileHandle = await open(path, "wx", PRIVATE);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isCode(error, "EPERM");
  }
}

/**
 * The record in *text*, the content of the file at *path*.
 *
 * @throws ConfigError it holds none.
 */
export function recordFrom(text: string, path: string): RunRecord {
  try {
    const { version, ...record } = JSON.parse(text) as RunRecord & { version: number };
    const strings = [record.digest, record.idempotency_key, record.base_url].every((each) => typeof each === "string");
    const phased = record.phase === "creating" || (record.phase === "accepted" && typeof record.task_id === "string");
    if (version === VERSION && strings && phased) return record;
  } catch {
    // Falls through to the one message.
  }
  throw new ConfigError(`${path} is not a state file of this client; look at it, then remove it`);
}
