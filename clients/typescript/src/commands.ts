/** What the commands of the command line do. */

import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";

import { KlingClient, isUrl } from "./client.js";
import { ConfigError, CreateOutcomeUnknown, KlingError } from "./errors.js";
import { assigned } from "./fields.js";
import { Generation, type GenerationOptions, type Wishes } from "./generation.js";
import type { CommandName, Given } from "./options.js";
import { Receiver, listen } from "./receiver.js";
import type { Report } from "./report.js";
import { SUFFIX, recordFrom } from "./state.js";

/** This machine or call lacks what the options need. */
export class CannotDo extends KlingError {
  override readonly outcome = "refused";
  override readonly kind = "cannot";
  override readonly exitCode = 77;
}

type Command = (given: Given, report: Report, env: NodeJS.ProcessEnv) => Promise<void>;

const LINGER_SECONDS = 3;
const HIGHEST_PORT = 65_535;
const LONGEST_NAME = 100;

const clientFrom = (given: Given): KlingClient =>
  new KlingClient({
    apiKey: given.text("api-key"),
    baseUrl: given.text("base-url"),
    filesBaseUrl: given.text("files-base-url"),
    allowHttp: given.has("allow-http"),
    timeout: given.seconds("timeout"),
    deadline: given.seconds("deadline"),
    repeatLostCreate: given.has("repeat-lost-create"),
    model: given.text("model"),
    pace: { minPoll: given.seconds("min-poll") },
    download: { maxBytes: given.whole("max-bytes", 1) },
  });

/** What a run tells its report. */
const heardBy = (report: Report): Pick<GenerationOptions, "onEvent" | "onStep"> => ({
  onEvent: (event) => report.seen(event),
  onStep: (step) => void (report.isSaving = step === "saving"),
});

async function generate(given: Given, report: Report, env: NodeJS.ProcessEnv): Promise<void> {
  const client = clientFrom(given);
  const callbackUrl = callbackFrom(given, env);
  const wishes: Wishes = {
    image: given.target || undefined,
    fields: fieldsFrom(given, callbackUrl, client.model),
    idempotencyKey: given.text("idempotency-key"),
    fresh: given.has("new"),
    overwrite: given.has("overwrite"),
  };
  const out = given.text("out") || nameFor(given.target || client.model);
  const port = callbackUrl === undefined ? undefined : given.whole("callback-port", 0, HIGHEST_PORT);
  const linger = given.seconds("linger", 0) ?? LINGER_SECONDS;
  await receiving(callbackUrl, port, async (receiver) => {
    const generation = new Generation(client, out, { receiver, ...heardBy(report) });
    report.completed(await generation.run(wishes));
    // A late callback is still answered.
    if (receiver) await client.clock.sleep(linger * 1000);
  });
}

/** Runs *action* with a receiver that listens meanwhile, where there is a port to listen on. */
async function receiving(
  url: string | undefined,
  port: number | undefined,
  action: (receiver?: Receiver) => Promise<void>,
): Promise<void> {
  if (url === undefined || port === undefined || !URL.canParse(url)) return action();
  const { pathname, search } = new URL(url);
  const receiver = new Receiver({ path: pathname + search });
  const { close } = await listen(receiver, port);
  try {
    await action(receiver);
  } finally {
    close();
  }
}

function callbackFrom(given: Given, env: NodeJS.ProcessEnv): string | undefined {
  const named = given.text("callback-url") || undefined;
  if (!given.has("receive")) return named;
  const url = named ?? env["KLING_CALLBACK_URL"];
  if (url && given.text("callback-port")) return url;
  throw new CannotDo("--receive needs KLING_CALLBACK_URL and KLING_CALLBACK_PORT");
}

/** The create's fields as the user wrote them; whether they are fit ones is for the contract to say. */
function fieldsFrom(given: Given, callbackUrl: string | undefined, model: string): Wishes["fields"] {
  const pairs = given.list("field").map((field) => /^([^=]+)=(.*)$/s.exec(field));
  if (pairs.includes(null)) throw new ConfigError("--field takes NAME=VALUE");
  if (given.list("set").some((each) => !each.includes("="))) throw new ConfigError("--set takes KEY=VALUE");
  const named = {
    prompt: given.text("prompt") || undefined,
    quality: given.text("quality"),
    duration: numberFrom(given.text("duration")),
    callback_url: callbackUrl,
  };
  const set = Object.entries(named).filter(([, value]) => value !== undefined);
  const further = pairs.map((pair) => [pair?.[1] ?? "", pair?.[2] ?? ""]);
  return { ...assigned(model, given.list("set")), ...Object.fromEntries([...further, ...set]) } as Wishes["fields"];
}

/** A number where *text* reads as one, else the text as it is. */
function numberFrom(text: string | undefined): string | number | undefined {
  try {
    const value = JSON.parse(text ?? "") as unknown;
    return typeof value === "number" && Number.isFinite(value) ? value : text;
  } catch {
    return text;
  }
}

/** The output file's name where none is given. */
function nameFor(image: string): string {
  const name = isUrl(image) && URL.canParse(image) ? basename(decoded(new URL(image).pathname)) : basename(image);
  const plain = name.slice(0, name.length - extname(name).length).replace(/[^\p{L}\p{N}_.-]+/gu, "_");
  return `${plain.slice(0, LONGEST_NAME).replace(/^\.+|\.+$/g, "") || "video"}.mp4`;
}

/** *text* without percent escapes; as it is where they mean nothing. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function resume(given: Given, report: Report): Promise<void> {
  const client = clientFrom(given);
  const { taskId, out } = await owed(client, given);
  const generation = new Generation(client, out, heardBy(report));
  report.completed(await generation.resume(taskId, given.has("overwrite")));
}

/** The task and the file that the target means: an id, or a state file. */
async function owed(client: KlingClient, given: Given): Promise<{ taskId: string; out: string }> {
  const { target } = given;
  const out = given.text("out");
  if (!target.endsWith(SUFFIX)) return { taskId: target, out: out || `${encodeURIComponent(target)}.mp4` };
  const text = await readFile(target, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(`${target} cannot be read (${error.code ?? error.name})`);
  });
  const record = recordFrom(text, target);
  if (record.base_url !== client.baseUrl) {
    throw new ConfigError(`${target} is about ${record.base_url}, not about ${client.baseUrl}; give --base-url`);
  }
  if (record.task_id !== null) return { taskId: record.task_id, out: out || target.slice(0, -SUFFIX.length) };
  const advice = `kling generate with --idempotency-key ${record.idempotency_key} sends it once more under the same key`;
  throw new CreateOutcomeUnknown(record.idempotency_key, new ConfigError(advice));
}

async function status(given: Given, report: Report): Promise<void> {
  const task = await clientFrom(given).get(given.target);
  if (report.asJson) return report.json(task.raw);
  report.answer(`${task.id} ${task.status}${task.progress === undefined ? "" : ` ${task.progress}%`}`);
  if (task.error) report.answer(`${task.error.code}: ${task.error.message}`);
  for (const link of task.results) report.answer(link);
}

async function credits(given: Given, report: Report): Promise<void> {
  const balance = await clientFrom(given).credits();
  if (report.asJson) return report.json(balance);
  for (const [owner, entry] of Object.entries(balance)) {
    if (typeof entry !== "object" || entry === null) continue;
    const {
      remaining_credits: left,
      used_credits: used,
      unlimited_credits: unlimited,
    } = entry as Record<string, unknown>;
    report.answer(`${owner}: ${unlimited ? "unlimited" : String(left)} credits left, ${String(used)} used`);
  }
}

export const RUN: Readonly<Record<CommandName, Command>> = { generate, resume, status, credits };
