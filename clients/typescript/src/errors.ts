/**
 * Everything that can go wrong, as one tree; the same as the Python client's.
 *
 *     KlingError
 *     ├── ConfigError               the client cannot be set up: base URL, key, files, options
 *     ├── RequestInvalid            refused here, nothing was sent: the contract forbids it
 *     ├── Busy                      another run is making the same file
 *     ├── ApiError                  the service answered with an error; nothing was created
 *     │   ├── ValidationError       400, 409, 413, 415, 422
 *     │   ├── AuthError             401
 *     │   ├── BalanceError          402
 *     │   ├── PermissionDenied      403
 *     │   ├── NotFound              404
 *     │   ├── RateLimited           429, still, after the waits that were allowed
 *     │   ├── RedirectRefused       3xx: an API call follows no redirect
 *     │   └── ServerError           5xx, or an answer that cannot be read
 *     ├── NetworkError              no answer; `sent` says whether the request may have arrived
 *     ├── CreateOutcomeUnknown      a create that may have been accepted: look before creating again
 *     ├── TaskFailed                the task ended as failed or cancelled; nothing is charged
 *     ├── GaveUp                    the deadline passed; the task may still be running
 *     ├── Interrupted               the user or the system asked this process to stop
 *     ├── ResultMissing             completed, but without a usable link
 *     └── DownloadError             the video exists, but could not be saved
 *         ├── LinkExpired           403, 404 or 410 from the link
 *         └── NotAVideo             the link served something else
 */

import { CONTRACT, type TaskErrorCode } from "./contract.js";

/** How a run ended, as written to the result file. */
export type Outcome = "completed" | "failed" | "refused" | "gave_up" | "unknown";

/** Base of everything that this client throws on purpose. The message is one line and never holds the API key. */
export class KlingError extends Error {
  /** The word for the result file. */
  readonly outcome: Outcome = "failed";
  /** The class of the error in the result file. */
  readonly kind: string = "error";
  /** What the command line exits with. */
  readonly exitCode: number = 1;
  /** The task that it is about, where there is one. */
  taskId: string | undefined;

  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }

  /** What a program wants to know, as JSON members: class and message at least. */
  facts(): Record<string, unknown> {
    return { class: this.kind, message: this.message };
  }
}

/** The client cannot be set up like this. */
export class ConfigError extends KlingError {
  override readonly outcome = "refused";
  override readonly kind = "config";
  override readonly exitCode = 2;
}

/** The request breaks the contract, so it was not sent. `param` names the field at fault. */
export class RequestInvalid extends KlingError {
  override readonly outcome = "refused";
  override readonly kind = "invalid";
  override readonly exitCode = 4;

  constructor(
    readonly param: string,
    why: string,
  ) {
    super(`${param}: ${why}`);
  }

  override facts(): Record<string, unknown> {
    return { ...super.facts(), param: this.param };
  }
}

/** Another run holds the lock of the same output file. */
export class Busy extends KlingError {
  override readonly outcome = "refused";
  override readonly kind = "busy";
  override readonly exitCode = 9;
}

/** What an error answer said, in either dialect of the service. */
export interface Fault {
  /** HTTP status. */
  readonly status: number;
  /** The documented string, the status as an integer in the older dialect, null where the body has none. */
  readonly code: string | number | null;
  readonly type: string | null;
  readonly message: string;
  /** The request field at fault. */
  readonly param: string | null;
  readonly requestId: string | null;
}

/** The service answered with an error. */
export class ApiError extends KlingError {
  override readonly outcome: Outcome = "refused";
  override readonly kind: string = "api";
  override readonly exitCode: number = 4;

  constructor(readonly fault: Fault) {
    super(`${fault.status}${fault.code === null ? "" : ` ${fault.code}`}: ${fault.message}`);
  }

  override facts(): Record<string, unknown> {
    const { status, code, type, param, requestId } = this.fault;
    return { ...super.facts(), status, code, type, param, request_id: requestId };
  }
}

/** The service refuses the request as it is; sending it again unchanged is of no use. */
export class ValidationError extends ApiError {
  override readonly kind = "invalid";
}

/** 401: the key is missing, malformed, unknown or revoked. */
export class AuthError extends ApiError {
  override readonly kind = "auth";
}

/** 402: the balance does not cover the task. */
export class BalanceError extends ApiError {
  override readonly kind = "balance";
}

/** 403: the key may not use the model, or the task is another account's. */
export class PermissionDenied extends ApiError {
  override readonly kind = "permission";
}

/** 404: no such task, or expired; or no such path. */
export class NotFound extends ApiError {
  override readonly kind = "not_found";
}

/** 429: too many requests. */
export class RateLimited extends ApiError {
  override readonly kind = "rate";
}

/** 3xx: following it could carry the key or a paid create to another host. */
export class RedirectRefused extends ApiError {
  override readonly kind = "redirect";
}

/** 5xx, or an answer that is not the JSON it should be. */
export class ServerError extends ApiError {
  override readonly outcome = "failed";
  override readonly kind = "server";
  override readonly exitCode = 7;
}

/**
 * No answer: refused, cut, timed out, no such host, bad certificate. `sent` is false when no byte of the request left.
 */
export class NetworkError extends KlingError {
  override readonly kind = "network";
  override readonly exitCode = 7;

  constructor(
    message: string,
    readonly sent: boolean,
  ) {
    super(message);
  }
}

/**
 * A create was sent and its outcome is not known: it may have been accepted and charged. The same body with the same
 * `idempotencyKey` cannot be charged twice where the service honours the key (wire-facts, grade C).
 */
export class CreateOutcomeUnknown extends KlingError {
  override readonly outcome = "unknown";
  override readonly kind = "unknown";
  override readonly exitCode = 6;

  constructor(
    readonly idempotencyKey: string,
    override readonly cause: KlingError,
  ) {
    super(`the create was sent and its outcome is unknown (${cause.message}); a task may exist and be billed`);
  }

  override facts(): Record<string, unknown> {
    return { ...super.facts(), idempotency_key: this.idempotencyKey, cause: this.cause.facts() };
  }
}

/** The task failed or was cancelled; `code` and `reason` are the service's. */
export class TaskFailed extends KlingError {
  override readonly kind = "task";
  override readonly exitCode = 3;

  constructor(
    taskId: string,
    readonly code: string | null,
    readonly reason: string | null,
  ) {
    super(`${taskId} failed: ${code ?? "no code"}: ${reason ?? "the service gives no reason"}`);
    this.taskId = taskId;
  }

  /** Whether a new task may succeed later, as the contract's table says of the code. */
  get retryable(): boolean {
    return CONTRACT.taskErrors[this.code as TaskErrorCode]?.retryable ?? false;
  }

  override facts(): Record<string, unknown> {
    return { class: this.kind, code: this.code, message: this.reason, retryable: this.retryable };
  }
}

/** The deadline passed first. The task goes on at the service and can be resumed by its id. */
export class GaveUp extends KlingError {
  override readonly outcome = "gave_up";
  override readonly kind = "deadline";
  override readonly exitCode = 5;
}

/** Ctrl-C or SIGTERM. */
export class Interrupted extends KlingError {
  override readonly outcome = "gave_up";
  override readonly kind = "interrupted";
  override readonly exitCode = 10;
}

/** The task lists no usable link: it is completed without one, or is not completed. */
export class ResultMissing extends KlingError {
  override readonly kind = "result";
  override readonly exitCode = 8;

  constructor(taskId: string, why: string) {
    super(`${taskId} ${why}`);
    this.taskId = taskId;
  }
}

/** The video could not be saved; nothing stands under the final name. */
export class DownloadError extends KlingError {
  override readonly kind = "download";
  override readonly exitCode = 8;
}

/** The link answered that it is gone. */
export class LinkExpired extends DownloadError {}

/** The link served something that is not a whole MP4. */
export class NotAVideo extends DownloadError {}
