/** A first frame on this machine, looked at before it is sent: the service would refuse it, or fail a task over it. */

import { readFile, stat } from "node:fs/promises";

import { ConfigError, RequestInvalid } from "./errors.js";
import { type ImageRules, imageRules } from "./fields.js";

/** A first frame that the contract takes, as far as its header tells. */
export interface Frame {
  readonly bytes: Buffer<ArrayBuffer>;
  readonly format: string;
}

interface Header {
  readonly format: string;
  readonly width: number;
  readonly height: number;
}

const refuse = (why: string): never => {
  throw new RequestInvalid("image_start", why);
};

/**
 * Reads the image at *path* and checks it by the contract (document.txt, "Image Requirements"): what counts is the
 * bytes.
 *
 * @throws ConfigError the file cannot be read, or is a folder, a pipe or a device.
 * @throws RequestInvalid it is no JPEG or PNG, too large, too small, or too long.
 */
export async function readFrame(path: string, model?: string): Promise<Frame> {
  const rules = imageRules(model);
  const unreadable = (error: NodeJS.ErrnoException): never => {
    throw new ConfigError(`${path} cannot be read (${error.code ?? error.name})`);
  };
  const found = await stat(path).catch(unreadable);
  if (!found.isFile()) throw new ConfigError(`${path} is not a regular file`);
  const { size } = found;
  if (size > rules.maxBytes) refuse(`${size} bytes, more than ${rules.maxBytes}`);
  const bytes = await readFile(path).catch(unreadable);
  const header = pngHeader(bytes) ?? jpegHeader(bytes);
  if (!header || !rules.formats.includes(header.format)) {
    return refuse(`not a whole ${rules.formats.join(" or ")} image`);
  }
  checkShape(header, rules);
  return { bytes, format: header.format };
}

function checkShape({ width, height }: Header, rules: ImageRules): void {
  if (Math.min(width, height) < rules.minSidePx)
    refuse(`${width}x${height}: a side is shorter than ${rules.minSidePx} pixels`);
  const ratio = width / height;
  if (ratio < rules.ratioMin || ratio > rules.ratioMax) {
    refuse(`${width}x${height}: the ratio is outside ${rules.ratioMin} to ${rules.ratioMax}`);
  }
}

/** Width and height of a PNG: its first chunk is IHDR. */
function pngHeader(bytes: Buffer): Header | undefined {
  const isPng =
    bytes.length >= 24 &&
    bytes.toString("latin1", 0, 8) === "\x89PNG\r\n\x1a\n" &&
    bytes.toString("latin1", 12, 16) === "IHDR";
  return isPng ? { format: "png", width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) } : undefined;
}

/** Frame markers of JPEG (SOF0 to SOF15) without the three that mean something else. */
const isFrame = (marker: number): boolean => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
/** Markers that stand alone, without a length. */
const isBare = (marker: number): boolean => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8);

/** Width and height of a JPEG: in its frame header, after other segments. */
function jpegHeader(bytes: Buffer): Header | undefined {
  if (bytes.length < 4 || bytes.readUInt16BE(0) !== 0xffd8) return undefined;
  for (let at = 2; at + 9 <= bytes.length;) {
    const marker = bytes[at + 1] ?? 0;
    if (bytes[at] !== 0xff) return undefined;
    if (isFrame(marker))
      return { format: "jpeg", height: bytes.readUInt16BE(at + 5), width: bytes.readUInt16BE(at + 7) };
    if (marker === 0xff) at += 1;
    else at += isBare(marker) ? 2 : 2 + bytes.readUInt16BE(at + 2);
  }
  return undefined;
}
