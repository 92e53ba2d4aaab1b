// Errors as people read them: a sentence, and messages that belong to fields.
import { type ErrorCode, isApiError } from "trellis-client";

export interface Failure {
  /** A complete message, for places that cannot mark fields. */
  message: string;
  fields: Record<string, string>;
}

const UNREACHABLE = import.meta.env.DEV
  ? "The API does not respond. Start it with `make dev`, then try again."
  : "The server cannot be reached. Please try again.";

/** Errors that concern one field, though the server does not list fields with them. */
const FIELD_OF: Partial<Record<ErrorCode, string>> = {
  EMAIL_ALREADY_EXISTS: "email",
  USERNAME_ALREADY_EXISTS: "username",
  CURRENT_PASSWORD_WRONG: "current_password",
};

/** A failure that has its sentence already. */
export class Told extends Error {}

export function failureOf(error: unknown): Failure {
  if (error instanceof Told) return { message: error.message, fields: {} };
  if (!isApiError(error)) {
    // A lost connection, the page of a proxy, or a mistake in this application.
    console.error(error);
    return { message: UNREACHABLE, fields: {} };
  }
  const { detail, error: code } = error.problem;
  const field = FIELD_OF[code];
  if (field !== undefined) return { message: detail, fields: { [field]: detail } };
  const { fields } = error;
  const messages = Object.entries(fields).map(([name, message]) => `${name}: ${message}`);
  if (messages.length > 0) return { message: messages.join(" "), fields };
  if (code === "RATE_LIMITED") {
    return { message: `Too many requests. Try again in ${error.retryAfter} seconds.`, fields };
  }
  return { message: detail, fields };
}

export const messageOf = (error: unknown): string => failureOf(error).message;
