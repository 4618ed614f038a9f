// Generated from openapi by scripts/generate.mjs (npm run generate). Do not edit: a test compares.

export interface components {
    schemas: {
        /** Format: uri */
        readonly HttpUrl: string;
        /**
         * @description Video generation model name
         * @constant
         */
        readonly Model: "kling-v3-turbo-image-to-video";
        /**
         * @description Resolution tier
         * @default 720p
         * @example 720p
         */
        readonly Quality: string & ("720p" | "1080p");
        /**
         * @description Video duration in seconds; billing follows it.
         * @default 5
         */
        readonly Duration: number;
        /**
         * @description Task status
         * @enum {string}
         */
        readonly Status: "pending" | "processing" | "completed" | "failed";
        /**
         * @description Task output type
         * @enum {string}
         */
        readonly OutputType: "text" | "image" | "audio" | "video";
        /** @description What every answer about a task carries. */
        readonly TaskCommon: {
            /**
             * @description Task creation timestamp, Unix seconds.
             * @example 1757169743
             */
            readonly created: number;
            /**
             * @description Task ID
             * @example task-unified-1757169743-7cvnl5zw
             */
            readonly id: string;
            /**
             * @description Actual model name used
             * @constant
             */
            readonly model: "kling-v3-turbo-image-to-video";
            /**
             * @description Task type
             * @constant
             */
            readonly object: "video.generation.task";
            /** @description Task progress percentage (0-100) */
            readonly progress: number;
            readonly status: components["schemas"]["Status"];
            readonly task_info?: components["schemas"]["TaskInfo"];
            /** @constant */
            readonly type: components["schemas"]["OutputType"];
            readonly usage?: components["schemas"]["Usage"];
        };
        /** @description Video task details */
        readonly TaskInfo: {
            /** @description False once the task is terminal; newer pages drop it. */
            readonly can_cancel?: boolean;
            /** @description Seconds. */
            readonly estimated_time?: number;
            /** @description The seconds asked for. */
            readonly video_duration?: number;
        };
        /** @description Usage and billing information */
        readonly Usage: {
            /** @enum {string} */
            readonly billing_rule?: "per_call" | "per_token" | "per_second";
            readonly credits_reserved?: number;
            /** @default default */
            readonly user_group?: string;
            readonly credits_used?: number;
            readonly cost?: {
                readonly credits?: number;
                readonly usd?: number;
                readonly cny?: number;
            };
        };
        /** @description Accepted, not begun. */
        readonly PendingTask: {
            /** @constant */
            readonly status?: "pending";
            readonly results?: never;
            readonly result_data?: never;
            readonly error?: never;
        } & components["schemas"]["TaskCommon"];
        /** @description What a create answers; all members present. */
        readonly CreatedTask: {
            /** @constant */
            readonly progress?: 0;
        } & components["schemas"]["PendingTask"];
        /** @description Under way. */
        readonly ProcessingTask: {
            /** @constant */
            readonly status?: "processing";
            readonly results?: never;
            readonly result_data?: never;
            readonly error?: never;
        } & components["schemas"]["TaskCommon"];
        /** @description Done; the links live for a limited time. */
        readonly CompletedTask: {
            /** @constant */
            readonly status?: "completed";
            /** @constant */
            readonly progress?: 100;
            /** @description Seconds that the task took. */
            readonly duration?: number;
            /** @description Direct links to the video file; they need no key. */
            readonly results: readonly components["schemas"]["HttpUrl"][];
            readonly result_data?: readonly {
                readonly video_url: components["schemas"]["HttpUrl"];
                /** @description The same link; the one stored production body has this member. */
                readonly url?: components["schemas"]["HttpUrl"];
                readonly duration: number;
            }[];
            readonly error?: never;
        } & components["schemas"]["TaskCommon"];
        /** @description Failed, or cancelled (then the code says so). Nothing is charged. */
        readonly FailedTask: {
            /** @constant */
            readonly status?: "failed";
            readonly results?: never;
            readonly result_data?: never;
            readonly error: components["schemas"]["TaskError"];
        } & components["schemas"]["TaskCommon"];
        /** @description A task that will not change again; the body of a callback. */
        readonly TerminalTask: components["schemas"]["CompletedTask"] | components["schemas"]["FailedTask"];
        /** @description A task, in the shape of its status. */
        readonly Task: components["schemas"]["PendingTask"] | components["schemas"]["ProcessingTask"] | components["schemas"]["CompletedTask"] | components["schemas"]["FailedTask"];
        readonly TaskError: {
            readonly code: components["schemas"]["TaskErrorCode"];
            readonly message: string;
            /** @constant */
            readonly type: "task_error";
        };
        /** @description Why a task failed. x-fixed-by says who can do something about it, x-retryable whether the same request may succeed later. */
        readonly TaskErrorCode: string & ("content_policy_violation" | "invalid_parameters" | "image_processing_error" | "image_dimension_mismatch" | "request_cancelled" | "generation_failed_no_content" | "service_error" | "generation_timeout" | "resource_exhausted" | "quota_exceeded" | "service_unavailable" | "resource_not_found" | "model_unavailable" | "upstream_error" | "rate_limited" | "unknown_error");
        /** @description A file as long as it lives. Both URLs need no key; the second one makes a browser save the file. */
        readonly FileEntry: {
            readonly file_id: string;
            readonly file_name: string;
            readonly original_name: string;
            readonly file_size: number;
            /** @description What the content is, whatever name or header say. */
            readonly mime_type: string;
            /** @description The folder that was asked for; empty for none. */
            readonly upload_path: string;
            readonly file_url: components["schemas"]["HttpUrl"];
            readonly download_url: components["schemas"]["HttpUrl"];
            /** Format: date-time */
            readonly upload_time: string;
            /** Format: date-time */
            readonly expires_at: string;
        };
        readonly UploadedFile: {
            /** @constant */
            readonly success: true;
            /** @constant */
            readonly code: 200;
            readonly msg: string;
            readonly data: components["schemas"]["FileEntry"];
        };
        /** @description The body of every HTTP error. The code is a string in the current dialect, the HTTP status in the legacy one. */
        readonly Error: {
            readonly error: {
                readonly code: string | number;
                readonly message: string;
                readonly type: string;
                /** @description The request field at fault. */
                readonly param?: string;
                readonly fallback_suggestion?: string;
            };
        };
        readonly CreateVideo: {
            readonly model: components["schemas"]["Model"];
            /**
             * @description First-frame image URL, used as the first frame of the video. Bytes decide what it is, a suffix never does.
             * @example https://your-cdn.com/start-frame.jpg
             */
            readonly image_start: components["schemas"]["HttpUrl"];
            /**
             * @description Text prompt describing the desired motion or changes in the scene (optional). Characters count, not bytes.
             * @example A gentle breeze sweeps across the scene, bringing a subtle sense of motion
             */
            readonly prompt?: string;
            readonly quality?: components["schemas"]["Quality"];
            readonly duration?: components["schemas"]["Duration"];
            /**
             * Format: uri
             * @description HTTPS callback URL for task completion
             * @example https://your-domain.com/webhooks/video-task-completed
             */
            readonly callback_url?: string;
            /** @description Not accepted; the first frame decides. */
            readonly aspect_ratio?: never;
            /** @description A media field of a sibling model; not taken by this one. */
            readonly image_end?: never;
            /** @description A media field of a sibling model; not taken by this one. */
            readonly image_urls?: never;
            /** @description A media field of a sibling model; not taken by this one. */
            readonly video_urls?: never;
            /** @description A media field of a sibling model; not taken by this one. */
            readonly audio_urls?: never;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}

export type CreateVideo = components["schemas"]["CreateVideo"];
export type CreatedTask = components["schemas"]["CreatedTask"];
export type Task = components["schemas"]["Task"];
export type TerminalTask = components["schemas"]["TerminalTask"];
export type TaskErrorCode = components["schemas"]["TaskErrorCode"];
export type Status = components["schemas"]["Status"];
export type Quality = components["schemas"]["Quality"];
export type UploadedFile = components["schemas"]["UploadedFile"];
export type ErrorBody = components["schemas"]["Error"];

/** The contract's limits, enums and policies. Sizes are bytes, times seconds, sides pixels. */
export const CONTRACT = {
  version: "2026-11",
  server: "https://api.evolink.ai",
  paths: {
    create: "/v1/videos/generations",
    task: "/v1/tasks/{task_id}",
    upload: "/api/v1/files/upload/stream",
    credits: "/v1/credits"
  },
  create: {
    required: [
      "model",
      "image_start"
    ],
    fields: {
      model: {
        type: "string",
        const: "kling-v3-turbo-image-to-video"
      },
      image_start: {
        type: "string",
        pattern: "^[hH][tT][tT][pP][sS]?://[^\\s/?#\\\\]+[^\\s\\\\]*$",
        format: "uri"
      },
      prompt: {
        type: "string",
        maxLength: 2500
      },
      quality: {
        type: "string",
        default: "720p",
        enum: [
          "720p",
          "1080p"
        ]
      },
      duration: {
        type: "integer",
        default: 5,
        minimum: 3,
        maximum: 15
      },
      callback_url: {
        type: "string",
        maxLength: 2048,
        format: "uri"
      }
    },
    refused: [
      "aspect_ratio",
      "image_end",
      "image_urls",
      "video_urls",
      "audio_urls"
    ]
  },
  image: {
    formats: [
      "jpeg",
      "png"
    ],
    maxBytes: 52428800,
    minSidePx: 300,
    ratioMin: 0.4,
    ratioMax: 2.5
  },
  callback: {
    maxLength: 2048,
    schemes: [
      "https"
    ],
    internal: [
      "127.0.0.0/8",
      "10.0.0.0/8",
      "172.16.0.0/12",
      "192.168.0.0/16",
      "169.254.0.0/16",
      "100.64.0.0/10",
      "0.0.0.0/8",
      "::1/128",
      "::/128",
      "fc00::/7",
      "fe80::/10"
    ],
    timeoutSeconds: 10,
    retryDelaysSeconds: [
      1,
      2,
      4
    ]
  },
  task: {
    idPattern: "^task-unified-",
    statuses: [
      "pending",
      "processing",
      "completed",
      "failed"
    ],
    success: [
      "completed"
    ],
    failure: [
      "failed"
    ]
  },
  taskErrors: {
    content_policy_violation: {
      description: "The content was refused by the safety review.",
      fixedBy: "caller",
      retryable: false
    },
    invalid_parameters: {
      description: "The parameters cannot be used together.",
      fixedBy: "caller",
      retryable: false
    },
    image_processing_error: {
      description: "The image could not be used: format, size, or not reachable.",
      fixedBy: "caller",
      retryable: false
    },
    image_dimension_mismatch: {
      description: "The image's width and height are outside what the model takes.",
      fixedBy: "caller",
      retryable: false
    },
    request_cancelled: {
      description: "The task was cancelled.",
      fixedBy: "caller",
      retryable: false
    },
    generation_failed_no_content: {
      description: "The model gave no video; another prompt may help.",
      fixedBy: "service",
      retryable: true
    },
    service_error: {
      description: "The service failed while it worked on the task.",
      fixedBy: "service",
      retryable: true
    },
    generation_timeout: {
      description: "The model took too long.",
      fixedBy: "service",
      retryable: true
    },
    resource_exhausted: {
      description: "No capacity is free; try again in 30 to 60 seconds.",
      fixedBy: "service",
      retryable: true
    },
    quota_exceeded: {
      description: "The rate or quota of the account is used up.",
      fixedBy: "caller",
      retryable: true
    },
    service_unavailable: {
      description: "The service is not available; try again later.",
      fixedBy: "service",
      retryable: true
    },
    resource_not_found: {
      description: "The task or its content is gone.",
      fixedBy: "caller",
      retryable: false
    },
    model_unavailable: {
      description: "The model cannot be used at present.",
      fixedBy: "service",
      retryable: true
    },
    upstream_error: {
      description: "The provider behind the service failed.",
      fixedBy: "service",
      retryable: true
    },
    rate_limited: {
      description: "Too many tasks at once; slower.",
      fixedBy: "caller",
      retryable: true
    },
    unknown_error: {
      description: "Nobody knows; try again and then ask support.",
      fixedBy: "service",
      retryable: true
    }
  },
  httpErrors: {
    InvalidRequest: {
      status: 400,
      code: "invalid_request",
      type: "invalid_request_error",
      legacyType: "invalid_request_error"
    },
    InvalidTaskId: {
      status: 400,
      code: "invalid_task_id",
      type: "invalid_request_error",
      legacyType: "invalid_request_error"
    },
    Unauthorized: {
      status: 401,
      code: "unauthorized",
      type: "authentication_error",
      legacyType: "authentication_error"
    },
    InsufficientQuota: {
      status: 402,
      code: "insufficient_quota",
      type: "insufficient_quota",
      legacyType: "insufficient_quota_error"
    },
    QueryQuotaExceeded: {
      status: 402,
      code: "quota_exceeded",
      type: "insufficient_quota",
      legacyType: "insufficient_quota_error"
    },
    ModelAccessDenied: {
      status: 403,
      code: "model_access_denied",
      type: "invalid_request_error",
      legacyType: "permission_error"
    },
    PermissionDenied: {
      status: 403,
      code: "permission_denied",
      type: "invalid_request_error",
      legacyType: "permission_error"
    },
    TaskNotFound: {
      status: 404,
      code: "task_not_found",
      type: "invalid_request_error",
      legacyType: "not_found_error"
    },
    FileRefused: {
      status: 400,
      code: 400
    },
    FileUnauthorized: {
      status: 401,
      code: 401
    },
    FileNotFound: {
      status: 404,
      code: 404
    },
    FileRateLimited: {
      status: 429,
      code: 429
    },
    FileFailed: {
      status: 500,
      code: 500
    },
    RouteNotFound: {
      status: 404,
      code: "not_found",
      type: "invalid_request_error",
      legacyType: "not_found_error"
    },
    MethodNotAllowed: {
      status: 405,
      code: "method_not_allowed",
      type: "invalid_request_error",
      legacyType: "invalid_request_error"
    },
    IdempotencyConflict: {
      status: 409,
      code: "idempotency_conflict",
      type: "invalid_request_error",
      legacyType: "invalid_request_error"
    },
    RequestTooLarge: {
      status: 413,
      code: "request_too_large",
      type: "invalid_request_error",
      legacyType: "request_too_large_error"
    },
    UnsupportedMediaType: {
      status: 415,
      code: "unsupported_media_type",
      type: "invalid_request_error",
      legacyType: "invalid_request_error"
    },
    RateLimited: {
      status: 429,
      code: "rate_limit_exceeded",
      type: "rate_limit_error",
      legacyType: "rate_limit_error"
    },
    QueryRateLimited: {
      status: 429,
      code: "rate_limit_exceeded",
      type: "evo_api_error",
      legacyType: "rate_limit_error"
    },
    InternalError: {
      status: 500,
      code: "internal_error",
      type: "api_error",
      legacyType: "internal_server_error"
    },
    UpstreamError: {
      status: 502,
      code: "upstream_error",
      type: "upstream_error",
      legacyType: "upstream_error"
    },
    ServiceUnavailable: {
      status: 503,
      code: "service_unavailable",
      type: "api_error",
      legacyType: "service_unavailable_error"
    }
  },
  link: {
    lifetimeSeconds: 86400,
    contentType: "video/mp4"
  },
  idempotency: {
    header: "Idempotency-Key",
    pattern: "^[A-Za-z0-9._-]+$",
    minLength: 16,
    maxLength: 96
  },
  polling: {
    minPollSeconds: 5,
    giveUpSeconds: 600
  }
} as const;
