// Problem documents (RFC 9457) as errors whose type follows from `error`.
import { errors } from "./generated/contract.js";
import type { components } from "./generated/openapi.js";

/** All codes that the contract lists. */
export type ErrorCode = keyof typeof errors;
export type FieldError = components["schemas"]["FieldError"];

type Document = Omit<components["schemas"]["Problem"], "error" | "status" | "errors" | "errors_omitted">;
type Fields = Pick<Partial<components["schemas"]["Problem"]>, "errors" | "errors_omitted">;

/**
 * The body of an error response. It is a union by `error`: after a comparison with a code, `status`
 * is that of the code, and `errors` exists only if the code may list errors by field.
 */
export type Problem<Code extends ErrorCode = ErrorCode> = {
  [Each in Code]: Document & { error: Each; status: (typeof errors)[Each]["status"] } & ((typeof errors)[Each]["errors"] extends true
      ? Fields
      : unknown);
}[Code];

/** A response that is an error. */
export class ApiError<Code extends ErrorCode = ErrorCode> extends Error {
  override readonly name = "ApiError";
  /** Seconds after which to try again, if the server has named them. */
  readonly retryAfter: (typeof errors)[Code]["retryAfter"] extends true ? number : number | undefined;

  declare readonly response: Response;

  constructor(
    /** The problem document. Its `error` may be newer than this client: have a `default` branch. */
    readonly problem: Problem<Code>,
    response: Response,
  ) {
    super(`${problem.status} ${problem.error}: ${problem.detail}`);
    // Not enumerable: printed with the error, it would hide the problem.
    Object.defineProperty(this, "response", { value: response });
    this.retryAfter = retryAfterOf(response) as typeof this.retryAfter;
  }

  /** The message of each field, such as `{ email: "Must be a valid e-mail address." }`. */
  get fields(): Record<string, string> {
    const { errors: found = [] } = this.problem as Fields;
    const messages: Record<string, string> = {};
    for (const { field, message } of found) messages[field.replace(/^(body|query)\./, "")] ??= message;
    return messages;
  }
}

/** An error response without a problem document: from a proxy, or from another server. */
export class UnexpectedResponse extends Error {
  override readonly name = "UnexpectedResponse";

  constructor(readonly response: Response) {
    super(`${response.status} from ${response.url}, without a problem document`);
  }
}

/** Whether this is an error of the API, and with codes: one of these. */
export function isApiError(error: unknown): error is ApiError;
export function isApiError<Code extends ErrorCode>(error: unknown, ...codes: Code[]): error is ApiError<Code>;
export function isApiError(error: unknown, ...codes: string[]): boolean {
  return error instanceof ApiError && (codes.length === 0 || codes.includes(error.problem.error));
}

/** Read the error of a response that is not a success. */
export async function errorOf(response: Response): Promise<ApiError | UnexpectedResponse> {
  if (isProblem(response)) {
    const problem = (await response.clone().json()) as Problem;
    return new ApiError(problem, response);
  }
  return new UnexpectedResponse(response);
}

/** The code of an error response, or undefined if it has no problem document. */
export async function codeOf(response: Response): Promise<string | undefined> {
  if (response.ok || !isProblem(response)) return undefined;
  return ((await response.clone().json()) as Problem).error;
}

/** The seconds of `Retry-After`, or undefined. */
export function retryAfterOf(response: Response): number | undefined {
  const seconds = Number(response.headers.get("Retry-After") ?? Number.NaN);
  return Number.isFinite(seconds) ? seconds : undefined;
}

function isProblem(response: Response): boolean {
  return response.headers.get("Content-Type")?.startsWith("application/problem+json") ?? false;
}
