/**
 * Hears of changes of one nftables table, by whomever.
 *
 * ```
 *  one transaction of nft:  DELRULE icvpn_4d, …, DELTABLE icvpn_4d, NEWGEN ──▶ onChange(port)
 *  that of another table:   NEWRULE filter, NEWGEN ─────────────────────────▶ nothing
 * ```
 */
import { decodeAttributes, decodeText, type Message } from '../netlink/framing.ts';
import { NetlinkListener } from '../netlink/listener.ts';
import { NETLINK_NETFILTER } from '../netlink/socket.ts';
import { struct, u8, u16 } from '../netlink/struct.ts';

/** NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h. */
const GROUP = 7;
/** NFNL_SUBSYS_NFTABLES: the upper byte of a message's type. */
const SUBSYSTEM = 10;
/** NFT_MSG_NEWGEN of linux/netfilter/nf_tables.h: the end of a transaction. */
const NEWGEN = 15;
/** NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, ...: what changes names its table first, and by the same number. */
const TABLE = 1;

/*
 * struct nfgenmsg { __u8 nfgen_family; __u8 version; __be16 res_id; }, here with the length of the
 * attribute that follows: of the attributes behind that some may come twice
 */
const head = struct('nfgenmsg', 6, { family: [0, u8], version: [1, u8], length: [4, u16] });
const HEADER_BYTES = 4;
/** The kernel's own port, by which no transaction comes. */
const LOST = 0;

/** What a message says of tables: a change of one, or the end of a transaction. */
export type TableNews = { readonly table: string } | 'end' | undefined;

/** @throws MalformedError */
export function decodeTableNews({ type, body }: Message): TableNews {
  if (type >> 8 !== SUBSYSTEM) return undefined;
  if ((type & 0xff) === NEWGEN) return 'end';
  const { length } = head.decode(body);
  const name = decodeAttributes(body.subarray(HEADER_BYTES, HEADER_BYTES + length)).get(TABLE);
  return name && { table: decodeText(name) };
}

export interface TableMonitorOptions {
  readonly table: string;
  /**
   * A transaction has changed the table, or may have: news were lost.
   *
   * @param port of the netlink socket that it came by: the process id, where nobody has chosen otherwise; 0 for lost news
   */
  readonly onChange: (port: number) => void;
  /** The monitor hears no more, or the kernel sent what cannot be read. */
  readonly onError: (error: Error) => void;
}

/**
 * Of the network namespace that the process is in. What the kernel has no room to tell (1 MiB) counts as a change.
 * Equivalent to: `nft monitor`
 */
export class TableMonitor implements Disposable {
  readonly #listener: NetlinkListener;
  #changed = false;

  /** @throws NetlinkError `ERR_NOT_ROOT`, or the errno of socket(2) where the kernel has no netfilter */
  constructor({ table, onChange, onError }: TableMonitorOptions) {
    this.#listener = new NetlinkListener({
      protocol: NETLINK_NETFILTER,
      groups: [GROUP],
      onMessage: (message) => {
        const news = decodeTableNews(message);
        if (news === undefined) return;
        if (news !== 'end') {
          this.#changed ||= news.table === table;
        } else if (this.#changed) {
          this.#changed = false;
          onChange(message.port);
        }
      },
      onOverrun: () => onChange(LOST),
      onError,
    });
  }

  [Symbol.dispose](): void {
    this.#listener.close();
  }
}
