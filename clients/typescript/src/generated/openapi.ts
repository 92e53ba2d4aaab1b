// Generated from openapi.json by `make client`. Changes are overwritten.
export interface paths {
    "/api/v1/audit-events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Events
         * @description Actions, with who did them and from where; the latest first.
         *
         *     Needs the permission `audit:read`.
         */
        get: operations["audit-list_events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Health
         * @description Return the running version.
         */
        get: operations["health-health"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health/live": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Live
         * @description Return that the process responds. It needs no other service: restart it if this fails.
         */
        get: operations["health-live"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health/ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Ready
         * @description Return whether the process is ready for requests. 503 also while it drains before a stop.
         */
        get: operations["health-ready"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/jobs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Jobs
         * @description Jobs that wait, run or have failed; the newest first.
         *
         *     Needs the permission `jobs:read`.
         */
        get: operations["jobs-list_jobs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/jobs/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Job
         * @description One job.
         *
         *     Needs the permission `jobs:read`.
         */
        get: operations["jobs-read_job"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/jobs/{id}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Retry Job
         * @description Try a failed job again, with as many attempts as a new one.
         *
         *     Needs the permission `jobs:write`.
         */
        post: operations["jobs-retry_job"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/permissions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Permissions
         * @description Everything that can be permitted, by feature.
         */
        get: operations["roles-list_permissions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/roles": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Roles
         * @description All roles.
         *
         *     Needs the permission `roles:read`.
         */
        get: operations["roles-list_roles"];
        put?: never;
        /**
         * Create Role
         * @description Make a role, of permissions that the caller holds.
         *
         *     Needs the permission `roles:write`.
         */
        post: operations["roles-create_role"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/roles/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Role
         * @description One role.
         *
         *     Needs the permission `roles:read`.
         */
        get: operations["roles-read_role"];
        put?: never;
        post?: never;
        /**
         * Delete Role
         * @description Delete a role that nobody has.
         *
         *     Needs the permission `roles:write`.
         */
        delete: operations["roles-delete_role"];
        options?: never;
        head?: never;
        /**
         * Update Role
         * @description Change what is sent; it counts from the next request of everybody who has the role.
         *
         *     A role that holds a permission the caller lacks is out of their reach.
         *
         *     Needs the permission `roles:write`.
         */
        patch: operations["roles-update_role"];
        trace?: never;
    };
    "/files/{key}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Download File
         * @description A public file, or by a signed link a private one; `Range` asks for a part of it.
         *
         *     A link that is forged or has expired is 404, as an unknown file is.
         */
        get: operations["files-download_file"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/me/statistics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read My Statistics
         * @description How much the caller has; sessions are those that have not ended.
         */
        get: operations["users-read_my_statistics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/me/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Export Me
         * @description Everything that the system holds about the caller, as a file.
         *
         *     Each part is as its list returns it. Audit events lack the data of other people. An incomplete
         *     response ends with a broken connection.
         */
        get: operations["users-export_me"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/statistics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Statistics Of Users
         * @description The number of accounts, and of new ones per day.
         *
         *     Needs the permission `users:read`.
         */
        get: operations["users-read_statistics_of_users"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Export Users
         * @description All accounts that match, as a file. The columns are the members of an account.
         *
         *     Accounts that are created meanwhile are not in the file. With another `sort` than `created_at`,
         *     accounts that change meanwhile may be missing or occur twice.
         *
         *     Needs the permission `users:read`.
         */
        get: operations["users-export_users"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Me
         * @description The caller's own account.
         */
        get: operations["users-read_me"];
        /**
         * Replace Me
         * @description The same as PATCH.
         */
        put: operations["users-replace_me"];
        post?: never;
        /**
         * Delete Me
         * @description Delete the caller's account and everything that belongs to it, at once and for good.
         */
        delete: operations["users-delete_me"];
        options?: never;
        head?: never;
        /**
         * Update Me
         * @description Change what is sent; `null` clears.
         *
         *     A new `email` is `pending_email` until the link that is mailed there has been followed; sending
         *     the present one cancels the change. A notice is mailed to the old address.
         */
        patch: operations["users-update_me"];
        trace?: never;
    };
    "/api/v1/users/me/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Change Password
         * @description Replace the caller's password. Their other sessions end, and a notice is mailed to them.
         */
        put: operations["auth-change_password"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/me/avatar": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Replace Avatar
         * @description Set the caller's picture: PNG, JPEG or WebP, at most 2 MiB and 25 million pixels.
         *
         *     The bytes decide about the type. Metadata in the image, such as its location, stay in it.
         */
        put: operations["users-replace_avatar"];
        post?: never;
        /**
         * Delete Avatar
         * @description Remove the caller's picture, if there is one.
         */
        delete: operations["users-delete_avatar"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Users
         * @description All accounts.
         *
         *     Needs the permission `users:read`.
         */
        get: operations["users-list_users"];
        put?: never;
        /**
         * Create User
         * @description Create an account for somebody else. Without a password, an invitation is mailed.
         *
         *     Needs the permission `users:write`.
         */
        post: operations["users-create_user"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read User
         * @description One account. Your own needs no permission; others need `users:read`.
         */
        get: operations["users-read_user"];
        put?: never;
        post?: never;
        /**
         * Delete User
         * @description Delete an account and everything that belongs to it, at once and for good.
         *
         *     Needs the permission `users:delete`.
         */
        delete: operations["users-delete_user"];
        options?: never;
        head?: never;
        /**
         * Update User
         * @description Change what is sent; `is_active: false` locks the account out at once.
         *
         *     An account without a password is mailed its invitation again when its address changes.
         *
         *     Needs the permission `users:write`.
         */
        patch: operations["users-update_user"];
        trace?: never;
    };
    "/api/v1/users/bulk": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create Users
         * @description Create up to 1000 accounts for others, or none of them. Invitations are mailed.
         *
         *     Needs the permission `users:write`.
         */
        post: operations["users-create_users"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/{id}/roles": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Set Roles
         * @description Replace all roles by these, from the user's next request on.
         *
         *     Needs the permission `users:admin`.
         */
        put: operations["users-set_roles"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/users/{id}/logout-all": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Log Out User
         * @description End all sessions of a user, at once and on every server.
         *
         *     Needs the permission `users:admin`.
         */
        post: operations["auth-log_out_user"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/articles": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Articles
         * @description Published articles and the caller's own; with `articles:admin` all.
         */
        get: operations["articles-list_articles"];
        put?: never;
        /**
         * Create Article
         * @description Begin a draft.
         *
         *     Needs the permission `articles:write`.
         */
        post: operations["articles-create_article"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/articles/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Article
         * @description One article.
         */
        get: operations["articles-read_article"];
        put?: never;
        post?: never;
        /**
         * Delete Article
         * @description Delete an article.
         *
         *     Needs the permission `articles:delete`.
         */
        delete: operations["articles-delete_article"];
        options?: never;
        head?: never;
        /**
         * Update Article
         * @description Change what is sent; `null` clears the content, unless the article is published.
         *
         *     Needs the permission `articles:write`.
         */
        patch: operations["articles-update_article"];
        trace?: never;
    };
    "/api/v1/articles/{id}/publish": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Publish Article
         * @description Show a draft or an archived article to everybody.
         *
         *     Needs the permission `articles:publish`.
         */
        post: operations["articles-publish_article"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/articles/{id}/unpublish": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Unpublish Article
         * @description Make a published article a draft again.
         *
         *     Needs the permission `articles:publish`.
         */
        post: operations["articles-unpublish_article"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/articles/{id}/archive": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Archive Article
         * @description Take an article out of sight without deleting it.
         *
         *     Needs the permission `articles:publish`.
         */
        post: operations["articles-archive_article"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Login
         * @description Sign in with JSON or with the OAuth2 password form.
         */
        post: operations["auth-login"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/refresh": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Refresh
         * @description Replace the refresh token of a session, in the body or in its cookie, and get new tokens.
         *
         *     For some seconds, the token that was just replaced gets the same answer; an older one ends the
         *     session. An access token in the same request must be of the same sign-in, and as old as the
         *     refresh token or one refresh older.
         */
        post: operations["auth-refresh"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Logout
         * @description End this session at once, on every server.
         *
         *     Any of its credentials will do: an access token, the refresh cookie, or `refresh_token`.
         */
        post: operations["auth-logout"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/logout-all": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Logout All
         * @description End all sessions of the caller.
         */
        post: operations["auth-logout_all"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Sessions
         * @description The caller's sessions that have not ended.
         */
        get: operations["auth-list_sessions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/sessions/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * End Session
         * @description End one of the caller's sessions.
         */
        delete: operations["auth-end_session"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/items": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Items
         * @description The caller's own items; with `items:admin` everybody's.
         *
         *     Needs the permission `items:read`.
         */
        get: operations["items-list_items"];
        put?: never;
        /**
         * Create Item
         * @description Make an item of one's own.
         *
         *     Needs the permission `items:write`.
         */
        post: operations["items-create_item"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/items/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read Item
         * @description One item.
         *
         *     Needs the permission `items:read`.
         */
        get: operations["items-read_item"];
        put?: never;
        post?: never;
        /**
         * Delete Item
         * @description Delete an item.
         *
         *     Needs the permission `items:delete`.
         */
        delete: operations["items-delete_item"];
        options?: never;
        head?: never;
        /**
         * Update Item
         * @description Change what is sent; `null` clears the description.
         *
         *     Needs the permission `items:write`.
         */
        patch: operations["items-update_item"];
        trace?: never;
    };
    "/api/v1/items/bulk": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create Items
         * @description Make up to 1000 items of one's own: all of them, or none.
         *
         *     Needs the permission `items:write`.
         */
        post: operations["items-create_items"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/register": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Register
         * @description Create an account, which is mailed a link to verify its address. Nobody is signed in.
         */
        post: operations["auth-register"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/forgot-password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Forgot Password
         * @description Mail a link that sets a new password. The answer is the same for every address.
         */
        post: operations["auth-forgot_password"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/reset-password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Reset Password
         * @description Set the password with the token of a mailed link, an invitation's too.
         *
         *     All sessions end, and the address counts as verified. A refused password does not use up the
         *     token.
         */
        post: operations["auth-reset_password"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/verify-email/request": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Request Verification
         * @description Mail the link that verifies an address again. The answer is always the same.
         */
        post: operations["auth-request_verification"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/verify-email": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Verify Email
         * @description Verify an address with the token of a mailed link. A new address takes effect with this.
         */
        post: operations["auth-verify_email"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/errors/{code}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Explain Error
         * @description Explain an error code. The `type` of every problem document refers to this route.
         */
        get: operations["errors-explain_error"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * Accepted
         * @description A response that is the same for every address.
         */
        Accepted: {
            /** Detail */
            detail: string;
        };
        /**
         * AccountExport
         * @description The data that the system holds about the caller: a member for each part.
         */
        AccountExport: {
            user: components["schemas"]["MeOut"];
            /** Audit Events */
            audit_events: components["schemas"]["AuditEventOut"][];
            /** Files */
            files: components["schemas"]["FileOut"][];
            /** Articles */
            articles: components["schemas"]["ArticleOut"][];
            /** Sessions */
            sessions: components["schemas"]["SessionOut"][];
            /** Items */
            items: components["schemas"]["ItemOut"][];
            /** Mailed Links */
            mailed_links: components["schemas"]["MailedLinkOut"][];
        };
        /**
         * AccountStatistics
         * @description Numbers of the caller's rows.
         */
        AccountStatistics: {
            /** Articles */
            articles: number;
            /** Articles Published */
            articles_published: number;
            /** Sessions */
            sessions: number;
            /** Items */
            items: number;
        };
        /** AccountUpdate */
        AccountUpdate: {
            /** Username */
            username?: string | null;
            /** Full Name */
            full_name?: string | null;
            /**
             * Email
             * Format: idn-email
             * @description Takes effect once it is verified. A new one needs `current_password`.
             * @example ada@example.com
             */
            email?: string;
            /**
             * Current Password
             * Format: password
             * @example correct horse battery
             */
            current_password?: string;
        };
        /** ActionOut */
        ActionOut: {
            /**
             * Action
             * @example publish
             */
            action: string;
            /**
             * Permission
             * @description What roles hold.
             * @example articles:publish
             */
            permission: string;
            /** Description */
            description: string;
        };
        /** ArticleCreate */
        ArticleCreate: {
            /**
             * Title
             * @example On computable numbers
             */
            title: string;
            /** Content */
            content?: string | null;
        };
        /** ArticleOut */
        ArticleOut: {
            /**
             * Id
             * Format: uuid
             */
            id: string;
            /** Title */
            title: string;
            /** Content */
            content: string | null;
            /**
             * Status
             * @enum {string}
             */
            status: "draft" | "published" | "archived";
            author: components["schemas"]["Author"];
            /**
             * Author Id
             * Format: uuid
             */
            author_id: string;
            /** Published At */
            published_at: string | null;
            /**
             * Created At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            created_at: string;
            /**
             * Updated At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            updated_at: string;
        };
        /** ArticleUpdate */
        ArticleUpdate: {
            /**
             * Title
             * @example On computable numbers
             */
            title?: string;
            /** Content */
            content?: string | null;
        };
        /** AuditEventOut */
        AuditEventOut: {
            /**
             * Id
             * Format: uuid
             */
            id: string;
            /**
             * Occurred At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            occurred_at: string;
            /**
             * Actor Id
             * @description Who did it; null where nobody was signed in.
             */
            actor_id: string | null;
            /**
             * Action
             * @example article.publish
             */
            action: string;
            /**
             * Target Type
             * @example article
             */
            target_type: string | null;
            /** Target Id */
            target_id: string | null;
            /**
             * Outcome
             * @enum {string}
             */
            outcome: "success" | "failure" | "denied";
            /** Ip */
            ip: string | null;
            /** User Agent */
            user_agent: string | null;
            /**
             * Request Id
             * @description `X-Request-ID` of the request that did it.
             */
            request_id: string | null;
            /**
             * Changes
             * @description By member: `old` and `new`, or only `changed` where the values are long or secret.
             * @example {
             *       "status": {
             *         "new": "published",
             *         "old": "draft"
             *       }
             *     }
             */
            changes: {
                [key: string]: unknown;
            } | null;
        };
        /**
         * Author
         * @description The public part of an account.
         */
        Author: {
            /**
             * Id
             * Format: uuid
             */
            id: string;
            /** Username */
            username: string | null;
            /** Full Name */
            full_name: string | null;
        };
        /** Body_users-replace_avatar */
        "Body_users-replace_avatar": {
            /** File */
            file: Blob;
        };
        /** Bulk[InvitedUser] */
        Bulk_InvitedUser_: {
            /** Data */
            data: components["schemas"]["InvitedUser"][];
        };
        /** Bulk[ItemCreate] */
        Bulk_ItemCreate_: {
            /** Data */
            data: components["schemas"]["ItemCreate"][];
        };
        /** Bulk[ItemOut] */
        Bulk_ItemOut_: {
            /** Data */
            data: components["schemas"]["ItemOut"][];
        };
        /** Bulk[UserOut] */
        Bulk_UserOut_: {
            /** Data */
            data: components["schemas"]["UserOut"][];
        };
        /** Check */
        Check: {
            /**
             * Status
             * @enum {string}
             */
            status: "ok" | "error" | "degraded" | "draining";
            /**
             * Latency Ms
             * @description Duration of the check.
             */
            latency_ms: number;
            /**
             * Detail
             * @description The problem, if there is one.
             */
            detail: string | null;
        };
        /**
         * CookieTokens
         * @description With `transport=cookie`: the tokens themselves are in cookies that no script can read.
         */
        CookieTokens: {
            /**
             * Token Type
             * @default bearer
             * @constant
             */
            token_type: "bearer";
            /**
             * Expires In
             * @description Seconds.
             * @example 1800
             */
            expires_in: number;
            /**
             * Session Id
             * Format: uuid
             * @description The id of this sign-in; it is not a credential.
             */
            session_id: string;
            /**
             * Csrf Token
             * @description Send as `X-CSRF-Token` with every request but GET, HEAD and OPTIONS.
             */
            csrf_token: string;
        };
        /** ErrorMeaning */
        ErrorMeaning: {
            /** Code */
            code: string;
            /** Status */
            status: number;
            /** Title */
            title: string;
            /** Detail */
            detail: string;
        };
        /**
         * FeatureOut
         * @description The actions on one subject that can be permitted.
         */
        FeatureOut: {
            /**
             * Feature
             * @example articles
             */
            feature: string;
            /** Description */
            description: string;
            /** Actions */
            actions: components["schemas"]["ActionOut"][];
        };
        /** Health */
        Health: {
            /**
             * Status
             * @default ok
             * @constant
             */
            status: "ok";
            /**
             * Version
             * @example 0.1.0
             */
            version: string;
        };
        /**
         * InvitedUser
         * @description An account without a password, which is mailed an invitation to choose one.
         */
        InvitedUser: {
            /**
             * Email
             * Format: idn-email
             * @example ada@example.com
             */
            email: string;
            /** Username */
            username?: string | null;
            /** Full Name */
            full_name?: string | null;
            /**
             * Is Active
             * @default true
             */
            is_active?: boolean;
            /**
             * Is Verified
             * @default false
             */
            is_verified?: boolean;
            /**
             * Roles
             * @description Needs `users:admin`. Default: `member`.
             */
            roles?: string[];
        };
        /** ItemCreate */
        ItemCreate: {
            /**
             * Title
             * @example Milk
             */
            title: string;
            /** Description */
            description?: string | null;
        };
        /** ItemOut */
        ItemOut: {
            /**
             * Id
             * Format: uuid
             */
            id: string;
            /** Title */
            title: string;
            /** Description */
            description: string | null;
            /**
             * Owner Id
             * Format: uuid
             */
            owner_id: string;
            /**
             * Created At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            created_at: string;
            /**
             * Updated At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            updated_at: string;
        };
        /** ItemUpdate */
        ItemUpdate: {
            /**
             * Title
             * @example Milk
             */
            title?: string;
            /** Description */
            description?: string | null;
        };
        /** JobOut */
        JobOut: {
            /** Id */
            id: number;
            /**
             * Name
             * @description `module.what`.
             * @example mail.send
             */
            name: string;
            /**
             * Status
             * @description `waiting` for its time, a worker or its next attempt; `running`; `failed` after its last attempt, which is kept for 30 days, or until the clock starts it again. A job that succeeds is deleted: `done` are only those that somebody ended by hand in the database.
             * @enum {string}
             */
            status: "waiting" | "running" | "failed" | "done";
            /**
             * Attempts
             * @description How often it was tried, the one that runs not counted.
             */
            attempts: number;
            /**
             * Arguments
             * @description What it was given.
             */
            arguments: {
                [key: string]: unknown;
            };
            /**
             * Error
             * @description Why its last attempt failed, or why it waits: the type of an error, or a sentence. Null before the first failure.
             * @example ConnectionRefusedError
             */
            error: string | null;
            /**
             * Request Id
             * @description The `X-Request-ID` of the request that enqueued it; null if no request did.
             */
            request_id: string | null;
            /**
             * Scheduled At
             * @description Not to run before; null: at once.
             */
            scheduled_at: string | null;
            /**
             * Created At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            created_at: string;
        };
        /** LinkRequest */
        LinkRequest: {
            /**
             * Email
             * Format: idn-email
             * @example ada@example.com
             */
            email: string;
        };
        /** LinkToken */
        LinkToken: {
            /**
             * Token
             * @description From the link; in the usual one it follows `#token=`.
             */
            token: string;
        };
        /** Liveness */
        Liveness: {
            /**
             * Status
             * @default ok
             * @constant
             */
            status: "ok";
        };
        /** MeOut */
        MeOut: {
            /**
             * Id
             * Format: uuid
             */
            id: string;
            /**
             * Email
             * Format: idn-email
             * @example ada@example.com
             */
            email: string;
            /** Username */
            username: string | null;
            /** Full Name */
            full_name: string | null;
            /** Is Active */
            is_active: boolean;
            /** Is Verified */
            is_verified: boolean;
            /**
             * Roles
             * @example [
             *       "member"
             *     ]
             */
            roles: string[];
            /**
             * Avatar Url
             * @description The address of the picture, relative to this server. It changes with the picture, and needs no sign-in.
             * @example /files/hG5vVd1s2m0cQx4J8YtKp7Zr9LwBnEaUfCiRoTdSgHk
             */
            avatar_url: string | null;
            /**
             * Created At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            created_at: string;
            /**
             * Updated At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            updated_at: string;
            /**
             * Pending Email
             * Format: idn-email
             * @description The new `email`, until it is verified.
             */
            pending_email: string | null;
        };
        /** NewUsers */
        NewUsers: {
            /**
             * Date
             * Format: date
             */
            date: string;
            /** Count */
            count: number;
        };
        /** Page[ArticleOut] */
        Page_ArticleOut_: {
            /** Data */
            data: components["schemas"]["ArticleOut"][];
            /**
             * Next Cursor
             * @description Pass as `cursor` for the next page.
             */
            next_cursor: string | null;
            /**
             * Total
             * @description Number of all matches; only with `total=true`.
             */
            total: number | null;
        };
        /** Page[AuditEventOut] */
        Page_AuditEventOut_: {
            /** Data */
            data: components["schemas"]["AuditEventOut"][];
            /**
             * Next Cursor
             * @description Pass as `cursor` for the next page.
             */
            next_cursor: string | null;
            /**
             * Total
             * @description Number of all matches; only with `total=true`.
             */
            total: number | null;
        };
        /** Page[FeatureOut] */
        Page_FeatureOut_: {
            /** Data */
            data: components["schemas"]["FeatureOut"][];
            /**
             * Next Cursor
             * @description Pass as `cursor` for the next page.
             */
            next_cursor: string | null;
            /**
             * Total
             * @description Number of all matches; only with `total=true`.
             */
            total: number | null;
        };
        /** Page[ItemOut] */
        Page_ItemOut_: {
            /** Data */
            data: components["schemas"]["ItemOut"][];
            /**
             * Next Cursor
             * @description Pass as `cursor` for the next page.
             */
            next_cursor: string | null;
            /**
             * Total
             * @description Number of all matches; only with `total=true`.
             */
            total: number | null;
        };
        /** Page[JobOut] */
        Page_JobOut_: {
            /** Data */
            data: components["schemas"]["JobOut"][];
            /**
             * Next Cursor
             * @description Pass as `cursor` for the next page.
             */
            next_cursor: string | null;
            /**
             * Total
             * @description Number of all matches; only with `total=true`.
             */
            total: number | null;
        };
        /** Page[RoleOut] */
        Page_RoleOut_: {
            /** Data */
            data: components["schemas"]["RoleOut"][];
            /**
             * Next Cursor
             * @description Pass as `cursor` for the next page.
             */
            next_cursor: string | null;
            /**
             * Total
             * @description Number of all matches; only with `total=true`.
             */
            total: number | null;
        };
        /** Page[SessionOut] */
        Page_SessionOut_: {
            /** Data */
            data: components["schemas"]["SessionOut"][];
            /**
             * Next Cursor
             * @description Pass as `cursor` for the next page.
             */
            next_cursor: string | null;
            /**
             * Total
             * @description Number of all matches; only with `total=true`.
             */
            total: number | null;
        };
        /** Page[UserOut] */
        Page_UserOut_: {
            /** Data */
            data: components["schemas"]["UserOut"][];
            /**
             * Next Cursor
             * @description Pass as `cursor` for the next page.
             */
            next_cursor: string | null;
            /**
             * Total
             * @description Number of all matches; only with `total=true`.
             */
            total: number | null;
        };
        /** PasswordChange */
        PasswordChange: {
            /**
             * Current Password
             * Format: password
             * @example correct horse battery
             */
            current_password: string;
            /**
             * New Password
             * Format: password
             * @description 8 to 128 characters of any kind; the most common ones are refused.
             * @example correct horse battery
             */
            new_password: string;
        };
        /** PasswordReset */
        PasswordReset: {
            /**
             * Token
             * @description From the link; in the usual one it follows `#token=`.
             */
            token: string;
            /**
             * New Password
             * Format: password
             * @description 8 to 128 characters of any kind; the most common ones are refused.
             * @example correct horse battery
             */
            new_password: string;
        };
        /** Readiness */
        Readiness: {
            /**
             * Status
             * @enum {string}
             */
            status: "ok" | "error" | "degraded" | "draining";
            /** Checks */
            checks: {
                [key: string]: components["schemas"]["Check"];
            };
        };
        /** Refresh */
        Refresh: {
            /**
             * Refresh Token
             * @description From the last sign-in or refresh. Not needed if its cookie is sent.
             */
            refresh_token?: string | null;
        };
        /** Registration */
        Registration: {
            /**
             * Email
             * Format: idn-email
             * @example ada@example.com
             */
            email: string;
            /**
             * Password
             * Format: password
             * @description 8 to 128 characters of any kind; the most common ones are refused.
             * @example correct horse battery
             */
            password: string;
            /** Username */
            username?: string | null;
            /** Full Name */
            full_name?: string | null;
        };
        /** RoleCreate */
        RoleCreate: {
            /**
             * Name
             * @description 1 to 50 small letters, digits, `_` and `-`, beginning with a letter.
             * @example reviewer
             */
            name: string;
            /** Description */
            description?: string | null;
            /**
             * Permissions
             * @description Each must be one of GET /permissions, and the caller's own.
             * @example [
             *       "articles:publish",
             *       "articles:read"
             *     ]
             */
            permissions?: string[];
        };
        /** RoleOut */
        RoleOut: {
            /**
             * Name
             * @example reviewer
             */
            name: string;
            /** Description */
            description: string | null;
            /**
             * Permissions
             * @example [
             *       "articles:publish",
             *       "articles:read"
             *     ]
             */
            permissions: string[];
            /**
             * Built In
             * @description Comes with the application and cannot be deleted.
             */
            built_in: boolean;
            /**
             * Created At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            created_at: string;
            /**
             * Updated At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            updated_at: string;
        };
        /** RoleUpdate */
        RoleUpdate: {
            /** Description */
            description?: string | null;
            /**
             * Permissions
             * @description Each must be one of GET /permissions, and the caller's own.
             * @example [
             *       "articles:publish",
             *       "articles:read"
             *     ]
             */
            permissions?: string[];
        };
        /** RolesUpdate */
        RolesUpdate: {
            /**
             * Roles
             * @example [
             *       "member",
             *       "editor"
             *     ]
             */
            roles: string[];
        };
        /** SessionOut */
        SessionOut: {
            /**
             * Id
             * Format: uuid
             */
            id: string;
            /**
             * Created At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            created_at: string;
            /**
             * Last Used At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            last_used_at: string;
            /**
             * Expires At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            expires_at: string;
            /** Ip */
            ip: string | null;
            /** User Agent */
            user_agent: string | null;
            /**
             * Current
             * @description Whether this request belongs to this session.
             */
            current: boolean;
        };
        /** Tokens */
        Tokens: {
            /**
             * Token Type
             * @default bearer
             * @constant
             */
            token_type: "bearer";
            /**
             * Expires In
             * @description Seconds.
             * @example 1800
             */
            expires_in: number;
            /**
             * Session Id
             * Format: uuid
             * @description The id of this sign-in; it is not a credential.
             */
            session_id: string;
            /**
             * Access Token
             * @description Send as `Authorization: Bearer <token>`.
             */
            access_token: string;
            /**
             * Refresh Token
             * @description Valid once, for `POST /auth/refresh`, which returns a new one.
             */
            refresh_token: string;
        };
        /**
         * UserCreate
         * @description An account that is created for somebody else.
         */
        UserCreate: {
            /**
             * Email
             * Format: idn-email
             * @example ada@example.com
             */
            email: string;
            /**
             * Password
             * @description Needs every permission that the account gets, by its default role as well. Without a password, an invitation to choose one is mailed.
             */
            password?: string | null;
            /** Username */
            username?: string | null;
            /** Full Name */
            full_name?: string | null;
            /**
             * Is Active
             * @default true
             */
            is_active?: boolean;
            /**
             * Is Verified
             * @default false
             */
            is_verified?: boolean;
            /**
             * Roles
             * @description Needs `users:admin`. Default: `member`.
             */
            roles?: string[];
        };
        /** UserOut */
        UserOut: {
            /**
             * Id
             * Format: uuid
             */
            id: string;
            /**
             * Email
             * Format: idn-email
             * @example ada@example.com
             */
            email: string;
            /** Username */
            username: string | null;
            /** Full Name */
            full_name: string | null;
            /** Is Active */
            is_active: boolean;
            /** Is Verified */
            is_verified: boolean;
            /**
             * Roles
             * @example [
             *       "member"
             *     ]
             */
            roles: string[];
            /**
             * Avatar Url
             * @description The address of the picture, relative to this server. It changes with the picture, and needs no sign-in.
             * @example /files/hG5vVd1s2m0cQx4J8YtKp7Zr9LwBnEaUfCiRoTdSgHk
             */
            avatar_url: string | null;
            /**
             * Created At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            created_at: string;
            /**
             * Updated At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            updated_at: string;
        };
        /** UserStatistics */
        UserStatistics: {
            /** Total */
            total: number;
            /**
             * Active
             * @description Accounts that are enabled.
             */
            active: number;
            /**
             * Verified
             * @description Accounts whose address is verified.
             */
            verified: number;
            /**
             * New Per Day
             * @description Accounts created on each of the last `days` days in UTC, today included and last. Deleted accounts do not count.
             */
            new_per_day: components["schemas"]["NewUsers"][];
        };
        /** UserUpdate */
        UserUpdate: {
            /** Username */
            username?: string | null;
            /** Full Name */
            full_name?: string | null;
            /**
             * Email
             * Format: idn-email
             * @description A change, even in spelling only, needs `users:admin`. It ends all sessions of the account and all links mailed to it; a notice is mailed to the old and the new address. Change your own address at /users/me.
             * @example ada@example.com
             */
            email?: string;
            /** Is Active */
            is_active?: boolean;
            /**
             * Is Verified
             * @description Changing your own is 403: addresses are verified by a mailed link.
             */
            is_verified?: boolean;
        };
        /**
         * FieldError
         * @description An error in one field of the input. It never contains the value sent.
         */
        FieldError: {
            /**
             * Field
             * @example body.email
             */
            field: string;
            /**
             * Message
             * @example Must be a valid e-mail address.
             */
            message: string;
            /**
             * Code
             * @example email
             */
            code: string;
        };
        /**
         * Problem
         * @description RFC 9457 problem document: the body of every error response.
         */
        Problem: {
            /**
             * Type
             * @description Where `error` is explained.
             * @example /errors/NOT_FOUND
             */
            type: string;
            /**
             * Title
             * @example Not found
             */
            title: string;
            /**
             * Status
             * @example 404
             */
            status: number;
            /**
             * Detail
             * @example There is nothing at this address.
             */
            detail: string;
            /**
             * Instance
             * @description Path of the request, percent-encoded, without query.
             */
            instance: string;
            /**
             * Error
             * @description Stable code to branch on.
             * @example NOT_FOUND
             */
            error: string;
            /** Path */
            path: string;
            /**
             * Timestamp
             * Format: date-time
             */
            timestamp: string;
            /**
             * Request Id
             * @description Also in `X-Request-ID` and in the log.
             */
            request_id: string;
            /**
             * Errors
             * @description With 422 and 409: the errors by field; at most 100.
             * @default []
             */
            errors?: components["schemas"]["FieldError"][];
            /**
             * Errors Omitted
             * @description The number of further errors; present only if there are any.
             * @default 0
             */
            errors_omitted?: number;
        };
        /** FileOut */
        FileOut: {
            /**
             * Id
             * Format: uuid
             */
            id: string;
            /** Filename */
            filename: string | null;
            /**
             * Content Type
             * @example application/pdf
             */
            content_type: string;
            /**
             * Size
             * @description Bytes.
             */
            size: number;
            /**
             * Is Public
             * @description Whether its address needs no signature.
             */
            is_public: boolean;
            /**
             * Created At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            created_at: string;
        };
        /**
         * MailedLinkOut
         * @description A link that was requested for an account, without its token.
         */
        MailedLinkOut: {
            /**
             * Id
             * Format: uuid
             */
            id: string;
            /**
             * Purpose
             * @example reset
             */
            purpose: string;
            /**
             * Email
             * Format: idn-email
             */
            email: string;
            /**
             * Created At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            created_at: string;
            /** Mailed At */
            mailed_at: string | null;
            /**
             * Expires At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            expires_at: string;
            /**
             * Ended At
             * @description When it was used or replaced.
             */
            ended_at: string | null;
        };
        /** UserOutWithInclusions */
        UserOutWithInclusions: {
            /**
             * Id
             * Format: uuid
             */
            id: string;
            /**
             * Email
             * Format: idn-email
             * @example ada@example.com
             */
            email: string;
            /** Username */
            username: string | null;
            /** Full Name */
            full_name: string | null;
            /** Is Active */
            is_active: boolean;
            /** Is Verified */
            is_verified: boolean;
            /**
             * Roles
             * @example [
             *       "member"
             *     ]
             */
            roles: string[];
            /**
             * Avatar Url
             * @description The address of the picture, relative to this server. It changes with the picture, and needs no sign-in.
             * @example /files/hG5vVd1s2m0cQx4J8YtKp7Zr9LwBnEaUfCiRoTdSgHk
             */
            avatar_url: string | null;
            /**
             * Created At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            created_at: string;
            /**
             * Updated At
             * Format: date-time
             * @description RFC 3339 in UTC.
             * @example 2026-01-01T12:00:00.000000Z
             */
            updated_at: string;
            /** @description Only with `include=items`. */
            items?: components["schemas"]["Page_ItemOut_"];
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    "audit-list_events": {
        parameters: {
            query?: {
                /** @description Maximal rows of a page. */
                limit?: number;
                /** @description `next_cursor` of the previous page. */
                cursor?: string;
                /** @description Rows to skip; not with `cursor`. */
                offset?: number;
                /** @description Fields, the most significant first, comma separated; `-` for descending. Each field once. Default `-occurred_at`. */
                sort?: ("occurred_at" | "-occurred_at")[];
                /** @description Count all matches. */
                total?: boolean;
                /** @description Only these members, comma separated. */
                fields?: ("id" | "occurred_at" | "actor_id" | "action" | "target_type" | "target_id" | "outcome" | "ip" | "user_agent" | "request_id" | "changes")[];
                /** @description This event. */
                id?: string;
                /** @description Done by this user. */
                actor_id?: string;
                /** @description Such as `auth.login`. */
                action?: string;
                /** @description Such as `user`. */
                target_type?: string;
                /** @description Done to this. */
                target_id?: string;
                /** @description What came of it. */
                outcome?: "success" | "failure" | "denied";
                /** @description From here. */
                ip?: string;
                /** @description By this program, exactly. */
                user_agent?: string;
                /** @description By this request. */
                request_id?: string;
                /** @description At or after this time. */
                occurred_after?: string;
                /** @description Before this time. */
                occurred_before?: string;
                /** @description At or after this time. */
                created_after?: string;
                /** @description Before this time. */
                created_before?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description `<...>; rel="next"`, the next page, if there is one. */
                    Link?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_AuditEventOut_"];
                };
            };
        };
    };
    "health-health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
        };
    };
    "health-live": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Liveness"];
                };
            };
        };
    };
    "health-ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
        };
    };
    "jobs-list_jobs": {
        parameters: {
            query?: {
                /** @description Maximal rows of a page. */
                limit?: number;
                /** @description `next_cursor` of the previous page. */
                cursor?: string;
                /** @description Rows to skip; not with `cursor`. */
                offset?: number;
                /** @description Fields, the most significant first, comma separated; `-` for descending. Each field once. Default `-created_at`. */
                sort?: ("created_at" | "-created_at" | "attempts" | "-attempts")[];
                /** @description Count all matches. */
                total?: boolean;
                /** @description Only these members, comma separated. */
                fields?: ("id" | "name" | "status" | "attempts" | "arguments" | "error" | "request_id" | "scheduled_at" | "created_at")[];
                /** @description In this state. */
                status?: "waiting" | "running" | "failed" | "done";
                /** @description Of this name, such as `mail.send`. */
                name?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description `<...>; rel="next"`, the next page, if there is one. */
                    Link?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_JobOut_"];
                };
            };
        };
    };
    "jobs-read_job": {
        parameters: {
            query?: {
                /** @description Only these members, comma separated. */
                fields?: ("id" | "name" | "status" | "attempts" | "arguments" | "error" | "request_id" | "scheduled_at" | "created_at")[];
            };
            header?: {
                /** @description Tags of representations that the client has: 304 if the current one is among them. */
                "If-None-Match"?: string;
            };
            path: {
                id: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobOut"];
                };
            };
            /** @description Not Modified: the tag is in If-None-Match. */
            304: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "jobs-retry_job": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                id: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobOut"];
                };
            };
        };
    };
    "roles-list_permissions": {
        parameters: {
            query?: {
                /** @description Maximal rows of a page. */
                limit?: number;
                /** @description `next_cursor` of the previous page. */
                cursor?: string;
                /** @description Rows to skip; not with `cursor`. */
                offset?: number;
                /** @description Fields, the most significant first, comma separated; `-` for descending. Each field once. Default `feature`. */
                sort?: ("feature" | "-feature")[];
                /** @description Count all matches. */
                total?: boolean;
                /** @description Only these members, comma separated. */
                fields?: ("feature" | "description" | "actions")[];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description `<...>; rel="next"`, the next page, if there is one. */
                    Link?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_FeatureOut_"];
                };
            };
        };
    };
    "roles-list_roles": {
        parameters: {
            query?: {
                /** @description Maximal rows of a page. */
                limit?: number;
                /** @description `next_cursor` of the previous page. */
                cursor?: string;
                /** @description Rows to skip; not with `cursor`. */
                offset?: number;
                /** @description Fields, the most significant first, comma separated; `-` for descending. Each field once. Default `name`. */
                sort?: ("name" | "-name" | "created_at" | "-created_at" | "updated_at" | "-updated_at")[];
                /** @description Count all matches. */
                total?: boolean;
                /** @description Only these members, comma separated. */
                fields?: ("name" | "description" | "permissions" | "built_in" | "created_at" | "updated_at")[];
                /** @description Part of the name or description. Only the first 32 words are used. */
                q?: string;
                /** @description Which come with the application. */
                built_in?: boolean;
                /** @description At or after this time. */
                created_after?: string;
                /** @description Before this time. */
                created_before?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description `<...>; rel="next"`, the next page, if there is one. */
                    Link?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_RoleOut_"];
                };
            };
        };
    };
    "roles-create_role": {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes a repetition safe: it gets the response of the first request for 24 hours. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RoleCreate"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    /** @description The path of what was created. */
                    Location?: string;
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    /** @description `true` if this is the stored response of an earlier request. */
                    "Idempotency-Replayed"?: "true";
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RoleOut"];
                };
            };
        };
    };
    "roles-read_role": {
        parameters: {
            query?: {
                /** @description Only these members, comma separated. */
                fields?: ("name" | "description" | "permissions" | "built_in" | "created_at" | "updated_at")[];
            };
            header?: {
                /** @description Tags of representations that the client has: 304 if the current one is among them. */
                "If-None-Match"?: string;
            };
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RoleOut"];
                };
            };
            /** @description Not Modified: the tag is in If-None-Match. */
            304: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "roles-delete_role": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "roles-update_role": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RoleUpdate"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RoleOut"];
                };
            };
        };
    };
    "files-download_file": {
        parameters: {
            query?: {
                /** @description A part of a signed link. */
                expires?: string | null;
                /** @description A part of a signed link. */
                signature?: string | null;
            };
            header?: never;
            path: {
                key: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file. */
            200: {
                headers: {
                    /** @description `bytes`. */
                    "Accept-Ranges"?: string;
                    /** @description `inline` for images, else `attachment`, with the file's name. */
                    "Content-Disposition"?: string;
                    /** @description The content at an address never changes. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "*/*": string;
                };
            };
            /** @description The range. */
            206: {
                headers: {
                    /** @description `bytes`. */
                    "Accept-Ranges"?: string;
                    /** @description `inline` for images, else `attachment`, with the file's name. */
                    "Content-Disposition"?: string;
                    /** @description The content at an address never changes. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "*/*": string;
                };
            };
            /** @description Not modified. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "users-read_my_statistics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccountStatistics"];
                };
            };
        };
    };
    "users-export_me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description A file name. */
                    "Content-Disposition"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccountExport"];
                };
            };
        };
    };
    "users-read_statistics_of_users": {
        parameters: {
            query?: {
                /** @description Number of days, today included. */
                days?: number;
                /** @description Only these members, comma separated. */
                fields?: ("total" | "active" | "verified" | "new_per_day")[];
            };
            header?: {
                /** @description Tags of representations that the client has: 304 if the current one is among them. */
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UserStatistics"];
                };
            };
            /** @description Not Modified: the tag is in If-None-Match. */
            304: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "users-export_users": {
        parameters: {
            query?: {
                /** @description Format of the file. */
                format?: "csv" | "ndjson";
                /** @description Fields, the most significant first, comma separated; `-` for descending. Each field once. Default `-created_at`. */
                sort?: ("created_at" | "-created_at" | "updated_at" | "-updated_at" | "email" | "-email" | "username" | "-username")[];
                /** @description Part of the e-mail address, username or full name. Only the first 32 words are used. */
                q?: string;
                /** @description Whether the account is enabled. */
                is_active?: boolean;
                /** @description Whether the address is verified. */
                is_verified?: boolean;
                /** @description Accounts with this role. */
                role?: string;
                /** @description At or after this time. */
                created_after?: string;
                /** @description Before this time. */
                created_before?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All rows. An incomplete response ends with a broken connection. */
            200: {
                headers: {
                    /** @description A file name. */
                    "Content-Disposition"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "text/csv": string;
                    "application/x-ndjson": string;
                };
            };
        };
    };
    "users-read_me": {
        parameters: {
            query?: {
                /** @description Only these members, comma separated. */
                fields?: ("id" | "email" | "username" | "full_name" | "is_active" | "is_verified" | "roles" | "avatar_url" | "created_at" | "updated_at" | "pending_email")[];
            };
            header?: {
                /** @description Tags of representations that the client has: 304 if the current one is among them. */
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description For callers whose session is in cookies: the value to send. */
                    "X-CSRF-Token"?: string;
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MeOut"];
                };
            };
            /** @description Not Modified: the tag is in If-None-Match. */
            304: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "users-replace_me": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AccountUpdate"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MeOut"];
                };
            };
        };
    };
    "users-delete_me": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "users-update_me": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AccountUpdate"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MeOut"];
                };
            };
        };
    };
    "auth-change_password": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasswordChange"];
            };
        };
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "users-replace_avatar": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": components["schemas"]["Body_users-replace_avatar"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MeOut"];
                };
            };
        };
    };
    "users-delete_avatar": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "users-list_users": {
        parameters: {
            query?: {
                /** @description Maximal rows of a page. */
                limit?: number;
                /** @description `next_cursor` of the previous page. */
                cursor?: string;
                /** @description Rows to skip; not with `cursor`. */
                offset?: number;
                /** @description Fields, the most significant first, comma separated; `-` for descending. Each field once. Default `-created_at`. */
                sort?: ("created_at" | "-created_at" | "updated_at" | "-updated_at" | "email" | "-email" | "username" | "-username")[];
                /** @description Count all matches. */
                total?: boolean;
                /** @description Only these members, comma separated. */
                fields?: ("id" | "email" | "username" | "full_name" | "is_active" | "is_verified" | "roles" | "avatar_url" | "created_at" | "updated_at")[];
                /** @description Part of the e-mail address, username or full name. Only the first 32 words are used. */
                q?: string;
                /** @description Whether the account is enabled. */
                is_active?: boolean;
                /** @description Whether the address is verified. */
                is_verified?: boolean;
                /** @description Accounts with this role. */
                role?: string;
                /** @description At or after this time. */
                created_after?: string;
                /** @description Before this time. */
                created_before?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description `<...>; rel="next"`, the next page, if there is one. */
                    Link?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_UserOut_"];
                };
            };
        };
    };
    "users-create_user": {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes a repetition safe: it gets the response of the first request for 24 hours. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UserCreate"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    /** @description The path of what was created. */
                    Location?: string;
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    /** @description `true` if this is the stored response of an earlier request. */
                    "Idempotency-Replayed"?: "true";
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UserOut"];
                };
            };
        };
    };
    "users-read_user": {
        parameters: {
            query?: {
                /** @description Only these members, comma separated. */
                fields?: ("id" | "email" | "username" | "full_name" | "is_active" | "is_verified" | "roles" | "avatar_url" | "created_at" | "updated_at")[];
                /** @description Adds members with the first page of what belongs to the resource, comma separated. The `ETag` is then that of the resource with these members; `If-Match` takes the one of the resource without them. */
                include?: "items"[];
            };
            header?: {
                /** @description Tags of representations that the client has: 304 if the current one is among them. */
                "If-None-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UserOutWithInclusions"];
                };
            };
            /** @description Not Modified: the tag is in If-None-Match. */
            304: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "users-delete_user": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "users-update_user": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UserUpdate"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UserOut"];
                };
            };
        };
    };
    "users-create_users": {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes a repetition safe: it gets the response of the first request for 24 hours. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Bulk_InvitedUser_"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    /** @description `true` if this is the stored response of an earlier request. */
                    "Idempotency-Replayed"?: "true";
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Bulk_UserOut_"];
                };
            };
        };
    };
    "users-set_roles": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RolesUpdate"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UserOut"];
                };
            };
        };
    };
    "auth-log_out_user": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "articles-list_articles": {
        parameters: {
            query?: {
                /** @description Maximal rows of a page. */
                limit?: number;
                /** @description `next_cursor` of the previous page. */
                cursor?: string;
                /** @description Rows to skip; not with `cursor`. */
                offset?: number;
                /** @description Fields, the most significant first, comma separated; `-` for descending. Each field once. Default `-created_at`; with `q` the best match first. */
                sort?: ("created_at" | "-created_at" | "updated_at" | "-updated_at" | "published_at" | "-published_at" | "title" | "-title")[];
                /** @description Count all matches. */
                total?: boolean;
                /** @description Only these members, comma separated. */
                fields?: ("id" | "title" | "content" | "status" | "author" | "author_id" | "published_at" | "created_at" | "updated_at")[];
                /** @description Words of title and content; "a phrase", `or` and `-without` work. Only the first 32 words are used. */
                q?: string;
                /** @description In this state. */
                status?: "draft" | "published" | "archived";
                /** @description By this user. */
                author_id?: string;
                /** @description At or after this time. */
                created_after?: string;
                /** @description Before this time. */
                created_before?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description `<...>; rel="next"`, the next page, if there is one. */
                    Link?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_ArticleOut_"];
                };
            };
        };
    };
    "articles-create_article": {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes a repetition safe: it gets the response of the first request for 24 hours. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ArticleCreate"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    /** @description The path of what was created. */
                    Location?: string;
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    /** @description `true` if this is the stored response of an earlier request. */
                    "Idempotency-Replayed"?: "true";
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ArticleOut"];
                };
            };
        };
    };
    "articles-read_article": {
        parameters: {
            query?: {
                /** @description Only these members, comma separated. */
                fields?: ("id" | "title" | "content" | "status" | "author" | "author_id" | "published_at" | "created_at" | "updated_at")[];
            };
            header?: {
                /** @description Tags of representations that the client has: 304 if the current one is among them. */
                "If-None-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ArticleOut"];
                };
            };
            /** @description Not Modified: the tag is in If-None-Match. */
            304: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "articles-delete_article": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "articles-update_article": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ArticleUpdate"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ArticleOut"];
                };
            };
        };
    };
    "articles-publish_article": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ArticleOut"];
                };
            };
        };
    };
    "articles-unpublish_article": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ArticleOut"];
                };
            };
        };
    };
    "articles-archive_article": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ArticleOut"];
                };
            };
        };
    };
    "auth-login": {
        parameters: {
            query?: {
                /** @description `cookie` for browsers: tokens are cookies, not in the answer. */
                transport?: "body" | "cookie";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": {
                    /**
                     * Email
                     * @description E-mail address or username.
                     * @example ada@example.com
                     */
                    email: string;
                    /**
                     * Password
                     * Format: password
                     * @example correct horse battery
                     */
                    password: string;
                };
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tokens"] | components["schemas"]["CookieTokens"];
                };
            };
        };
    };
    "auth-refresh": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["Refresh"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tokens"] | components["schemas"]["CookieTokens"];
                };
            };
        };
    };
    "auth-logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["Refresh"];
            };
        };
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "auth-logout_all": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "auth-list_sessions": {
        parameters: {
            query?: {
                /** @description Maximal rows of a page. */
                limit?: number;
                /** @description `next_cursor` of the previous page. */
                cursor?: string;
                /** @description Rows to skip; not with `cursor`. */
                offset?: number;
                /** @description Fields, the most significant first, comma separated; `-` for descending. Each field once. Default `-created_at`. */
                sort?: ("created_at" | "-created_at" | "last_used_at" | "-last_used_at")[];
                /** @description Count all matches. */
                total?: boolean;
                /** @description Only these members, comma separated. */
                fields?: ("id" | "created_at" | "last_used_at" | "expires_at" | "ip" | "user_agent" | "current")[];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description `<...>; rel="next"`, the next page, if there is one. */
                    Link?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_SessionOut_"];
                };
            };
        };
    };
    "auth-end_session": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "items-list_items": {
        parameters: {
            query?: {
                /** @description Maximal rows of a page. */
                limit?: number;
                /** @description `next_cursor` of the previous page. */
                cursor?: string;
                /** @description Rows to skip; not with `cursor`. */
                offset?: number;
                /** @description Fields, the most significant first, comma separated; `-` for descending. Each field once. Default `-created_at`. */
                sort?: ("created_at" | "-created_at" | "updated_at" | "-updated_at" | "title" | "-title")[];
                /** @description Count all matches. */
                total?: boolean;
                /** @description Only these members, comma separated. */
                fields?: ("id" | "title" | "description" | "owner_id" | "created_at" | "updated_at")[];
                /** @description Part of the title or description, without regard to case. Only the first 32 words are used. */
                q?: string;
                /** @description Others' need `items:admin`. */
                owner_id?: string;
                /** @description At or after this time. */
                created_after?: string;
                /** @description Before this time. */
                created_before?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description `<...>; rel="next"`, the next page, if there is one. */
                    Link?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_ItemOut_"];
                };
            };
        };
    };
    "items-create_item": {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes a repetition safe: it gets the response of the first request for 24 hours. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ItemCreate"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    /** @description The path of what was created. */
                    Location?: string;
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    /** @description `true` if this is the stored response of an earlier request. */
                    "Idempotency-Replayed"?: "true";
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ItemOut"];
                };
            };
        };
    };
    "items-read_item": {
        parameters: {
            query?: {
                /** @description Only these members, comma separated. */
                fields?: ("id" | "title" | "description" | "owner_id" | "created_at" | "updated_at")[];
            };
            header?: {
                /** @description Tags of representations that the client has: 304 if the current one is among them. */
                "If-None-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ItemOut"];
                };
            };
            /** @description Not Modified: the tag is in If-None-Match. */
            304: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "items-delete_item": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "items-update_item": {
        parameters: {
            query?: never;
            header?: {
                /** @description Tags of the resource, or `*`: 412 without any change if it has none of them. */
                "If-Match"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ItemUpdate"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ItemOut"];
                };
            };
        };
    };
    "items-create_items": {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes a repetition safe: it gets the response of the first request for 24 hours. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Bulk_ItemCreate_"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    /** @description `true` if this is the stored response of an earlier request. */
                    "Idempotency-Replayed"?: "true";
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Bulk_ItemOut_"];
                };
            };
        };
    };
    "auth-register": {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes a repetition safe: it gets the response of the first request for 24 hours. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Registration"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    /** @description The path of what was created. */
                    Location?: string;
                    /** @description The tag of the whole resource. */
                    ETag?: string;
                    /** @description `true` if this is the stored response of an earlier request. */
                    "Idempotency-Replayed"?: "true";
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UserOut"];
                };
            };
            /** @description Where `REGISTRATION_MODE` is `strict`: always. */
            202: {
                headers: {
                    /** @description `true` if this is the stored response of an earlier request. */
                    "Idempotency-Replayed"?: "true";
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
        };
    };
    "auth-forgot_password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LinkRequest"];
            };
        };
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
        };
    };
    "auth-reset_password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasswordReset"];
            };
        };
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "auth-request_verification": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LinkRequest"];
            };
        };
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
        };
    };
    "auth-verify_email": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LinkToken"];
            };
        };
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "errors-explain_error": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                code: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorMeaning"];
                };
            };
        };
    };
}
