/** What keeps the content of membership shards from nodes that only store them. */
export interface ShardSeal {
  seal(content: Uint8Array): Promise<Uint8Array>;
  /**
   * @returns undefined for what does not open now and may later, such as a shard of an epoch to come
   * @throws IcvpnError for what never will
   */
  open(sealed: Uint8Array): Promise<Uint8Array | undefined>;
}

/** For services without an attribute authority, and for the overlay, whose members are who stores. */
export const UNSEALED: ShardSeal = {
  seal: (content) => Promise.resolve(content),
  open: (content) => Promise.resolve(content),
};
