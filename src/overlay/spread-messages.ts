/** The messages of `/icvpn/<overlay>/spread/1.0.0` (`spread.ts`), each a frame. */
import {
  bytes,
  type Infer,
  message,
  optional,
  repeated,
  required,
  string,
  uint32,
  uint53,
} from '../codec/protobuf.ts';

/** Keys in one message, and records in one stream. */
export const MAX_KEYS = 2_048;
/** Bytes of a record's digest. */
export const DIGEST_LENGTH = 8;
const MAX_RECORD = 1024 * 1024;

const key = () => string({ min: 1, max: 512 });

export const SPREAD_FRAME = message({
  record: optional(
    1,
    message({ key: required(1, key()), bytes: required(2, bytes({ max: MAX_RECORD })) }),
  ),
  have: repeated(
    2,
    message({
      key: required(1, key()),
      sequence: required(2, uint53()),
      /** 0 for kinds without epochs. */
      epoch: required(3, uint32()),
      /** The first bytes of the envelope's SHA-256: two records may say the same sequence. */
      digest: required(4, bytes({ length: DIGEST_LENGTH })),
    }),
    { max: MAX_KEYS },
  ),
  want: repeated(3, key(), { max: MAX_KEYS }),
  /** 1 in the message that asks for a sync, and in the one that ends its answer. */
  sync: optional(4, uint32({ max: 1 })),
});
export type SpreadFrame = Infer<typeof SPREAD_FRAME>;
export type SpreadRecord = NonNullable<SpreadFrame['record']>;

export const SPREAD_FRAMES = {
  reads: SPREAD_FRAME,
  writes: SPREAD_FRAME,
  maxLength: MAX_RECORD + 1024,
};

export const spreadFrame = (fields: Partial<SpreadFrame>): SpreadFrame => ({
  record: undefined,
  have: [],
  want: [],
  sync: undefined,
  ...fields,
});
