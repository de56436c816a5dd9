/**
 * The list of tests under each promise in docs/promises.md.
 *
 * ```
 * ### P7
 * The sentence, and the incident behind it.
 *
 * - `test/unit/records/credential.test.ts`
 * ```
 */
const SECTION = /^### P(\d+)\n([\s\S]*?)(?=^#|$(?![\s\S]))/gm;

/** @returns the numbers of the promises that the page has, in its order */
export function promisesOf(page: string): number[] {
  return [...page.matchAll(SECTION)].map(([, number]) => Number(number));
}

/** @returns the page with the lists as the titles of the tests say */
export function withTests(page: string, files: ReadonlyMap<number, readonly string[]>): string {
  return page.replace(SECTION, (_, number: string, body: string) => {
    const text = body.replace(/^- `.*`\n/gm, '').trim();
    const list = (files.get(Number(number)) ?? []).map((file) => `- \`${file}\`\n`).join('');
    return `### P${number}\n\n${text}\n\n${list}\n`;
  });
}
