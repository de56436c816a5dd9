/** The version of this package, which stands beside both `src` and `dist`. */
import { readFile } from 'node:fs/promises';

export async function version(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  const json: unknown = JSON.parse(text);
  const known = typeof json === 'object' && json !== null && 'version' in json;
  return known ? String(json.version) : 'unknown';
}
