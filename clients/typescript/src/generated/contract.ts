// Generated from openapi.json by `make client`. Changes are overwritten.

/** All operations, by tag and name. */
export const operations = {
  audit: {
    /** Actions, with who did them and from where; the latest first. Needs the permission `audit:read`. */
    listEvents: { id: "audit-list_events", method: "GET", path: "/api/v1/audit-events", permission: "audit:read", idempotencyKey: false, repeatable: true, body: null },
  },
  health: {
    /** Return the running version. */
    health: { id: "health-health", method: "GET", path: "/health", permission: null, idempotencyKey: false, repeatable: true, body: null },
    /** Return that the process responds. It needs no other service: restart it if this fails. */
    live: { id: "health-live", method: "GET", path: "/health/live", permission: null, idempotencyKey: false, repeatable: true, body: null },
    /** Return whether the process is ready for requests. 503 also while it drains before a stop. */
    ready: { id: "health-ready", method: "GET", path: "/health/ready", permission: null, idempotencyKey: false, repeatable: true, body: null },
  },
  jobs: {
    /** Jobs that wait, run or have failed; the newest first. Needs the permission `jobs:read`. */
    listJobs: { id: "jobs-list_jobs", method: "GET", path: "/api/v1/jobs", permission: "jobs:read", idempotencyKey: false, repeatable: true, body: null },
    /** One job. Needs the permission `jobs:read`. */
    readJob: { id: "jobs-read_job", method: "GET", path: "/api/v1/jobs/{id}", permission: "jobs:read", idempotencyKey: false, repeatable: true, body: null },
    /** Try a failed job again, with as many attempts as a new one. Needs the permission `jobs:write`. */
    retryJob: { id: "jobs-retry_job", method: "POST", path: "/api/v1/jobs/{id}/retry", permission: "jobs:write", idempotencyKey: false, repeatable: false, body: null },
  },
  roles: {
    /** Everything that can be permitted, by feature. */
    listPermissions: { id: "roles-list_permissions", method: "GET", path: "/api/v1/permissions", permission: null, idempotencyKey: false, repeatable: true, body: null },
    /** All roles. Needs the permission `roles:read`. */
    listRoles: { id: "roles-list_roles", method: "GET", path: "/api/v1/roles", permission: "roles:read", idempotencyKey: false, repeatable: true, body: null },
    /** Make a role, of permissions that the caller holds. Needs the permission `roles:write`. */
    createRole: { id: "roles-create_role", method: "POST", path: "/api/v1/roles", permission: "roles:write", idempotencyKey: true, repeatable: true, body: "json" },
    /** One role. Needs the permission `roles:read`. */
    readRole: { id: "roles-read_role", method: "GET", path: "/api/v1/roles/{name}", permission: "roles:read", idempotencyKey: false, repeatable: true, body: null },
    /** Change what is sent; it counts from the next request of everybody who has the role. A role that holds a permission the caller lacks is out of their reach. Needs the permission `roles:write`. */
    updateRole: { id: "roles-update_role", method: "PATCH", path: "/api/v1/roles/{name}", permission: "roles:write", idempotencyKey: false, repeatable: true, body: "json" },
    /** Delete a role that nobody has. Needs the permission `roles:write`. */
    deleteRole: { id: "roles-delete_role", method: "DELETE", path: "/api/v1/roles/{name}", permission: "roles:write", idempotencyKey: false, repeatable: true, body: null },
  },
  files: {
    /** A public file, or by a signed link a private one; `Range` asks for a part of it. A link that is forged or has expired is 404, as an unknown file is. */
    downloadFile: { id: "files-download_file", method: "GET", path: "/files/{key}", permission: null, idempotencyKey: false, repeatable: true, body: null },
  },
  users: {
    /** How much the caller has; sessions are those that have not ended. */
    readMyStatistics: { id: "users-read_my_statistics", method: "GET", path: "/api/v1/users/me/statistics", permission: null, idempotencyKey: false, repeatable: true, body: null },
    /** Everything that the system holds about the caller, as a file. Each part is as its list returns it. Audit events lack the data of other people. An incomplete response ends with a broken connection. */
    exportMe: { id: "users-export_me", method: "GET", path: "/api/v1/users/me/export", permission: null, idempotencyKey: false, repeatable: true, body: null },
    /** The number of accounts, and of new ones per day. Needs the permission `users:read`. */
    readStatisticsOfUsers: { id: "users-read_statistics_of_users", method: "GET", path: "/api/v1/users/statistics", permission: "users:read", idempotencyKey: false, repeatable: true, body: null },
    /** All accounts that match, as a file. The columns are the members of an account. Accounts that are created meanwhile are not in the file. With another `sort` than `created_at`, accounts that change meanwhile may be missing or occur twice. Needs the permission `users:read`. */
    exportUsers: { id: "users-export_users", method: "GET", path: "/api/v1/users/export", permission: "users:read", idempotencyKey: false, repeatable: true, body: null },
    /** The caller's own account. */
    readMe: { id: "users-read_me", method: "GET", path: "/api/v1/users/me", permission: null, idempotencyKey: false, repeatable: true, body: null },
    /** The same as PATCH. */
    replaceMe: { id: "users-replace_me", method: "PUT", path: "/api/v1/users/me", permission: null, idempotencyKey: false, repeatable: false, body: "json" },
    /** Change what is sent; `null` clears. A new `email` is `pending_email` until the link that is mailed there has been followed; sending the present one cancels the change. A notice is mailed to the old address. */
    updateMe: { id: "users-update_me", method: "PATCH", path: "/api/v1/users/me", permission: null, idempotencyKey: false, repeatable: false, body: "json" },
    /** Delete the caller's account and everything that belongs to it, at once and for good. */
    deleteMe: { id: "users-delete_me", method: "DELETE", path: "/api/v1/users/me", permission: null, idempotencyKey: false, repeatable: false, body: null },
    /** Set the caller's picture: PNG, JPEG or WebP, at most 2 MiB and 25 million pixels. The bytes decide about the type. Metadata in the image, such as its location, stay in it. */
    replaceAvatar: { id: "users-replace_avatar", method: "PUT", path: "/api/v1/users/me/avatar", permission: null, idempotencyKey: false, repeatable: true, body: "form" },
    /** Remove the caller's picture, if there is one. */
    deleteAvatar: { id: "users-delete_avatar", method: "DELETE", path: "/api/v1/users/me/avatar", permission: null, idempotencyKey: false, repeatable: true, body: null },
    /** All accounts. Needs the permission `users:read`. */
    listUsers: { id: "users-list_users", method: "GET", path: "/api/v1/users", permission: "users:read", idempotencyKey: false, repeatable: true, body: null },
    /** Create an account for somebody else. Without a password, an invitation is mailed. Needs the permission `users:write`. */
    createUser: { id: "users-create_user", method: "POST", path: "/api/v1/users", permission: "users:write", idempotencyKey: true, repeatable: true, body: "json" },
    /** One account. Your own needs no permission; others need `users:read`. */
    readUser: { id: "users-read_user", method: "GET", path: "/api/v1/users/{id}", permission: null, idempotencyKey: false, repeatable: true, body: null },
    /** Change what is sent; `is_active: false` locks the account out at once. An account without a password is mailed its invitation again when its address changes. Needs the permission `users:write`. */
    updateUser: { id: "users-update_user", method: "PATCH", path: "/api/v1/users/{id}", permission: "users:write", idempotencyKey: false, repeatable: true, body: "json" },
    /** Delete an account and everything that belongs to it, at once and for good. Needs the permission `users:delete`. */
    deleteUser: { id: "users-delete_user", method: "DELETE", path: "/api/v1/users/{id}", permission: "users:delete", idempotencyKey: false, repeatable: true, body: null },
    /** Create up to 1000 accounts for others, or none of them. Invitations are mailed. Needs the permission `users:write`. */
    createUsers: { id: "users-create_users", method: "POST", path: "/api/v1/users/bulk", permission: "users:write", idempotencyKey: true, repeatable: true, body: "json" },
    /** Replace all roles by these, from the user's next request on. Needs the permission `users:admin`. */
    setRoles: { id: "users-set_roles", method: "PUT", path: "/api/v1/users/{id}/roles", permission: "users:admin", idempotencyKey: false, repeatable: true, body: "json" },
  },
  auth: {
    /** Replace the caller's password. Their other sessions end, and a notice is mailed to them. */
    changePassword: { id: "auth-change_password", method: "PUT", path: "/api/v1/users/me/password", permission: null, idempotencyKey: false, repeatable: false, body: "json" },
    /** End all sessions of a user, at once and on every server. Needs the permission `users:admin`. */
    logOutUser: { id: "auth-log_out_user", method: "POST", path: "/api/v1/users/{id}/logout-all", permission: "users:admin", idempotencyKey: false, repeatable: false, body: null },
    /** Sign in with JSON or with the OAuth2 password form. */
    login: { id: "auth-login", method: "POST", path: "/api/v1/auth/login", permission: null, idempotencyKey: false, repeatable: false, body: "json" },
    /** Replace the refresh token of a session, in the body or in its cookie, and get new tokens. For some seconds, the token that was just replaced gets the same answer; an older one ends the session. An access token in the same request must be of the same sign-in, and as old as the refresh token or one refresh older. */
    refresh: { id: "auth-refresh", method: "POST", path: "/api/v1/auth/refresh", permission: null, idempotencyKey: false, repeatable: false, body: "json" },
    /** End this session at once, on every server. Any of its credentials will do: an access token, the refresh cookie, or `refresh_token`. */
    logout: { id: "auth-logout", method: "POST", path: "/api/v1/auth/logout", permission: null, idempotencyKey: false, repeatable: false, body: "json" },
    /** End all sessions of the caller. */
    logoutAll: { id: "auth-logout_all", method: "POST", path: "/api/v1/auth/logout-all", permission: null, idempotencyKey: false, repeatable: false, body: null },
    /** The caller's sessions that have not ended. */
    listSessions: { id: "auth-list_sessions", method: "GET", path: "/api/v1/auth/sessions", permission: null, idempotencyKey: false, repeatable: true, body: null },
    /** End one of the caller's sessions. */
    endSession: { id: "auth-end_session", method: "DELETE", path: "/api/v1/auth/sessions/{id}", permission: null, idempotencyKey: false, repeatable: true, body: null },
    /** Create an account, which is mailed a link to verify its address. Nobody is signed in. */
    register: { id: "auth-register", method: "POST", path: "/api/v1/auth/register", permission: null, idempotencyKey: true, repeatable: true, body: "json" },
    /** Mail a link that sets a new password. The answer is the same for every address. */
    forgotPassword: { id: "auth-forgot_password", method: "POST", path: "/api/v1/auth/forgot-password", permission: null, idempotencyKey: false, repeatable: false, body: "json" },
    /** Set the password with the token of a mailed link, an invitation's too. All sessions end, and the address counts as verified. A refused password does not use up the token. */
    resetPassword: { id: "auth-reset_password", method: "POST", path: "/api/v1/auth/reset-password", permission: null, idempotencyKey: false, repeatable: false, body: "json" },
    /** Mail the link that verifies an address again. The answer is always the same. */
    requestVerification: { id: "auth-request_verification", method: "POST", path: "/api/v1/auth/verify-email/request", permission: null, idempotencyKey: false, repeatable: false, body: "json" },
    /** Verify an address with the token of a mailed link. A new address takes effect with this. */
    verifyEmail: { id: "auth-verify_email", method: "POST", path: "/api/v1/auth/verify-email", permission: null, idempotencyKey: false, repeatable: false, body: "json" },
  },
  articles: {
    /** Published articles and the caller's own; with `articles:admin` all. */
    listArticles: { id: "articles-list_articles", method: "GET", path: "/api/v1/articles", permission: null, idempotencyKey: false, repeatable: true, body: null },
    /** Begin a draft. Needs the permission `articles:write`. */
    createArticle: { id: "articles-create_article", method: "POST", path: "/api/v1/articles", permission: "articles:write", idempotencyKey: true, repeatable: true, body: "json" },
    /** One article. */
    readArticle: { id: "articles-read_article", method: "GET", path: "/api/v1/articles/{id}", permission: null, idempotencyKey: false, repeatable: true, body: null },
    /** Change what is sent; `null` clears the content, unless the article is published. Needs the permission `articles:write`. */
    updateArticle: { id: "articles-update_article", method: "PATCH", path: "/api/v1/articles/{id}", permission: "articles:write", idempotencyKey: false, repeatable: true, body: "json" },
    /** Delete an article. Needs the permission `articles:delete`. */
    deleteArticle: { id: "articles-delete_article", method: "DELETE", path: "/api/v1/articles/{id}", permission: "articles:delete", idempotencyKey: false, repeatable: true, body: null },
    /** Show a draft or an archived article to everybody. Needs the permission `articles:publish`. */
    publishArticle: { id: "articles-publish_article", method: "POST", path: "/api/v1/articles/{id}/publish", permission: "articles:publish", idempotencyKey: false, repeatable: false, body: null },
    /** Make a published article a draft again. Needs the permission `articles:publish`. */
    unpublishArticle: { id: "articles-unpublish_article", method: "POST", path: "/api/v1/articles/{id}/unpublish", permission: "articles:publish", idempotencyKey: false, repeatable: false, body: null },
    /** Take an article out of sight without deleting it. Needs the permission `articles:publish`. */
    archiveArticle: { id: "articles-archive_article", method: "POST", path: "/api/v1/articles/{id}/archive", permission: "articles:publish", idempotencyKey: false, repeatable: false, body: null },
  },
  items: {
    /** The caller's own items; with `items:admin` everybody's. Needs the permission `items:read`. */
    listItems: { id: "items-list_items", method: "GET", path: "/api/v1/items", permission: "items:read", idempotencyKey: false, repeatable: true, body: null },
    /** Make an item of one's own. Needs the permission `items:write`. */
    createItem: { id: "items-create_item", method: "POST", path: "/api/v1/items", permission: "items:write", idempotencyKey: true, repeatable: true, body: "json" },
    /** One item. Needs the permission `items:read`. */
    readItem: { id: "items-read_item", method: "GET", path: "/api/v1/items/{id}", permission: "items:read", idempotencyKey: false, repeatable: true, body: null },
    /** Change what is sent; `null` clears the description. Needs the permission `items:write`. */
    updateItem: { id: "items-update_item", method: "PATCH", path: "/api/v1/items/{id}", permission: "items:write", idempotencyKey: false, repeatable: true, body: "json" },
    /** Delete an item. Needs the permission `items:delete`. */
    deleteItem: { id: "items-delete_item", method: "DELETE", path: "/api/v1/items/{id}", permission: "items:delete", idempotencyKey: false, repeatable: true, body: null },
    /** Make up to 1000 items of one's own: all of them, or none. Needs the permission `items:write`. */
    createItems: { id: "items-create_items", method: "POST", path: "/api/v1/items/bulk", permission: "items:write", idempotencyKey: true, repeatable: true, body: "json" },
  },
  errors: {
    /** Explain an error code. The `type` of every problem document refers to this route. */
    explainError: { id: "errors-explain_error", method: "GET", path: "/errors/{code}", permission: null, idempotencyKey: false, repeatable: true, body: null },
  },
} as const;

/** The error codes that each operation documents. */
export interface OperationErrors {
  "audit-list_events": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_CURSOR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "health-health": "BAD_REQUEST" | "INTERNAL_ERROR" | "NOT_ACCEPTABLE" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "VALIDATION_ERROR";
  "health-live": "BAD_REQUEST" | "INTERNAL_ERROR" | "NOT_ACCEPTABLE" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "VALIDATION_ERROR";
  "health-ready": "BAD_REQUEST" | "INTERNAL_ERROR" | "NOT_ACCEPTABLE" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "VALIDATION_ERROR";
  "jobs-list_jobs": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_CURSOR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "jobs-read_job": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "JOB_NOT_FOUND" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "jobs-retry_job": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "JOB_NOT_FAILED" | "JOB_NOT_FOUND" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "roles-list_permissions": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_CURSOR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "roles-list_roles": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_CURSOR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "roles-create_role": "BAD_REQUEST" | "CONFLICT" | "CSRF_FAILED" | "IDEMPOTENCY_IN_PROGRESS" | "IDEMPOTENCY_KEY_REUSED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PERMISSION_DENIED" | "PERMISSION_UNKNOWN" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "ROLE_ALREADY_EXISTS" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "roles-read_role": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "ROLE_NOT_FOUND" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "roles-update_role": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PERMISSION_DENIED" | "PERMISSION_UNKNOWN" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "ROLE_NOT_FOUND" | "ROLE_PROTECTED" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "roles-delete_role": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "ROLE_IN_USE" | "ROLE_NOT_FOUND" | "ROLE_PROTECTED" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "files-download_file": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_FOUND" | "RANGE_NOT_SATISFIABLE" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "users-read_my_statistics": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "users-export_me": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "users-read_statistics_of_users": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "users-export_users": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "users-read_me": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "users-replace_me": "BAD_REQUEST" | "CONFLICT" | "CSRF_FAILED" | "CURRENT_PASSWORD_WRONG" | "EMAIL_ALREADY_EXISTS" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "USERNAME_ALREADY_EXISTS" | "VALIDATION_ERROR";
  "users-update_me": "BAD_REQUEST" | "CONFLICT" | "CSRF_FAILED" | "CURRENT_PASSWORD_WRONG" | "EMAIL_ALREADY_EXISTS" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "USERNAME_ALREADY_EXISTS" | "VALIDATION_ERROR";
  "users-delete_me": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "LAST_ADMIN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "auth-change_password": "BAD_REQUEST" | "CSRF_FAILED" | "CURRENT_PASSWORD_WRONG" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "users-replace_avatar": "BAD_REQUEST" | "CSRF_FAILED" | "IMAGE_TOO_LARGE" | "IMAGE_UNREADABLE" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "STORAGE_QUOTA_EXCEEDED" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "users-delete_avatar": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "users-list_users": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_CURSOR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "users-create_user": "BAD_REQUEST" | "CONFLICT" | "CSRF_FAILED" | "EMAIL_ALREADY_EXISTS" | "IDEMPOTENCY_IN_PROGRESS" | "IDEMPOTENCY_KEY_REUSED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "ROLE_UNKNOWN" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "USERNAME_ALREADY_EXISTS" | "VALIDATION_ERROR";
  "users-read_user": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "USER_NOT_FOUND" | "VALIDATION_ERROR";
  "users-update_user": "BAD_REQUEST" | "CONFLICT" | "CSRF_FAILED" | "EMAIL_ALREADY_EXISTS" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "LAST_ADMIN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "USERNAME_ALREADY_EXISTS" | "USER_NOT_FOUND" | "VALIDATION_ERROR";
  "users-delete_user": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "LAST_ADMIN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "USER_NOT_FOUND" | "VALIDATION_ERROR";
  "users-create_users": "BAD_REQUEST" | "CONFLICT" | "CSRF_FAILED" | "EMAIL_ALREADY_EXISTS" | "IDEMPOTENCY_IN_PROGRESS" | "IDEMPOTENCY_KEY_REUSED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "STORAGE_QUOTA_EXCEEDED" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "USERNAME_ALREADY_EXISTS" | "VALIDATION_ERROR";
  "users-set_roles": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "LAST_ADMIN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "ROLE_UNKNOWN" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "USER_NOT_FOUND" | "VALIDATION_ERROR";
  "auth-log_out_user": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "USER_NOT_FOUND" | "VALIDATION_ERROR";
  "articles-list_articles": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_CURSOR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "articles-create_article": "BAD_REQUEST" | "CSRF_FAILED" | "IDEMPOTENCY_IN_PROGRESS" | "IDEMPOTENCY_KEY_REUSED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "STORAGE_QUOTA_EXCEEDED" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "articles-read_article": "ARTICLE_NOT_FOUND" | "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "articles-update_article": "ARTICLE_NOT_FOUND" | "ARTICLE_WITHOUT_CONTENT" | "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "STORAGE_QUOTA_EXCEEDED" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "articles-delete_article": "ARTICLE_NOT_FOUND" | "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "articles-publish_article": "ARTICLE_ALREADY_PUBLISHED" | "ARTICLE_NOT_FOUND" | "ARTICLE_WITHOUT_CONTENT" | "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "articles-unpublish_article": "ARTICLE_NOT_FOUND" | "ARTICLE_NOT_PUBLISHED" | "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "articles-archive_article": "ARTICLE_ALREADY_ARCHIVED" | "ARTICLE_NOT_FOUND" | "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "auth-login": "ACCOUNT_DISABLED" | "BAD_REQUEST" | "CSRF_FAILED" | "EMAIL_NOT_VERIFIED" | "INTERNAL_ERROR" | "INVALID_CREDENTIALS" | "NOT_ACCEPTABLE" | "PAYLOAD_TOO_LARGE" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "auth-refresh": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "PAYLOAD_TOO_LARGE" | "RATE_LIMITED" | "REFRESH_TOKEN_INVALID" | "REFRESH_TOKEN_REUSED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "auth-logout": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "RATE_LIMITED" | "REFRESH_TOKEN_INVALID" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "auth-logout_all": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "auth-list_sessions": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_CURSOR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "auth-end_session": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "SESSION_NOT_FOUND" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "items-list_items": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_CURSOR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "items-create_item": "BAD_REQUEST" | "CSRF_FAILED" | "IDEMPOTENCY_IN_PROGRESS" | "IDEMPOTENCY_KEY_REUSED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "STORAGE_QUOTA_EXCEEDED" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "items-read_item": "BAD_REQUEST" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "ITEM_NOT_FOUND" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "items-update_item": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "ITEM_NOT_FOUND" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "STORAGE_QUOTA_EXCEEDED" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "items-delete_item": "BAD_REQUEST" | "CSRF_FAILED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "ITEM_NOT_FOUND" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PERMISSION_DENIED" | "PRECONDITION_FAILED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "VALIDATION_ERROR";
  "items-create_items": "BAD_REQUEST" | "CSRF_FAILED" | "IDEMPOTENCY_IN_PROGRESS" | "IDEMPOTENCY_KEY_REUSED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "NOT_AUTHENTICATED" | "PAYLOAD_TOO_LARGE" | "PERMISSION_DENIED" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "STORAGE_QUOTA_EXCEEDED" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "auth-register": "BAD_REQUEST" | "CONFLICT" | "CSRF_FAILED" | "EMAIL_ALREADY_EXISTS" | "IDEMPOTENCY_IN_PROGRESS" | "IDEMPOTENCY_KEY_REUSED" | "INTERNAL_ERROR" | "INVALID_TOKEN" | "NOT_ACCEPTABLE" | "PAYLOAD_TOO_LARGE" | "RATE_LIMITED" | "REGISTRATION_CLOSED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "TOKEN_EXPIRED" | "UNSUPPORTED_MEDIA_TYPE" | "USERNAME_ALREADY_EXISTS" | "VALIDATION_ERROR";
  "auth-forgot_password": "BAD_REQUEST" | "INTERNAL_ERROR" | "NOT_ACCEPTABLE" | "PAYLOAD_TOO_LARGE" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "auth-reset_password": "BAD_REQUEST" | "INTERNAL_ERROR" | "NOT_ACCEPTABLE" | "PAYLOAD_TOO_LARGE" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "TOKEN_INVALID" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "auth-request_verification": "BAD_REQUEST" | "INTERNAL_ERROR" | "NOT_ACCEPTABLE" | "PAYLOAD_TOO_LARGE" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "UNSUPPORTED_MEDIA_TYPE" | "VALIDATION_ERROR";
  "auth-verify_email": "BAD_REQUEST" | "CONFLICT" | "EMAIL_ALREADY_EXISTS" | "INTERNAL_ERROR" | "NOT_ACCEPTABLE" | "PAYLOAD_TOO_LARGE" | "RATE_LIMITED" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "REQUEST_TIMEOUT" | "SERVICE_UNAVAILABLE" | "TOKEN_INVALID" | "UNSUPPORTED_MEDIA_TYPE" | "USERNAME_ALREADY_EXISTS" | "VALIDATION_ERROR";
  "errors-explain_error": "BAD_REQUEST" | "INTERNAL_ERROR" | "NOT_ACCEPTABLE" | "NOT_FOUND" | "REQUEST_HEADER_FIELDS_TOO_LARGE" | "VALIDATION_ERROR";
}

/** Status of each error, and whether it may have `errors` by field and `Retry-After`. */
export const errors = {
  /** This account has been disabled. */
  ACCOUNT_DISABLED: { status: 403, errors: false, retryAfter: false },
  /** The article is archived already. */
  ARTICLE_ALREADY_ARCHIVED: { status: 409, errors: true, retryAfter: false },
  /** The article is published already. */
  ARTICLE_ALREADY_PUBLISHED: { status: 409, errors: true, retryAfter: false },
  /** No article has this id. */
  ARTICLE_NOT_FOUND: { status: 404, errors: false, retryAfter: false },
  /** The article is not published. */
  ARTICLE_NOT_PUBLISHED: { status: 409, errors: true, retryAfter: false },
  /** A published article needs content. */
  ARTICLE_WITHOUT_CONTENT: { status: 422, errors: true, retryAfter: false },
  /** The request could not be understood. */
  BAD_REQUEST: { status: 400, errors: false, retryAfter: false },
  /** Another resource has this value, or the resource was changed meanwhile. */
  CONFLICT: { status: 409, errors: true, retryAfter: false },
  /** Send the value of the CSRF cookie in X-CSRF-Token, from an allowed origin. */
  CSRF_FAILED: { status: 403, errors: false, retryAfter: false },
  /** The current password is wrong. */
  CURRENT_PASSWORD_WRONG: { status: 422, errors: true, retryAfter: false },
  /** Another account has this e-mail address. */
  EMAIL_ALREADY_EXISTS: { status: 409, errors: true, retryAfter: false },
  /** Verify your e-mail address first, by the link that was mailed to you. */
  EMAIL_NOT_VERIFIED: { status: 403, errors: false, retryAfter: false },
  /** Another request with this Idempotency-Key is in progress. Repeat this one shortly. */
  IDEMPOTENCY_IN_PROGRESS: { status: 409, errors: true, retryAfter: true },
  /** This Idempotency-Key belongs to a request with another body. Use a new one. */
  IDEMPOTENCY_KEY_REUSED: { status: 422, errors: true, retryAfter: false },
  /** The image has more than 25 million pixels: send a smaller one. */
  IMAGE_TOO_LARGE: { status: 422, errors: true, retryAfter: false },
  /** The image is incomplete or damaged. */
  IMAGE_UNREADABLE: { status: 422, errors: true, retryAfter: false },
  /** The server failed to process the request. The log has details by request id. */
  INTERNAL_ERROR: { status: 500, errors: false, retryAfter: false },
  /** The e-mail address or the password is wrong. */
  INVALID_CREDENTIALS: { status: 401, errors: false, retryAfter: false },
  /** The cursor was not issued for this list, sort and filters. Start at the first page. */
  INVALID_CURSOR: { status: 400, errors: false, retryAfter: false },
  /** This server does not serve that host name; ALLOWED_HOSTS lists those it serves. */
  INVALID_HOST: { status: 400, errors: false, retryAfter: false },
  /** The access token is invalid, or its session has ended. Sign in again. */
  INVALID_TOKEN: { status: 401, errors: false, retryAfter: false },
  /** No item has this id. */
  ITEM_NOT_FOUND: { status: 404, errors: false, retryAfter: false },
  /** Only a failed job can be retried; this one is waiting, running or done. */
  JOB_NOT_FAILED: { status: 409, errors: true, retryAfter: false },
  /** No job has this id. Jobs that succeed are not kept. */
  JOB_NOT_FOUND: { status: 404, errors: false, retryAfter: false },
  /** This is the last active administrator with a password; appoint another one first. Somebody who was invited counts once they have chosen a password. */
  LAST_ADMIN: { status: 409, errors: true, retryAfter: false },
  /** This address does not support that method; `Allow` lists those it supports. */
  METHOD_NOT_ALLOWED: { status: 405, errors: false, retryAfter: false },
  /** The Accept header excludes every media type of the response. */
  NOT_ACCEPTABLE: { status: 406, errors: false, retryAfter: false },
  /** Sign in first. */
  NOT_AUTHENTICATED: { status: 401, errors: false, retryAfter: false },
  /** There is nothing at this address. */
  NOT_FOUND: { status: 404, errors: false, retryAfter: false },
  /** The body is larger than this address accepts. */
  PAYLOAD_TOO_LARGE: { status: 413, errors: false, retryAfter: false },
  /** Your roles do not allow this. */
  PERMISSION_DENIED: { status: 403, errors: false, retryAfter: false },
  /** One of the permissions does not exist; GET /permissions lists those that do. */
  PERMISSION_UNKNOWN: { status: 422, errors: true, retryAfter: false },
  /** The resource is not as If-Match or If-None-Match require. Load it again. */
  PRECONDITION_FAILED: { status: 412, errors: false, retryAfter: false },
  /** The file ends before the requested range; Content-Range has its size. */
  RANGE_NOT_SATISFIABLE: { status: 416, errors: false, retryAfter: false },
  /** Too many requests. Try again after the seconds given in `Retry-After`. */
  RATE_LIMITED: { status: 429, errors: false, retryAfter: true },
  /** The refresh token is not valid, or its session has ended. Sign in again. */
  REFRESH_TOKEN_INVALID: { status: 401, errors: false, retryAfter: false },
  /** This refresh token had been replaced. Somebody may have copied it: sign in again. */
  REFRESH_TOKEN_REUSED: { status: 401, errors: false, retryAfter: false },
  /** Nobody can register here. Ask an administrator for an account. */
  REGISTRATION_CLOSED: { status: 403, errors: false, retryAfter: false },
  /** The request line and the headers are larger than this server accepts. */
  REQUEST_HEADER_FIELDS_TOO_LARGE: { status: 431, errors: false, retryAfter: false },
  /** The request did not arrive in time. Send it again. */
  REQUEST_TIMEOUT: { status: 408, errors: false, retryAfter: false },
  /** Another role has this name. */
  ROLE_ALREADY_EXISTS: { status: 409, errors: true, retryAfter: false },
  /** Somebody has this role; take it from them first (GET /users?role= finds them). */
  ROLE_IN_USE: { status: 409, errors: true, retryAfter: false },
  /** No role has this name. */
  ROLE_NOT_FOUND: { status: 404, errors: false, retryAfter: false },
  /** Built-in roles cannot be deleted, and `admin` keeps every permission it has. */
  ROLE_PROTECTED: { status: 409, errors: true, retryAfter: false },
  /** One of the roles does not exist. */
  ROLE_UNKNOWN: { status: 422, errors: true, retryAfter: false },
  /** A required service is not available. Try again shortly. */
  SERVICE_UNAVAILABLE: { status: 503, errors: false, retryAfter: true },
  /** You have no session with this id. */
  SESSION_NOT_FOUND: { status: 404, errors: false, retryAfter: false },
  /** The texts and files of this user would exceed the storage quota of an account: delete or shorten some first. */
  STORAGE_QUOTA_EXCEEDED: { status: 422, errors: true, retryAfter: false },
  /** The access token has expired. */
  TOKEN_EXPIRED: { status: 401, errors: false, retryAfter: false },
  /** This link has been used or replaced, or it has expired. Ask for a new one. */
  TOKEN_INVALID: { status: 400, errors: false, retryAfter: false },
  /** Send a media type that this address accepts, usually application/json, in UTF-8 and without a Content-Encoding. */
  UNSUPPORTED_MEDIA_TYPE: { status: 415, errors: false, retryAfter: false },
  /** Another account has this username. */
  USERNAME_ALREADY_EXISTS: { status: 409, errors: true, retryAfter: false },
  /** No user has this id. */
  USER_NOT_FOUND: { status: 404, errors: false, retryAfter: false },
  /** Some of the input is not acceptable; `errors` names the fields. */
  VALIDATION_ERROR: { status: 422, errors: true, retryAfter: false },
} as const;

/** The description of each permission. */
export const permissions = {
  "articles:admin": "All of this with other people's articles.",
  "articles:delete": "Delete articles.",
  "articles:publish": "Publish, unpublish and archive articles.",
  "articles:read": "See articles.",
  "articles:write": "Draft and change articles.",
  "audit:read": "Read the record.",
  "items:admin": "All of this with other people's items.",
  "items:delete": "Delete items.",
  "items:read": "See items.",
  "items:write": "Make and change items.",
  "jobs:read": "See jobs.",
  "jobs:write": "Retry jobs that have failed.",
  "roles:read": "See roles.",
  "roles:write": "Make, change and delete roles.",
  "users:admin": "Give and take roles, change addresses, and end sessions.",
  "users:delete": "Delete accounts.",
  "users:read": "See accounts.",
  "users:write": "Create and change accounts.",
} as const;
