import { Told } from "../errors";
import { Field, Form, type Text } from "../forms";
import { MailboxHint, Page } from "../parts";
import { Link, navigate, usePath } from "../router";
import { api, useSession } from "../session";

/** Shown at its own address, and in the place of pages for signed-in users. */
export function SignIn() {
  const path = usePath();
  const { reload, say } = useSession();

  async function signIn(text: Text): Promise<void> {
    await api.signIn({ email: text("email"), password: text("password") });
    if ((await reload()) === null) {
      throw new Told("The browser has not kept the cookies of this page. Allow them, and sign in again.");
    }
    if (path === "/sign-in") navigate("/items", { replace: true });
    say("");
  }

  return (
    <Page title="Sign in">
      <Form submit="Sign in" onSubmit={signIn} className="card">
        <Field name="email" label="E-mail or username" autoComplete="username" required />
        <Field name="password" label="Password" type="password" autoComplete="current-password" required />
        <p className="hint">
          <Link href="/forgot-password">Forgot your password?</Link> Or <Link href="/register">register</Link>.
        </p>
      </Form>
    </Page>
  );
}

export function Register() {
  const { say } = useSession();

  async function register(text: Text): Promise<void> {
    const email = text("email");
    // An empty field is no value.
    const [username, full_name] = [text("username") || null, text("full_name") || null];
    await api.auth.register({ body: { email, password: text("password"), username, full_name } });
    navigate("/sign-in");
    say(`Welcome. A link that confirms your address is on its way to ${email}.`);
  }

  return (
    <Page title="Register">
      <Form submit="Register" onSubmit={register} className="card">
        <Field name="email" label="E-mail" type="email" autoComplete="username" required />
        <Field name="password" label="Password" type="password" autoComplete="new-password" required />
        <Field name="username" label="Username (optional)" hint="You may sign in with it, too." />
        <Field name="full_name" label="Name (optional)" autoComplete="name" />
        <MailboxHint />
      </Form>
    </Page>
  );
}
