/** A ledger of effects: each key's effect happens once, however many see the occasion at the same time. */
export class Once {
  private readonly effects = new Map<string, Promise<void>>();

  /**
   * Runs *effect* unless it ran for *key* before; whoever comes while it runs waits for it. True when it ran now.
   *
   * An effect that throws has not happened: the error goes to everybody who waited, and the next call runs it again.
   */
  async run(key: string, effect: () => Promise<void>): Promise<boolean> {
    const before = this.effects.get(key);
    const running = before ?? effect();
    this.effects.set(key, running);
    try {
      await running;
    } catch (error) {
      if (this.effects.get(key) === running) this.effects.delete(key);
      throw error;
    }
    return before === undefined;
  }

  /** Whether the effect of *key* has happened, or is happening. */
  has(key: string): boolean {
    return this.effects.has(key);
  }

  /** How many effects have happened. */
  get count(): number {
    return this.effects.size;
  }
}
