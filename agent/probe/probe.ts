/**
 * What a probe is: one question to a local service, asked again and again.
 */
/** How one probe asks and how it is judged. */
export interface ProbeSpec<Question = ProbeQuestion> {
  /** How the probe is named in logs and status: what was written in PROBES, without its own settings. */
  readonly name: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** So many successes in a row make it healthy. */
  readonly rise: number;
  /** So many failures in a row make it unhealthy. */
  readonly fall: number;
  readonly question: Question;
}

export type ProbeQuestion =
  | {
      readonly kind: 'http';
      readonly url: URL;
      /** Inclusive ranges of status codes that count as healthy. */
      readonly expect: readonly (readonly [from: number, to: number])[];
      /** The Host header and the TLS server name, where they differ from the URL's. */
      readonly host: string | null;
      /** A PEM bundle to trust instead of the system's, already read. */
      readonly ca: string | null;
      readonly verifyTls: boolean;
    }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** Asks once. Resolves when the answer is good and rejects with the reason when it is not; ends when the signal says so. */
export type Ask = (signal: AbortSignal) => Promise<void>;
