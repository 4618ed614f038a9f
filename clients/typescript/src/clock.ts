/** Time, as the client sees it: one reading and one wait, both replaceable in tests. */
export interface Clock {
  /** Milliseconds since 1970; never goes back. */
  now(): number;
  /** Waits *ms* milliseconds, or until *signal* is aborted; ends quietly in both cases. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Timers of Node may fire a little early; the wait is never shorter than asked. */
export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  async sleep(ms, signal) {
    const end = this.now() + ms;
    for (let left = ms; left > 0 && !signal?.aborted; left = end - this.now()) await pause(left, signal);
  },
};

/** Milliseconds: the longest wait that a timer of Node takes; a longer one would fire at once. */
export const LONGEST_TIMER = 2 ** 31 - 1;

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(Math.ceil(ms), LONGEST_TIMER));
    signal?.addEventListener("abort", done, { once: true });
  });
}
