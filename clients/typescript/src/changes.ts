// Changing without overwriting what others have changed.
import { isApiError } from "./errors.js";
import type { ApiResponse, Arguments, Call, DataOf, OperationId } from "./types.js";

export interface ChangeOptions {
  /** How often to read and write before PRECONDITION_FAILED is thrown. 3 by default. */
  attempts?: number;
}

/**
 * Read a resource, and write with its tag as `ifMatch`. If somebody else changes it in between,
 * read it again and repeat `write` with what they have made of it.
 */
export async function change<Id extends OperationId, Result>(
  read: Call<Id>,
  args: Arguments<Id>,
  write: (data: DataOf<Id>, ifMatch: string) => Promise<Result>,
  { attempts = 3 }: ChangeOptions = {},
): Promise<Result> {
  const fetchTagged = read.response as unknown as (input: object) => Promise<ApiResponse<DataOf<Id>>>;
  for (let attempt = 1; ; attempt += 1) {
    const { data, etag } = await fetchTagged(args);
    if (etag === null) throw new TypeError(`${read.operation.path} has no ETag, so it cannot be changed by tag.`);
    try {
      return await write(data, etag);
    } catch (error) {
      if (!isApiError(error, "PRECONDITION_FAILED") || attempt >= attempts) throw error;
    }
  }
}
