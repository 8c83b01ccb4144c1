//! Speech and translation models on candle: the only room that knows tensors, weights and tokenizers.
//!
//! What the workers use:
//! - [`speech`]: audio in, text out (Whisper architecture); [`translation`]: text in, text out (Marian architecture)
//! - [`model_thread`]: a model owns an OS thread and takes whatever waits as one batch
//! - [`device`]: where a model runs; [`error`]: what can go wrong, with the path, key or tensor at fault
//!
//! What they are made of, in the order data flows:
//! - [`directory`]: a model directory in the Hugging Face layout: JSON files, weights (safetensors, pickles, GGUF)
//! - [`mel`]: samples to log-mel frames; [`sentencepiece`]: text to pieces and back by `.spm` files
//! - [`whisper_vocabulary`]: `tokenizer.json` or a tiktoken file; [`language`]: what each model family calls a language
//! - [`whisper`], [`marian`]: configuration, weights and encoder of each architecture
//! - [`decoder`]: the decoder both share: key/value caches, one position at a time, rows of unequal length
//! - [`greedy`]: the decoding loop: suppression, limits, the loop guard
//!
//! Absent on purpose: sockets, Redis, sessions, the streaming policy. No type of candle's is in the workers' part.

pub mod decoder;
pub mod device;
pub mod directory;
pub mod error;
pub mod greedy;
pub mod language;
pub mod marian;
pub mod mel;
pub mod model_thread;
pub mod sentencepiece;
pub mod speech;
pub mod translation;
pub mod whisper;
pub mod whisper_vocabulary;

mod layers;
