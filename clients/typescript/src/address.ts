/** Where the client may send things: the API's base address, and the address of a callback. */

import { BlockList, isIP } from "node:net";

import { CONTRACT } from "./contract.js";
import { ConfigError, RequestInvalid } from "./errors.js";

const block = (ranges: readonly string[]): BlockList => {
  const list = new BlockList();
  for (const range of ranges) {
    const [network = "", bits = ""] = range.split("/");
    list.addSubnet(network, Number(bits), isIP(network) === 6 ? "ipv6" : "ipv4");
  }
  return list;
};

const INTERNAL = block(CONTRACT.callback.internal);
/** Special-purpose IPv4 beside what the contract names (IANA's registry): nobody's callback can be there. */
const SPECIAL = block([
  "192.0.0.0/24",
  "192.0.2.0/24",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/3",
]);
/** All of IPv6 that is global unicast. */
const GLOBAL = block(["2000::/3"]);
const LOOPBACK = block(["127.0.0.0/8", "::1/128"]);

/** The host without brackets and without the dot that ends a full name. */
const bare = (url: URL): string => url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
const isLocalName = (host: string): boolean => host === "localhost" || host.endsWith(".localhost");

function within(host: string, list: BlockList): boolean {
  const version = isIP(host);
  return version !== 0 && list.check(host, version === 6 ? "ipv6" : "ipv4");
}

function isInternal(host: string): boolean {
  if (isIP(host) === 6 && !within(host, GLOBAL)) return true;
  return isLocalName(host) || within(host, INTERNAL) || within(host, SPECIAL);
}

/** Whether every percent sign in *text* begins an escape, as a URI wants it. */
export const isEscaped = (text: string): boolean => !/%(?![0-9a-f]{2})/i.test(text);

/** Whether *url* stays on this machine. */
export const isLoopback = (url: URL): boolean => isLocalName(bare(url)) || within(bare(url), LOOPBACK);

/** *text* with a scheme: HOST[:PORT] is http on the loopback, https for other hosts; a bare word is no host. */
function withScheme(text: string): string {
  if (text.includes("://") || !/^(localhost|[^/]*[.:])/i.test(text) || !URL.canParse(`https://${text}`)) return text;
  return `${isLoopback(new URL(`https://${text}`)) ? "http" : "https"}://${text}`;
}

/**
 * The API's base address, without a closing slash; a path in it is kept as a prefix.
 *
 * @throws ConfigError it is no http(s) address, holds a user or a query, or is plain http to another machine and
 *     *allowHttp* was not given: the key would travel in the clear.
 */
export function baseAddress(text: string, allowHttp = false): string {
  const whole = withScheme(text);
  const url = URL.canParse(whole) ? new URL(whole) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) throw new ConfigError("the base URL is not an http(s) address");
  if (url.username || url.password || url.search || url.hash) {
    throw new ConfigError("the base URL must be scheme, host and path only");
  }
  if (url.protocol === "http:" && !isLoopback(url) && !allowHttp) {
    throw new ConfigError(
      `refusing to send the key over plain http to ${url.host}; use https, or allow it with --allow-http`,
    );
  }
  // The contract's paths begin with /v1, and many base URLs end in it.
  return (url.origin + url.pathname).replace(/\/+$/, "").replace(/\/v1$/, "").replace(/\/+$/, "");
}

/**
 * Checks a callback address by the contract's rules (document.txt, "Security Restrictions").
 *
 * `URL` turns every spelling of an IPv4 address (decimal, hex, octal, short) into the dotted one, so one look suffices.
 *
 * @throws RequestInvalid it is not https, too long, holds a user, or points inside a network.
 */
export function checkCallback(text: string): void {
  const rules = CONTRACT.callback;
  const refuse = (why: string): never => {
    throw new RequestInvalid("callback_url", why);
  };
  if ([...text].length > rules.maxLength) refuse(`longer than ${rules.maxLength} characters`);
  const scheme = /^([a-z][a-z0-9+.-]*):\/\/[^\s\\]+$/i.exec(text)?.[1]?.toLowerCase() ?? "";
  if (!(rules.schemes as readonly string[]).includes(scheme) || !URL.canParse(text)) {
    refuse(`must be an address that begins with ${rules.schemes.join(" or ")}://`);
  }
  if (!isEscaped(text)) refuse("is not a URI: a percent sign must be followed by two digits");
  const url = new URL(text);
  if (url.username || url.password) refuse("must not hold a user or password");
  if (isInternal(bare(url))) refuse("must not point to an internal address");
}
