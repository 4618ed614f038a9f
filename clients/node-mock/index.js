// Starts a fake in a child process that ends with this one, and steers it over its control protocol.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { command } from "./finding.js";

const UNITS = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };

/** Seconds of "24h", "1h30m", "250ms", or of a number of seconds. */
export function seconds(span) {
  if (typeof span === "number") return span;
  const parts = [...span.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (parts.length && parts.map((part) => part[0]).join("") === span) {
    return parts.reduce((sum, [, number, unit]) => sum + Number(number) * UNITS[unit], 0);
  }
  throw new TypeError(`${JSON.stringify(span)} is not a duration; write it like "5s", "1h30m" or 90 (seconds)`);
}

/** One account of a fake: what a test moves, chooses and asks. */
export class Account {
  constructor(url, apiKey) {
    this.url = url;
    this.apiKey = apiKey;
  }

  /** What an application finds in its environment, to call the fake as this account. */
  environment() {
    const { url, apiKey } = this;
    return {
      KLING_BASE_URL: url, KLING_API_KEY: apiKey, KLING_CONTROL_URL: `${url}/__mock`, KLING_FILES_BASE_URL: url,
      EVOLINK_BASE_URL: url, EVOLINK_API_KEY: apiKey,
    };
  }

  /** One control call on this account. */
  async control(method, path, body) {
    const headers = { authorization: `Bearer ${this.apiKey}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    const answer = await fetch(`${this.url}/__mock${path}`, { method, headers, body: body && JSON.stringify(body) });
    const value = await answer.json();
    if (!answer.ok) throw new Error(`${method} /__mock${path}: ${value.error?.message ?? answer.status}`);
    return value;
  }

  async freeze() {
    return (await this.control("PUT", "/clock", { mode: "manual" })).now;
  }

  async resume(rate = 1) {
    return (await this.control("PUT", "/clock", rate === 1 ? { mode: "real" } : { mode: "scaled", rate })).now;
  }

  async advance(span) {
    return (await this.control("POST", "/clock/advance", { seconds: seconds(span) })).fired;
  }

  async scenario(name, params = {}, times = 1) {
    await this.control("POST", "/scenarios/next", { name, params, times });
  }

  async tasks() {
    return (await this.control("GET", "/tasks")).tasks;
  }

  async deliveries(taskId) {
    const query = taskId === undefined ? "" : `?task_id=${encodeURIComponent(taskId)}`;
    return (await this.control("GET", `/deliveries${query}`)).deliveries;
  }

  async journal() {
    return (await this.control("GET", "/journal")).entries;
  }

  async relay(origin, to) {
    await this.control("PUT", "/relays", { [origin]: to });
  }

  async wait(taskId, until = "terminal", timeout = 10) {
    const query = new URLSearchParams({ task_id: taskId, until, timeout: String(timeout) });
    const { met, state } = await this.control("GET", `/wait?${query}`);
    if (!met) throw new Error(`${taskId} is ${state}; ${until} can never be`);
    return state;
  }

  async cancel(taskId) {
    return this.control("POST", `/tasks/${encodeURIComponent(taskId)}/cancel`);
  }

  async resend(deliveryId) {
    return this.control("POST", `/deliveries/${encodeURIComponent(deliveryId)}/resend`);
  }

  async reset() {
    await this.control("POST", "/reset");
  }
}

/** A fake that runs. Every key is an account of its own: give each test one. */
export class KlingMock extends Account {
  #child;
  #number = 0;

  constructor(child, url, apiKey) {
    super(url, apiKey);
    this.#child = child;
  }

  /** Start one on a free port; `options` are those of `kling-mock serve`. */
  static async start({ options = [], apiKey = "sk-test", env = process.env } = {}) {
    const [program, ...rest] = command(env);
    const serve = [...rest, "serve", "--port", "0", "--ready-json", "--stop-with-stdin", "--quiet", ...options];
    const child = spawn(program, serve, { env, stdio: ["pipe", "pipe", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text) => { said = (said + text).slice(-4000); });
    const ready = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).once("line", resolve);
      child.once("error", reject);
      child.once("exit", () => reject(new Error(said.trim() || "kling-mock did not start")));
    });
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.unref?.();
    child.unref();
    return new KlingMock(child, JSON.parse(ready).url, apiKey);
  }

  /** A fresh account, with a clock, a journal and a balance of its own. */
  account(apiKey = `sk-node-${process.pid}-${++this.#number}`) {
    return new Account(this.url, apiKey);
  }

  /** Stop it; done when the process has ended. */
  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => { this.#child.once("exit", resolve); });
    this.#child.ref();
    this.#child.stdin.end();
    await ended;
  }

  async [Symbol.asyncDispose]() {
    await this.stop();
  }
}
