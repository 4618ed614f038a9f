/** Checks of the numbers that a caller sets: a wait, a bound, a number of attempts. */

import { ConfigError } from "./errors.js";

/** Seconds: the longest time that can be set, some thirty years. Timers that take less are wound again. */
export const LONGEST = 1e9;

/**
 * *value*, if it can be a time in seconds.
 *
 * @throws ConfigError it is not a number above 0 (0 is fine where *least* is), or it is above `LONGEST`.
 */
export function seconds(name: string, value: number, least = Number.MIN_VALUE): number {
  return number(name, value, least, LONGEST, `must be ${least > 0 ? "more than 0" : "0"} to ${LONGEST} seconds`);
}

/**
 * *value*, if it is a number from *least* to *most*.
 *
 * @throws ConfigError it is not; the message states *rule*.
 */
export function number(name: string, value: number, least: number, most: number, rule: string): number {
  if (typeof value === "number" && value >= least && value <= most) return value;
  throw new ConfigError(`${name} ${rule}, not ${String(value)}`);
}

/**
 * *value*, if it is a whole number of at least *least*.
 *
 * @throws ConfigError it is not.
 */
export function whole(name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new ConfigError(`${name} must be a whole number of at least ${least}, not ${String(value)}`);
}
