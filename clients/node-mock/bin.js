#!/usr/bin/env node
// `npx kling-mock ...`: the Python command of the same name, wherever it is found.
import { spawn } from "node:child_process";
import { command, LOOKING } from "./finding.js";

if (process.env[LOOKING]) process.exit(1);
try {
  const [program, ...rest] = command();
  const child = spawn(program, [...rest, ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => { process.exitCode = code ?? 128 + (signal === "SIGINT" ? 2 : 15); });
} catch (error) {
  console.error(error.message);
  process.exitCode = 2;
}
