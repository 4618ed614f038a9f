/** The least that tells an MP4 from an error page, and a whole one from a cut one (ISO/IEC 14496-12, 4.2). */

import type { FileHandle } from "node:fs/promises";

import { NotAVideo } from "./errors.js";

/**
 * Lets a file pass that begins with a file-type box.
 *
 * @throws NotAVideo it does not.
 */
export async function assertStart(file: FileHandle): Promise<void> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(8), 0, 8, 0);
  if (bytesRead < 8 || buffer.toString("latin1", 4) !== "ftyp")
    throw new NotAVideo("what the link serves is not an MP4");
}

/**
 * Lets a file of *size* bytes pass whose boxes end exactly where the file does, with index and pictures among them.
 *
 * @throws NotAVideo a box goes beyond the end, or there is no index or no picture.
 */
export async function assertWhole(file: FileHandle, size: number): Promise<void> {
  const kinds = new Set<string>();
  for (let at = 0; at < size;) {
    const { length, kind } = await boxAt(file, at, size);
    kinds.add(kind);
    at += length;
  }
  if (!kinds.has("moov") || !kinds.has("mdat")) throw new NotAVideo("the video is cut");
}

/** Length in bytes and kind of the box at *at*; a length of 0 means up to the end. */
async function boxAt(file: FileHandle, at: number, size: number): Promise<{ length: number; kind: string }> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(16), 0, 16, at);
  if (bytesRead < 8) throw new NotAVideo("the video is cut");
  const short = buffer.readUInt32BE(0);
  const long = short === 1 && bytesRead === 16 ? Number(buffer.readBigUInt64BE(8)) : short;
  const length = long || size - at;
  if (length < 8 || at + length > size) throw new NotAVideo("the video is cut");
  return { length, kind: buffer.toString("latin1", 4, 8) };
}
