// The client of the API, and the user who is signed in.
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useRef, useState } from "react";
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
  /** Ask the server who is signed in. Throws if it does not respond. */
  reload(): Promise<Me | null>;
  /** Show a sentence above the page until the page is left. Screen readers read it aloud. */
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
    const found = await api.currentUser();
    setUser(found);
    return found;
  }, []);
  const start = useCallback(async () => {
    setFailure("");
    try {
      await reload();
    } catch (error) {
      setFailure(messageOf(error));
    }
  }, [reload]);
  const shownId = useRef<string>(undefined);
  useEffect(() => {
    shownId.current = user?.id;
  }, [user]);

  // Without this, the sentence would be shown again when the page is.
  useEffect(() => setSaid((before) => (before.path === path ? before : { text: "", path })), [path]);

  useEffect(() => {
    const end = (): void => {
      setUser(null);
      say("Your session has ended. Please sign in again.");
    };
    // Another tab may have signed out, or signed in as somebody else.
    const look = async (): Promise<void> => {
      if (document.visibilityState !== "visible") return;
      const before = shownId.current;
      const found = await reload();
      if (found && before && found.id !== before) say(`Another tab has signed in as ${found.email}.`);
    };
    // Without a response, the page stays as it is.
    const check = (): void => void look().catch(messageOf);
    addEventListener(ENDED, end);
    document.addEventListener("visibilitychange", check);
    void start();
    return () => {
      removeEventListener(ENDED, end);
      document.removeEventListener("visibilitychange", check);
    };
  }, [reload, say, start]);

  const notice = said.path === path ? said.text : "";
  const session = useMemo(
    () => ({ user: user ?? null, setUser, reload, say, notice }),
    [user, reload, say, notice],
  );
  if (user === undefined) {
    return (
      <main className="waiting" aria-busy={failure === ""}>
        <p role="status">{failure || "Loading …"}</p>
        {failure && <button onClick={() => void start()}>Try again</button>}
      </main>
    );
  }
  return <Context value={session}>{children}</Context>;
}
