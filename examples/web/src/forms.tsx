// Forms whose errors appear beside the fields. The server is the only judge of the values.
import { type ComponentProps, createContext, type ReactNode, type SubmitEvent, useContext } from "react";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "react";
import { type Failure, failureOf } from "./errors";
import { useSession } from "./session";

/** Returns the text of a field. */
export type Text = (name: string) => string;

const Fields = createContext<Record<string, string>>({});

interface FormProps {
  /** The text of the button. */
  submit: string;
  onSubmit(text: Text, form: HTMLFormElement): Promise<unknown>;
  /** An error to begin with. */
  failure?: Failure | undefined;
  onCancel?: () => void;
  label?: string;
  className?: string;
  children?: ReactNode;
}

export function Form({ submit, onSubmit, failure: first, onCancel, label, className, children }: FormProps) {
  const form = useRef<HTMLFormElement>(null);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState(first);
  const { say } = useSession();

  // A field that the form does not have cannot be marked: then the message says it all.
  const [isMarked, setIsMarked] = useState(false);
  useLayoutEffect(() => {
    const names = Object.keys(failure?.fields ?? {});
    setIsMarked(names.length > 0 && names.every((name) => form.current?.elements.namedItem(name)));
  }, [failure]);

  // Without this, people who do not see the page would not learn what is wrong.
  useEffect(() => {
    const find = (selector: string) => form.current?.querySelector<HTMLElement>(selector);
    (find("[aria-invalid=true]") ?? find("[role=alert]"))?.focus();
  }, [failure]);

  async function send(event: SubmitEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    if (busy) return;
    const values = new FormData(event.currentTarget);
    setBusy(true);
    setFailure(undefined);
    // What was said before is over, and is read aloud again when it is said again.
    say("");
    try {
      await onSubmit((name) => String(values.get(name) ?? ""), event.currentTarget);
    } catch (error) {
      setFailure(failureOf(error));
    } finally {
      setBusy(false);
    }
  }

  return (
    <form ref={form} noValidate aria-label={label} className={className} onSubmit={(event) => void send(event)}>
      {failure && (
        <p role="alert" tabIndex={-1} className="alert">
          {isMarked ? "Please correct the marked fields." : failure.message}
        </p>
      )}
      <Fields value={failure?.fields ?? {}}>{children}</Fields>
      <div className="buttons">
        <button className="primary" aria-disabled={busy}>
          {submit}
        </button>
        {onCancel && (
          <button type="button" onClick={onCancel}>
            Cancel
          </button>
        )}
      </div>
    </form>
  );
}

interface FieldProps extends ComponentProps<"input"> {
  name: string;
  label: string;
  hint?: string;
  /** The height of a text of several lines. */
  rows?: number;
}

export function Field({ label, hint, rows, ...props }: FieldProps) {
  const id = useId();
  const error = useContext(Fields)[props.name];
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  const common = { id, "aria-invalid": error !== undefined, "aria-describedby": described || undefined };
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {rows ? <textarea rows={rows} {...(props as ComponentProps<"textarea">)} {...common} /> : <input {...props} {...common} />}
      {hint && (
        <p id={`${id}-hint`} className="hint">
          {hint}
        </p>
      )}
      {error && (
        <p id={`${id}-error`} className="error">
          {error}
        </p>
      )}
    </div>
  );
}
