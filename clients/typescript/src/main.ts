#!/usr/bin/env node
import { interruption, run } from "./cli.js";

// A closed pipe is not worth a traceback.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
const streams = { out: process.stdout, err: process.stderr };
const code = await run(process.argv.slice(2), { env: process.env, streams, interrupted: interruption() });
// What is under way when a run is interrupted must not keep the process.
process.stdout.write("", () => process.exit(code));
