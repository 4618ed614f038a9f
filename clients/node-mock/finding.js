// Finds a kling-mock to run: this package brings none, because the fake is written in Python.
import { spawnSync } from "node:child_process";
import { realpathSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const MISSING = `klingkit-mock: there is no kling-mock to run. Any of these is enough:
  - install klingkit into a Python environment whose bin folder is on PATH
  - set KLINGKIT to a wheel or a repository (KLINGKIT=./klingkit-0.1.0-py3-none-any.whl), with uv or pipx installed
  - set KLING_MOCK_COMMAND to the command that starts it (KLING_MOCK_COMMAND=".venv/bin/kling-mock")`;

/** The ways to run kling-mock, best first: what the user names, what is installed, what can be fetched from KLINGKIT. */
function candidates(env) {
  const found = [];
  if (env.KLING_MOCK_COMMAND) return [env.KLING_MOCK_COMMAND.split(" ").filter(Boolean)];
  for (const program of installed(env)) found.push([program]);
  for (const python of ["python3", "python"]) found.push([python, "-m", "kling_mock"]);
  if (env.KLINGKIT) {
    found.push(["uvx", "--from", env.KLINGKIT, "kling-mock"], ["pipx", "run", "--spec", env.KLINGKIT, "kling-mock"]);
  }
  return found;
}

/** This package's own command, which npm puts on PATH under the same name: it must not find itself, again and again. */
const OWN = realpathSync(fileURLToPath(new URL("bin.js", import.meta.url)));
/** Set for whatever is tried; the package's own command gives up when it finds it, where a shim hides what it leads to. */
export const LOOKING = "KLINGKIT_MOCK_LOOKING";

/** The commands of that name on PATH, in its order, without our own. */
function installed(env) {
  const names = process.platform === "win32" ? ["kling-mock.exe"] : ["kling-mock"];
  const found = [];
  for (const folder of (env.PATH ?? env.Path ?? "").split(delimiter).filter(Boolean)) {
    for (const name of names) {
      try {
        const program = join(folder, name);
        if (realpathSync(program) !== OWN) found.push(program);
      } catch {
        // not in this folder
      }
    }
  }
  return found;
}

/** The command that starts kling-mock; throws a plain message where there is none. */
export function command(env = process.env) {
  for (const [program, ...rest] of candidates(env)) {
    const tried = spawnSync(program, [...rest, "--version"], { env: { ...env, [LOOKING]: "1" }, encoding: "utf8", timeout: 120_000 });
    if (tried.status === 0 && tried.stdout.includes("kling-mock")) return [program, ...rest];
  }
  throw new Error(MISSING);
}
