/** The unfinished file beside the final one: gone in the end, unless it was committed. */

import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { DownloadError } from "./errors.js";
import { syncFolder } from "./lock.js";
import { assertStart, assertWhole } from "./mp4.js";
import { discard, forget, track } from "./temporary.js";

export class PartFile {
  /** Bytes that it holds. */
  size = 0;
  /** Bytes of the whole video, once an answer has named them. */
  total: number | undefined;
  private validator: string | undefined;
  private isCommitted = false;

  private constructor(
    private readonly out: string,
    private readonly path: string,
    private readonly file: FileHandle,
  ) {}

  /**
   * A new one for the final name *out*, whose folder must exist.
   *
   * @throws DownloadError it cannot be written, or *out* is there and no regular file.
   */
  static async beside(out: string): Promise<PartFile> {
    const there = await stat(out).catch(() => undefined);
    if (there && !there.isFile()) throw new DownloadError(`${out} is not a regular file`);
    const path = join(dirname(out), `.${basename(out)}.${randomBytes(4).toString("hex")}.part`);
    const file = await unlessUnwritable(open(path, "wx+"));
    track(path);
    return new PartFile(out, path, file);
  }

  /** Starts from nothing with a full answer: remembers its length and what tells its version apart. */
  async begin(headers: Headers = new Headers()): Promise<void> {
    await unlessUnwritable(this.file.truncate(0));
    this.size = 0;
    const length = headers.get("content-length") ?? "";
    this.total = /^\d+$/.test(length) && !headers.has("content-encoding") ? Number(length) : undefined;
    const tag = headers.get("etag") ?? "";
    this.validator = tag.startsWith('"') ? tag : (headers.get("last-modified") ?? undefined);
  }

  /** The headers that ask for the rest; none when only a new beginning is safe: the length must be known to compare. */
  resuming(): Record<string, string> {
    if (this.size === 0 || this.total === undefined) return {};
    return { range: `bytes=${this.size}-`, ...(this.validator ? { "if-range": this.validator } : {}) };
  }

  /** Whether a partial answer is exactly the missing rest of the same file. */
  fits(headers: Headers): boolean {
    return headers.get("content-range") === `bytes ${this.size}-${(this.total ?? 0) - 1}/${this.total}`;
  }

  async append(chunk: Uint8Array): Promise<void> {
    // A disk that is nearly full takes a part of what it is given, and no error.
    for (let done = 0; done < chunk.byteLength;) {
      const { bytesWritten } = await unlessUnwritable(
        this.file.write(chunk, done, chunk.byteLength - done, this.size + done),
      );
      if (bytesWritten === 0) throw new DownloadError("the video cannot be written (the disk takes no more)");
      done += bytesWritten;
    }
    this.size += chunk.byteLength;
  }

  /**
   * Lets a video pass. Where no length was declared, only the file's own structure can show that it was cut.
   *
   * @throws NotAVideo it is something else, or cut.
   */
  async check(): Promise<void> {
    await assertStart(this.file);
    if (this.total === undefined) await assertWhole(this.file, this.size);
  }

  /**
   * Makes it the final file, durably.
   *
   * @throws DownloadError it cannot be written, or the disk holds another length than was received.
   */
  async commit(): Promise<void> {
    await unlessUnwritable(this.file.sync());
    const { size } = await unlessUnwritable(this.file.stat());
    if (size !== this.size)
      throw new DownloadError(`the video cannot be written: ${size} of ${this.size} bytes are on disk`);
    await unlessUnwritable(this.file.close());
    await unlessUnwritable(rename(this.path, this.out));
    this.isCommitted = true;
    forget(this.path);
    await syncFolder(dirname(this.out));
  }

  /** Leaves nothing behind but what was committed. */
  async end(): Promise<void> {
    if (this.isCommitted) return;
    await this.file.close().catch(() => undefined);
    await discard(this.path);
  }
}

async function unlessUnwritable<T>(action: Promise<T>): Promise<T> {
  return action.catch((error: NodeJS.ErrnoException) => {
    throw new DownloadError(`the video cannot be written (${error.code ?? error.name})`);
  });
}
