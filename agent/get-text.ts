/**
 * Asks somebody on this machine, by HTTP.
 *
 * Guarantees: takes in only so much, on a connection of its own. Who answers and with what status is for the caller to judge by the
 * text: it may be any program.
 */
import http from 'node:http';

/** What is asked for, and where. The signal ends it. */
export interface LocalQuestion {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly signal: AbortSignal;
}

/** Gives the text of an answer. Throws where nobody answers, or too much. */
export type GetText = (question: LocalQuestion) => Promise<string>;

const ANSWER_CHARACTERS_MAX = 1024 * 1024;

export const getText: GetText = async (question) =>
  await new Promise((resolve, reject) => {
    const request = http.get({ ...question, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.length > ANSWER_CHARACTERS_MAX)
          response.destroy(new Error(`the answer is longer than ${ANSWER_CHARACTERS_MAX} characters`));
      });
      response.on('end', () => resolve(text));
      response.on('error', reject);
    });
    request.on('error', reject);
  });
