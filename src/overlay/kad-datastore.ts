/**
 * The datastore that kad-dht is given: a view on the record store.
 *
 * kad-dht overwrites on PUT without comparing and drops values after 48 hours. Behind this view
 * every PUT goes through the record store's rule instead, and what it holds is always handed out
 * as just received. Provider records, which icvpn does not use and which others could pile up
 * without limit, are refused.
 */
import type { AbortOptions } from '@libp2p/interface';
import { NotFoundError } from '@libp2p/interface';
import { Libp2pRecord } from '@libp2p/record';
import { BaseDatastore } from 'datastore-core/base';
import type { Key, Pair } from 'interface-datastore';
import { fromString } from 'uint8arrays/from-string';
import { toString as textOf } from 'uint8arrays/to-string';
import { RecordError, type RecordStore } from './record-store.ts';

const RECORDS = '/dht/record/';

export class KadDatastore extends BaseDatastore {
  readonly #store: RecordStore;

  constructor(store: RecordStore) {
    super();
    this.#store = store;
  }

  override async put(key: Key, value: Uint8Array, _options?: AbortOptions): Promise<Key> {
    recordName(key);
    const record = Libp2pRecord.deserialize(value);
    await this.#store.accept(textOf(record.key), record.value);
    return key;
  }

  override async get(key: Key, _options?: AbortOptions): Promise<Uint8Array> {
    const name = recordName(key);
    const held = this.#store.held(textOf(name));
    if (held === undefined) throw new NotFoundError(`no record ${key}`);
    return new Libp2pRecord(name, held.bytes, new Date()).serialize();
  }

  /** The record store alone decides what ends when. */
  override delete(): void {}

  /** Asked for provider records only, of which there are none. */
  override async *query(): AsyncGenerator<Pair> {}

  override async *queryKeys(): AsyncGenerator<Key> {}
}

/** @returns the key in the DHT. @throws RecordError for anything that is not a record */
function recordName(key: Key): Uint8Array {
  const text = key.toString();
  if (!text.startsWith(RECORDS)) throw new RecordError('ERR_RECORD_KEY', 'not a record');
  return fromString(text.slice(RECORDS.length), 'base32');
}
