import { ConfigError } from "./errors.js";
import { number, seconds } from "./settings.js";

/**
 * How a task is polled. Nobody documents it; the defaults stay within what the vendor's own client does (wire-facts,
 * grade C), and the contract's `x-polling` replaces them where it names numbers. The Python client has the same.
 */
export interface PaceSettings {
  /** Seconds: the floor of every wait. */
  readonly minPoll: number;
  /** The first wait, in floors. */
  readonly first: number;
  /** Each wait is so many times the one before. */
  readonly growth: number;
  /** The longest ordinary wait, in floors. */
  readonly ceiling: number;
  /** The longest wait after failed reads, in floors, unless the service asks for more. */
  readonly errorCeiling: number;
  /** Each task's waits are longer by a share drawn once up to this, so that many tasks do not poll in step. */
  readonly spread: number;
}

export const PACE: PaceSettings = { minPoll: 5, first: 1.6, growth: 1.15, ceiling: 3, errorCeiling: 12, spread: 0.25 };

const LARGEST_FACTOR = 1e6;

/**
 * Refuses what would poll without pause or never end.
 *
 * @throws ConfigError a number is out of its range.
 */
export function checkPace(pace: PaceSettings): void {
  seconds("minPoll", pace.minPoll);
  for (const name of ["first", "growth", "ceiling", "errorCeiling"] as const)
    number(name, pace[name], 1, LARGEST_FACTOR, `must be 1 to ${LARGEST_FACTOR}`);
  number("spread", pace.spread, 0, LARGEST_FACTOR, `must be 0 to ${LARGEST_FACTOR}`);
  if (pace.first <= pace.ceiling && pace.ceiling <= pace.errorCeiling) return;
  throw new ConfigError("waits must not shrink: first <= ceiling <= errorCeiling");
}

/**
 * The waits between reads of one task. They never fall below the floor and never shrink: a service that was in trouble,
 * or asked for a longer wait, is read at that pace from then on (within the error ceiling).
 */
export class Pace {
  private wait: number;
  private readonly ceiling: number;
  private readonly errorCeiling: number;

  constructor(
    private readonly settings: PaceSettings,
    private readonly random: () => number,
  ) {
    const unit = settings.minPoll * 1000 * (1 + settings.spread * random());
    this.wait = unit * settings.first;
    this.ceiling = unit * settings.ceiling;
    this.errorCeiling = unit * settings.errorCeiling;
  }

  /** Milliseconds to wait before the next read of a task that is under way. */
  ordinary(): number {
    const wait = this.wait;
    this.wait = Math.max(wait, Math.min(wait * this.settings.growth, this.ceiling));
    return wait;
  }

  /**
   * Milliseconds to wait after a read that failed.
   *
   * @param askedMs the answer's Retry-After: never undercut, and overshot a little, so that clients which were refused
   *     together do not return together.
   */
  afterFailure(askedMs?: number): number {
    const doubled = Math.max(this.wait, Math.min(this.wait * 2, this.errorCeiling));
    this.wait = Math.max(doubled, Math.min(askedMs ?? 0, this.errorCeiling));
    return askedMs === undefined
      ? this.wait
      : Math.max(doubled, askedMs + this.random() * this.settings.minPoll * 1000);
  }
}
