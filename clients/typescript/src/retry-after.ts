/** Months and weekdays of the two dated forms; asctime carries no zone and means GMT (RFC 9110, 5.6.7). */
const HTTP_DATE =
  /^[A-Z][a-z]{2,8}, \d{2}[ -][A-Z][a-z]{2}[ -]\d{2,4} \d{2}:\d{2}:\d{2} GMT$|^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/;

const dated = (text: string): number =>
  HTTP_DATE.test(text) ? Date.parse(text.endsWith("GMT") ? text : `${text} GMT`) : Number.NaN;

/**
 * Milliseconds to wait from *now*, or undefined when the answer does not say (or says nonsense).
 *
 * A date is measured against our clock and against the answer's own `Date`; the longer wait counts, so that a clock
 * that is wrong on either side never makes the client early.
 */
export function retryAfter(headers: Headers, now: number): number | undefined {
  const text = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const until = dated(text);
  if (Number.isNaN(until)) return undefined;
  const sent = dated(headers.get("date")?.trim() ?? "");
  return Math.max(0, until - now, Number.isNaN(sent) ? 0 : until - sent);
}
