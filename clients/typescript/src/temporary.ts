/** Files that must not outlive this process, even when it is interrupted. */

import { rmSync } from "node:fs";
import { rm } from "node:fs/promises";

const tracked = new Set<string>();

function removeAll(): void {
  for (const path of tracked) rmSync(path, { force: true });
}

/** Has *path* removed when the process ends, unless `discard` or `forget` came before. */
export function track(path: string): void {
  if (tracked.size === 0) process.once("exit", removeAll);
  tracked.add(path);
}

/** Lets *path* outlive this process after all. */
export function forget(path: string): void {
  tracked.delete(path);
  if (tracked.size === 0) process.off("exit", removeAll);
}

/** Removes *path* now. */
export async function discard(path: string): Promise<void> {
  await rm(path, { force: true });
  forget(path);
}
