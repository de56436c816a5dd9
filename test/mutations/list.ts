/** All mutations, by subject. */
import { ADMISSION_MUTATIONS } from './admission.ts';
import { KEY_MUTATIONS } from './keys.ts';
import type { Mutation } from './mutation.ts';

export const MUTATIONS: readonly Mutation[] = [...ADMISSION_MUTATIONS, ...KEY_MUTATIONS];
