/** All mutations, by subject. */
import { ADDRESS_MUTATIONS } from './addresses.ts';
import { ADMISSION_MUTATIONS } from './admission.ts';
import { DISCOVERY_MUTATIONS } from './discovery.ts';

import { DISK_MUTATIONS } from './disk.ts';

import { EDGE_MUTATIONS } from './edge.ts';

import { EVERYWHERE_MUTATIONS } from './everywhere.ts';
import { KEY_MUTATIONS } from './keys.ts';
import { MEMBER_MUTATIONS } from './member.ts';
import type { Mutation } from './mutation.ts';
import { OVERLAY_MUTATIONS } from './overlay.ts';
import { OWNER_MUTATIONS } from './owner.ts';
import { STRANGER_MUTATIONS } from './strangers.ts';
import { TUNNEL_MUTATIONS } from './tunnels.ts';

export const MUTATIONS: readonly Mutation[] = [
  ...ADDRESS_MUTATIONS,
  ...ADMISSION_MUTATIONS,
  ...MEMBER_MUTATIONS,
  ...OVERLAY_MUTATIONS,
  ...STRANGER_MUTATIONS,
  ...DISCOVERY_MUTATIONS,
  ...KEY_MUTATIONS,
  ...OWNER_MUTATIONS,
  ...TUNNEL_MUTATIONS,
  ...DISK_MUTATIONS,
  ...EDGE_MUTATIONS,
  ...EVERYWHERE_MUTATIONS,
];
