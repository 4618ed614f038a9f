/** Something that a callback rings and a poll loop hears. */
export class Bell {
  private controller = new AbortController();

  /** Aborted as soon as somebody rings; ask anew after `reset`. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  ring(): void {
    this.controller.abort();
  }

  /** Makes the bell ready to be heard again. */
  reset(): void {
    if (this.controller.signal.aborted) this.controller = new AbortController();
  }
}
