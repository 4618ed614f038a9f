/** A scripted service on the loopback, a clock that nobody waits for, and what tests send through them. */

import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { type ClientOptions, type Clock, KlingClient } from "../src/index.js";

export const KEY = "sk-test-secret-0123456789";
export const ID = "task-unified-1757169743-7cvnl5zw";
export const IMAGE = "https://image.test/1280x720.jpg";
/** A day in 2025; the fake clock begins here. */
export const EPOCH = 1757169743000;

/** A request as the stage saw it; `at` is the fake clock's time, where the test has one. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly at: number;
}

/** An answer; `cut` ends the connection before it, or in the middle of its body; `hang` never answers. */
export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly cut?: "before" | number;
  readonly hang?: true;
}

/** A reply, or what makes one out of the request. */
type Line = Reply | ((seen: Seen) => Reply);

/** What the service says, in order; the last line of each list is said again for ever. */
export interface Script {
  readonly create?: readonly Line[];
  readonly task?: readonly Line[];
  readonly link?: readonly Line[];
  readonly upload?: readonly Line[];
  readonly other?: readonly Line[];
}

export interface Stage {
  readonly url: string;
  readonly seen: Seen[];
  /** The seconds that a client of it waits for an answer: few only where the script keeps silent. */
  readonly patience: number;
  /** The requests of one part of the script. */
  of(part: keyof Script): Seen[];
}

const partOf = ({ url, method }: { url: string; method: string }): keyof Script => {
  if (url === "/v1/videos/generations" && method === "POST") return "create";
  if (url.startsWith("/v1/tasks/")) return "task";
  if (url.startsWith("/files/")) return "link";
  return url.startsWith("/api/v1/files/upload/") ? "upload" : "other";
};

/** Opens a stage that closes with the test. Lines may hold `{stage}` for its address. */
export async function open(t: TestContext, script: Script, clock?: Clock): Promise<Stage> {
  const seen: Seen[] = [];
  const lines = new Map(Object.entries(script).map(([part, list]) => [part, [...(list as Line[])]]));
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const one = {
        method: request.method ?? "",
        url: request.url ?? "",
        headers: request.headers,
        body,
        at: clock?.now() ?? Date.now(),
      };
      seen.push(one);
      const list = lines.get(partOf(one)) ?? [];
      const line = (list.length > 1 ? list.shift() : list[0]) ?? { status: 404, body: fault("not_found") };
      answer(response, typeof line === "function" ? line(one) : line, url);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const silent = Object.values(script).some((list) => (list as Line[]).some((line) => "hang" in line));
  return { url, seen, patience: silent ? 1 : 30, of: (part) => seen.filter((one) => partOf(one) === part) };
}

async function text(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("latin1");
}

function answer(response: ServerResponse, reply: Reply, url: string): void {
  if (reply.hang) return;
  if (reply.cut === "before") return void response.destroy();
  const isRaw = Buffer.isBuffer(reply.body) || typeof reply.body === "string";
  const filled = isRaw ? reply.body : JSON.stringify(reply.body ?? {}).replaceAll("{stage}", url);
  const body = Buffer.from(filled as string);
  const headers = { "content-type": "application/json", "content-length": String(body.length), ...reply.headers };
  // An empty value takes a header away.
  const shown = Object.entries(headers).filter(([, value]) => value !== "");
  response.writeHead(
    reply.status ?? 200,
    Object.fromEntries(shown.map(([name, value]) => [name, value.replaceAll("{stage}", url)])),
  );
  if (reply.cut === undefined) return void response.end(body);
  // Ended, not reset: what was written arrives.
  response.write(body.subarray(0, reply.cut), () => response.socket?.end());
}

/** Time that passes only while somebody sleeps. */
export class FakeClock implements Clock {
  readonly slept: number[] = [];
  private time = EPOCH;

  now(): number {
    return this.time;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (ms > 0 && !signal?.aborted) {
      this.slept.push(ms);
      this.time += ms;
    }
    return Promise.resolve();
  }
}

/** A client of *stage* on a fake clock, whose dice always fall on 0. */
export function clientOf(stage: Stage, options: ClientOptions = {}, clock: Clock = new FakeClock()): KlingClient {
  const tools = { clock, random: () => 0, ...options.tools };
  return new KlingClient({ apiKey: KEY, baseUrl: stage.url, timeout: stage.patience, ...options, tools });
}

/** A folder that goes away with the test. */
export function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "kling-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const common = {
  id: ID,
  object: "video.generation.task",
  created: 1757169743,
  model: "kling-v3-turbo-image-to-video",
  type: "video",
};
const usage = { billing_rule: "per_second", credits_reserved: 50, user_group: "default" };

export const pending = {
  ...common,
  status: "pending",
  progress: 0,
  task_info: { estimated_time: 65, video_duration: 5 },
  usage,
};
export const processing = { ...pending, status: "processing", progress: 42 };
export const completed = { ...pending, status: "completed", progress: 100, results: ["{stage}/files/one.mp4"] };
export const failed = {
  ...pending,
  status: "failed",
  progress: 40,
  error: { code: "content_policy_violation", message: "refused by the safety review", type: "task_error" },
};

/** An error body of the current dialect. */
export const fault = (code: string, message = "no"): object => ({
  error: { code, message, type: "invalid_request_error" },
});

const box = (kind: string, content: Buffer): Buffer => {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + content.length);
  head.write(kind, 4, "latin1");
  return Buffer.concat([head, content]);
};

/** The outer shape of an MP4, some kilobytes long. */
export const MP4 = Buffer.concat([
  box("ftyp", Buffer.from("isomiso2")),
  box("moov", Buffer.alloc(100, 1)),
  box("mdat", Buffer.alloc(9000, 7)),
]);
export const video: Reply = {
  body: MP4,
  headers: { "content-type": "video/mp4", etag: '"v1"', "accept-ranges": "bytes" },
};

/** A service on which all goes well. */
export const happy: Script = {
  create: [{ body: pending }],
  task: [{ body: pending }, { body: processing }, { body: completed }],
  link: [video],
  upload: [{ body: { success: true, code: 200, msg: "ok", data: { file_url: "{stage}/files/frame.png" } } }],
};
