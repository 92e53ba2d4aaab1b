import { type ChangeEvent, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { messageOf } from "../errors";
import { Field, Form, type Text } from "../forms";
import { ListEnd, useList } from "../lists";
import { MailboxHint, Page, Question, Time } from "../parts";
import { navigate } from "../router";
import { api, useSession, useUser } from "../session";

export function Account() {
  const [passwords, setPasswords] = useState(0);
  return (
    <Page title="Account">
      <Unverified />
      <Profile />
      <Avatar />
      <Password onChanged={() => setPasswords(passwords + 1)} />
      {/* A new password ends sessions: the list begins anew. */}
      <Sessions key={passwords} />
      <OwnData />
    </Page>
  );
}

function Unverified() {
  const { email, is_verified } = useUser();
  const { say } = useSession();

  async function request(): Promise<void> {
    const { detail } = await api.auth.requestVerification({ body: { email } });
    say(detail);
  }

  if (is_verified) return null;
  return (
    <section className="card">
      <h2>Confirm your address</h2>
      <p>A link was mailed to {email}.</p>
      <MailboxHint />
      <Form submit="Mail it again" onSubmit={request} />
    </section>
  );
}

function Profile() {
  const user = useUser();
  const { setUser, say } = useSession();

  async function save(text: Text): Promise<void> {
    const email = text("email");
    const names = { full_name: text("full_name") || null, username: text("username") || null };
    // A new address needs the password, and takes effect when it is confirmed.
    const address = email === user.email ? {} : { email, current_password: text("current_password") };
    const changed = await api.users.updateMe({ body: { ...names, ...address } });
    setUser(changed);
    const isMailed = email !== user.email && changed.pending_email;
    say(isMailed ? `A link was mailed to ${changed.pending_email}.` : "Your profile is saved.");
  }

  return (
    <section className="card">
      <h2>Profile</h2>
      <Form submit="Save" onSubmit={save}>
        <Field name="full_name" label="Name" defaultValue={user.full_name ?? ""} autoComplete="name" />
        <Field name="username" label="Username" defaultValue={user.username ?? ""} autoComplete="username" />
        <Field name="email" label="E-mail" type="email" defaultValue={user.email} autoComplete="email" />
        <Field
          name="current_password"
          label="Password"
          type="password"
          autoComplete="current-password"
          hint="Needed for a new e-mail address only."
        />
        {user.pending_email && <p className="hint">{user.pending_email} is not confirmed yet.</p>}
      </Form>
    </section>
  );
}

function Avatar() {
  const user = useUser();
  const { setUser, say } = useSession();
  const [progress, setProgress] = useState<number | null>(null);
  const [error, setError] = useState("");
  const upload = useRef(new AbortController());
  const input = useRef<HTMLInputElement>(null);

  async function send({ target }: ChangeEvent<HTMLInputElement>): Promise<void> {
    const [file] = target.files ?? [];
    if (!file) return;
    upload.current = new AbortController();
    setError("");
    setProgress(0);
    try {
      const { signal } = upload.current;
      const onProgress = ({ loaded, total }: { loaded: number; total: number }): void => setProgress(loaded / total);
      setUser(await api.users.replaceAvatar({ body: { file }, onProgress, signal }));
      say("Your picture is saved.");
    } catch (failure) {
      if (!upload.current.signal.aborted) setError(messageOf(failure));
    } finally {
      setProgress(null);
      // The same file may be chosen again.
      target.value = "";
    }
  }

  async function remove(): Promise<void> {
    await api.users.deleteAvatar();
    // The button that had the focus goes with the picture.
    flushSync(() => setUser({ ...user, avatar_url: null }));
    input.current?.focus();
    say("Your picture is removed.");
  }

  return (
    <section className="card">
      <h2>Picture</h2>
      {user.avatar_url && <img className="avatar" src={user.avatar_url} alt="Your picture" />}
      {error && (
        <p role="alert" className="alert">
          {error}
        </p>
      )}
      <div className="field">
        <label htmlFor="avatar">New picture</label>
        <input
          ref={input}
          id="avatar"
          type="file"
          accept="image/png,image/jpeg,image/webp"
          onChange={(event) => void send(event)}
        />
        <p className="hint">PNG, JPEG or WebP, up to 2 MiB.</p>
      </div>
      {progress !== null && (
        <div className="buttons">
          <progress aria-label="Upload" value={progress} />
          <button onClick={() => upload.current.abort()}>Stop</button>
        </div>
      )}
      {user.avatar_url && <Question action="Remove" question="Remove your picture?" onAgree={remove} />}
    </section>
  );
}

function Password({ onChanged }: { onChanged: () => void }) {
  const { say } = useSession();

  async function save(text: Text, form: HTMLFormElement): Promise<void> {
    const body = { current_password: text("current_password"), new_password: text("new_password") };
    await api.auth.changePassword({ body });
    form.reset();
    onChanged();
    say("Your password is changed, and all other sessions have ended.");
  }

  return (
    <section className="card">
      <h2>Password</h2>
      <Form submit="Change the password" onSubmit={save}>
        <Field name="current_password" label="Current password" type="password" autoComplete="current-password" />
        <Field name="new_password" label="New password" type="password" autoComplete="new-password" />
      </Form>
    </section>
  );
}

function Sessions() {
  const { setUser, say } = useSession();
  const heading = useRef<HTMLHeadingElement>(null);
  const list = useList((cursor, signal) => api.auth.listSessions({ query: { cursor }, signal }), "");

  async function end(id: string): Promise<void> {
    await api.auth.endSession({ id });
    flushSync(() => list.remove(id));
    heading.current?.focus();
    say("The session has ended.");
  }

  async function endAll(): Promise<void> {
    await api.auth.logoutAll();
    setUser(null);
    say("All your sessions have ended.");
  }

  return (
    <section className="card">
      <h2 ref={heading} tabIndex={-1}>
        Sessions
      </h2>
      <ul className="rows">
        {list.rows.map((session) => (
          <li key={session.id} className="row">
            <div>
              <p>{programOf(session.user_agent)}</p>
              <p className="hint">
                Last used <Time at={session.last_used_at} />
                {session.ip && ` from ${session.ip}`}
              </p>
            </div>
            {session.current ? (
              <span className="badge">this one</span>
            ) : (
              <button onClick={() => void end(session.id).catch((error) => say(messageOf(error)))}>End</button>
            )}
          </li>
        ))}
      </ul>
      {list.state !== "complete" && <ListEnd list={list} empty="" />}
      <Question action="Sign out everywhere" question="End all sessions, also this one?" onAgree={endAll} />
    </section>
  );
}

/** Such as "Firefox on Linux". Chrome names Safari, too, and Edge names both, so the order matters. */
function programOf(userAgent: string | null): string {
  const first = (...names: string[]) => names.find((name) => userAgent?.includes(name));
  const browser = first("Firefox", "Edg", "OPR", "Chrome", "Safari");
  const system = first("iPhone", "iPad", "Android", "Windows", "Mac OS", "Linux");
  return browser && system ? `${browser} on ${system}` : (userAgent ?? "Unknown program");
}

function OwnData() {
  const { setUser, say } = useSession();

  async function download(): Promise<void> {
    const response = await api.users.exportMe.raw();
    const url = URL.createObjectURL(await response.blob());
    Object.assign(document.createElement("a"), { href: url, download: "my-data.json" }).click();
    // Some browsers read the file after the click.
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  async function remove(): Promise<void> {
    await api.users.deleteMe();
    // The session is gone with the account; this removes its cookies. The account is deleted even if it fails.
    await api.signOut().catch(messageOf);
    setUser(null);
    navigate("/");
    say("Your account is deleted.");
  }

  return (
    <section className="card">
      <h2>Your data</h2>
      <div className="buttons">
        <button onClick={() => void download().catch((error) => say(messageOf(error)))}>Download everything</button>
        <Question action="Delete the account" question="Delete your account?" onAgree={remove}>
          <p>Your items, articles and sessions go with it, at once and for good.</p>
        </Question>
      </div>
    </section>
  );
}
