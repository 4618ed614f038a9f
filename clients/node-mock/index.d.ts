/** "24h", "1h30m", "250ms", or a number of seconds. */
export type Span = string | number;
export type Status = "pending" | "processing" | "completed" | "failed";
/** How one attempt of a callback ended. */
export type Outcome = "2xx" | "status" | "timeout" | "refused" | "dns" | "blocked";

export interface Link { url: string; issued_at: number; expires_at: number }
export interface Task {
  id: string; status: Status; progress: number; created: number; scenario: string; reads: number;
  params: Record<string, unknown>; callback_url: string | null; code: string | null; links: Link[];
}
export interface Attempt {
  attempt: number; due: number; sent: number; ended: number; outcome: Outcome; status: number | null; detail?: string;
}
export interface Delivery {
  id: string; task_id: string; url: string; state: "waiting" | "delivered" | "gave_up"; next_due: number | null; attempts: Attempt[];
}
export interface Fired {
  at: number; kind: "status" | "attempt" | "retention"; task_id: string; status?: Status; attempt?: number; outcome?: Outcome;
}
export interface Entry {
  seq: number; at: number; account: string | null; kind: string; task_id?: string; scenario?: string; fault?: string; seconds?: number;
  request?: { method: string; url: string; headers: Record<string, string>; body: unknown };
  response?: { status: number; headers: Record<string, string>; body: unknown } | null;
}
export type Until = "terminal" | "delivered" | `attempts:${number}`;

export function seconds(span: Span): number;

/** One account of a fake: what a test moves, chooses and asks. */
export class Account {
  readonly url: string;
  readonly apiKey: string;
  constructor(url: string, apiKey: string);
  /** What an application finds in its environment, to call the fake as this account. */
  environment(): Record<string, string>;
  /** One control call on this account; rejects with the fake's own sentence. */
  control(method: string, path: string, body?: unknown): Promise<any>;
  /** Stop the account's clock; its time in Unix seconds. */
  freeze(): Promise<number>;
  /** Let it run again, `rate` times as fast. */
  resume(rate?: number): Promise<number>;
  /** Move a frozen clock; what happened on the way, in order, after it has happened. */
  advance(span: Span): Promise<Fired[]>;
  /** The account's next creates follow this scenario. */
  scenario(name: string, params?: Record<string, unknown>, times?: number): Promise<void>;
  tasks(): Promise<Task[]>;
  deliveries(taskId?: string): Promise<Delivery[]>;
  journal(): Promise<Entry[]>;
  /** Deliver callbacks for a public-looking origin to one on this machine. */
  relay(origin: string, to: string): Promise<void>;
  /** Resolves when it is so, with the state; rejects when it was not in time or never can be. */
  wait(taskId: string, until?: Until, timeout?: number): Promise<string>;
  cancel(taskId: string): Promise<Task>;
  resend(deliveryId: string): Promise<Delivery>;
  reset(): Promise<void>;
}

/** A fake in a child process, which ends with this one. Every key is an account of its own: give each test one. */
export class KlingMock extends Account {
  static start(options?: { options?: string[]; apiKey?: string; env?: NodeJS.ProcessEnv }): Promise<KlingMock>;
  account(apiKey?: string): Account;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
