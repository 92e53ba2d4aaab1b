// The types of calls, derived from the generated types of operations.
import type { OperationErrors, operations as table } from "./generated/contract.js";
import type { components, operations } from "./generated/openapi.js";
import type { ApiError, ErrorCode, Problem } from "./errors.js";

/** The bodies of the contract by name, such as `Schemas["ItemOut"]`. */
export type Schemas = components["schemas"];
export type OperationId = keyof operations & keyof OperationErrors;
/** The error codes that an operation documents. */
export type ErrorsOf<Id extends OperationId> = OperationErrors[Id] & ErrorCode;

export interface Progress {
  /** Bytes sent so far. */
  loaded: number;
  /** Bytes of the whole request. */
  total: number;
}

/** What every call accepts beside the parameters and the body of its operation. */
export interface CallOptions {
  /** Ends the call, its retries and its waiting. */
  signal?: AbortSignal | undefined;
  /** Further headers. */
  headers?: Record<string, string> | undefined;
  /** The number of repetitions after failures that may pass; see `ClientOptions.retries`. */
  retries?: number | undefined;
}

type Parameters<Id extends OperationId> = operations[Id]["parameters"];
type Query<Id extends OperationId> = Parameters<Id> extends { query?: infer Q } ? NonNullable<Q> : never;
type Path<Id extends OperationId> = Parameters<Id> extends { path: infer P } ? P : unknown;
type HeaderNames<Id extends OperationId> = Parameters<Id> extends { header?: infer H }
  ? [NonNullable<H>] extends [never]
    ? never
    : keyof NonNullable<H>
  : never;
type Content<Id extends OperationId> = operations[Id] extends { requestBody?: infer B }
  ? NonNullable<B> extends { content: infer C }
    ? C
    : never
  : never;
type Body<Id extends OperationId> = [Content<Id>] extends [never] ? never : Content<Id>[keyof Content<Id>];
type Successes = 200 | 201 | 202 | 204;
type Responses<Id extends OperationId> = operations[Id]["responses"];

/** The body of a successful response; `undefined` if it has none. */
export type DataOf<Id extends OperationId> = {
  [Status in keyof Responses<Id> & Successes]: Responses<Id>[Status] extends { content: infer C }
    ? C[keyof C]
    : undefined;
}[keyof Responses<Id> & Successes];

/** The members that `fields` of an operation can select. */
export type FieldOf<Id extends OperationId> =
  NonNullable<Query<Id>> extends { fields?: infer F } ? (NonNullable<F> extends readonly (infer N)[] ? N & string : never) : never;

type PickFrom<Row, Field> = Pick<Row, Field & keyof Row>;
/** The data of a response whose request had `fields`; without them (`never`), all members. */
export type Selected<Data, Field> = [Field] extends [never]
  ? Data
  : Data extends { data: (infer Row)[] }
    ? Omit<Data, "data"> & { data: PickFrom<Row, Field>[] }
    : PickFrom<Data, Field>;

type QueryArgument<Id extends OperationId, Field extends string> = [Query<Id>] extends [never]
  ? unknown
  : { query?: WithFields<Query<Id>, Field> };
// One object type, not an intersection: the compiler then refuses unknown parameters. A parameter
// that is undefined is left out.
type WithFields<Q, Field extends string> = {
  [Name in keyof Q]: (Name extends "fields" ? readonly Field[] : Q[Name]) | undefined;
};
type BodyArgument<Id extends OperationId> = [Body<Id>] extends [never]
  ? unknown
  : operations[Id] extends { requestBody: { content: unknown } }
    ? { body: Body<Id> }
    : { body?: Body<Id> };
type HeaderArguments<Id extends OperationId> = ("If-Match" extends HeaderNames<Id>
  ? {
      /** The tag of the resource as it was read: if it has changed since, the call fails. */
      ifMatch?: string | undefined;
    }
  : unknown) &
  ("Idempotency-Key" extends HeaderNames<Id>
    ? {
        /** One key for all repetitions; by default the client makes one for each call. */
        idempotencyKey?: string | undefined;
      }
    : unknown);
type UploadArgument<Id extends OperationId> = Content<Id> extends never
  ? unknown
  : "multipart/form-data" extends keyof Content<Id>
    ? {
        /** Called while the body is sent; outside of browsers, once at the end. */
        onProgress?: ((progress: Progress) => void) | undefined;
      }
    : unknown;

/** The argument of a call: path parameters by name, `query`, `body`, and options. */
export type Arguments<Id extends OperationId, Field extends string = never> = Path<Id> &
  QueryArgument<Id, Field> &
  BodyArgument<Id> &
  HeaderArguments<Id> &
  UploadArgument<Id> &
  CallOptions;

// eslint-disable-next-line @typescript-eslint/no-empty-object-type
type NeedsArguments<Id extends OperationId> = {} extends Path<Id> & BodyArgument<Id> ? false : true;
/** The parameter list of a call: the argument is optional if all its members are. */
export type ArgumentList<Id extends OperationId, Field extends string = never> =
  NeedsArguments<Id> extends true ? [args: Arguments<Id, Field>] : [args?: Arguments<Id, Field>];

/** A response of the API, read. */
export interface ApiResponse<Data> {
  data: Data;
  status: number;
  /** The tag of the resource, for `ifMatch`; null if the response has none. */
  etag: string | null;
  headers: globalThis.Headers;
}

/** The outcome of `attempt`: the data, or the problem that the server has described. */
export type Outcome<Data, Code extends ErrorCode> =
  | { ok: true; data: Data; problem?: never; error?: never }
  | { ok: false; data?: never; problem: Problem<Code>; error: ApiError<Code> };

/** An operation of the API as a function. */
export interface Call<Id extends OperationId> {
  /** Returns the data of the response. Throws `ApiError` for any other response. */
  <const Field extends FieldOf<Id> = never>(
    ...list: ArgumentList<Id, Field>
  ): Promise<Selected<DataOf<Id>, Field>>;
  /** As the call itself, with status, tag and headers of the response. */
  response<const Field extends FieldOf<Id> = never>(
    ...list: ArgumentList<Id, Field>
  ): Promise<ApiResponse<Selected<DataOf<Id>, Field>>>;
  /**
   * Returns the problem of an error response instead of throwing it. A newer server may send codes
   * that the type does not have. Other errors, such as a lost connection, are thrown.
   */
  attempt<const Field extends FieldOf<Id> = never>(
    ...list: ArgumentList<Id, Field>
  ): Promise<Outcome<Selected<DataOf<Id>, Field>, ErrorsOf<Id>>>;
  /** Returns the response unread, for downloads and streams. Throws `ApiError` for errors. */
  raw(...list: ArgumentList<Id, FieldOf<Id>>): Promise<Response>;
  /** Method, path and permission of the operation. */
  readonly operation: OperationOf<Id>;
}

/** A list as a function; `iterate` and `pages` follow `next_cursor` to its end. */
export interface ListCall<Id extends ListId> extends Call<Id> {
  /** Yields all rows: `for await (const item of api.items.listItems.iterate())`. */
  iterate<const Field extends FieldOf<Id> = never>(
    ...list: ArgumentList<Id, Field>
  ): AsyncGenerator<RowOf<Id, Field>, void, undefined>;
  /** Yields the pages, each requested when it is needed. */
  pages<const Field extends FieldOf<Id> = never>(
    ...list: ArgumentList<Id, Field>
  ): AsyncGenerator<Selected<DataOf<Id>, Field>, void, undefined>;
}

export interface Operation {
  readonly id: string;
  readonly method: "GET" | "PUT" | "POST" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS";
  readonly path: string;
  readonly permission: string | null;
  /** Whether the operation accepts an Idempotency-Key. */
  readonly idempotencyKey: boolean;
  /** Whether a repetition has the effect of one request. */
  readonly repeatable: boolean;
  readonly body: "json" | "form" | null;
}

type Table = typeof table;
type Entries = { [Group in keyof Table]: Table[Group][keyof Table[Group]] }[keyof Table];
type OperationOf<Id extends OperationId> = Extract<Entries, { id: Id }>;
/** All operations, by tag and name. */
export type Calls = {
  readonly [Group in keyof Table]: {
    readonly [Name in keyof Table[Group]]: Table[Group][Name] extends { id: infer Id extends OperationId }
      ? Id extends ListId
        ? ListCall<Id>
        : Call<Id>
      : never;
  };
};

/** The operations whose data is a page of a list. */
export type ListId = {
  [Id in OperationId]: DataOf<Id> extends { data: unknown[]; next_cursor: string | null } ? Id : never;
}[OperationId];
/** A row of the pages of a list. */
export type RowOf<Id extends ListId, Field extends string> =
  Selected<DataOf<Id>, Field> extends { data: (infer Row)[] } ? Row : never;
