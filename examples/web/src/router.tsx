// Paths without a library: the browser's history, and links that do not load the page again.
import { type ComponentProps, type MouseEvent, useSyncExternalStore } from "react";

function subscribe(changed: () => void): () => void {
  addEventListener("popstate", changed);
  return () => removeEventListener("popstate", changed);
}

export const usePath = (): string => useSyncExternalStore(subscribe, () => location.pathname);

/** The token of a mailed link. It follows `#`, so that it reaches no server and no log. */
export const useToken = (): string =>
  useSyncExternalStore(subscribe, () => new URLSearchParams(location.hash.slice(1)).get("token") ?? "");

/** Show another page; with `replace`, the present one leaves the history, and its token with it. */
export function navigate(path: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, "", path);
  else history.pushState(null, "", path);
  dispatchEvent(new PopStateEvent("popstate"));
  scrollTo(0, 0);
}

export function Link({ href, ...props }: ComponentProps<"a"> & { href: string }) {
  const follow = (event: MouseEvent): void => {
    // Other clicks open tabs and menus.
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(href);
  };
  return <a aria-current={usePath() === href ? "page" : undefined} {...props} href={href} onClick={follow} />;
}
