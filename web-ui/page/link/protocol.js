/**
 * The client protocol `subtide.v1` as this page speaks it: names and shapes only, no code beyond constants.
 * The Rust side of the same contract is `shared::wire`.
 *
 * @typedef {{ encoding: 'pcm_s16le', sample_rate: number, channels: 1 | 2 }} AudioFormat
 *
 * @typedef {object} StartMessage Must come first, once.
 * @property {'start'} type
 * @property {AudioFormat} audio
 * @property {string} source BCP-47 tag, or `auto`.
 * @property {string[]} targets BCP-47 tags.
 * @property {boolean} [partials]
 * @property {GlossaryTerm[]} [glossary]
 * @property {Resume} [resume] The session to go on with.
 *
 * @typedef {{ token: string, last_event: number }} Resume `resume_token` of the newest `started`, and the last event seen.
 *
 * @typedef {{ source: string, target?: string }} GlossaryTerm As spoken, and as it must be translated.
 *
 * @typedef {{ type: 'update', source?: string, targets?: string[], glossary?: GlossaryTerm[] }} UpdateMessage
 * @typedef {StartMessage | UpdateMessage | { type: 'finalize' } | { type: 'stop' } |
 *   { type: 'auth', token: string }} ClientMessage
 *
 * @typedef {{ max_message_bytes: number, max_targets: number, max_utterance_ms: number, idle_timeout_ms: number,
 *   resume_window_ms?: number }} Limits
 *
 * @typedef {{ type: 'started', session: string, resume_token: string, resumed?: boolean, audio_ms?: number,
 *   limits: Limits }} Started
 * @typedef {{ type: 'speech_started', utterance: number, start_ms: number }} SpeechStarted
 * @typedef {{ type: 'speech_ended', utterance: number, end_ms: number }} SpeechEnded
 * @typedef {{ text: string, start_ms: number, end_ms: number, probability: number }} Word
 * @typedef {{ type: 'caption', utterance: number, revision: number, start_ms: number, end_ms: number, language: string,
 *   language_probability?: number, committed: string, tail: string, words?: Word[], final: boolean }} Caption
 * @typedef {{ type: 'translation', utterance: number, revision: number, target: string,
 *   committed: string, tail: string, final: boolean }} Translation
 * @typedef {{ type: 'ack', audio_ms: number }} Ack
 * @typedef {{ type: 'lag', behind_ms: number, update_interval_ms: number }} Lag
 * @typedef {'failed' | 'timed_out' | 'overloaded' | 'no_model' | 'not_resumed' | 'not_kept'} GapReason The last
 *   two are the page's own.
 * @typedef {{ type: 'gap', utterance?: number, from_ms: number, to_ms: number, reason: GapReason }} Gap
 * @typedef {{ type: 'warning', code: string, message: string }} Warning
 * @typedef {'bad_message' | 'bad_order' | 'invalid_audio' | 'too_large' | 'auth_error' | 'forbidden' |
 *   'rate_limited' | 'quota_exceeded' | 'timeout' | 'replaced' | 'resume_expired' | 'session_too_long' | 'overloaded' |
 *   'unavailable' | 'not_found' | 'upgrade_required' | 'internal'} ErrorCode
 * @typedef {{ type: 'error', code: ErrorCode, message: string, retryable: boolean, retry_after_ms?: number,
 *   trace_id: string }} WireError
 * @typedef {{ type: 'ended', reason: 'stopped' | 'draining', audio_ms: number, utterances: number }} Ended
 *
 * @typedef {Started | SpeechStarted | SpeechEnded | Caption | Translation | Ack | Lag | Gap | Warning | WireError |
 *   Ended} ServerMessage
 * @typedef {{ event: number } & ServerMessage} ServerEvent A server message with its growing number.
 */

/** The WebSocket subprotocol asked for. */
export const SUBPROTOCOL = 'subtide.v1';

/** Where the stream is, on the origin that served this page. */
export const STREAM_PATH = '/v1/stream';

/** Most targets of one session, until the server's `limits` say otherwise. */
export const MAX_TARGETS = 16;

/** Most terms of a glossary, and the longest side of one in bytes of UTF-8. */
export const MAX_TERMS = 256;
export const MAX_TERM_BYTES = 128;

/** Sample rates the server takes, in hertz. */
export const MIN_SAMPLE_RATE = 8000;
export const MAX_SAMPLE_RATE = 48000;
