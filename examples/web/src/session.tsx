// The client of the API, and the user who is signed in.
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from "react";
import { cookies, createClient, type Me } from "trellis-client";
import { messageOf } from "./errors";
import { usePath } from "./router";

const ENDED = "session-ended";

/** The server of the pages passes requests on to the API, so no address is needed. */
export const api = createClient({
  credentials: cookies(),
  // A session can end anywhere: in another tab, on another device, by an administrator.
  onSignedOut: () => dispatchEvent(new Event(ENDED)),
});

interface Session {
  user: Me | null;
  setUser(user: Me | null): void;
  /** Ask the server who is signed in. */
  reload(): Promise<void>;
  /** Show a sentence above the page, and let screen readers read it. It goes with the page. */
  say(text: string): void;
  notice: string;
}

const Context = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(Context);
  if (session === null) throw new Error("useSession needs a SessionProvider above it.");
  return session;
}

/** The user, on pages that are shown to signed-in users only. */
export function useUser(): Me {
  const { user } = useSession();
  if (user === null) throw new Error("useUser needs a signed-in user.");
  return user;
}

export function SessionProvider({ children }: { children: ReactNode }) {
  const path = usePath();
  const [user, setUser] = useState<Me | null>();
  const [failure, setFailure] = useState("");
  const [said, setSaid] = useState({ text: "", path });
  const say = useCallback((text: string) => setSaid({ text, path: location.pathname }), []);
  const reload = useCallback(async () => {
    try {
      setUser(await api.currentUser());
    } catch (error) {
      setFailure(messageOf(error));
    }
  }, []);

  useEffect(() => {
    const end = (): void => {
      setUser(null);
      say("Your session has ended. Please sign in again.");
    };
    // Another tab may have signed out, or signed in as somebody else.
    const look = (): unknown => document.visibilityState === "visible" && reload();
    addEventListener(ENDED, end);
    document.addEventListener("visibilitychange", look);
    void reload();
    return () => {
      removeEventListener(ENDED, end);
      document.removeEventListener("visibilitychange", look);
    };
  }, [reload, say]);

  const notice = said.path === path ? said.text : "";
  const session = useMemo(
    () => ({ user: user ?? null, setUser, reload, say, notice }),
    [user, reload, say, notice],
  );
  if (user === undefined) {
    return (
      <main className="waiting" aria-busy={failure === ""}>
        <p role="status">{failure || "Loading …"}</p>
        {failure && <button onClick={() => void reload()}>Try again</button>}
      </main>
    );
  }
  return <Context value={session}>{children}</Context>;
}
