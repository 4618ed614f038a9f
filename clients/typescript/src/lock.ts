/** One run at a time for one output file, whichever of the clients it uses; the protocol is described in clients/STATE.md. */

import { randomBytes } from "node:crypto";
import { type FileHandle, copyFile, constants, link, open, readFile, readlink, rename, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";

import type { Clock } from "./clock.js";
import { forget, track } from "./temporary.js";

/** Milliseconds after which a lock that is not renewed, and whose holder cannot be looked up, counts as left over. */
export const LEASE = 6000;
/** Milliseconds between two renewals. */
const RENEWAL = 2000;
const GLANCE = 250;
const PRIVATE = 0o600;
/** Places in /proc/PID/stat, counted after the process's name, which may hold spaces. */
const STATE = 0;
const START_TIME = 19;
/** States of a process that has ended while its parent has not asked for it, which the first process of many a container never does. */
const ENDED = ["Z", "X", "x"];

/** Another run holds the lock. */
export class Held extends Error {}

/** Who holds a lock: a random token, and how to look the process up. */
interface Holder {
  readonly token: string;
  readonly pid: number;
  readonly host: string;
  readonly born: string;
}

const isCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code;

/** The lock at *path*. */
export class Lock {
  constructor(
    private readonly path: string,
    private readonly clock: Clock,
    private readonly renewal = RENEWAL,
  ) {}

  /**
   * Runs *action* while no other run can hold the lock.
   *
   * @throws Held another run holds it.
   * @throws Error of the system: the folder cannot be written.
   */
  async held<T>(action: () => Promise<T>): Promise<T> {
    const token = await this.take();
    track(this.path);
    const renewing = setInterval(() => void this.renew(), this.renewal);
    renewing.unref();
    try {
      return await action();
    } finally {
      clearInterval(renewing);
      await this.release(token);
    }
  }

  /** Makes the lock file; gives its token. */
  private async take(): Promise<string> {
    const born = (await bornOf(process.pid)) ?? "";
    const holder: Holder = { token: randomBytes(8).toString("hex"), pid: process.pid, host: await host(), born };
    for (;;) {
      try {
        await createExclusively(this.path, JSON.stringify({ version: 1, ...holder }));
        return holder.token;
      } catch (error) {
        if (!isCode(error, "EEXIST")) throw error;
      }
      await this.breakLeftOver();
    }
  }

  /**
   * Removes a lock whose holder is gone.
   *
   * @throws Held its holder is at work.
   */
  private async breakLeftOver(): Promise<void> {
    const text = await contentOf(this.path);
    if (text === undefined) return;
    const alive = await isAlive(holderFrom(text));
    if (alive ?? (await this.isRenewed())) throw new Held();
    const aside = `${this.path}.${randomBytes(4).toString("hex")}`;
    try {
      await rename(this.path, aside);
    } catch (error) {
      if (isCode(error, "ENOENT")) return;
      throw error;
    }
    // Another run may have broken the lock first and hold a new one, which goes back.
    if ((await contentOf(aside)) !== text) await link(aside, this.path).catch(() => undefined);
    await rm(aside, { force: true });
  }

  /** Whether the lock's modification time changes within the lease. */
  private async isRenewed(): Promise<boolean> {
    const seen = await modified(this.path);
    const end = this.clock.now() + LEASE;
    while (this.clock.now() < end) {
      await this.clock.sleep(GLANCE);
      const now = await modified(this.path);
      if (now === undefined) return false;
      if (now !== seen) return true;
    }
    return false;
  }

  /** Shows that the holder lives. */
  private async renew(): Promise<void> {
    const now = new Date();
    await utimes(this.path, now, now).catch(() => undefined);
  }

  /** Removes the lock, unless it is another run's by now. */
  private async release(token: string): Promise<void> {
    const text = await contentOf(this.path).catch(() => undefined);
    if (text !== undefined && holderFrom(text)?.token === token) await rm(this.path, { force: true });
    forget(this.path);
  }
}

/**
 * Makes a file with its whole content, durably, readable by its owner only.
 *
 * @throws Error of the system; EEXIST: there is one of this name.
 */
export async function createExclusively(path: string, text: string): Promise<void> {
  const part = await writePart(path, text);
  try {
    await link(part, path).catch(async (error: unknown) => {
      if (isCode(error, "EEXIST")) throw error;
      // Some file systems have no hard links.
      await copyFile(part, path, constants.COPYFILE_EXCL);
    });
  } finally {
    await rm(part, { force: true });
  }
  await syncFolder(dirname(path));
}

/** Writes *text* durably under a temporary name next to *path*; gives that name. */
export async function writePart(path: string, text: string): Promise<string> {
  const part = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString("hex")}.part`);
  try {
    const file: FileHandle = await open(part, "wx", PRIVATE);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
  return part;
}

/** Makes changes of names in *folder* survive a power cut, where the system can sync a folder. */
export async function syncFolder(folder: string): Promise<void> {
  const file = await open(folder, "r").catch(() => undefined);
  await file?.sync().catch(() => undefined);
  await file?.close().catch(() => undefined);
}

/** The name of this machine and process namespace; empty where processes cannot be looked up. */
async function host(): Promise<string> {
  try {
    const boot = (await readFile("/proc/sys/kernel/random/boot_id", "ascii")).trim();
    return `${hostname()} ${boot} ${await readlink("/proc/self/ns/pid")}`;
  } catch {
    return "";
  }
}

/** When a process of this machine started, in the system's own units; undefined when no process of this id runs. */
async function bornOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  const fields = text?.slice(text.lastIndexOf(")") + 1).trim().split(/\s+/) ?? [];
  return ENDED.includes(fields[STATE] ?? "") ? undefined : fields[START_TIME];
}

/** Whether a holder is at work; undefined where it cannot be looked up. */
async function isAlive(holder: Holder | undefined): Promise<boolean | undefined> {
  if (!holder || holder.host === "" || holder.host !== (await host())) return undefined;
  return (await bornOf(holder.pid)) === holder.born;
}

/** The holder that a lock file names, undefined where it names none. */
function holderFrom(text: string): Holder | undefined {
  try {
    const { token, pid, host: where, born } = JSON.parse(text) as Record<string, unknown>;
    const fits = [token, where, born].every((each) => typeof each === "string") && Number.isInteger(pid);
    return fits ? { token: String(token), pid: Number(pid), host: String(where), born: String(born) } : undefined;
  } catch {
    return undefined;
  }
}

/** The content of a file, undefined when it is gone. */
async function contentOf(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch((error: unknown) => {
    if (isCode(error, "ENOENT")) return undefined;
    throw error;
  });
}

/** A file's modification time in nanoseconds, undefined when it is gone. */
async function modified(path: string): Promise<bigint | undefined> {
  return (await stat(path, { bigint: true }).catch(() => undefined))?.mtimeNs;
}
