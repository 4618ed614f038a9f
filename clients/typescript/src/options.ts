/** Flags and variables of the command line; the same as the Python client's. Flags win. */

import { type ParseArgsConfig, parseArgs } from "node:util";

import { CONTRACT } from "./contract.js";
import { ConfigError } from "./errors.js";
import { DEFAULT_MODEL } from "./fields.js";
import { seconds } from "./settings.js";

/** One flag: what it takes, the variable that stands in for it, and its line of help. */
interface Flag {
  readonly takes?: string;
  readonly variable?: string;
  readonly many?: true;
  readonly help: string;
}

type Flags = Readonly<Record<string, Flag>>;

const CONNECTION = {
  "base-url": { takes: "URL", help: "The service. [KLING_BASE_URL, EVOLINK_BASE_URL]" },
  "api-key": { takes: "KEY", help: "The API key; safer in KLING_API_KEY or EVOLINK_API_KEY." },
  "files-base-url": { takes: "URL", help: "Where images are uploaded. [KLING_FILES_BASE_URL]" },
  "allow-http": { variable: "KLING_ALLOW_HTTP", help: "Allow plain http to other machines." },
  timeout: { takes: "S", variable: "KLING_TIMEOUT", help: "Timeout per request." },
  json: { help: "One JSON object on stdout." },
} as const satisfies Flags;

const PATIENCE = {
  deadline: { takes: "S", variable: "KLING_DEADLINE", help: "Give up after S seconds." },
  "min-poll": { takes: "S", variable: "KLING_MIN_POLL", help: "Minimum seconds between polls." },
  "max-bytes": { takes: "N", variable: "KLING_MAX_BYTES", help: "Largest video accepted, in bytes." },
  overwrite: { variable: "KLING_OVERWRITE", help: "Replace the output file." },
} as const satisfies Flags;

const GENERATE = {
  model: { takes: "NAME", variable: "KLING_MODEL", help: "Another model of the family." },
  set: { takes: "KEY=VALUE", many: true, help: "A field of the model; a dot leads into an object." },
  out: { takes: "FILE", variable: "KLING_OUT", help: "Output file; default: IMAGE's name with .mp4, in this folder." },
  prompt: { takes: "TEXT", variable: "KLING_PROMPT", help: "What should move." },
  quality: { takes: "Q", variable: "KLING_QUALITY", help: `${CONTRACT.create.fields.quality.enum.join(" or ")}.` },
  duration: { takes: "N", variable: "KLING_DURATION", help: "Seconds of video." },
  "callback-url": { takes: "URL", help: "HTTPS URL for the service to call; received on --callback-port." },
  receive: { help: "Use KLING_CALLBACK_URL as the callback URL." },
  "callback-port": { takes: "PORT", variable: "KLING_CALLBACK_PORT", help: "Port on which callbacks are received." },
  linger: { takes: "S", variable: "KLING_LINGER", help: "Seconds to go on receiving callbacks after the end (3)." },
  field: { takes: "NAME=VALUE", many: true, help: "Any other request field." },
  "idempotency-key": { takes: "K", help: "Else a new one; with a lost create's key it is sent again." },
  "repeat-lost-create": {
    variable: "KLING_REPEAT_LOST_CREATE",
    help: "Send a create whose reply was lost once more, with the same Idempotency-Key.",
  },
  new: { help: "Forget what was begun for this file, and create." },
  ...PATIENCE,
  ...CONNECTION,
} as const satisfies Flags;

const RESUME = {
  out: { takes: "FILE", variable: "KLING_OUT", help: "Output file; default: the state file's, or ID.mp4." },
  ...PATIENCE,
  ...CONNECTION,
} as const satisfies Flags;

/** Each command: what it takes, what stands in for that, what it does, and its flags. */
export const COMMANDS = {
  generate: {
    target: "IMAGE",
    variable: "KLING_IMAGE",
    about: "Make a video from IMAGE, a URL or a local file, and save it. Run again, it resumes.",
    flags: GENERATE,
  },
  resume: {
    target: "ID|STATEFILE",
    variable: undefined,
    about: "Wait for a task that was created before, and save its video. Creates nothing.",
    flags: RESUME,
  },
  status: { target: "ID", variable: undefined, about: "Show a task as it is now.", flags: CONNECTION },
  credits: { target: undefined, variable: undefined, about: "Show the balance.", flags: CONNECTION },
} as const;

export type CommandName = keyof typeof COMMANDS;

/** What the user gave, by the names of the flags. */
export class Given {
  constructor(
    readonly target: string,
    private readonly values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>,
  ) {}

  text(name: string): string | undefined {
    const value = this.values[name];
    return typeof value === "string" ? value : undefined;
  }

  list(name: string): readonly string[] {
    const value = this.values[name];
    return Array.isArray(value) ? value.map(String) : [];
  }

  has(name: string): boolean {
    return this.values[name] === true;
  }

  /**
   * A time in seconds, of at least *least*.
   *
   * @throws ConfigError it is something else.
   */
  seconds(name: string, least?: number): number | undefined {
    const value = this.number(name);
    return value === undefined ? undefined : seconds(`--${name}`, value, least);
  }

  /**
   * A whole number from *least* to *most*.
   *
   * @throws ConfigError it is something else.
   */
  whole(name: string, least: number, most = Number.MAX_SAFE_INTEGER): number | undefined {
    const value = this.number(name);
    if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) return value;
    throw new ConfigError(`--${name} must be a whole number from ${least} to ${most}, not ${value}`);
  }

  private number(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text.trim()) ? Number(text) : Number.NaN;
  }
}

/**
 * Reads the arguments after the command's name.
 *
 * @throws ConfigError a flag is unknown or lacks its value, or there are too few or too many arguments.
 */
export function parse(name: CommandName, args: readonly string[], env: NodeJS.ProcessEnv): Given {
  const { target, variable, flags } = COMMANDS[name];
  const { values, positionals } = parsed(flags, args);
  const stated = variable && positionals.length === 0 && env[variable] ? [env[variable]] : positionals;
  const all = { ...fromVariables(flags, env), ...values };
  // Another model than the default one may need no image.
  const isOptional = typeof all["model"] === "string" && all["model"] !== DEFAULT_MODEL && stated.length === 0;
  if (stated.length !== (target ? 1 : 0) && !isOptional)
    throw new ConfigError(`kling ${name} takes ${target ?? "no arguments"}; see kling ${name} --help`);
  return new Given(stated[0] ?? "", all);
}

function parsed(
  flags: Flags,
  args: readonly string[],
): { values: Record<string, string | boolean | (string | boolean)[] | undefined>; positionals: string[] } {
  const options: NonNullable<ParseArgsConfig["options"]> = {};
  for (const [name, { takes, many }] of Object.entries(flags)) {
    options[name] = { type: takes ? "string" : "boolean", ...(many ? { multiple: true } : {}) };
  }
  try {
    return parseArgs({ args: attached(flags, args), options, allowPositionals: true });
  } catch (error) {
    throw new ConfigError((error as Error).message.split(". ", 1)[0] ?? "");
  }
}

/** `--flag value` as `--flag=value`: a value may begin with a dash, as prompts do. */
function attached(flags: Flags, args: readonly string[]): string[] {
  const result: string[] = [];
  for (let at = 0; at < args.length; at += 1) {
    const [argument = "", value] = [args[at], args[at + 1]];
    if (argument === "--") return [...result, ...args.slice(at)];
    const takesNext = argument.startsWith("--") && flags[argument.slice(2)]?.takes !== undefined && value !== undefined;
    result.push(takesNext ? `${argument}=${value}` : argument);
    if (takesNext) at += 1;
  }
  return result;
}

function fromVariables(flags: Flags, env: NodeJS.ProcessEnv): Record<string, string | boolean> {
  const found: Record<string, string | boolean> = {};
  for (const [name, { variable, takes }] of Object.entries(flags)) {
    const value = variable && env[variable];
    if (value) found[name] = takes ? value : /^(1|true|yes|on|t|y)$/i.test(value);
  }
  return found;
}

/** The help of one command, or of all. */
export function help(name?: CommandName): string {
  if (name) {
    const { target, about, flags } = COMMANDS[name];
    const lines = Object.entries(flags as Flags).map(([flag, { takes, help: text, variable }]) => {
      return `  ${`--${flag}${takes ? ` ${takes}` : ""}`.padEnd(28)} ${text}${variable ? ` [${variable}]` : ""}`;
    });
    return [`Usage: kling ${name}${target ? ` ${target}` : ""} [options]`, "", `  ${about}`, "", ...lines].join("\n");
  }
  const lines = Object.entries(COMMANDS).map(([each, { about }]) => `  ${each.padEnd(10)} ${about}`);
  const about = "  Make videos with kling-v3-turbo-image-to-video: a create is never paid twice, a file never half saved.";
  return ["Usage: kling COMMAND [options]", "", about, "", ...lines].join("\n");
}
