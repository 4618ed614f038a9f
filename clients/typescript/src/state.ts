/**
 * What must survive this process: which task makes which file, and that only one run makes it.
 *
 * The Python client keeps the same files; clients/STATE.md describes them.
 */

import { readFile, rename, rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";

import { type Clock, systemClock } from "./clock.js";
import type { CreateVideo } from "./contract.js";
import { Busy, ConfigError } from "./errors.js";
import { Held, Lock, createExclusively, syncFolder, writePart } from "./lock.js";

/** One run's memory; it never holds the API key. */
export interface RunRecord {
  /** `creating` from just before the create is sent, `accepted` once the service named the task. */
  readonly phase: "creating" | "accepted";
  /** What the user asked for, which tells one request from another, see `wanted`. */
  readonly request: Readonly<Record<string, unknown>>;
  readonly idempotency_key: string;
  readonly base_url: string;
  /** The create body as sent, so that it can be sent again unchanged with the same Idempotency-Key. */
  readonly body: CreateVideo;
  readonly task_id: string | null;
}

/** What the state file's name ends with, after the output file's. */
export const SUFFIX = ".kling.json";

const VERSION = 2;

/** A request as a record keeps it: the image as given, and the fields that are set. */
export function wanted(image: string | undefined, fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const set = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  return { image: image ?? null, ...Object.fromEntries(set) };
}

/** Whether *record* is about *request* at the service of *baseUrl*. */
export const isAbout = (record: RunRecord, baseUrl: string, request: Readonly<Record<string, unknown>>): boolean =>
  record.base_url === baseUrl && isDeepStrictEqual(record.request, JSON.parse(JSON.stringify(request)));

/** What *record* is about, for a message. */
export const subject = (record: RunRecord): string =>
  record.task_id === null ? "a create whose outcome is not known" : `task ${record.task_id}`;

const unwritable = (what: string, error: unknown): ConfigError =>
  new ConfigError(`cannot write ${what} (${(error as NodeJS.ErrnoException).code ?? String(error)})`);
const isCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code;

/** The place of one output file: its lock and its record. */
export class Slot {
  readonly path: string;
  private readonly lock: Lock;

  constructor(
    private readonly out: string,
    clock: Clock = systemClock,
  ) {
    this.path = out + SUFFIX;
    this.lock = new Lock(`${out}.kling.lock`, clock);
  }

  /**
   * Runs *action* while no other run can hold the same slot.
   *
   * @throws Busy another run holds it; the message names its task where it is known.
   * @throws ConfigError the folder cannot be written.
   */
  async held<T>(action: () => Promise<T>): Promise<T> {
    let inside = false;
    try {
      return await this.lock.held(() => ((inside = true), action()));
    } catch (error) {
      if (inside) throw error;
      throw error instanceof Held ? await this.busy() : unwritable(`in ${dirname(this.out)}`, error);
    }
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
   * Keeps the *record* of a new create durably, unless there is one already.
   *
   * @throws Busy there is one: another run came first.
   * @throws ConfigError it cannot be written.
   */
  async begin(record: RunRecord): Promise<void> {
    try {
      await createExclusively(this.path, textOf(record));
    } catch (error) {
      throw isCode(error, "EEXIST") ? await this.busy() : unwritable(this.path, error);
    }
  }

  /**
   * Keeps *record* durably in place of the one that is there.
   *
   * @throws ConfigError it cannot be written.
   */
  async write(record: RunRecord): Promise<void> {
    try {
      const part = await writePart(this.path, textOf(record));
      await rename(part, this.path).finally(() => rm(part, { force: true }));
      await syncFolder(dirname(this.path));
    } catch (error) {
      throw unwritable(this.path, error);
    }
  }

  /** Nothing is owed any more. */
  async clear(): Promise<void> {
    await rm(this.path, { force: true });
  }
}

const textOf = (record: RunRecord): string => JSON.stringify({ version: VERSION, ...record }, null, 1);

/**
 * The record in *text*, the content of the file at *path*.
 *
 * @throws ConfigError it holds none.
 */
export function recordFrom(text: string, path: string): RunRecord {
  const content = parsed(text);
  if (!content || !isRecord(content)) {
    throw new ConfigError(`${path} is not a state file of this client; look at it, then remove it`);
  }
  const { phase, idempotency_key, base_url, body } = content as unknown as RunRecord;
  // The first version kept a digest, made by each client in its own way: it equals no request.
  const { request = {}, task_id = null } = content as Partial<RunRecord>;
  return { phase, request, idempotency_key, base_url, body, task_id };
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const content = JSON.parse(text) as unknown;
    return isObject(content) ? content : undefined;
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isFilled = (value: unknown): boolean => typeof value === "string" && value !== "";

/** Whether *content* has the members of a record, each of its kind. */
function isRecord(content: Record<string, unknown>): boolean {
  const { version, phase, request, body } = content;
  const taskId = content["task_id"] ?? null;
  const isKnown = version === VERSION || (version === 1 && request === undefined);
  const hasRequest = version === 1 || isObject(request);
  const hasTexts = isFilled(content["idempotency_key"]) && isFilled(content["base_url"]);
  const isPhased = phase === "accepted" ? isFilled(taskId) : phase === "creating" && taskId === null;
  return isKnown && hasRequest && hasTexts && isObject(body) && isPhased;
}
