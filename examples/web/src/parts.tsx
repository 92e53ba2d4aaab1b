// What several pages use: their frame, a question, and small texts.
import { type ReactNode, useEffect, useRef } from "react";
import { Form } from "./forms";

/** The name of the product, as index.html has it. */
export const PRODUCT = document.title;

export function Page({ title, aside, children }: { title: string; aside?: ReactNode; children: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · ${PRODUCT}`;
  }, [title]);
  return (
    <>
      <header className="title">
        <h1 tabIndex={-1}>{title}</h1>
        {aside}
      </header>
      {children}
    </>
  );
}

interface QuestionProps {
  /** The text of the button that asks, and of the one that agrees. */
  action: string;
  /** What the button acts on, for people who hear it without its surroundings. */
  label?: string;
  question: string;
  children?: ReactNode;
  disabled?: boolean;
  onAgree(): Promise<void>;
}

/** A button that asks before it acts. An error stays in the dialog. */
export function Question({ action, label, question, children, disabled = false, onAgree }: QuestionProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const close = (): void => dialog.current?.close();

  function open(): void {
    if (disabled) return;
    dialog.current?.showModal();
    // The harmless button: Enter, pressed once too often, deletes nothing.
    dialog.current?.querySelector<HTMLElement>("button[type=button]")?.focus();
  }

  return (
    <>
      <button className="danger" aria-label={label} aria-disabled={disabled} onClick={open}>
        {action}
      </button>
      <dialog ref={dialog} aria-label={question}>
        <h2>{question}</h2>
        {children}
        <Form submit={action} onSubmit={() => onAgree().then(close)} onCancel={close} />
      </dialog>
    </>
  );
}

/** Move the focus to the beginning of the page, so that people who do not see it learn of the change. */
export const focusHeading = (): void => document.querySelector<HTMLElement>("main h1")?.focus();

const FORMAT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const Time = ({ at }: { at: string }) => <time dateTime={at}>{FORMAT.format(new Date(at))}</time>;

/** Where mails are during development. */
export const MailboxHint = () =>
  import.meta.env.DEV && (
    <p className="hint">
      In development, mails are in the <a href="/dev/mailbox">mailbox</a>.
    </p>
  );
