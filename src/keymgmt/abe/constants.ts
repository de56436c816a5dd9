/** Version prefix of a ciphertext; CIRCL writes it since its release v1.3.8. */
export const CIPHERTEXT_VERSION = 'v1.3.8';

/** Label of the leaf that the Boneh-Katz transform adds. Every attribute key holds it as a wildcard. */
export const BK_LABEL = 'internal-boneh-katz-transform-attribute';

/** Key of the BLAKE2Xb that maps attribute values to scalars. */
export const ATTRIBUTE_HASH_KEY = 'attribute value hashing';

/**
 * Bytes of the Boneh-Katz seed. 576 bits keep the 256-bit MAC key statistically hidden by the
 * 256-bit id up to 2^-65 (ia.cr/2004/261, theorem 2).
 */
export const SEED_BYTES = 72;

/** Bytes of the authority's PRF key. */
export const PRF_KEY_BYTES = 16;

/** Bytes of a scalar, big endian. */
export const SCALAR_BYTES = 32;

/** Bytes of an uncompressed G1 point: x, y. */
export const G1_BYTES = 96;

/** Bytes of an uncompressed G2 point: x.c1, x.c0, y.c1, y.c0. */
export const G2_BYTES = 192;

/** Bytes of an element of the target group: twelve coordinates of 48 bytes. */
export const GT_BYTES = 576;

/** Bytes of the Boneh-Katz id, of the MAC tag and of their hashes. */
export const HASH_BYTES = 32;

/** Leaves in one policy. Bounds the point checks that a hostile ciphertext can cause. */
export const MAX_POLICY_LEAVES = 64;

/** Nested parentheses and `not`s in the text of a policy; the bound CIRCL uses too. */
export const MAX_POLICY_DEPTH = 64;

/** UTF-16 units in the text of a policy. */
export const MAX_POLICY_TEXT = 16_384;

/** Characters of a label. */
export const MAX_LABEL_LENGTH = 64;

/** Characters of a value. */
export const MAX_VALUE_LENGTH = 256;

/** Attributes in one key, without the internal one. */
export const MAX_ATTRIBUTES = 64;

/** Bytes of a plaintext. Longer bodies belong under AES-GCM with a data key from here. */
export const MAX_PLAINTEXT_BYTES = 1 << 20;

/** Labels whose oracle points stay in memory, 1,728 bytes each. */
export const ORACLE_CACHE_LABELS = 64;

/** Matrices of points whose multiples stay in WebAssembly memory, 110 to 290 KiB each. */
export const COMB_CACHE_MATRICES = 64;
