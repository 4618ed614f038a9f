/** What a task looks like to this client: the members it needs, whatever else the service adds or leaves out. */

import { CONTRACT, type Status } from "./contract.js";
import { ResultMissing, TaskFailed } from "./errors.js";

/** A task as read. Every member but `id` and `status` may be missing, and unknown ones are kept in `raw` only. */
export interface TaskView {
  readonly id: string;
  /** One of the contract's statuses, or a word that this client does not know and takes for "not finished"; may be empty. */
  readonly status: Status | (string & {});
  /** Percent; may stand still, jump or drop. */
  readonly progress?: number;
  /** Links to the video files. */
  readonly results: readonly string[];
  /** What a model makes in place of a video. */
  readonly elementId?: string;
  readonly error?: { readonly code: string | null; readonly message: string | null };
  readonly creditsReserved?: number;
  readonly creditsUsed?: number;
  /** Seconds that the service expects the task to take. */
  readonly estimatedTime?: number;
  readonly raw: Readonly<Record<string, unknown>>;
}

const SUCCESS: readonly string[] = CONTRACT.task.success;
const FAILURE: readonly string[] = CONTRACT.task.failure;
/** No documented status, but other gateways of this kind use the words; they cannot mean "not finished". */
const CANCELLED = ["cancelled", "canceled"];

type Members = Readonly<Record<string, unknown>>;

const members = (value: unknown): Members => (typeof value === "object" && value !== null ? (value as Members) : {});
const asText = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
const asNumber = (value: unknown): number | undefined => (Number.isFinite(value) ? (value as number) : undefined);

/**
 * The task in *json*, or undefined when there is none: no object, no usable id, or another one than was *asked* for.
 * An answer without an id is taken for the task that was asked for; one without a status for one that is not finished.
 */
export function taskFrom(json: unknown, asked?: string): TaskView | undefined {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return undefined;
  const raw = members(json);
  const [id, status] = [asText(raw["id"]) || asked, asText(raw["status"]) ?? ""];
  if (id === undefined || !isUsableId(id) || (asked !== undefined && id !== asked)) return undefined;
  const [info, usage, error] = [members(raw["task_info"]), members(raw["usage"]), members(raw["error"])];
  const results = Array.isArray(raw["results"]) ? raw["results"].filter((each) => typeof each === "string") : [];
  return compact({
    id,
    status,
    results,
    raw,
    progress: asNumber(raw["progress"]),
    elementId: asText(members(Array.isArray(raw["result_data"]) ? raw["result_data"][0] : undefined)["element_id"]),
    error: raw["error"]
      ? { code: asText(error["code"]) ?? null, message: asText(error["message"]) ?? null }
      : undefined,
    creditsReserved: asNumber(usage["credits_reserved"]),
    creditsUsed: asNumber(usage["credits_used"]),
    estimatedTime: asNumber(info["estimated_time"]),
  });
}

type Compact<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** *value* without the members that are undefined. */
export function compact<T extends object>(value: T): Compact<T> {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as Compact<T>;
}

/** Whether *id* can stand in a path: something printable that no URL parser takes for a step upwards. */
export const isUsableId = (id: string): boolean => /^[\x21-\x7e]{1,200}$/.test(id) && !/^\.{1,2}$/.test(id);

/** Whether the task is done, with what was asked for. */
export const isCompleted = ({ status }: TaskView): boolean => SUCCESS.includes(status);

/** Whether the task will not change again. */
export const isTerminal = ({ status }: TaskView): boolean =>
  SUCCESS.includes(status) || FAILURE.includes(status) || CANCELLED.includes(status);

/**
 * The links of a completed task.
 *
 * @throws TaskFailed it failed or was cancelled.
 * @throws ResultMissing it is not finished, or is completed without a video, or with one that is no http(s) address.
 */
export function linksOf(task: TaskView): readonly string[] {
  if (!isTerminal(task))
    throw new ResultMissing(task.id, `is not completed (${task.status || "no status"}); wait for it first`);
  if (!SUCCESS.includes(task.status)) {
    const code = task.error?.code ?? (CANCELLED.includes(task.status) ? "request_cancelled" : null);
    throw new TaskFailed(task.id, code, task.error?.message ?? null);
  }
  if (task.results.length === 0) throw new ResultMissing(task.id, "is completed, but the service lists no video; ask its support");
  if (task.results.every((each) => URL.canParse(each) && /^https?:/i.test(each))) return task.results;
  throw new ResultMissing(task.id, "is completed, but a link of it is no http(s) address");
}
