// Work that only one tab does at a time.

/**
 * Run `work` while no other tab runs work of this name. `waited` says that another tab has just
 * done so. Without a name or Web Locks (old browsers, pages without HTTPS, Node 20) the work simply runs.
 */
export async function exclusively<T>(name: string | undefined, work: (waited: boolean) => Promise<T>): Promise<T> {
  // Not in every environment, despite its type.
  const locks = (globalThis.navigator as Navigator | undefined)?.locks as LockManager | undefined;
  if (name === undefined || locks === undefined) return work(false);
  const result: { value: T } | null = await locks.request(name, { ifAvailable: true }, async (lock) =>
    lock === null ? null : { value: await work(false) },
  );
  if (result !== null) return result.value;
  const later: { value: T } = await locks.request(name, async () => ({ value: await work(true) }));
  return later.value;
}
