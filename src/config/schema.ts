/**
 * What a configuration key may be: the building blocks of the one table in `keys.ts`, from which
 * the check, the typed `Config`, the JSON Schema and docs/configuration.md are made.
 *
 * Plain data: nothing here reads a file or knows a particular key. A default stands as people write
 * it ('30s', '64MiB') and goes through the same check as a value from a file, so that a default
 * outside its own range cannot exist.
 */

interface Described {
  readonly about: string;
}

/** A text; `check` tells what is wrong with it, in words. */
export interface TextKey extends Described {
  readonly kind: 'text';
  readonly fallback: string;
  readonly rule: string;
  /** What the empty text means; without this a text without a default is required. */
  readonly otherwise?: string;
  check(text: string): string | undefined;
}

export interface ChoiceKey<Name extends string = string> extends Described {
  readonly kind: 'choice';
  readonly choices: readonly Name[];
  readonly fallback: Name;
}

export interface SwitchKey extends Described {
  readonly kind: 'switch';
  readonly fallback: boolean;
}

/** A number: whole, unless `fraction`; with `auto` also that word, read as undefined. */
export interface NumberKey extends Described {
  readonly kind: 'number';
  readonly fallback: number | 'auto';
  readonly min: number;
  readonly max: number;
  readonly fraction: boolean;
  readonly auto: string | undefined;
}

/** Milliseconds, written with units; a multiple of `step` where the wire knows no finer one. */
export interface DurationKey extends Described {
  readonly kind: 'duration';
  readonly step?: '1s';
  readonly fallback: string;
  readonly min: string;
  readonly max: string;
}

/** Bytes, written with a unit; with `auto` also that word, read as undefined. */
export interface SizeKey extends Described {
  readonly kind: 'size';
  readonly fallback: string;
  readonly min: string;
  readonly max: string;
  readonly auto: string | undefined;
}

/** A place that must be named, or, where it may be `off`, one to listen at; then undefined. */
export interface AddressKey extends Described {
  readonly kind: 'address';
  readonly fallback: string;
  readonly mayBeOff: boolean;
}

/** A list of texts; undefined when the file names none. */
export interface TextsKey extends Described {
  readonly kind: 'texts';
  readonly rule: string;
  readonly otherwise: string;
  /** What examples have, in YAML: the same as without the key. */
  readonly example: string;
  readonly least: 0 | 1;
  readonly most: number;
  check(text: string): string | undefined;
}

export interface SectionKey<
  Keys extends Record<string, Key> = Record<string, Key>,
> extends Described {
  readonly kind: 'section';
  readonly keys: Keys;
}

/** A list of sections; `fallback` is what holds when the file does not name the key. */
export interface SectionsKey<
  Keys extends Record<string, Key> = Record<string, Key>,
> extends Described {
  readonly kind: 'sections';
  readonly each: SectionKey<Keys>;
  readonly fallback: readonly Readonly<Record<string, string>>[];
  readonly most: number;
}

export type Leaf =
  | TextKey
  | ChoiceKey
  | SwitchKey
  | NumberKey
  | DurationKey
  | SizeKey
  | AddressKey
  | TextsKey;

export type Key = Leaf | SectionKey | SectionsKey;

/** Where a listener listens. */
export interface Address {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

/** The value that a key has in a checked configuration. */
export type ValueOf<K extends Key> =
  K extends SectionKey<infer Keys>
    ? { readonly [Name in keyof Keys]: ValueOf<Keys[Name]> }
    : K extends SectionsKey<infer Keys>
      ? readonly { readonly [Name in keyof Keys]: ValueOf<Keys[Name]> }[]
      : K extends ChoiceKey<infer Name>
        ? Name
        : K extends SwitchKey
          ? boolean
          : K extends AddressKey
            ? K extends { readonly mayBeOff: false }
              ? Address
              : Address | undefined
            : K extends TextsKey
              ? readonly string[] | undefined
              : K extends TextKey
                ? string
                : K extends (SizeKey | NumberKey) & { readonly auto: string }
                  ? number | undefined
                  : number;

type Spec<K extends Key> = Omit<K, 'kind'>;

export function section<Keys extends Record<string, Key>>(
  about: string,
  keys: Keys,
): SectionKey<Keys> {
  return { kind: 'section', about, keys };
}

export function sections<Keys extends Record<string, Key>>(
  spec: Spec<SectionsKey<Keys>>,
): SectionsKey<Keys> {
  return { kind: 'sections', ...spec };
}

export const text = (spec: Spec<TextKey>): TextKey => ({ kind: 'text', ...spec });

export function choice<const Name extends string>(spec: Spec<ChoiceKey<Name>>): ChoiceKey<Name> {
  return { kind: 'choice', ...spec };
}

export const onOff = (spec: Spec<SwitchKey>): SwitchKey => ({ kind: 'switch', ...spec });

type PlainNumberKey = NumberKey & { readonly auto: undefined };

export function whole(spec: Omit<Spec<NumberKey>, 'fraction' | 'auto'>): PlainNumberKey {
  return { kind: 'number', fraction: false, auto: undefined, ...spec };
}

/** `auto` says what the word stands for. */
export function wholeOrAuto(
  spec: Omit<Spec<NumberKey>, 'fraction' | 'auto' | 'fallback'> & { readonly auto: string },
): NumberKey & { readonly auto: string } {
  return { kind: 'number', fraction: false, fallback: 'auto', ...spec };
}

export function fraction(spec: Omit<Spec<NumberKey>, 'fraction' | 'auto'>): PlainNumberKey {
  return { kind: 'number', fraction: true, auto: undefined, ...spec };
}

export const duration = (spec: Spec<DurationKey>): DurationKey => ({ kind: 'duration', ...spec });

export function size(spec: Omit<Spec<SizeKey>, 'auto'>): SizeKey & { readonly auto: undefined } {
  return { kind: 'size', auto: undefined, ...spec };
}

/** `auto` says what the word stands for. */
export function sizeOrAuto(
  spec: Omit<Spec<SizeKey>, 'auto' | 'fallback'> & { readonly auto: string },
): SizeKey & { readonly auto: string } {
  return { kind: 'size', fallback: 'auto', ...spec };
}

export function address(spec: Omit<Spec<AddressKey>, 'mayBeOff'>): AddressKey {
  return { kind: 'address', mayBeOff: true, ...spec };
}

/** Has no default: it must be named. */
export function addressAlways(
  spec: Omit<Spec<AddressKey>, 'mayBeOff' | 'fallback'>,
): AddressKey & { readonly mayBeOff: false } {
  return { kind: 'address', fallback: '', mayBeOff: false, ...spec };
}

export const texts = (spec: Spec<TextsKey>): TextsKey => ({ kind: 'texts', ...spec });
