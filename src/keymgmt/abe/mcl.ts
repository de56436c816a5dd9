import createModule from 'mcl-wasm/dist/mcl_c.js';
import { AbeEngineError } from './errors.ts';

/**
 * The binding to mcl, compiled to WebAssembly.
 *
 * mcl-wasm's own JavaScript layer is one shared instance per process, whose curve and serialisation
 * mode any other user of the package can switch. This module makes an instance of its own and talks
 * to mcl's C interface (mcl/bn.h), so nobody else reaches its state. It also needs calls which that
 * layer lacks: many Miller loops at once, hashing to the curve under a chosen tag, multiplication
 * in constant time.
 *
 * Operands are copied into one block of the WebAssembly heap, the function is called, the result is
 * copied out. `wipeScratch` clears that block; the stack of the compiled code is out of reach.
 */

const FUNCTIONS = [
  '_malloc',
  '_free',
  '_mclBn_init',
  '_mclBn_setETHserialization',
  '_mclBn_setMapToMode',
  '_mclBn_verifyOrderG1',
  '_mclBn_verifyOrderG2',
  '_mclBnFr_setBigEndianMod',
  '_mclBnFr_deserialize',
  '_mclBnFr_serialize',
  '_mclBnFr_isEqual',
  '_mclBnFr_isZero',
  '_mclBnFr_neg',
  '_mclBnFr_inv',
  '_mclBnFr_add',
  '_mclBnFr_sub',
  '_mclBnFr_mul',
  '_mclBnFp_deserialize',
  '_mclBnFp_serialize',
  '_mclBnG1_isEqual',
  '_mclBnG1_isZero',
  '_mclBnG1_isValid',
  '_mclBnG1_isValidOrder',
  '_mclBnG1_neg',
  '_mclBnG1_normalize',
  '_mclBnG1_clear',
  '_mclBnG1_dbl',
  '_mclBnG1_normalizeVec',
  '_mclBnG1_add',
  '_mclBnG1_mul',
  '_mclBnG1_mulCT',
  '_mclBnG1_mulVec',
  '_mclBnG1_hashAndMapToWithDst',
  '_mclBnG2_isEqual',
  '_mclBnG2_isZero',
  '_mclBnG2_isValid',
  '_mclBnG2_isValidOrder',
  '_mclBnG2_normalize',
  '_mclBnG2_clear',
  '_mclBnG2_dbl',
  '_mclBnG2_normalizeVec',
  '_mclBnG2_add',
  '_mclBnG2_mulCT',
  '_mclBnG2_mulVec',
  '_mclBnGT_isEqual',
  '_mclBnGT_isOne',
  '_mclBnGT_isValid',
  '_mclBnGT_mul',
  '_mclBnGT_powVec',
  '_mclBn_millerLoopVec',
  '_mclBn_finalExp',
] as const;

/** A function of mcl's C interface. */
export type MclFunction = (typeof FUNCTIONS)[number];

type MclModule = Record<MclFunction, (...args: number[]) => number> & {
  readonly wasmMemory: { readonly buffer: ArrayBuffer };
};

function isMclModule(value: unknown): value is MclModule {
  if (typeof value !== 'object' || value === null) return false;
  const memory: unknown = Reflect.get(value, 'wasmMemory');
  return (
    typeof memory === 'object' &&
    memory !== null &&
    Reflect.get(memory, 'buffer') instanceof ArrayBuffer &&
    FUNCTIONS.every((name) => typeof Reflect.get(value, name) === 'function')
  );
}

/** mcl's number of the curve. */
const BLS12_381 = 5;
/** Checked by mcl against how it was compiled: 4 * 10 + 6 words of 64 bits for Fr and Fp. */
const COMPILED_TIME_VAR = 46;
/** mcl's number of RFC 9380's simplified SWU map with expand_message_xmd over SHA-256. */
const MAP_RFC_9380 = 5;
/** Room for the operands of one call; the largest is sixteen pairs of points. */
const SCRATCH_BYTES = 16_384;

/** The running instance, for what the functions below do not cover (comb.ts). */
export interface Engine {
  readonly mcl: MclModule;
  /** Address of the block for operands. */
  readonly scratch: number;
}

let engine: Engine | undefined;
let starting: Promise<void> | undefined;

async function start(): Promise<void> {
  const mcl: unknown = await createModule({
    cryptoGetRandomValues: () => {
      throw new AbeEngineError('mcl asked for randomness, which it is never given');
    },
  });
  if (!isMclModule(mcl)) throw new AbeEngineError('this mcl-wasm lacks a function that is needed');
  if (mcl._mclBn_init(BLS12_381, COMPILED_TIME_VAR) !== 0) {
    throw new AbeEngineError('mcl refused to start BLS12-381');
  }
  mcl._mclBn_setETHserialization(1);
  mcl._mclBn_setMapToMode(MAP_RFC_9380);
  // The order is checked once, by isValidOrder, where bytes become points (groups.ts). With these
  // on, isValid would check it a second time.
  mcl._mclBn_verifyOrderG1(0);
  mcl._mclBn_verifyOrderG2(0);
  const scratch = mcl._malloc(SCRATCH_BYTES);
  if (scratch === 0) throw new AbeEngineError('no memory for the pairing library');
  engine = { mcl, scratch };
}

/**
 * Starts the pairing library: 60 to 120 ms, once per thread. May be called again, also concurrently.
 *
 * @throws AbeEngineError (ERR_ABE_ENGINE) if mcl-wasm does not start
 */
export function initAbe(): Promise<void> {
  starting ??= start();
  return starting;
}

/** @throws AbeEngineError (ERR_ABE_ENGINE) before `initAbe` */
export function ready(): Engine {
  if (engine === undefined) throw new AbeEngineError('the pairing library has not been started');
  return engine;
}

let view: Uint8Array | undefined;

function heap({ mcl, scratch }: Engine): Uint8Array {
  // Growing the memory gives it another buffer and detaches earlier views.
  const { buffer } = mcl.wasmMemory;
  if (view?.buffer !== buffer) view = new Uint8Array(buffer, scratch, SCRATCH_BYTES);
  return view;
}

/** Overwrites the operands and results of past calls. */
export function wipeScratch(): void {
  if (engine !== undefined) heap(engine).fill(0);
}

/** f(x, ...numbers) as a number: tests, and codes that are 0 for an error. */
export function query(f: MclFunction, x: Uint8Array, ...numbers: number[]): number {
  const e = ready();
  heap(e).set(x);
  return e.mcl[f](e.scratch, ...numbers);
}

/** f(x, y) as a truth. */
export function compare(f: MclFunction, x: Uint8Array, y: Uint8Array): boolean {
  const e = ready();
  const h = heap(e);
  h.set(x);
  h.set(y, x.length);
  return e.mcl[f](e.scratch, e.scratch + x.length) === 1;
}

/** out = f(x). */
export function unary(f: MclFunction, x: Uint8Array): Uint8Array {
  const e = ready();
  const h = heap(e);
  h.set(x);
  e.mcl[f](e.scratch + x.length, e.scratch);
  return h.slice(x.length, 2 * x.length);
}

/** out = f(x, y); out is of x's kind. */
export function binary(f: MclFunction, x: Uint8Array, y: Uint8Array): Uint8Array {
  const e = ready();
  const h = heap(e);
  h.set(x);
  h.set(y, x.length);
  const out = x.length + y.length;
  e.mcl[f](e.scratch + out, e.scratch, e.scratch + x.length);
  return h.slice(out, out + x.length);
}

/** out = f(xs, ys, n) over two arrays of n; out has `size` bytes. */
export function vector(
  f: MclFunction,
  size: number,
  xs: readonly Uint8Array[],
  ys: readonly Uint8Array[],
): Uint8Array {
  const e = ready();
  const h = heap(e);
  let at = size;
  for (const x of xs) {
    h.set(x, at);
    at += x.length;
  }
  const second = at;
  for (const y of ys) {
    h.set(y, at);
    at += y.length;
  }
  e.mcl[f](e.scratch, e.scratch + size, e.scratch + second, xs.length);
  return h.slice(0, size);
}

/** out = f(bytes, length), or undefined where mcl refuses the bytes; out has `size` bytes. */
export function fromBytes(
  f: '_mclBnFr_deserialize' | '_mclBnFp_deserialize' | '_mclBnFr_setBigEndianMod',
  size: number,
  bytes: Uint8Array,
): Uint8Array | undefined {
  const e = ready();
  const h = heap(e);
  h.set(bytes, size);
  const code = e.mcl[f](e.scratch, e.scratch + size, bytes.length);
  const ok = f === '_mclBnFr_setBigEndianMod' ? code === 0 : code === bytes.length;
  return ok ? h.slice(0, size) : undefined;
}

/** The serialised form of a field element, of `size` bytes. */
export function toBytes(
  f: '_mclBnFr_serialize' | '_mclBnFp_serialize',
  size: number,
  x: Uint8Array,
): Uint8Array {
  const e = ready();
  const h = heap(e);
  h.set(x, size);
  const written = e.mcl[f](e.scratch, size, e.scratch + size);
  if (written !== size) throw new AbeEngineError(`mcl wrote ${written} bytes instead of ${size}`);
  return h.slice(0, size);
}

/** out = hash_to_curve of `message` under `dst`; out has `size` bytes. */
export function hashToG1(size: number, message: Uint8Array, dst: Uint8Array): Uint8Array {
  const e = ready();
  const h = heap(e);
  h.set(message, size);
  h.set(dst, size + message.length);
  const code = e.mcl._mclBnG1_hashAndMapToWithDst(
    e.scratch,
    e.scratch + size,
    message.length,
    e.scratch + size + message.length,
    dst.length,
  );
  if (code !== 0) throw new AbeEngineError('mcl could not hash to the curve');
  return h.slice(0, size);
}
