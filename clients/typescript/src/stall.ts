import { LONGEST_TIMER } from "./clock.js";

/** Aborts when nothing has come for a while. A download may be long; it may not stand still. */
export class Stall {
  private readonly controller = new AbortController();
  private timer: NodeJS.Timeout;

  /** @param left the milliseconds that may pass from now on without a byte. */
  constructor(private readonly left: () => number) {
    this.timer = this.begin();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  restart(): void {
    clearTimeout(this.timer);
    this.timer = this.begin();
  }

  end(): void {
    clearTimeout(this.timer);
  }

  private begin(): NodeJS.Timeout {
    const ms = Math.min(Math.max(1, this.left()), LONGEST_TIMER);
    return setTimeout(() => this.controller.abort(new DOMException("stalled", "TimeoutError")), ms);
  }
}
