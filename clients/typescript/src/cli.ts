/**
 * The `kling` command; the twin of the Python client's.
 *
 * Exit codes: 0 the video is there; 2 usage or set-up; 3 the task failed; 4 refused (key, balance, permission,
 * request); 5 gave up at the deadline; 6 a create whose outcome is not known; 7 network or server; 8 completed, but not
 * saved; 9 another run is at it; 10 interrupted; 77 cannot do this here; 1 a fault of this program.
 */

import { RUN } from "./commands.js";
import { ConfigError, Interrupted, KlingError, TaskFailed } from "./errors.js";
import { PACKAGE } from "./http.js";
import { COMMANDS, type CommandName, help, parse } from "./options.js";
import { Report, type Streams } from "./report.js";

/** What a run of the command lives on. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  readonly streams: Streams;
  /** Rejects when the user or the system wants the run to stop. */
  readonly interrupted: Promise<never>;
}

/** Runs the command and gives its exit code. Nothing is thrown. */
export async function run(args: readonly string[], around: Surroundings): Promise<number> {
  const { env, streams } = around;
  const report = new Report(streams, env["KLING_RESULT"]);
  const [name = "", ...rest] = args;
  const isCommand = Object.hasOwn(COMMANDS, name);
  const asked = isCommand ? answerOf(rest, help(name as CommandName)) : answerOf([name], help());
  if (asked !== undefined) {
    streams.out.write(`${asked}\n`);
    return 0;
  }
  try {
    if (!isCommand)
      throw new ConfigError(`${name === "" ? "no command" : `there is no command ${name}`}; see kling --help`);
    const performing = perform(name as CommandName, rest, report, env);
    await Promise.race([performing, around.interrupted]).catch(async (error: unknown) => {
      // Between a whole video and its name the run is not torn apart; afterwards there is nothing left to stop.
      if (!(error instanceof Interrupted) || !report.isSaving) throw error;
      await Promise.race([performing, report.saved]);
    });
    if (report.outcome === "completed") report.finish();
    return 0;
  } catch (error) {
    return conclude(report, named(error, env));
  }
}

/** The text that is asked for instead of a run. */
function answerOf(args: readonly string[], text: string): string | undefined {
  if (args.includes("--help") || args.includes("-h")) return text;
  return args[0] === "--version" ? `kling, version ${PACKAGE.version}` : undefined;
}

async function perform(
  name: CommandName,
  args: readonly string[],
  report: Report,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  report.secrets = secretsOf(env);
  const given = parse(name, args, env);
  report.asJson = given.has("json");
  report.secrets = secretsOf(env, given.text("api-key"));
  await RUN[name](given, report, env);
}

const secretsOf = (env: NodeJS.ProcessEnv, given?: string): string[] =>
  [given, env["KLING_API_KEY"], env["EVOLINK_API_KEY"]].filter((key): key is string => Boolean(key));

function named(error: unknown, env: NodeJS.ProcessEnv): KlingError {
  if (error instanceof KlingError) return error;
  if (env["KLING_DEBUG"]) console.error(error);
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new KlingError(`a fault of this program: ${text} (KLING_DEBUG=1 shows where)`);
}

/** Tells how it ended, in every place that asks. */
function conclude(report: Report, error: KlingError): number {
  report.failed(error);
  if (isOpen(report, error)) report.outcome = "unknown";
  report.finish();
  report.say(`kling: ${error.message}${hint(report, error)}`);
  return error.exitCode;
}

/** Whether the run was stopped between a create and its answer. */
const isOpen = (report: Report, error: KlingError): boolean => error instanceof Interrupted && report.isCreating;

/** How to go on, where something is still owed. */
function hint(report: Report, error: KlingError): string {
  if (error instanceof TaskFailed) return "";
  if (report.taskId !== null) return `; to go on with it: kling resume ${report.taskId}`;
  return isOpen(report, error)
    ? "; the create had been sent and may be accepted: the same command says how to go on"
    : "";
}

/** Rejects at the first SIGINT, SIGTERM or SIGHUP; a second one ends the process as usual. */
export function interruption(): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = (): void => reject(new Interrupted("interrupted"));
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, stop);
  });
}
