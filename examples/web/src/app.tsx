// The frame of all pages, and which page a path shows.
import { Fragment, type MouseEvent, type ReactNode, useEffect, useRef } from "react";
import { messageOf } from "./errors";
import { ArticlePage, Articles, NewArticle } from "./pages/articles";
import { Account } from "./pages/account";
import { Items } from "./pages/items";
import { ChoosePassword, ForgotPassword, VerifyEmail } from "./pages/links";
import { Register, SignIn } from "./pages/sign-in";
import { focusHeading, Page, PRODUCT } from "./parts";
import { Link, navigate, usePath } from "./router";
import { api, useSession } from "./session";

interface Route {
  path: RegExp;
  page: (id: string) => ReactNode;
  /** Whether the page is for signed-in users. */
  member?: boolean;
}

const ROUTES: Route[] = [
  { path: /^\/$/, page: () => <Articles /> },
  { path: /^\/articles\/new$/, page: () => <NewArticle />, member: true },
  { path: /^\/articles\/([\w-]+)$/, page: (id) => <ArticlePage key={id} id={id} /> },
  { path: /^\/items$/, page: () => <Items />, member: true },
  { path: /^\/account$/, page: () => <Account />, member: true },
  { path: /^\/sign-in$/, page: () => <SignIn /> },
  { path: /^\/register$/, page: () => <Register /> },
  { path: /^\/forgot-password$/, page: () => <ForgotPassword /> },
  // FRONTEND_URL/reset-password and FRONTEND_URL/verify-email are the addresses in mails.
  { path: /^\/reset-password$/, page: () => <ChoosePassword /> },
  { path: /^\/verify-email$/, page: () => <VerifyEmail /> },
];

export function App() {
  const path = usePath();
  const { user, notice } = useSession();
  const route = ROUTES.find((each) => each.path.test(path));
  const mustSignIn = route?.member === true && user === null;

  // A new page, and that of another user, is announced by its heading; the first one by the browser.
  const view = `${path} ${user?.id}`;
  const shown = useRef(view);
  useEffect(() => {
    if (shown.current !== view) focusHeading();
    shown.current = view;
  }, [view]);

  return (
    <>
      <a className="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <Header />
      <main id="main" tabIndex={-1}>
        <p role="status" className="notice">
          {notice}
        </p>
        {/* The page of one user, with its rows and texts, is not shown to the next one. */}
        <Fragment key={user?.id}>
          {mustSignIn ? <SignIn /> : (route?.page(route.path.exec(path)?.[1] ?? "") ?? <NotFound />)}
        </Fragment>
      </main>
    </>
  );
}

/** Move the focus without following the link: its hash would replace the token of a mailed link. */
function skip(event: MouseEvent): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Header() {
  const { user, setUser, say } = useSession();

  async function signOut(): Promise<void> {
    try {
      await api.signOut();
      setUser(null);
      navigate("/");
      say("You are signed out.");
    } catch (error) {
      say(messageOf(error));
    }
  }

  return (
    <header className="top">
      <Link href="/" className="brand">
        <img src="/icon.svg" alt="" width="24" height="24" /> {PRODUCT}
      </Link>
      <nav aria-label="Main">
        <Link href="/">Articles</Link>
        {user ? (
          <>
            <Link href="/items">Items</Link>
            <Link href="/account">Account</Link>
            <button onClick={() => void signOut()}>Sign out</button>
          </>
        ) : (
          <>
            <Link href="/sign-in">Sign in</Link>
            <Link href="/register">Register</Link>
          </>
        )}
      </nav>
    </header>
  );
}

const NotFound = () => (
  <Page title="Not found">
    <p>
      There is no page at this address. <Link href="/">Read articles</Link>
    </p>
  </Page>
);
