/**
 * The client as a library.
 *
 * `generate` makes a video in one call. `KlingClient` has the single steps, `Generation` one resumable run, `Receiver`
 * hears callbacks. `errors.ts` draws the tree of errors.
 */

export type { Tools } from "./api.js";
export { Bell } from "./bell.js";
export { KlingClient, type ClientOptions, type Hooks, type Loose } from "./client.js";
export { systemClock, type Clock } from "./clock.js";
export { CONTRACT } from "./contract.js";
export type { CreateVideo, ErrorBody, Quality, Status, Task, TaskErrorCode, TerminalTask } from "./contract.js";
export type { Created } from "./create.js";
export type { DownloadSettings, Step } from "./download.js";
export * from "./errors.js";
export {
  Generation,
  generate,
  type EventKind,
  type GenerateOptions,
  type GenerationEvent,
  type GenerationOptions,
  type Video,
  type Wishes,
} from "./generation.js";
export type { Fetch } from "./http.js";
export { Once } from "./once.js";
export type { PaceSettings } from "./pace.js";
export { Receiver, listen, type Callback, type ReceiverOptions } from "./receiver.js";
export { isTerminal, linksOf, type TaskView } from "./task.js";
export { createBody, type ModelRequest, type VideoRequest } from "./validate.js";
