// The pages that mails link to, and the one that asks for such a mail.
import { messageOf } from "../errors";
import { Field, Form, type Text } from "../forms";
import { MailboxHint, Page } from "../parts";
import { Link, navigate, useToken } from "../router";
import { api, useSession } from "../session";

export function ForgotPassword() {
  const { say } = useSession();

  async function request(text: Text, form: HTMLFormElement): Promise<void> {
    const { detail } = await api.auth.forgotPassword({ body: { email: text("email") } });
    form.reset();
    say(detail);
  }

  return (
    <Page title="Forgotten password">
      <Form submit="Mail me a link" onSubmit={request} className="card">
        <Field name="email" label="E-mail" type="email" autoComplete="username" required />
        <MailboxHint />
      </Form>
    </Page>
  );
}

/** The target of reset mails and of invitations. */
export function ChoosePassword() {
  const token = useToken();
  const { reload, say } = useSession();

  async function choose(text: Text): Promise<void> {
    await api.auth.resetPassword({ body: { token, new_password: text("new_password") } });
    // All sessions have ended, also that of this browser. The password is set even if this fails.
    await reload().catch(messageOf);
    navigate("/sign-in", { replace: true });
    say("Your password is set. Sign in with it.");
  }

  return (
    <Page title="Choose a password">
      {token === "" ? (
        <WithoutToken />
      ) : (
        <Form submit="Set the password" onSubmit={choose} className="card">
          <Field name="new_password" label="New password" type="password" autoComplete="new-password" required />
          <p className="hint">All devices will have to sign in again.</p>
        </Form>
      )}
    </Page>
  );
}

/** The target of mails about a new account, and about a new address. */
export function VerifyEmail() {
  const token = useToken();
  const { user, reload, say } = useSession();

  async function confirm(): Promise<void> {
    await api.auth.verifyEmail({ body: { token } });
    // The address is confirmed even if this fails.
    await reload().catch(messageOf);
    navigate(user ? "/account" : "/sign-in", { replace: true });
    say("Your address is confirmed.");
  }

  return (
    <Page title="Confirm your address">
      {token === "" ? (
        <WithoutToken />
      ) : (
        // A button, because programs that check mails open links, and the link works once.
        <Form submit="Confirm" onSubmit={confirm} className="card">
          <p>Please confirm that the mail with this link came to your address.</p>
        </Form>
      )}
    </Page>
  );
}

const WithoutToken = () => (
  <p>
    This address is incomplete: open the link in the mail again, or{" "}
    <Link href="/forgot-password">request a new mail</Link>.
  </p>
);
