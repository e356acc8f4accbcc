/**
 * A certificate for a stand-in, made anew for each run and trusted by nobody else.
 */
import { generate } from 'selfsigned';

/** A key and a self-signed certificate for an IP address, in PEM. */
export async function selfSigned(ip: string): Promise<{ key: string; cert: string }> {
  const made = await generate([{ name: 'commonName', value: ip }], {
    keyType: 'ec',
    curve: 'P-256',
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'subjectAltName', altNames: [{ type: 7, ip }] },
    ],
  });
  return { key: made.private, cert: made.cert };
}
