// The permissions that the contract lists.
import { permissions } from "./generated/contract.js";

export { permissions };
/** The name of a permission, such as `items:read`. */
export type Permission = keyof typeof permissions;

/** Whether this client knows the permission; roles may hold permissions of other versions. */
export function isPermission(name: string): name is Permission {
  return Object.hasOwn(permissions, name);
}
