/** The client as a library. */

export { KlingClient, type ClientOptions, type Hooks } from "./client.js";
export { systemClock, type Clock } from "./clock.js";
export { CONTRACT } from "./contract.js";
export type { CreateVideo, ErrorBody, Quality, Status, Task, TaskErrorCode, TerminalTask } from "./contract.js";
export type { Created } from "./create.js";
export * from "./errors.js";
export { Generation, type GenerationEvent, type GenerationOptions, type Video, type Wishes } from "./generation.js";
export { Once } from "./once.js";
export { Receiver, listen, type ReceiverOptions } from "./receiver.js";
export { isTerminal, linksOf, type TaskView } from "./task.js";
export { createBody, type VideoRequest } from "./validate.js";
